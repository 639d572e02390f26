"""What tasks and sessions ask their manager about the values that they share, and what carries it.

A value is a number, which the manager can add to, or the bytes of what only tasks and sessions pack and unpack. Its
version is higher than that of all earlier changes; what is not there has version 0.

What belongs here: these questions, the Protocol of what carries them. What must not: how it does, answers.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from pilotfish.model.messages import Progressed

__all__ = ["LARGEST", "VALUE_QUESTIONS", "Add", "Carried", "Keys", "Line", "Read", "Watch", "Write"]

Carried: TypeAlias = int | float | bytes
"""As it travels."""

LARGEST = 2**20
"""Bytes of one value: all of them stay in the manager's memory. Larger things belong into files."""


class Line(Protocol):
    """From a task, or a session, to its manager."""

    def ask(self, name: str, arguments: dict[str, Any], *, again: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401 - as many shapes as questions
        """The answer to a question; `again`: it may be asked twice; `timeout`: seconds, None: it comes at once."""

    def tell(self, message: Progressed) -> None:
        """Tell the manager something if it is there, else do not."""


class Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a value: version and value; None where there is none."""

    key: str


class Write(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wants a value to be set, or with None removed: whether it was."""

    key: str
    value: Carried | None
    expected: int | None = None
    """Only if this is its version; None: whatever it is."""


class Add(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wants a number to be added to what is there, or to 0: the sum."""

    key: str
    by: int | float


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks which keys begin so, in their order."""

    prefix: str


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks as `Read` does; the answer comes when the version is another one. Who waits no longer hangs up."""

    key: str
    version: int


VALUE_QUESTIONS: Mapping[str, type[Read | Write | Add | Keys | Watch]] = {
    "value-add": Add,
    "value-keys": Keys,
    "value-read": Read,
    "value-watch": Watch,
    "value-write": Write,
}
"""Every question by its name."""
