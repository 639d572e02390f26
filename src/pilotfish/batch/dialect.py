"""What every batch system can be asked, and the values that go in and come out.

A dialect turns what we want into a `Errand`, and the `Output` of that call into an answer. It runs nothing (`commands`
does) and remembers nothing (`allocations` does). Three kinds of answer are never mixed up: the system did it; the
system refused, and asking the same again is refused again; the system is *away*, and asking later may well work.

What belongs here: the Protocol, its values, words that several dialects share. What must not: one system's own words.
"""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from pilotfish.errors import UserError

__all__ = [
    "AllocationRequest",
    "Away",
    "Dialect",
    "Errand",
    "Output",
    "Refused",
    "Seen",
    "State",
    "Submission",
    "Taken",
    "Unrehearsed",
    "clock",
    "epoch",
    "mebibytes",
    "needs_cores",
    "refused",
    "said",
    "script",
    "unanswered",
]


class AllocationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An allocation to ask for. What is None is not said, so that the system's own default holds."""

    argv: tuple[str, ...]
    """What runs once on the first node (HTCondor: on each); the allocation ends when it does."""
    name: str
    """Of this allocation alone, so that one whose submission was not answered can be found; at most 15 characters."""
    folder: str
    """Where it runs; absolute."""
    log: str
    """Absolute path of what it prints; its folder exists."""
    seconds: float
    """After which the system ends it."""
    nodes: int = 1
    cores: int | None = None
    """On each node. None: whole nodes, as far as the system knows such a thing."""
    memory: int | None = None
    """Bytes on each node; None: with whole nodes all of it, else the system's default."""
    gpus: int = 0
    """On each node."""
    queue: str | None = None
    """The partition or queue."""
    pe: str | None = None
    """Grid Engine's parallel environment, whose rule spreads the cores of all nodes."""
    account: str | None = None
    after: str | None = None
    """Id of an allocation that must have ended, however it did, before this one starts."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that `argv` must find; nothing else is promised to travel."""
    options: tuple[str, ...] = ()
    """More words for the submit command, as the user gave them; they win over ours."""


class Errand(msgspec.Struct, frozen=True):
    """A command of a batch system to run."""

    argv: tuple[str, ...]
    stdin: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    """Set on top of our own."""
    hidden: str | None = None
    """A regular expression: variables of our own whose whole names match it are left out."""


class Output(msgspec.Struct, frozen=True):
    """What a command came to."""

    code: int | None
    """Its exit status, negative for a signal; None: it ran for too long and was ended."""
    out: str = ""
    err: str = ""


class Taken(msgspec.Struct, frozen=True):
    """The system has taken it."""

    id: str
    """As its own commands take it."""


class Refused(msgspec.Struct, frozen=True):
    """The system said no."""

    why: str
    """In its own words."""
    full: bool = False
    """True where it would have taken this, but has as much of ours as it takes: ask again when something has ended."""


class Away(msgspec.Struct, frozen=True):
    """The system could not be asked. Nothing follows about what it has."""

    why: str
    maybe: bool = False
    """True where the answer got lost, not the question: what was asked may have been done."""


Submission: TypeAlias = Taken | Refused | Away
"""What becomes of asking for an allocation."""


class State(StrEnum):
    """How far an allocation is."""

    ASKED = "asked"
    """The system has not answered yet."""
    QUEUED = "queued"
    HELD = "held"
    """Starts when somebody releases it."""
    STUCK = "stuck"
    """In the queue, but as it was asked for it can never start: take it back."""
    RUNNING = "running"
    ENDED = "ended"
    """It was given and is over: by itself, cancelled, or out of time."""
    FAILED = "failed"
    """The system could not start it, or a node broke."""
    GONE = "gone"
    """The system does not know it (any more)."""
    REFUSED = "refused"

    @property
    def final(self) -> bool:
        """True where nothing can follow, and nothing is left to cancel."""
        return self in {State.ENDED, State.FAILED, State.GONE, State.REFUSED}


class Seen(msgspec.Struct, frozen=True):
    """What the system tells of one allocation. Times in seconds since 1970, None where it does not tell."""

    state: State
    reason: str = ""
    """Why it waits or ended, in the system's words."""
    nodes: str = ""
    """Where it runs or ran, in the system's own notation."""
    starts_at: float | None = None
    """When it started, or is expected to."""
    ends_at: float | None = None
    """When it ended, or is going to be ended."""


class Dialect(Protocol):
    """One batch system. Every question has a function that makes its call, and one that reads the call's output."""

    @property
    def name(self) -> str:
        """As users write it: ``slurm``."""

    @property
    def chains(self) -> bool:
        """Whether it knows :attr:`AllocationRequest.after`."""

    def submit(self, wanted: AllocationRequest) -> Errand:
        """Ask for an allocation. Raises UserError where the system has no word for what is wanted."""

    def submitted(self, output: Output) -> Submission:
        """What became of it."""

    def rehearse(self, wanted: AllocationRequest) -> Errand | None:
        """Ask whether and when it would start, without asking for it; None: the system cannot tell."""

    def rehearsed(self, output: Output) -> str | Refused | Away:
        """What it told, for people."""

    def look(self, ids: Sequence[str]) -> Errand:
        """Ask about all of them at once."""

    def seen(self, ids: Sequence[str], output: Output) -> Mapping[str, Seen] | Away:
        """What it told of each; those that it does not know are `State.GONE`."""

    def find(self, name: str) -> Errand:
        """Ask for the id of an allocation of ours with this name, whatever became of it."""

    def found(self, name: str, output: Output) -> Taken | Away | None:
        """That id; None: there is none of this name."""

    def cancel(self, ids: Sequence[str]) -> Errand:
        """End them, queued or running; those that have ended are no error."""

    def cancelled(self, output: Output) -> Away | None:
        """Whether the system could be told. What became of them, the next look tells."""


class Unrehearsed:
    """Of a dialect whose system cannot tell whether something would start."""

    def rehearse(self, wanted: AllocationRequest) -> Errand | None:  # noqa: ARG002
        """It has no such question."""
        return None

    def rehearsed(self, output: Output) -> str | Refused | Away:
        """Never asked."""
        return said(output)


def script(wanted: AllocationRequest, *before: str) -> str:
    """A shell script that becomes `argv`, so that signals for the script reach it; `before` are lines at its top."""
    exports = [f"export {name}={shlex.quote(text)}" for name, text in wanted.environment]
    return "\n".join(["#!/bin/sh", *before, *exports, f"exec {shlex.join(wanted.argv)}", ""])


def needs_cores(wanted: AllocationRequest, system: str) -> int:
    """Cores on each node, for systems that have no word for all of them. Raises UserError where that is not told."""
    if wanted.cores is None:
        msg = f"{system} cannot ask for whole nodes: say how many cores to ask for on each, such as --cores 64"
        raise UserError(msg)
    return wanted.cores


def epoch(text: str, form: str) -> float | None:
    """Seconds since 1970 from a date that a command with `UTC` wrote; None where it is none."""
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as every system reads them; a started second counts."""
    whole = math.ceil(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def mebibytes(size: int) -> int:
    """Bytes in the unit that every system knows; a started one counts."""
    return -(-size // 2**20)


def said(output: Output, prefix: str = "") -> str:
    """The words of a failed command, on one line, without the name of the command before each of its lines."""
    lines = [re.sub(prefix, "", line).strip() for line in (output.err.strip() or output.out.strip()).splitlines()]
    words = "; ".join(dict.fromkeys(filter(None, lines)))
    return words or f"the command ended with exit status {output.code} and said nothing"


def refused(output: Output, prefix: str, full: re.Pattern[str]) -> Refused:
    """A refused submission; `full` is what the words look like where there is as much of ours as may be."""
    why = said(output, prefix)
    return Refused(why, full=full.search(why) is not None)


def unanswered(output: Output, signs: re.Pattern[str], lost: re.Pattern[str] | None = None) -> Away | None:
    """Away, where a command took too long or its words have one of the signs of that.

    Args:
        output: of the command.
        signs: what a system that is away looks like.
        lost: of those signs, what leaves open whether the question arrived.

    """
    if output.code is None:
        return Away("it did not answer in time", maybe=True)
    words = f"{output.err}\n{output.out}"
    if output.code and signs.search(words):
        return Away(said(output), maybe=lost is not None and lost.search(words) is not None)
    return None
