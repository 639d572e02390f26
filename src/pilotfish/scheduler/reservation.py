"""EASY backfill: room that is kept for the first that does not fit, and who may use it meanwhile.

The first request that does not fit gets the nodes on which it could start the earliest, going by when what runs there
will probably have ended: its *shadow time*. Those after it in the order may start where they do not delay it: because
they end before, or because what they hold is not needed then (D. Lifka, "The ANL/IBM SP scheduling system", 1995;
A. Mu'alem and D. Feitelson, 2001). Where nobody can tell when something ends, the shadow time is infinite, and only
what is not needed may be used; so a wide task is not starved by a stream of narrow ones.

What belongs here: times and counts. What must not: core ids, the order of the queue.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.scheduler.fit import Need
from pilotfish.scheduler.lanes import Lane
from pilotfish.scheduler.occupancy import Node
from pilotfish.scheduler.rooms import Rooms

__all__ = ["Reservation", "Wait", "earliest", "only_place"]


class Reservation:
    """Room on nodes that is kept for one request.

    Args:
        need: what it is kept for.
        nodes: where, with their lanes by number.
        now: the time.
        waits: what is known of each of them; None: that is reckoned when somebody wants to be admitted.

    """

    def __init__(
        self, need: Need, nodes: dict[Node, dict[int, Lane]], now: float, waits: Iterable["Wait"] | None = None
    ) -> None:
        """Nobody else has been let in."""
        self.need = need
        self.nodes = nodes
        self.at = math.inf
        """The shadow time, as of the last look; infinite before the first."""
        self._look_at: float | None = now
        if waits is not None:
            self._know(waits)

    def renew(self, now: float) -> None:
        """Something has ended or begun on the nodes: look again before anybody is admitted."""
        self._look_at = now

    def look(self) -> None:
        """Count what will be there, where that is due."""
        now = self._look_at
        if now is not None:
            self._know([_wait_for(self.need, node, lanes.values(), now) for node, lanes in self.nodes.items()])

    def _know(self, waits: Iterable["Wait"]) -> None:
        self._look_at = None
        self._waits = dict(zip(self.nodes, waits, strict=True))
        self.at = max([wait.at for wait in self._waits.values()])

    def spare_cores(self, node: Node) -> int:
        """How many whole cores of a node may be held for any time; as of the last look."""
        if node not in self.nodes:
            return node.cores.whole
        return -1 if self.need.exclusive else min(node.cores.whole, self._waits[node].spare.cores.whole)

    def may_admit(self, need: Need, node: Node, ends: float) -> bool:
        """Whether there are any slots for a request that :meth:`admits` could let it have."""
        if node not in self.nodes:
            return True
        self.look()
        return ends <= self.at < math.inf or (not self.need.exclusive and self._waits[node].spare.fits(need))

    def admits(self, node: Node, slots: Slots, ends: float, lane: Lane | None = None) -> bool:
        """Whether those that come later may hold slots until then without a delay for the request.

        With `lane`, the slots are those of an open one that would go on.
        """
        if node not in self.nodes:
            return True
        self.look()
        if ends <= self.at < math.inf:
            return True
        if lane is not None and lane.holds and lane not in self._waits[node].lanes:
            return True  # what it holds is not waited for
        return not self.need.exclusive and self._waits[node].spare.has(slots)


class Wait(NamedTuple):
    """How a node comes to have room for a request."""

    at: float
    """When it probably has; infinite: nobody can tell."""
    spare: "_Counts"
    """What is left then beside the request."""
    lanes: set[Lane]
    """Those that are waited for."""


class _Counts:
    """How much of each thing a node will have free: like the node itself, without telling which."""

    def __init__(self, node: Node) -> None:
        """What is free now."""
        self.cores, self.gpus = (_Pieces(kind.whole, kind.parts) for kind in (node.cores, node.gpus))
        self.memory = node.free_memory
        self.resources = dict(node.resources)

    def change(self, slots: Slots, sign: int) -> None:
        """Add what the slots hold, or take it away."""
        self.cores.change(slots.cores, slots.amount, sign)
        self.gpus.change(slots.gpus, slots.gpu_amount, sign)
        self.memory += sign * (slots.memory or 0)
        for name, amount in slots.resources:
            self.resources[name] = self.resources.get(name, 0) + sign * amount

    def fits(self, need: Need) -> bool:
        """Whether there is enough for a request that does not want the node for itself."""
        if need.plain:
            return need.whole <= self.cores.whole and need.memory <= self.memory
        return (
            self.cores.has(need.whole, need.core_part)
            and self.gpus.has(need.gpus, need.gpu_part)
            and need.memory <= self.memory
            and all(amount <= self.resources.get(name, 0) for name, amount in need.resources)
        )

    def without(self, need: Need) -> None:
        """Take away what a request that fits will hold."""
        self.cores.take(need.whole, need.core_part)
        self.gpus.take(need.gpus, need.gpu_part)
        self.memory -= need.memory
        for name, amount in need.resources:
            self.resources[name] -= amount

    def has(self, slots: Slots) -> bool:
        """Whether there is as much as the slots hold."""
        return (
            self.cores.has_beside(slots.cores, slots.amount)
            and self.gpus.has_beside(slots.gpus, slots.gpu_amount)
            and (slots.memory or 0) <= self.memory
            and all(amount <= self.resources.get(name, 0) for name, amount in slots.resources)
        )


class _Pieces:
    """How many things of one kind are free whole, and which in part."""

    def __init__(self, whole: int, parts: Mapping[Any, int]) -> None:
        self.whole = whole
        self.parts: dict[int | str, int] = dict(parts)

    def change(self, units: Iterable[int | str], amount: int, sign: int) -> None:
        """Give or take; two halves of one thing make it whole again."""
        if amount >= ONE:
            self.whole += sign * (amount // ONE)
            return
        for unit in units:
            left = self.parts.pop(unit, None)
            if left is None:
                self.whole -= sign < 0
                left = 0 if sign > 0 else int(ONE)
            left += sign * amount
            if left >= ONE:
                self.whole += 1
            elif left > 0:
                self.parts[unit] = left

    def has(self, whole: int, part: int) -> bool:
        """Whether so many whole ones are free, and so much of one."""
        if part and not any(free >= part for free in self.parts.values()):
            whole += 1
        return whole <= self.whole

    def take(self, whole: int, part: int) -> None:
        """Hold so many, and so much of the fullest one."""
        self.whole -= whole
        if part:
            rooms = [(free, unit) for unit, free in self.parts.items() if free >= part]
            self.change([min(rooms, key=lambda one: one[0])[1] if rooms else "a whole one"], part, -1)

    def has_beside(self, units: Iterable[int | str], amount: int) -> bool:
        """Whether these very ones could be held too."""
        if amount >= ONE:
            return amount // ONE <= self.whole
        return all(self.parts.get(unit, 0) >= amount or self.whole > 0 for unit in units)


def _wait_for(need: Need, node: Node, lanes: Iterable[Lane], now: float) -> Wait:
    """How a node that could hold a request will come to have room for it, if nothing else starts there.

    Of lanes of which nobody knows the end, those that have run the longest are waited for.
    """
    counts = _Counts(node)
    at, passing, left = now, set[Lane](), node.lanes
    for lane in sorted((lane for lane in lanes if lane.holds), key=lambda lane: (lane.due, lane.since, lane.number)):
        # All that ends by the shadow time counts; of what is overdue, or ends nobody knows when, only what is needed.
        if (lane.due > at or lane.due < now or at == math.inf) and _enough(need, counts, left):
            break
        at = max(now, lane.due)
        passing.add(lane)
        left -= 1
        counts.change(lane.slots, 1)
    if _enough(need, counts, left):
        if not need.exclusive:
            counts.without(need)
    else:
        at = math.inf  # more was promised to an earlier agent than this node has
    return Wait(at, counts, passing)


def _enough(need: Need, counts: _Counts, lanes: int) -> bool:
    return not lanes if need.exclusive else counts.fits(need)


def only_place(needs: Sequence[Need], rooms: Rooms) -> Node | None:
    """The one node that there is, where it could hold the one request at any time: there is nothing to choose."""
    if len(rooms) != 1 or len(needs) > 1:
        return None
    need, node = needs[0], next(iter(rooms))
    if need.nodes > 1 or node.stops or node.inventory.ends_at is not None:
        return None
    return node if node.inventory.lacks(need.request) is None else None


def earliest(
    need: Need, seconds: float, nodes: Iterable[Node], lanes: Mapping[str, dict[int, Lane]], now: float, *, few: int
) -> tuple[list[Node], list[Wait]]:
    """Where a request could probably start the earliest, and the wait for it on each of these nodes; or nowhere.

    Of nodes that are ready by then, those that come last: the others may be of use to somebody meanwhile.

    Args:
        need: the request.
        seconds: that it probably takes.
        nodes: where it may run, the widest first.
        lanes: by node and number.
        now: the time.
        few: of the widest nodes so many are looked at, or twice as many as it asks for.

    """
    waits: list[tuple[float, int, Node, Wait]] = []
    most = max(few, 2 * need.nodes)
    for node in nodes:
        if node.inventory.lacks(need.request) is None and not node.stops:
            wait = _wait_for(need, node, lanes[node.name].values(), now)
            end = node.inventory.ends_at
            if end is None or seconds == math.inf or wait.at + seconds <= end:
                waits.append((wait.at, len(waits), node, wait))
            if len(waits) == most:
                break
    if len(waits) < need.nodes:
        return [], []
    at = sorted(waits)[need.nodes - 1][0]
    ready = sorted((one for one in waits if one[0] <= at), key=lambda one: (-one[0], one[1]))[: need.nodes]
    return [node for _, _, node, _ in ready], [wait for *_, wait in ready]
