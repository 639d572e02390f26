"""One try to run a task: its identity, where its output lies, how it ended."""

import msgspec

from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome

__all__ = ["AttemptId", "LaneState", "OutputRef", "Report"]


class AttemptId(msgspec.Struct, frozen=True, array_like=True):
    """Names one attempt for ever: a second manager's attempt of the same number has another epoch."""

    job: int
    position: int
    number: int
    """1 for the first try."""
    epoch: int
    """Of the manager that granted it."""


class OutputRef(msgspec.Struct, frozen=True, array_like=True):
    """Where the output of an attempt lies."""

    file: str
    """Relative to the campaign's ``outputs`` folder; absolute where the user named a path."""
    offset: int
    length: int
    """Bytes."""


class Report(msgspec.Struct, frozen=True, array_like=True):
    """How an attempt ended, witnessed by its keeper (or found missing by the agent)."""

    attempt: AttemptId
    lane: int
    outcome: Outcome
    code: int
    """Exit code for `exited`, signal number for `signalled`, else 0."""
    started_at: float
    """Seconds since 1970; 0 where it never started."""
    ended_at: float
    cpu_seconds: float
    """User and system time of all its processes."""
    peak_rss: int
    """Bytes of the largest of its processes."""
    stdout: OutputRef | None = None
    stderr: OutputRef | None = None
    reason: str = ""
    """For people, where the outcome alone does not say it."""
    result: bytes = b""
    """What a call returned, or raised where the code is 1; packed. Empty for commands, and where it did not end."""
    defer: float = 0.0
    """Of `deferred`: seconds after which it wants to run again."""

    @property
    def succeeded(self) -> bool:
        """True for an exit with code 0."""
        return self.outcome is Outcome.exited and self.code == 0


class LaneState(msgspec.Struct, frozen=True, array_like=True):
    """What a lane of a node holds when its agent introduces itself.

    A *lane* is a set of slots on one node that runs attempts of one request class one after
    another; the agent gives each open lane one keeper. Lanes are numbered 0, 1, … per node.
    """

    lane: int
    slots: Slots
    attempts: tuple[AttemptId, ...]
    """In their order; the first may be running."""
    started_at: float | None
    """When the first started, in seconds since 1970; None: it has not."""
