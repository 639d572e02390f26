"""A value that many calls use: packed once, and as an argument the value itself.

What belongs here: the handle and how it arrives. What must not: files (`values`), packing (`envelope`).
"""

import threading
from typing import Any, Generic, TypeVar

from pilotfish.errors import UserError
from pilotfish.functions.envelope import unpack_value
from pilotfish.functions.values import Values

__all__ = ["Shared", "Travelling", "read_from", "values_here"]

_T_co = TypeVar("_T_co", covariant=True)

_here: list[Values] = []
"""Where the values are that arrive in this process."""


def read_from(values: Values) -> None:
    """Find in these, from now on, what arrives in this process."""
    _here[:] = [values]


def values_here() -> Values:
    """Where they are. Raises UserError where nothing arrives."""
    if not _here:
        raise UserError("a value that was put arrives only in functions that pilotfish calls")
    return _here[0]


class _Here(threading.local):
    held: list[str] | None = None


_HERE = _Here()


class Travelling:
    """A block in which the values of handles that are pickled are held, for whoever lets go of their names."""

    __slots__ = ()

    def __enter__(self) -> list[str]:
        """Begin with none."""
        held: list[str] = []
        _HERE.held = held
        return held

    def __exit__(self, *_: object) -> None:
        """Hold no others."""
        _HERE.held = None


class Shared(Generic[_T_co]):
    """Stands for a value that lies on the node; a function that is given it gets the value.

    Arrays that were put are mapped by all who use them, read-only and without a copy. The value is freed when the last
    handle of it is gone, and the last call that was given it has ended.
    """

    def __init__(self, packed: bytes, values: Values, names: tuple[str, ...]) -> None:
        """Of what was packed and is held under these names."""
        self._packed, self._values, self._names = packed, values, names

    @property
    def value(self) -> _T_co:
        """The value, read anew each time."""
        found: _T_co = unpack_value(self._packed, self._values)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files that it consists of."""
        return self._names

    def __reduce__(self) -> tuple[Any, ...]:
        """It arrives as its value."""
        if _HERE.held is not None:
            for name in self._names:
                self._values.hold(name)
            _HERE.held += self._names
        return _arrived, (self._packed,)

    def __del__(self) -> None:
        """Let go of the files."""
        for name in self._names:
            self._values.release(name)

    def __repr__(self) -> str:
        """For people: ``<Shared 6400000 bytes>``."""
        large = sum(int(name.partition("-")[2].partition(".")[0]) for name in self._names)
        return f"<Shared {large or len(self._packed)} bytes>"


def _arrived(packed: bytes) -> object:
    """What a handle becomes where it is unpickled."""
    return unpack_value(packed, values_here())
