"""Numbers that print as they were written: ``007`` and ``1.50`` stay so where a number becomes text.

A seed, a version or a parameter in an array or in the environment is text to the program that gets it. What
belongs here: the two kinds of number. What must not: where they come from.
"""

from typing import Self

__all__ = ["WrittenFloat", "WrittenInt"]


class WrittenInt(int):
    """An integer that remembers its text."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Parse decimal digits with any sign and leading zeros, ``0o17`` or ``0xff``."""
        number = super().__new__(cls, text, 0 if text[1:2] in {"o", "x"} else 10)
        number.text = text
        return number

    def __str__(self) -> str:
        """As written."""
        return self.text

    __repr__ = __str__


class WrittenFloat(float):
    """A floating-point number that remembers its text."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """Parse `text` like :class:`float`."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        """As written."""
        return self.text

    __repr__ = __str__
