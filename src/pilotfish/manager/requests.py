"""What clients ask a manager that stays: jobs in, calls added to them, and to be told what becomes of these.

Each may be asked again where an answer was lost: a submission is known by its origin, a call by its place in its job,
and what has ended stays so.

What belongs here: these questions, and the shape of news. What must not: what carries them, how they are answered.
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec

from pilotfish.model.changes import Finish, Settle
from pilotfish.model.messages import Progressed

__all__ = [
    "CLIENT_QUESTIONS",
    "Abandon",
    "About",
    "ClientQuestion",
    "Enqueue",
    "Extend",
    "Farewell",
    "Follow",
    "News",
    "Repeat",
    "Tally",
    "Tidings",
    "Welcomed",
    "Whereabouts",
    "question_name",
]

_Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks who answers: a `Welcomed`."""


class Welcomed(msgspec.Struct, frozen=True):
    """Who answers."""

    version: str
    """Of pilotfish; both sides must be equal."""
    folder: str
    """Of its campaign: outputs lie there."""
    limits: dict[str, int]
    """The named ones of its queue."""


class Enqueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Wants jobs to enter together: their ids, in the order of `specs`."""

    origin: str
    """``CLIENT/NUMBER``; with an origin that the queue knows, nothing enters again."""
    specs: tuple[bytes, ...]
    """Packed; those that they come `after` are among them, else the newest of that name, or have that number."""
    depends_on: tuple[int, ...] = ()
    """Of one job: the ids of what it comes after, where they are known; none: they are looked up."""


class Repeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Wants a call to be enqueued again and again: the name of its job, and the first time, in seconds since 1970."""

    identity: str
    """What it is, in hexadecimal digits; what is repeated under it already is replaced."""
    spec: bytes
    """Of a job that calls are added to; packed. It gets another name where its own is in use."""
    call: bytes
    """Packed by `wire.join_call`."""
    schedule: str
    """At which times: cron's five fields."""


class Extend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wants calls to be added to a job; those that it has already are not added again."""

    job: int
    lo: _Place
    """The place of the first in its job."""
    calls: tuple[bytes, ...]
    """Packed by `wire.join_call`."""


class Abandon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wants tasks of a job to be cancelled."""

    job: int
    lo: _Place
    hi: _Place


class Follow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wants to be told, on this connection, of all ends in a client's jobs from now on."""

    client: str
    missing: tuple[tuple[int, _Place, _Place], ...]
    """Spans of tasks that may have ended before, as job, `lo` and `hi`: of these too."""


class News(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks what has happened since it was asked last; the answer, packed `Tidings`, comes when something has.

    None: this connection follows nobody, or has been too slow to read; `Follow` first.
    """


class Tidings(msgspec.Struct, frozen=True):
    """What has happened, and is recorded. An end may be told twice."""

    settles: tuple[Settle, ...] = ()
    finishes: tuple[Finish, ...] = ()
    progress: tuple[Progressed, ...] = ()


class Whereabouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the state of a task by name, and why it is in it."""

    job: int
    position: _Place


class Tally(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks how many tasks of a client's jobs are in each state that there is, by the state's name."""

    client: str


class Farewell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Says that a client will not come back: its large values can go when its jobs have ended."""

    client: str


ClientQuestion: TypeAlias = About | Enqueue | Repeat | Extend | Abandon | Follow | News | Whereabouts | Tally | Farewell
"""What may be asked."""
CLIENT_QUESTIONS: Mapping[str, type[ClientQuestion]] = {
    f"client-{kind.__name__.lower()}": kind
    for kind in (About, Enqueue, Repeat, Extend, Abandon, Follow, News, Whereabouts, Tally, Farewell)
}
"""Every question by its name."""


def question_name(question: ClientQuestion) -> str:
    """By what a question is asked."""
    return f"client-{type(question).__name__.lower()}"
