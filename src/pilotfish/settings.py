"""Every number that is a choice, with its unit, its reason and its environment variable.

``PILOTFISH_LEASE=5`` overrides `lease`, and so on. What belongs here: choices. What must not: logic.
"""

import os

import msgspec

from pilotfish.errors import UserError

__all__ = ["Settings"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Choices of one process; all durations in seconds."""

    lease: float = 60.0
    """How long an agent goes on without a manager, keeping its reports, before it ends its tasks."""
    heartbeat: float = 2.0
    """Silence after which each side of a connection says that it lives."""
    misses: int = 3
    """Heartbeats that may stay away before a node counts as silent and gets nothing new."""
    resend_after: float = 5.0
    """A message that was not acknowledged for so long is sent again. Agents acknowledge at the next heartbeat."""
    grace: float = 10.0
    """Between TERM and KILL."""
    queue_seconds: float = 0.05
    """Work that waits in a lane behind the running task; hides the round trip to the manager."""
    queue_limit: int = 64
    """Attempts that may wait in one lane."""
    crash_limit: int = 5
    """Attempts of a task, alone on its node, whose end nobody witnessed; after so many it has failed."""
    drain: float = 60.0
    """Before the end of a node's allocation: attempts of which nobody knows how long they take start no more."""
    started_after: float = 0.2
    """An attempt that still runs after so long is announced as started; shorter ones only end."""

    @classmethod
    def from_environment(cls) -> "Settings":
        """The defaults, overridden by ``PILOTFISH_<NAME>``. Raises UserError naming variable and value."""
        found = {}
        for field in msgspec.structs.fields(cls):
            text = os.environ.get(f"PILOTFISH_{field.name.upper()}")
            if text is not None:
                found[field.name] = text
        try:
            return msgspec.convert(found, cls, strict=False)
        except msgspec.ValidationError as error:
            msg = f"environment variable PILOTFISH_…: {error}"
            raise UserError(msg) from error
