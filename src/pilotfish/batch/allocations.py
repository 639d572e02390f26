"""The book of the allocations that we asked for: what became of each, and which question is due when.

It is told what happened and when, and answers what is to be done (`Allocations.due`); it runs nothing. A `Pilot` is in
the book before the command that asks for it leaves, and whatever changes comes out of `Allocations.changed` to be kept,
so that after any crash nothing that could still be cancelled is unknown.

What belongs here: this book. What must not: I/O, clocks, deciding that an allocation is wanted (`auto`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from pilotfish.batch.dialect import AllocationRequest, Away, Refused, Seen, State, Submission, Taken

__all__ = ["Action", "Allocations", "Find", "Inspect", "Pilot", "Revoke"]

_QUICK = 10.0
"""The fewest seconds between two questions. Batch systems have been hung by those who ask more often."""
_SLOW = 60.0
"""Seconds between two looks while all is as it should be: of what runs, its agents tell."""
_PATIENCE = 0.05
"""What has been awaited for so long is looked at after another 1/20 of that, within the two above."""
_LONGEST_BACK_OFF = 600.0
_TIME_TO_APPEAR = 60.0
"""Seconds after asking in which a system that knows nothing of an allocation may just not have got round to it."""
_TIME_TO_JOIN = 300.0
"""Seconds that agents have to start on an allocation's nodes and to reach us: a slow file system, many nodes."""


class Pilot(msgspec.Struct, frozen=True, kw_only=True):
    """One allocation that we asked for. Times in seconds since 1970."""

    key: int
    """Ours: 1, 2, …"""
    wanted: AllocationRequest
    asked_at: float
    id: str = ""
    """The system's; empty until it is known."""
    state: State = State.ASKED
    reason: str = ""
    """Why it waits, was refused, or ended."""
    temporary: bool = False
    """It was refused because of nothing that it asked for: later the same may be taken."""
    nodes: str = ""
    """Where it is, in the system's notation."""
    starts_at: float | None = None
    """When it started, or is expected to."""
    ends_at: float | None = None
    """When it ended, or is going to be ended."""
    failed_at: float | None = None
    """When we learned that it comes to nothing: refused, stuck, silent, or over before any agent had joined."""
    failure: str = ""
    """That, for people, with the place where to look; empty: it has not failed."""
    agents: tuple[str, ...] = ()
    """Nodes whose agents are with us; ascending."""
    joined: int = 0
    """The most agents that ever were, at the same time."""
    used: bool = False
    """Whether any of them ever had a task."""
    cancelled: bool = False
    """Whether we want it to end."""

    @property
    def complete(self) -> bool:
        """Whether an agent of each of its nodes is with us."""
        return len(self.agents) >= self.wanted.nodes

    def awaited(self, now: float) -> int:
        """How many of its nodes are still to come: they start one after the other."""
        late = self.state is State.RUNNING and self.starts_at is not None and now >= self.starts_at + _TIME_TO_JOIN
        return 0 if late else max(0, self.wanted.nodes - self.joined)


class Inspect(msgspec.Struct, frozen=True):
    """Ask the system about these, then call `Allocations.looked`."""

    ids: tuple[str, ...]


class Find(msgspec.Struct, frozen=True):
    """Ask the system whether it has the one whose submission was not answered, then call `Allocations.found`."""

    key: int
    name: str


class Revoke(msgspec.Struct, frozen=True):
    """Have these ended, then call `Allocations.told_to_end`."""

    ids: tuple[str, ...]


Action: TypeAlias = Inspect | Find | Revoke
"""What is to be done for the book."""


class Allocations:
    """The allocations of one batch system that we asked for."""

    def __init__(self, pilots: Iterable[Pilot] = ()) -> None:
        """Go on from what an earlier book had kept."""
        self._pilots = {pilot.key: pilot for pilot in pilots}
        self._changed: set[int] = set()
        self._lost = {pilot.key for pilot in self.living if not pilot.id}
        """Those whose submission will not be answered any more."""
        self._open = False
        """Whether an action is on its way."""
        self._looked_at = -math.inf
        self._not_before = -math.inf
        self._cancel_at: dict[int, float] = {}
        """By key, when one that the system was told to end is to be ended once more."""
        self._failures = 0
        self.away: str | None = None
        """Why the system could not be asked the last time; None: it answered."""

    def __iter__(self) -> Iterator[Pilot]:
        """All of them, the first that was asked for first."""
        return iter(tuple(self._pilots.values()))

    def __getitem__(self, key: int) -> Pilot:
        """One of them as it is now."""
        return self._pilots[key]

    @property
    def living(self) -> list[Pilot]:
        """Those that are not over."""
        return [pilot for pilot in self if not pilot.state.final]

    @property
    def staying(self) -> list[Pilot]:
        """Those of them that nobody wants to end."""
        return [pilot for pilot in self.living if not pilot.cancelled]

    @property
    def unrevoked(self) -> list[Pilot]:
        """Those that are to end, and whose system has not been told so yet."""
        return [pilot for pilot in self.living if pilot.cancelled and pilot.key not in self._cancel_at]

    @property
    def next_key(self) -> int:
        """That of the next one, so that its name can tell it."""
        return max(self._pilots, default=0) + 1

    def changed(self) -> list[Pilot]:
        """Those that have changed since the last call, to be kept."""
        keys, self._changed = sorted(self._changed), set()
        return [self._pilots[key] for key in keys]

    def by_id(self, native: str) -> Pilot | None:
        """The newest with this id of the system's."""
        return next((pilot for pilot in reversed(tuple(self)) if pilot.id == native), None)

    # what happens

    def ask(self, wanted: AllocationRequest, now: float) -> Pilot:
        """One is going to be asked for: keep it, then run the command, then call `answered`."""
        key = self.next_key
        self._pilots[key] = Pilot(key=key, wanted=wanted, asked_at=now)
        self._changed.add(key)
        return self._pilots[key]

    def answered(self, key: int, submission: Submission, now: float) -> None:
        """Its submission came to this."""
        match submission:
            case Taken(native):
                self._answers()
                self._change(key, id=native, state=State.QUEUED)
            case Refused(why, full):
                self._answers()
                self._refuse(key, why, now, temporary=full)
            case Away(why, True):
                self._goes_away(why, now)
                self._lost.add(key)
                self._change(key, reason=why)
            case Away(why):
                self._goes_away(why, now)
                self._refuse(key, why, now, temporary=True)

    def found(self, key: int, found: Taken | Away | None, now: float) -> None:
        """A `Find` came to this."""
        self._open = False
        if isinstance(found, Away):
            self._goes_away(found.why, now)
            return
        self._answers()
        self._not_before = now + _QUICK
        if found is not None:
            self._lost.discard(key)
            self._change(key, id=found.id, state=State.QUEUED, reason="")
        elif now >= self[key].asked_at + _TIME_TO_APPEAR:
            self._lost.discard(key)
            self._refuse(key, f"it did not arrive ({self[key].reason})", now, temporary=True)

    def looked(self, seen: Mapping[str, Seen] | Away, now: float) -> None:
        """A `Inspect` came to this."""
        self._open = False
        if isinstance(seen, Away):
            self._goes_away(seen.why, now)
            return
        self._answers()
        self._looked_at = now
        for pilot in self.living:
            if pilot.id in seen:
                self._see(pilot, seen[pilot.id], now)

    def joined(self, key: int, node: str, now: float, native: str = "") -> None:
        """An agent on one of its nodes is with us: the best proof that it runs, whatever the system said."""
        pilot = self[key]
        starts_at = pilot.starts_at if pilot.state is State.RUNNING and pilot.starts_at is not None else now
        agents = tuple(sorted({*pilot.agents, node}))
        self._lost.discard(key)
        self._change(
            key,
            id=pilot.id or native,
            state=State.RUNNING,
            reason="",
            starts_at=starts_at,
            ends_at=pilot.ends_at if pilot.state is State.RUNNING else starts_at + pilot.wanted.seconds,
            failed_at=None,
            failure="",
            agents=agents,
            joined=max(pilot.joined, len(agents)),
        )

    def left(self, key: int, node: str) -> None:
        """The agent on that node is not with us any more."""
        self._change(key, agents=tuple(name for name in self[key].agents if name != node))

    def use(self, key: int) -> None:
        """An agent of it has a task."""
        self._change(key, used=True)

    def fail(self, key: int, failure: str, now: float) -> None:
        """It comes to nothing, for the first reason that is told."""
        if not self[key].failure and not self[key].cancelled:
            self._change(key, failed_at=now, failure=failure)

    def cancel(self, key: int) -> None:
        """Somebody wants it to end; it is asked for until it has."""
        if not self[key].state.final:
            self._change(key, cancelled=True)
            self._cancel_at.pop(key, None)

    def told_to_end(self, ids: Iterable[str], away: Away | None, now: float) -> None:
        """A `Revoke` was sent, or could not be."""
        self._open = False
        if away is not None:
            self._goes_away(away.why, now)
            return
        self._answers()
        told = set(ids)
        self._cancel_at |= {pilot.key: now + _SLOW for pilot in self.living if pilot.cancelled and pilot.id in told}

    # what is due

    def due(self, now: float) -> Action | None:
        """What is to be done now, one thing at a time; None: nothing before `next_at`, or before that is done."""
        if now < self.next_at:
            return None
        self._open = True
        ending = [pilot.id for pilot in self.living if self._cancel_time(pilot) <= now]
        if ending:
            return Revoke(tuple(ending))
        if self._lost:
            key = min(self._lost)
            return Find(key, self[key].wanted.name)
        return Inspect(tuple(pilot.id for pilot in self.living if pilot.id))

    @property
    def next_at(self) -> float:
        """When `due` has something to do; infinite: only after something has happened."""
        if self._open:
            return math.inf
        times = [min(self._cancel_time(pilot), self._look_time(pilot)) for pilot in self.living]
        return max(self._not_before, min([*times, -math.inf] if self._lost else times, default=math.inf))

    def _cancel_time(self, pilot: Pilot) -> float:
        """At once, for one that the system was not told of by us."""
        return self._cancel_at.get(pilot.key, -math.inf) if pilot.cancelled and pilot.id else math.inf

    def _look_time(self, pilot: Pilot) -> float:
        if not pilot.id:
            return math.inf
        last = max(self._looked_at, pilot.asked_at)
        settled = pilot.state in {State.HELD, State.STUCK} or (pilot.state is State.RUNNING and pilot.complete)
        if settled and not pilot.cancelled:
            return last + _SLOW
        awaited = last - (pilot.asked_at if pilot.state is not State.RUNNING else pilot.starts_at or last)
        return last + min(max(_QUICK, _PATIENCE * awaited), _SLOW)

    # how the book is kept

    def _see(self, pilot: Pilot, seen: Seen, now: float) -> None:
        if seen.state is State.GONE and (pilot.agents or now < pilot.asked_at + _TIME_TO_APPEAR):
            return
        starts_at, ends_at = seen.starts_at, seen.ends_at
        if seen.state.final:
            starts_at = pilot.starts_at if starts_at is None else starts_at
            ends_at = min(now, now if pilot.ends_at is None else pilot.ends_at) if ends_at is None else ends_at
        elif seen.state is State.RUNNING:
            known = pilot.starts_at if pilot.state is State.RUNNING else None
            starts_at = (now if known is None else known) if starts_at is None else starts_at
            ends_at = starts_at + pilot.wanted.seconds if ends_at is None else ends_at
        self._change(
            pilot.key,
            state=seen.state,
            reason=seen.reason,
            nodes=seen.nodes or (pilot.nodes if seen.state.final else ""),
            starts_at=starts_at,
            ends_at=ends_at,
        )
        if failure := _failure(self[pilot.key], now):
            self.fail(pilot.key, failure, now)

    def _refuse(self, key: int, why: str, now: float, *, temporary: bool) -> None:
        self._change(key, state=State.REFUSED, reason=why, temporary=temporary)
        self.fail(key, f"allocation {self[key].wanted.name} was refused: {why}", now)

    def _change(self, key: int, **changes: Any) -> None:  # noqa: ANN401 - checked when it is decoded
        before = self._pilots[key]
        self._pilots[key] = msgspec.structs.replace(before, **changes)
        if self._pilots[key] != before:
            self._changed.add(key)

    def _answers(self) -> None:
        self._failures, self.away = 0, None
        self._not_before = -math.inf

    def _goes_away(self, why: str, now: float) -> None:
        self._not_before = now + min(_QUICK * 2**self._failures, _LONGEST_BACK_OFF)
        self._failures += 1
        self.away = why


def _failure(pilot: Pilot, now: float) -> str:
    """What is wrong with one that no agent has joined; empty: nothing."""
    what = f"allocation {pilot.id}"
    because = f": {pilot.reason}" if pilot.reason else ""
    printed = f"; what it printed is in {pilot.wanted.log}"
    if pilot.state is State.STUCK:
        return f"{what} can never start as it was asked for{because}"
    if pilot.joined:
        return ""
    if pilot.state.final:
        return f"{what} ended before any agent of it had joined{because}{printed}"
    if pilot.state is State.RUNNING and pilot.starts_at is not None and now >= pilot.starts_at + _TIME_TO_JOIN:
        return f"{what} has run for {_TIME_TO_JOIN:g}s, and no agent of it has joined{printed}"
    return ""
