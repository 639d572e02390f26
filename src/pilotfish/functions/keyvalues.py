"""Values that tasks and sessions share by key: ``pf.current().kv`` in a task, ``session.kv`` outside.

What belongs here: what users call, packing. What must not: what carries it, where it is kept.
"""

import math
from time import monotonic
from typing import Any

import msgspec

from pilotfish.errors import UserError
from pilotfish.functions.envelope import pack_value, unpack_value
from pilotfish.functions.line import LARGEST, VALUE_QUESTIONS, Add, Carried, Keys, Line, Read, Watch, Write
from pilotfish.model.quantities import format_bytes

__all__ = ["KeyValues"]

_NAMES = {question: name for name, question in VALUE_QUESTIONS.items()}
_NOW = object()
_LONGEST_KEY = 1000
"""Characters."""


class KeyValues:
    """The values of one campaign or session.

    A change is durable when its call returns; changes of all tasks happen one after the other. A value is whatever can
    be pickled, up to 1 MiB. What is not there reads as None. Every call raises UnavailableError where the manager stays
    away for longer than its lease.
    """

    def __init__(self, line: Line) -> None:
        """Those that the line leads to."""
        self._line = line

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever was set
        """The value of a key; `default` where there is none."""
        version, value = self._read(key)
        return value if version else default

    def set(self, key: str, value: object) -> None:
        """Set the value of a key. Raises UnpicklableError, UserError where it is too large."""
        self._ask(Write(_checked(key), _packed(key, value)))

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._ask(Write(_checked(key), None))

    def compare_and_set(self, key: str, old: object, new: object) -> bool:
        """Set the value of a key if it equals `old` (None also where there is none); whether it did.

        Raises UnavailableError also where the manager ends just then: nobody knows whether it was set.
        """
        packed = _packed(key, new)
        while True:
            version, value = self._read(key)
            if not (value is old or value == old):
                return False
            if self._ask(Write(key, packed, version), again=False):
                return True

    def increment(self, key: str, by: int | float = 1) -> Any:  # noqa: ANN401, PYI041 - int or float, as the numbers are
        """Add to the number that a key has, 0 where there is none; the sum.

        Raises UserError where it has something else, UnavailableError also where the manager ends just then: nobody
        knows whether it was added.
        """
        return self._ask(Add(_checked(key), by), again=False)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin so, in their order."""
        found: list[str] = self._ask(Keys(prefix))
        return found

    def watch(self, key: str, timeout: float | None = None, *, known: object = _NOW) -> Any:  # noqa: ANN401 - whatever was set
        """Wait until a key has another value, and return that; None where it was deleted.

        Args:
            key: that is watched.
            timeout: seconds; None: for ever.
            known: what the value was when you looked: so no change is missed between two looks. By default, any change
                that comes from now on is one.

        Raises:
            TimeoutError: it has not changed for so long.

        """
        deadline = math.inf if timeout is None else monotonic() + timeout
        version, value = self._read(key)
        while value == known or known is _NOW:
            try:
                version, packed = self._ask(Watch(key, version), timeout=max(0.0, deadline - monotonic()))
            except TimeoutError:
                raise TimeoutError(f"the value of `{key}` has not changed for {timeout} s") from None
            value = _unpacked(packed)
            if known is _NOW:
                break
        return value

    def _read(self, key: str) -> tuple[int, Any]:
        version, packed = self._ask(Read(_checked(key)))
        return version, _unpacked(packed)

    def _ask(
        self, question: Read | Write | Add | Keys | Watch, *, again: bool = True, timeout: float | None = None
    ) -> Any:  # noqa: ANN401 - as many shapes as questions
        arguments = msgspec.structs.asdict(question)
        return self._line.ask(_NAMES[type(question)], arguments, again=again, timeout=timeout)


def _checked(key: object) -> str:
    if not (isinstance(key, str) and 0 < len(key) <= _LONGEST_KEY):
        raise UserError(f"a key is a text of 1 to {_LONGEST_KEY} characters, not {key!r:.60}")
    return key


def _packed(key: str, value: object) -> Carried:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    packed = pack_value(value, None, what=f"the value of `{key}`")
    if len(packed) > LARGEST:
        size, most = format_bytes(len(packed)), format_bytes(LARGEST)
        raise UserError(f"the value of `{key}` has {size}, at most {most} are possible: put it into a file")
    return packed


def _unpacked(value: Carried | None) -> Any:  # noqa: ANN401 - whatever was packed
    return unpack_value(value, None) if isinstance(value, bytes) else value
