"""What manager, agents and clients tell each other. Pure data, encoded as msgpack by a transport.

Messages of one connection are numbered and acknowledged by frames, so that a transport may
drop, repeat or reorder frames without harm (see :mod:`pilotfish.transport.link`).
"""

import math
from typing import Any

import msgspec

from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.jobs import JobSpec
from pilotfish.model.resources import Inventory, Slots
from pilotfish.model.states import Outcome

__all__ = [
    "Answer",
    "Ask",
    "Describe",
    "End",
    "Frame",
    "Hello",
    "Host",
    "Left",
    "Message",
    "Note",
    "Progressed",
    "Refusal",
    "Reports",
    "Start",
    "Started",
    "Stop",
    "TakeBack",
    "TakenBack",
    "Welcome",
]


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Agent to manager, first message of each connection: the whole truth about the node."""

    version: str
    """Of pilotfish; both sides must be equal."""
    node: str
    pid: int
    inventory: Inventory
    lanes: tuple[LaneState, ...]
    reports: tuple[Report, ...]
    """Of ended attempts that no manager has acknowledged."""
    leased: bool = False
    """Whether its tasks end by themselves when it has not heard the manager for the lease, whatever keeps it silent."""


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """Manager to agent, the answer to Hello."""

    epoch: int
    lease: float
    """Seconds that the agent goes on without a manager before it ends its tasks."""


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Manager to agent: the body of a job, once per connection and before its first Start."""

    job: int
    spec: JobSpec


class Start(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Manager to agent: run tasks `lo` … `hi`-1 in a lane after those that it has."""

    lane: int
    slots: Slots
    job: int
    lo: int
    hi: int
    number: int
    epoch: int
    calls: tuple[bytes, ...] = ()
    """Arguments of the calls, packed, where the job is a function."""
    beside: tuple[tuple[str, Slots], ...] = ()
    """Of an attempt on several nodes: the others, by name, and what it holds there."""


class Host(msgspec.Struct, frozen=True, tag=True):
    """Manager to agent: run this in a lane, as a part of an attempt that another node leads.

    It goes on until it is told to end, also when its first process has ended; its report counts for nothing.
    """

    lane: int
    slots: Slots
    attempt: AttemptId
    command: str
    """For the shell."""
    environment: tuple[bytes, ...]
    """``NAME=VALUE``, over what the node itself says."""


class TakeBack(msgspec.Struct, frozen=True, tag=True):
    """Manager to agent: give back those of these attempts that have not started."""

    lane: int
    attempts: tuple[AttemptId, ...]


class TakenBack(msgspec.Struct, frozen=True, tag=True):
    """Agent to manager: these attempts have not started and will not; sent even when there is none."""

    lane: int
    attempts: tuple[AttemptId, ...]


class End(msgspec.Struct, frozen=True, tag=True):
    """Manager to agent: end this attempt, started or not, and report it with `outcome`."""

    lane: int
    attempt: AttemptId
    outcome: Outcome
    hard: bool


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Manager to agent: there is no more work. End keepers, then yourself."""


class Left(msgspec.Struct, frozen=True, tag=True):
    """Agent to manager, its last message: nothing of its node runs any more, and it ends."""

    reason: str


class Started(msgspec.Struct, frozen=True, tag=True):
    """Agent to manager: an attempt has started; sent only for one that still runs after a moment."""

    attempt: AttemptId
    lane: int
    started_at: float
    pid: int


class Reports(msgspec.Struct, frozen=True, tag=True):
    """Agent to manager: attempts that ended. Kept by the agent until acknowledged."""

    reports: tuple[Report, ...]


class Note(msgspec.Struct, frozen=True, tag=True):
    """Agent to manager: something that a person should read, such as a full disk."""

    text: str


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """Task to manager: how far it has come."""

    job: int
    position: int
    fraction: float
    """From 0 to 1."""
    text: str
    """For people; may be empty."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Client or task to manager: a question or a wish, by name; ``manager/api`` and ``functions/line`` have them."""

    name: str
    arguments: dict[str, Any]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Manager to client: the value of an Ask."""

    value: Any


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Manager to client or agent: why not. Whoever gets it closes the connection."""

    reason: str
    exit_code: int = 1


Message = (
    Hello | Welcome | Describe | Start | Host | TakeBack | TakenBack | End | Stop
    | Left | Started | Reports | Note | Progressed | Ask | Answer | Refusal
)  # fmt: skip
"""All that may travel."""


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """What travels at once: messages with the number of the first, and what has been handled of the other side's."""

    first: int
    """Number of the first message; numbers rise by one, from 1, on each connection."""
    handled: int
    """All messages of the other side up to this number are handled and need not be kept."""
    messages: tuple[Message, ...]
    """Empty: a heartbeat."""
    sent: float = -math.inf
    """When it was made, on the sender's clock."""
    heard: float = -math.inf
    """The newest `sent` that had come from the other side by then."""
