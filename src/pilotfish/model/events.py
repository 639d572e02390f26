"""What the scheduler is told (events) and what it answers (commands).

The durable commands are the changes of :mod:`pilotfish.model.changes`; those that only act stand here.
"""

from typing import Self

import msgspec

from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.changes import Cancel, Finish, Grant, Grow, Hold, Release, Revive, Settle, Snapshot, Submit
from pilotfish.model.resources import Inventory, Request
from pilotfish.model.states import Outcome

__all__ = [
    "Backlog",
    "Cancelled",
    "CloseLane",
    "Command",
    "Draining",
    "Ended",
    "Event",
    "Expected",
    "Explanation",
    "Grown",
    "Held",
    "Hosted",
    "Kill",
    "Limited",
    "NodeBack",
    "NodeJoined",
    "NodeLost",
    "NodeSilent",
    "Restored",
    "Retract",
    "Returned",
    "Revived",
    "Submitted",
    "Unstarted",
    "WakeAt",
    "Woken",
]


class Restored(msgspec.Struct, frozen=True):
    """The first event of a manager that opened a store with content."""

    snapshot: Snapshot


class Submitted(msgspec.Struct, frozen=True):
    """Jobs enter together; those that they depend on came before or come with them, in any order."""

    submits: tuple[Submit, ...]
    nodes: dict[int, dict[int, str]] = {}
    """By job and position, where tasks ran before this that tasks of these jobs follow there (`same_node`)."""


class Grown(msgspec.Struct, frozen=True):
    """Calls of its function are added to a job."""

    job: int
    calls: tuple[bytes, ...]
    """Their arguments, packed."""


class Revived(msgspec.Struct, frozen=True):
    """The user asks for tasks again; those not failed, cancelled or skipped are left alone."""

    job: int
    lo: int
    hi: int


class Cancelled(msgspec.Struct, frozen=True):
    """The user gives up tasks: waiting ones end at once, running ones are told to."""

    job: int
    lo: int
    hi: int
    reason: str = "cancelled by the user"


class Held(msgspec.Struct, frozen=True):
    """The user holds tasks back, or lets them go: those that run go on, and what has ended is left alone."""

    job: int
    lo: int
    hi: int
    held: bool = True
    reason: str = "held by the user"


class Limited(msgspec.Struct, frozen=True):
    """The named limits of the whole queue, in the place of earlier ones."""

    limits: dict[str, int]


class Expected(msgspec.Struct, frozen=True):
    """How many nodes there will be together at most, those included that are here; one, before anything is said.

    A request that those which are here could not hold waits while more of them may come.
    """

    nodes: int | None
    """None: nobody can tell, some may always come."""


class NodeJoined(msgspec.Struct, frozen=True):
    """An agent introduces itself, for the first time or again, and tells all that it holds.

    What was granted to the node and is not in `lanes` never started there and goes back;
    what is in `lanes` and not granted is told to end. Reports of ended attempts come before this event.
    """

    node: str
    inventory: Inventory
    lanes: tuple[LaneState, ...] = ()


class NodeLost(msgspec.Struct, frozen=True):
    """The node is proven dead, its lease has expired, or it has left: its attempts are lost."""

    node: str
    reason: str
    told: bool = False
    """It has told the end of all that it had started before it left: its other attempts never began."""


class NodeSilent(msgspec.Struct, frozen=True):
    """Nothing is heard of a node: it goes on, as far as we know, and gets nothing new.

    It ends with :class:`NodeBack`, with the node's introducing itself anew, or with :class:`NodeLost`.
    """

    node: str


class NodeBack(msgspec.Struct, frozen=True):
    """A silent node is heard again, over the same connection. What it reports comes after this event."""

    node: str


class Ended(msgspec.Struct, frozen=True):
    """Attempts ended on a node, in the order in which their lanes ran them."""

    node: str
    reports: tuple[Report, ...]


class Hosted(msgspec.Struct, frozen=True):
    """A node is about to run something for an attempt on several nodes that another one leads.

    It is over when the node reports that attempt, takes it back, or introduces itself without it.
    """

    attempt: AttemptId
    node: str


class Returned(msgspec.Struct, frozen=True):
    """The answer to a retraction: these attempts had not started and will not."""

    node: str
    lane: int
    attempts: tuple[AttemptId, ...]


class Draining(msgspec.Struct, frozen=True):
    """Start nothing any more and take back what has not started; with `kill`, end what runs as interrupted."""

    kill: bool = False
    hard: bool = False
    """With `kill`: KILL at once instead of TERM and grace."""


class Woken(msgspec.Struct, frozen=True):
    """The time of an earlier :class:`WakeAt` has come."""


Event = (
    Restored | Submitted | Grown | Revived | Cancelled | Held | Limited
    | Expected | NodeJoined | NodeLost | NodeSilent | NodeBack | Ended | Hosted | Returned | Draining | Woken
)  # fmt: skip
"""All that the scheduler can be told."""


class Retract(msgspec.Struct, frozen=True):
    """Ask a node for attempts back that wait in a lane; started ones stay."""

    node: str
    lane: int
    attempts: tuple[AttemptId, ...]


class Kill(msgspec.Struct, frozen=True):
    """Tell a node to end an attempt, running or waiting; it will be reported with `outcome`."""

    node: str
    lane: int
    attempt: AttemptId
    outcome: Outcome
    hard: bool = False
    """KILL at once instead of TERM and grace."""


class CloseLane(msgspec.Struct, frozen=True):
    """A lane holds nothing any more; its slots are free for another."""

    node: str
    lane: int


class WakeAt(msgspec.Struct, frozen=True):
    """Send :class:`Woken` at this time (the scheduler's clock); a later one replaces it, none cancels it."""

    time: float


Command = Grow | Grant | Release | Settle | Finish | Revive | Hold | Cancel | Retract | Kill | CloseLane | WakeAt
"""All that the scheduler can answer."""


class Unstarted(msgspec.Struct, frozen=True):
    """Unfinished tasks of one job that ask for the same."""

    requests: tuple[Request, ...]
    """The variants of what one asks for, best first."""
    ready: int
    """Nothing but room keeps them from running."""
    later: int
    """Wait for others to end, for their time, or for a limit."""
    seconds: float | None
    """How long one probably takes at most; None: nobody knows."""
    path: float | None
    """The longest chain of one and those that depend on it, in seconds; None: nobody knows."""


class Backlog(msgspec.Struct, frozen=True):
    """What is still to be done."""

    work: tuple[Unstarted, ...]
    busy: dict[str, int]
    """How many attempts each node holds."""


class Explanation(msgspec.Struct, frozen=True):
    """Why a task is where it is."""

    reason: str
    """One line for people, without a full stop."""
    starts_at: float | None = None
    """When it will probably start, on the scheduler's clock; None: nobody can tell."""

    @classmethod
    def of_hold(cls, name: str, reason: str) -> Self:
        """Why a task of the job `name` is held back, and the way out."""
        return cls(f"is held: {reason}; `pilotfish release {name}` lets it go")
