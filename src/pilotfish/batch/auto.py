"""Whether another allocation is wanted, how large and for how long, and which one is not needed any more.

One pure function of what waits, of the pilots in the book, and of the time. It remembers nothing: refusals, failures
and what was spent are read from the pilots, so that a restart changes no decision.

An allocation is asked for only where something that waits could run in it: on as many nodes as what is ready can fill,
but no more than have work for the shortest time that is worth an allocation; for as long as all the work and its
longest path take there. What nobody knows the duration of gets the longest time.

What belongs here: this policy. What must not: I/O, clocks, memory of its own, words of batch systems.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from pilotfish.batch.allocations import Pilot
from pilotfish.batch.dialect import AllocationRequest, State
from pilotfish.model.quantities import ONE, format_seconds
from pilotfish.model.resources import Inventory, Request

__all__ = ["Caps", "Decision", "Drop", "Offer", "Propose", "Stay", "Waiting", "decide"]

_START = 120.0
"""Seconds of an allocation in which nothing runs: until its agents have joined, and while it drains before its end."""
_ROUND = 60.0
"""Seconds to which times are rounded up: Slurm counts in minutes."""
_BACK_OFF = 60.0
"""Seconds after one refusal; twice as many after each that follows it."""
_LONGEST_BACK_OFF = 3600.0
_CROWD = 1000
"""The most tasks that a node is thought to run at once, though they ask for nothing that it could run out of."""
_TRIES = 3
"""So many refusals or failures in a row, and a person has to look."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one allocation may be."""

    wanted: AllocationRequest
    """With the most nodes and the longest time; the rest is as it will be asked for."""
    node: Inventory
    """What each of its nodes will have for tasks."""
    least: float = 600.0
    """Seconds: the shortest time that is worth waiting in a queue for."""
    chains: bool = True
    """Whether the system can start one when another has ended."""


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What all allocations together may be."""

    nodes: int
    """At once, those in the queue included."""
    queued: int = 1
    """Allocations in the queue."""
    node_seconds: float = math.inf
    """Nodes times seconds, of all that were and are; those that live count with all the time that they may take."""
    idle: float = 300.0
    """Seconds without a task after which an allocation is given back."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Unfinished tasks with equal requests, which nothing but room keeps from running, now or later."""

    request: Request
    ready: int
    """Could start now."""
    later: int = 0
    """Wait for others to end."""
    seconds: float | None = None
    """How long one probably takes; None: nobody knows."""
    path: float | None = None
    """The longest chain of one of them and those that depend on it, in seconds; None: that of itself."""


class Propose(msgspec.Struct, frozen=True):
    """Ask for an allocation."""

    wanted: AllocationRequest
    """As in the offer, with its own `nodes`, `seconds`, and `after`."""
    why: str


class Drop(msgspec.Struct, frozen=True):
    """Cancel this one."""

    key: int
    why: str
    failed: bool = False
    """It was of no use to what waits: another one like it would be of none."""


class Stay(msgspec.Struct, frozen=True):
    """Do nothing, until something happens or the time has come."""

    why: str
    until: float = math.inf
    paused: bool = False
    """True where only a person can make it go on."""


Decision: TypeAlias = Propose | Drop | Stay
"""What is to be done now; decide again after it was done."""


def decide(
    offer: Offer,
    limits: Caps,
    waiting: Sequence[Waiting],
    pilots: Sequence[Pilot],
    now: float,
    *,
    idle: Mapping[int, float],
    forgiven: int = 0,
) -> Decision:
    """What to do now.

    Args:
        offer: of what kind the allocations are.
        limits: of all of them.
        waiting: what needs room.
        pilots: all of this offer that were ever asked for, the oldest first.
        now: the time.
        idle: since when none of its agents has had a task, by a pilot's key; those that have one are left out.
        forgiven: key of a pilot; failures up to it do not count any more, because a person has looked.

    """
    living = [pilot for pilot in pilots if not pilot.state.final and not pilot.cancelled]
    refusals = [_misfit(offer, work) for work in waiting]
    fits = [work for work, refusal in zip(waiting, refusals, strict=True) if refusal is None]
    for pilot in living:
        if why := _needless(pilot, limits, idle, now, rest=bool(fits)):
            return _useless(pilot, fits) or Drop(pilot.key, why)
    if stay := _after_failures([pilot for pilot in pilots if pilot.key > forgiven], now):
        return stay
    if not fits:
        reason = next(filter(None, refusals), None)
        return Stay(f"nothing that waits could run in such an allocation: {reason}" if reason else "nothing waits")
    queue = [pilot for pilot in living if pilot.state is not State.RUNNING]
    if any(pilot.state is State.ASKED for pilot in queue):
        return Stay("the batch system has not answered yet")
    if len(queue) >= limits.queued:
        return Stay(f"{_count(len(queue), 'allocation')} in the queue, and more are not wanted")
    return _size(offer, limits, fits, pilots, now)


def _misfit(offer: Offer, work: Waiting) -> str | None:
    """Why none of it can run in the largest allocation; None: it can."""
    most = offer.wanted.nodes
    if lack := offer.node.lacks(work.request):
        return f"a task needs {lack}"
    if work.request.nodes > most:
        return f"a task needs {work.request.nodes} nodes, and it has {most}"
    if work.seconds is not None and work.seconds > offer.wanted.seconds - _START:
        longest = format_seconds(offer.wanted.seconds)
        return f"a task takes {format_seconds(work.seconds)}, and it lasts {longest} with its start and end"
    return None


def _needless(pilot: Pilot, limits: Caps, idle: Mapping[int, float], now: float, *, rest: bool) -> str | None:
    """Why one should be given back; None: it should not."""
    if pilot.failure:
        return pilot.failure
    if pilot.state is State.RUNNING:
        since = idle.get(pilot.key, math.inf)
        return f"it has had no task for {format_seconds(now - since)}" if now >= since + limits.idle else None
    return None if rest or pilot.state is State.ASKED else "nothing is left for it to do"


def _useless(pilot: Pilot, fits: Sequence[Waiting]) -> Drop | None:
    """Give it back as a failure, where it ran nothing of what should have run there; None: there is none of that."""
    if pilot.failure or pilot.used or pilot.state is not State.RUNNING:
        return None
    most, seconds = pilot.wanted.nodes, pilot.wanted.seconds - _START
    if not any(work.ready and work.request.nodes <= most and (work.seconds or 0.0) <= seconds for work in fits):
        return None
    why = f"allocation {pilot.id} ran, and none of what waits started in it: its nodes do not have what that asks for"
    return Drop(pilot.key, why, failed=True)


def _after_failures(pilots: Sequence[Pilot], now: float) -> Stay | None:
    """After refusals and failures in a row: wait for longer and longer, then for a person."""
    row: list[Pilot] = []
    for pilot in reversed(pilots):
        if pilot.used:
            break
        if pilot.failure:
            row.append(pilot)
    lasting = [pilot for pilot in row if not pilot.temporary]
    if len(lasting) >= _TRIES:
        return Stay(f"paused after {len(lasting)} failures in a row; the last one: {lasting[0].failure}", paused=True)
    if row:
        until = (row[0].failed_at or now) + min(_BACK_OFF * 2 ** (len(row) - 1), _LONGEST_BACK_OFF)
        return Stay(f"trying again later: {row[0].failure}", until) if now < until else None
    return None


def _size(offer: Offer, limits: Caps, fits: Sequence[Waiting], pilots: Sequence[Pilot], now: float) -> Decision:
    """How large the next allocation should be."""
    holding = [pilot for pilot in pilots if not pilot.state.final]
    staying = [pilot for pilot in holding if not pilot.cancelled]
    ids = {pilot.id for pilot in holding}
    room = limits.nodes - sum(pilot.wanted.nodes for pilot in holding if pilot.wanted.after not in ids)
    before = None
    if room < 1:
        before = _first_to_end(staying) if offer.chains else None
        if before is None:
            return Stay(f"{_count(limits.nodes, 'node')} are held or in the queue, and more are not wanted")
        room = before.wanted.nodes
    room = min(room, offer.wanted.nodes)
    usable = [work for work in fits if work.request.nodes <= room]
    if not any(work.ready for work in usable):
        wide = any(work.ready for work in fits)
        return Stay(f"what waits needs more than the {_count(room, 'node')} left" if wide else "all waits for others")
    need = _nodes_for(offer, usable, staying, now, math.inf if before else offer.least)
    if need <= 0:
        return Stay("what runs and what is in the queue will do all that waits")
    least = max(work.request.nodes for work in usable if work.ready)
    nodes = min(max(math.ceil(need - 1e-9), least), room)
    return _within(offer, limits.node_seconds - _spent(pilots), usable, nodes, before.id if before else None)


def _nodes_for(offer: Offer, usable: Sequence[Waiting], staying: Sequence[Pilot], now: float, horizon: float) -> float:
    """How many more nodes have work: all that is ready at once, or the known work in the shortest allocation.

    Work that running allocations do within the horizon is left to them; nodes that are still to come take their share.
    """
    running = [pilot for pilot in staying if pilot.state is State.RUNNING and pilot.ends_at is not None]
    left = [min((pilot.ends_at or now) - now, horizon) for pilot in running]
    there = [min(pilot.wanted.nodes, pilot.joined + pilot.awaited(now)) for pilot in running]
    done = sum(nodes * max(0.0, time) for nodes, time in zip(there, left, strict=True))
    need = 0.0
    for work in usable:
        each = work.request.nodes / _at_once(offer.node, work.request)
        if work.seconds is None:
            need += work.ready * each
            continue
        seconds = (work.ready + work.later) * each * work.seconds
        taken = min(done, seconds)
        done -= taken
        need += min(work.ready * each, (seconds - taken) / max(offer.least - _START, _ROUND))
    return need - sum(pilot.awaited(now) for pilot in staying)


def _within(offer: Offer, budget: float, usable: Sequence[Waiting], nodes: int, after: str | None) -> Decision:
    """An allocation of at most so many nodes, cut to what is left of the budget of nodes times seconds."""
    seconds = _seconds_for(offer, usable, nodes)
    if nodes * seconds > budget:
        nodes = max(int(budget // seconds), min(work.request.nodes for work in usable if work.ready))
        seconds = min(seconds, budget / nodes // _ROUND * _ROUND)
    ready = [work for work in usable if work.ready and work.request.nodes <= nodes]
    if seconds < offer.least or all((work.seconds or 0.0) > seconds - _START for work in ready):
        return Stay(f"what is left of the node-hours, {max(budget, 0.0) / 3600:.3g}, is too little for what waits")
    wanted = msgspec.structs.replace(offer.wanted, nodes=nodes, seconds=seconds, after=after)
    return Propose(wanted, f"{_count(sum(work.ready for work in ready), 'task')} could run there")


def _seconds_for(offer: Offer, usable: Sequence[Waiting], nodes: int) -> float:
    """For as long as so many nodes have work, and its longest path takes."""
    total = 0.0
    longest = 0.0
    for work in usable:
        if work.seconds is None:
            return offer.wanted.seconds
        total += (work.ready + work.later) * work.seconds * work.request.nodes / _at_once(offer.node, work.request)
        longest = max(longest, work.seconds, work.path or 0.0)
    seconds = math.ceil((max(longest, total / nodes) + _START) / _ROUND) * _ROUND
    return min(max(seconds, offer.least), offer.wanted.seconds)


def _at_once(node: Inventory, request: Request) -> float:
    """How many of these a node can run at once; at least one, because it fits."""
    if request.exclusive:
        return 1.0
    declared = dict(node.resources)
    counts = [_CROWD, _shares(len(node.cores), request.cores), _shares(len(node.gpus), request.gpus)]
    counts += [node.memory // request.memory] if request.memory else []
    counts += [declared.get(name, 0) // amount for name, amount in request.resources]
    return max(1.0, min(counts))


def _shares(things: int, amount: int) -> float:
    """How often an amount of cores or GPUs fits: parts of one lie on one, and more are whole."""
    if not amount:
        return math.inf
    return things * (ONE // amount) if amount < ONE else things // (amount // ONE)


def _first_to_end(staying: Sequence[Pilot]) -> Pilot | None:
    """The one whose nodes are given back the earliest, and that no other follows yet."""
    followed = {pilot.wanted.after for pilot in staying}
    running = [pilot for pilot in staying if pilot.ends_at is not None and pilot.id not in followed]
    return min((p for p in running if p.state is State.RUNNING), key=lambda pilot: pilot.ends_at or 0.0, default=None)


def _spent(pilots: Sequence[Pilot]) -> float:
    """Nodes times seconds: of those that are over what they had, of others what they may have."""
    total = 0.0
    for pilot in pilots:
        if not pilot.state.final:
            total += pilot.wanted.nodes * pilot.wanted.seconds
        elif pilot.starts_at is not None and pilot.ends_at is not None:
            total += pilot.wanted.nodes * max(0.0, pilot.ends_at - pilot.starts_at)
    return total


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
