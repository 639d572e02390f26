"""What is recorded: each change of the durable truth as one value.

The scheduler returns changes among its commands; the store commits them, several in one
transaction, and reads them back as one :class:`Snapshot`. Nothing else is ever written.
"""

import msgspec

from pilotfish.model.attempts import Report
from pilotfish.model.jobs import Job, Span
from pilotfish.model.resources import Slots
from pilotfish.model.states import TaskState

__all__ = [
    "Cancel",
    "Change",
    "Finish",
    "Forget",
    "Grant",
    "Grow",
    "Hold",
    "Kept",
    "Part",
    "Put",
    "Release",
    "Revive",
    "Settle",
    "Snapshot",
    "Submit",
    "Survey",
    "TaskRecord",
]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """Tasks of a job that count as succeeded because those of an earlier job with the same fingerprint did."""

    span: Span
    """Positions in the new job."""
    from_job: int
    from_lo: int
    """Position in the earlier job that `span.lo` stands for."""


class Submit(msgspec.Struct, frozen=True):
    """A job enters the queue."""

    job: Job
    kept: tuple[Kept, ...] = ()
    replaces: int | None = None
    """The earlier job of the same name that this one supersedes."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt on several nodes holds on one of them besides the first."""

    node: str
    lane: int
    slots: Slots


class Grant(msgspec.Struct, frozen=True):
    """Tasks `lo` … `hi`-1 of a job are given to a lane; each is attempt `number` of its task.

    A command too: once committed it is sent to the node. `slots` is what the lane holds.
    """

    node: str
    lane: int
    slots: Slots
    job: int
    lo: int
    hi: int
    number: int
    epoch: int
    beside: tuple[Part, ...] = ()
    """Of attempts on several nodes: the others."""


class Release(msgspec.Struct, frozen=True):
    """A grant, or part of one, is undone: these attempts never started and do not count."""

    job: int
    lo: int
    hi: int
    number: int
    epoch: int


class Grow(msgspec.Struct, frozen=True):
    """Calls of its function are added to a job: so many more tasks."""

    job: int
    lo: int
    """The position of the first of them: how many calls there were."""
    calls: tuple[bytes, ...]
    """Their arguments, packed."""


class Settle(msgspec.Struct, frozen=True):
    """An attempt has ended, and what that makes of its task."""

    report: Report
    node: str
    state: TaskState
    """Final, or `ready` for a task that runs again."""
    charged: bool
    """True where it uses up one of the task's tries."""


class Finish(msgspec.Struct, frozen=True):
    """Tasks end without an attempt: cancelled, skipped, or failed because they can never run."""

    job: int
    lo: int
    hi: int
    state: TaskState
    reason: str


class Revive(msgspec.Struct, frozen=True):
    """Failed, cancelled and skipped tasks in the span are wanted again, with fresh retries."""

    job: int
    lo: int
    hi: int


class Hold(msgspec.Struct, frozen=True):
    """Tasks are held, or held no longer: a flag beside their states. Held ones start no attempt."""

    job: int
    lo: int
    hi: int
    held: bool = True
    reason: str = ""


class Cancel(msgspec.Struct, frozen=True):
    """Tasks that are running are to end, and are cancelled then, whatever becomes of their attempts."""

    job: int
    lo: int
    hi: int
    reason: str


class Forget(msgspec.Struct, frozen=True):
    """A job is no longer part of its campaign; its record stays."""

    job: int


class Put(msgspec.Struct, frozen=True):
    """What tasks tell each other: the value of a key."""

    key: str
    value: int | float | bytes | None
    """A number, or what only tasks unpack; None: the key is there no more."""
    version: int
    """Higher than that of every earlier change."""


Change = Submit | Grow | Grant | Release | Settle | Finish | Revive | Hold | Cancel | Forget | Put
"""Whatever a store can be asked to remember."""


class TaskRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of one task that has had an attempt."""

    job: int
    position: int
    state: TaskState
    """What its newest attempt made of it: final, or `ready`."""
    number: int
    """Of its newest attempt."""
    tries: int
    """Charged attempts since it was submitted or revived."""
    losses: int
    """Attempts since then whose end nobody witnessed."""
    shortages: int = 0
    """Charged attempts since then that ran out of memory."""
    preemptions: int = 0
    """Attempts that the end of an allocation has ended, ever."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that a new manager must know of the current jobs; forgotten ones are left out."""

    submits: tuple[Submit, ...]
    """By ascending job id; of jobs that have grown, with all their calls."""
    tasks: tuple[TaskRecord, ...]
    finishes: tuple[Finish, ...]
    grants: tuple[Grant, ...]
    """Open ones: neither settled nor released; split so that every position in them is open."""
    holds: tuple[Hold, ...] = ()
    """What is held now."""
    cancels: tuple[Cancel, ...] = ()
    """Of tasks that have not ended."""
    durations: dict[int, tuple[float, ...]] = {}
    """By job, how long some attempts took that succeeded, its predecessors' of the same name too; seconds.

    Of jobs with many tasks, and those that replaced another."""
    nodes: dict[int, dict[int, str]] = {}
    """By job and position, where tasks ran last that other ones follow there (`same_node`)."""
    values: tuple[Put, ...] = ()
    """What tasks have told each other, by key: of each that is there, its newest value."""


class Survey(msgspec.Struct, frozen=True):
    """What a look at tasks needs: their states alone, where a snapshot knows how they came about."""

    states: dict[int, list[tuple[TaskState, list[int]]]]
    """By job: what attempts made of tasks, final or `ready`, with their positions; of two for one the later holds."""
    finishes: tuple[Finish, ...]
    grants: tuple[Grant, ...]
    """Open ones, split so that every position in them is open."""
    holds: tuple[Hold, ...] = ()
    """What is held now."""
