"""``self.cookie`` of a job of a class: values that all jobs of the class share, now and later.

What belongs here: core4's words for values by key. What must not: how values are kept (`keyvalues`).
"""

from collections.abc import Callable
from typing import Any

from pilotfish.functions.keyvalues import KeyValues

__all__ = ["Cookie"]


class Cookie:
    """Values by key, of one class. Each change is durable when its call returns, and happens as a whole."""

    def __init__(self, values: KeyValues, owner: str) -> None:
        """Of the class that is called so."""
        self._values, self._prefix = values, f"cookie/{owner}/"

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever was set
        """The value of a key; `default` where there is none."""
        return self._values.get(self._prefix + key, default)

    def set(self, key: str, value: object) -> None:
        """Set the value of a key."""
        self._values.set(self._prefix + key, value)

    def has_key(self, key: str) -> bool:
        """Whether there is such a key."""
        return self._prefix + key in self._values.keys(self._prefix + key)

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._values.delete(self._prefix + key)

    def inc(self, key: str, by: int | float = 1) -> Any:  # noqa: ANN401, PYI041 - int or float, as the numbers are
        """Add to the number that a key has, 0 where there is none; the sum."""
        return self._values.increment(self._prefix + key, by)

    def dec(self, key: str, by: int | float = 1) -> Any:  # noqa: ANN401, PYI041 - likewise
        """Subtract likewise; the difference."""
        return self.inc(key, -by)

    def max(self, key: str, value: Any) -> Any:  # noqa: ANN401 - whatever can be compared
        """Set the value of a key if it is greater than what is there, or nothing is; what is there then."""
        return self._extreme(key, value, max)

    def min(self, key: str, value: Any) -> Any:  # noqa: ANN401 - likewise
        """Likewise if it is less."""
        return self._extreme(key, value, min)

    def _extreme(self, key: str, value: Any, choose: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401 - likewise
        while True:
            old = self.get(key)
            new = value if old is None else choose(old, value)
            if new == old or self._values.compare_and_set(self._prefix + key, old, new):
                return new
