"""What a job of a class and its manager tell each other: calls that enter the queue, and what became of them.

What a trial enqueues enters as a whole, together with the record that the trial was there: so nothing of it is lost, or
enters twice, whatever is killed, and whenever.

What belongs here: these questions and the shapes of their answers. What must not: what carries them, how they are
answered.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

__all__ = ["FAMILY_QUESTIONS", "Enter", "FamilyQuestion", "Fate", "Fates", "Life", "Member", "Trials"]

Member: TypeAlias = tuple[int, int]
"""A job's id, and a position in it."""


class Enter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Wants calls to be added to the queue: their names.

    Of a task it is the end of a trial; asking for that again changes nothing, and names none.
    """

    specs: tuple[bytes, ...]
    """The jobs that the calls belong to, packed; what is not there yet is submitted."""
    calls: tuple[tuple[int, bytes], ...]
    """Each with the place of its job in `specs`; packed by `wire.join_call`."""
    parent: Member | None = None
    """The task whose children they are; None: nobody's."""
    trial: Member = (0, 0)
    """Of the parent: its deferrals and its failures before, as `Life` tells them."""
    deferred: bool = False
    """The trial ends by a deferral."""
    began: float = 0.0
    """When the trial did, in seconds since 1970."""


class Trials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the past of a task, a `Life`."""

    task: Member


class Life(msgspec.Struct, frozen=True):
    """The trials of a task before this one, and its children."""

    deferrals: int
    failures: int
    """Since it was submitted, or was wanted again."""
    first: float
    """When its first trial began, in seconds since 1970; 0: this is the first."""
    children: dict[str, int]
    """How many are in each state that there is, by the state's name."""


class Fates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks what became of the children of a task, in the order in which they were enqueued: an `Fate` of each."""

    task: Member


class Fate(msgspec.Struct, frozen=True, array_like=True):
    """What became of a child."""

    name: str
    state: str
    reason: str
    """Why it has not succeeded, for people."""
    result: bytes
    """What it returned; packed."""


FamilyQuestion: TypeAlias = Enter | Trials | Fates
"""What may be asked."""
FAMILY_QUESTIONS: Mapping[str, type[FamilyQuestion]] = {"calls-enter": Enter, "trials": Trials, "children-ends": Fates}
"""Every question by its name."""
