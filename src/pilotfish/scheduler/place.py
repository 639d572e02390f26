"""The pass: tasks that may start, in their order, onto nodes, as grants.

A lane that has run empty goes on with the next task of its class, unless one that comes before it could use the
lane's slots: then it closes. New lanes open strictly in order until the first request that does not fit; room is
reserved for that one, and those after it fill in where they do not delay it (:mod:`pilotfish.scheduler.reservation`).
Only then are lanes filled with tasks that wait in them.

A pass costs what has changed: what did not fit anywhere before is looked at again only on nodes where room has grown.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Grant, Part
from pilotfish.model.events import CloseLane, Command
from pilotfish.model.resources import Slots
from pilotfish.model.states import Trigger
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.fit import Need, fits, slots_for
from pilotfish.scheduler.holdings import Holdings
from pilotfish.scheduler.lanes import Lane, could_use, depth
from pilotfish.scheduler.occupancy import Node
from pilotfish.scheduler.queue import Queue
from pilotfish.scheduler.reservation import Reservation, earliest, only_place
from pilotfish.scheduler.tasks import Entry, JobTasks, Pool
from pilotfish.settings import Settings

__all__ = ["Placement"]

_FEW = 16
"""Nodes that can be looked at each time. On larger clusters room is reserved on the best of the widest so many."""
_LOOKS = 100
"""Pools that one pass passes over because they would end too late, before it stops looking for shorter ones."""

_Places: TypeAlias = list[tuple[Node, Slots]]
_Candidate: TypeAlias = tuple[Entry, Iterator[Entry] | None]
"""A pool's entry, and those of its class that stand behind it, where they have been asked for."""


class Placement(Holdings):
    """The decisions over nodes and their lanes."""

    def __init__(
        self,
        jobs: Mapping[int, JobTasks],
        queue: Queue,
        settings: Settings,
        epoch: int,
        *,
        started: Callable[[JobTasks, int, int, str], None],
    ) -> None:
        """Begin without nodes; `started` is told of spans of tasks that were granted, and to which node."""
        super().__init__()
        self._jobs, self._queue, self._settings, self._epoch = jobs, queue, settings, epoch
        self._started = started
        self._out: list[Command] = []
        self._newest: dict[Lane, tuple[int, Grant]] = {}
        """By lane its newest grant of this pass, and where that stands in `_out`."""
        self._shares: dict[Pool, int] = {}
        """By pool, how many of its tasks each lane of its class may get in this pass."""
        self.time = 0.0
        """Of the present pass."""
        self.reservation: Reservation | None = None
        self.reserved_for: RequestClass | None = None
        self.some_wait = False
        """Whether attempts may wait in some lane and could be asked back."""

    def decide(self, touched: Iterable[Lane], now: float, *, start: bool) -> list[Command]:
        """One pass: what becomes of lanes in which something has ended, and everything that can start now.

        Args:
            touched: the lanes in which something has ended, or that a node has just told of.
            now: the time.
            start: whether anything may start.

        """
        self._out, self._newest, self._shares, self.time = [], {}, {}, now
        low = {lane: None for lane in touched if self.lanes.get(lane.node.name, {}).get(lane.number) is lane}
        for lane in low:
            self.some_wait = self.some_wait or len(lane.attempts) > 1
            self._renew(lane)
        self._go_on_or_close([lane for lane in low if lane.empty], start=start)
        if start:
            fresh, self._queue.fresh = self._queue.fresh, {}
            self._open_lanes(fresh, low)
            for cls in fresh:
                low.update(self.hungry.pop(cls, {}))
            for lane in low:
                if lane.attempts and lane.cls is not None:
                    self._fill(lane, lane.cls)
        return self._out

    # Lanes that have run empty

    def _go_on_or_close(self, empty: list[Lane], *, start: bool) -> None:
        """Give empty lanes the next task of their class where they may have it; first all that they held is free."""
        if start:
            empty = [lane for lane in empty if not self._went_on(lane)]
        changed: dict[Node, None] = {}
        for lane in empty:
            lane.holds = False
            lane.node.give(lane.slots)
            # Whether something may start beside a reservation, or before an end, depends on the time too.
            if lane.node.inventory.ends_at is not None or self._is_kept(lane):
                changed[lane.node] = None
        for lane in empty:
            pool = self._next_for(lane) if start else None
            if pool is not None and fits(pool.cls.needs[0], lane.node):
                lane.holds = True
                lane.node.take(lane.slots)
                self._grant(pool, lane, 1)
            else:
                self.forget(lane)
                self.idle = True
                changed[lane.node] = None
                self._out.append(CloseLane(lane.node.name, lane.number))
        for node in changed:
            self.offer(node)

    def _went_on(self, lane: Lane) -> bool:
        """Give an empty lane the next task of its class as it is, where that is the only class of which any wait."""
        node = lane.node
        if len(self._queue.order) > 1 or lane.told or node.stops or node.inventory.ends_at is not None:
            return False  # what it holds is for others, or gone; near an end it depends on the time
        pool = self._next_for(lane)
        if pool is None:
            return False
        self._grant(pool, lane, 1)
        return True

    def _must_yield(self, lane: Lane) -> bool:
        """Whether the first class of all is another one and could use the lane's slots."""
        order = self._queue.order
        return bool(order) and (first := order[0][-1].cls) is not lane.cls and could_use(first, lane)

    def _next_for(self, lane: Lane, waiting: int = 0) -> Pool | None:
        """The first pool of the lane's class, unless one that comes before it could use the lane's slots.

        `waiting`: how many of its tasks are to wait behind the one that runs; none: one is to run next.
        """
        cls = lane.cls
        if cls is None or not cls.simple or self._must_yield(lane):
            return None
        pool = self._queue.first(cls)
        if pool is None or not self._in_time(lane.node, pool):
            return None
        most = lane.node.cores.whole + (len(lane.slots.cores) if lane.holds else 0)
        for entry in self._queue.order:
            if (other := entry[-1].cls) is cls:
                break
            if other.least_cores <= most and could_use(other, lane):
                return None
        if self.reservation is None or self._queue.order[0][-1].cls is cls:
            return pool
        ends = lane.due + waiting * (pool.tasks.typical_seconds or 0.0) if waiting else self._ends(pool)
        return pool if self.reservation.admits(lane.node, lane.slots, ends, lane) else None

    # New lanes

    def _open_lanes(self, fresh: Collection[RequestClass], low: dict[Lane, None]) -> None:
        """Open lanes for tasks in their order while there is room; `low` collects them."""
        if not (fresh or self.grown) and self._is_for(self._queue.head()) and not self._has_room(()):
            return  # as in the last pass
        head, passed = self._start_in_order(fresh, low)
        if self.reservation is not None and not self._is_for(head):
            self._keep_no_longer()
            head, passed = self._start_in_order(fresh, low)
        if head is not None:
            hopeful = self._has_room(fresh)
            self._reserve(head, look=hopeful)
            if hopeful and (self.grown or fresh):
                self._backfill(head, fresh, low, passed=passed)
        self.grown = {}

    def _has_room(self, fresh: Collection[RequestClass]) -> bool:
        """Whether, wherever there is something new to offer, enough whole cores are free for any request at all."""
        if fresh:
            nodes: Iterable[Node] = self.rooms
            if len(self.rooms) > _FEW:
                return True
        else:
            nodes = self.grown if self.reservation is None else (*self.grown, *self.reservation.nodes)
        least = self._queue.least_cores
        for node in nodes:  # noqa: SIM110
            if node.cores.whole >= least:
                return True
        return False

    def _start_in_order(self, fresh: Collection[RequestClass], low: dict[Lane, None]) -> tuple[Pool | None, bool]:
        """Start tasks until one does not fit: that one, and whether there was room and it would have ended too late."""
        while (head := self._queue.head()) is not None:
            anywhere = head.cls in fresh or head.cls in self._queue.fresh
            places, passed = self._places(head, None if anywhere else self.grown, free=True)
            if places is None:
                return head, passed
            self._open(head, places, low)
        return None, False

    def _backfill(self, head: Pool, fresh: Collection[RequestClass], low: dict[Lane, None], *, passed: bool) -> None:
        """Start what comes after the first that does not fit, in order, where the reservation admits it.

        With `passed`, there is room for the first, and it would end too late.
        """
        queue = self._queue
        passed_over = {head}
        nodes = self.grown if not fresh else self.rooms if len(self.rooms) <= _FEW else None
        candidates: list[_Candidate] = [
            (entry, None)
            for entry in self._worth_a_try(nodes)
            if ((cls := entry[-1].cls) is not head.cls or passed)
            and (cls in fresh or any(need.nodes > 1 or fits(need, node) for need in cls.needs for node in self.grown))
        ]
        while candidates and len(passed_over) <= _LOOKS:
            (*_, pool), rest = heapq.heappop(candidates)
            cls, passed = pool.cls, True
            if not queue.room(pool):  # what has started meanwhile has used up a limit
                self._line_up(cls, candidates)
                continue
            if pool not in passed_over:
                places, passed = self._places(pool, None if cls in fresh else self.grown, free=False)
                if places is not None:
                    self._open(pool, places, low)
                    self._line_up(cls, candidates)
                    continue
                passed_over.add(pool)
            if passed and self._shorter_ones_may_pass(cls):
                rest = queue.following(cls) if rest is None else rest
                following = next((other for other in rest if other[-1] not in passed_over), None)
                if following is not None:
                    heapq.heappush(candidates, (following, rest))
                elif self.reservation is not None:
                    cls.refused_window = self.reservation.at - self.time

    def _line_up(self, cls: RequestClass, candidates: list[_Candidate]) -> None:
        """Let a class stand among the candidates with its first pool, if there is one."""
        first = self._queue.first(cls)
        if first is not None:
            heapq.heappush(candidates, (self._queue.entry(first), None))

    def _worth_a_try(self, nodes: Iterable[Node] | None) -> list[Entry]:
        """The first entries of classes for which there may be room on these nodes: a quick look at cores.

        None: too many nodes to look at; then these are all classes.
        """
        kept, queue = self.reservation, self._queue
        if nodes is None:
            return list(queue.order)
        nodes = list(nodes)
        most = beside = max([node.cores.whole for node in nodes], default=-1)
        window = math.inf
        if kept is not None:
            kept.look()
            window = kept.at - self.time if kept.at < math.inf else -1.0
            beside = max([kept.spare_cores(node) for node in nodes], default=-1)
        if queue.least_cores > (most if queue.shortest <= window else beside):
            return []
        return [
            entry
            for entry in queue.order
            if (cls := entry[-1].cls).least_cores <= (most if cls.shortest <= window else beside)
        ]

    def _shorter_ones_may_pass(self, cls: RequestClass) -> bool:
        """Whether a pool of the class might be let through that is behind one which was not."""
        if self.reservation is None:
            return True
        self.reservation.look()
        window = self.reservation.at - self.time
        return cls.shortest <= window < math.inf and cls.refused_window < window

    def _places(self, pool: Pool, among: Iterable[Node] | None, *, free: bool) -> tuple[_Places | None, bool]:
        """Nodes and slots for one task, of the first of its alternatives that fits; and whether any place was refused.

        Args:
            pool: of the task.
            among: where to look; None: everywhere.
            free: it comes before whatever there is a reservation for.

        """
        refused = False
        for need in pool.cls.needs:
            found: _Places = []
            for node in self._candidates(need, among):
                if not fits(need, node):
                    continue
                slots = self._admitted(pool, need, node, free=free)
                if slots is None:
                    refused = True
                    continue
                found.append((node, slots))
                if len(found) == need.nodes:
                    return found, refused
        return None, refused

    def _candidates(self, need: Need, among: Iterable[Node] | None) -> Iterable[Node]:
        """Nodes that may have room for a request, in the order in which they are to be tried."""
        if need.home is not None:
            return [self.nodes[need.home]]
        if need.spread:
            return self.rooms.emptiest_first(need)
        return self.rooms.tightest_first(need) if among is None or need.nodes > 1 else among

    def _admitted(self, pool: Pool, need: Need, node: Node, *, free: bool) -> Slots | None:
        """The slots that a request which fits may have; None where it would be in the way or end too late."""
        if not self._in_time(node, pool):
            return None
        kept = None if free else self.reservation
        if kept is None:
            return slots_for(need, node)
        if not kept.may_admit(need, node, self._ends(pool)):
            return None
        slots = slots_for(need, node)
        if kept.admits(node, slots, self._ends(pool)):
            return slots
        if need.most_cores > need.whole:
            slots = slots_for(need, node, most_cores=need.whole)
            return slots if kept.admits(node, slots, self._ends(pool)) else None
        return None

    def _in_time(self, node: Node, pool: Pool) -> bool:
        """Whether a task that starts on the node now is not known to outlast its allocation."""
        end = node.inventory.ends_at
        if end is None:
            return True
        seconds = pool.tasks.expected_seconds
        return self.time + (self._settings.drain if seconds == math.inf else seconds) <= end

    def _ends(self, pool: Pool) -> float:
        """When a task of the pool that starts now will probably have ended."""
        return self.time + pool.tasks.expected_seconds

    def _is_for(self, head: Pool | None) -> bool:
        """Whether the reservation is one for that pool's class, on nodes that are still there."""
        if self.reservation is None or head is None or self.reserved_for is not head.cls:
            return False
        for node in self.reservation.nodes:  # noqa: SIM110 - here and below: a generator would take as long again
            if self.nodes.get(node.name) is not node or node.stops:
                return False
        return True

    def _reserve(self, head: Pool, *, look: bool) -> None:
        """Keep room for the first that does not fit, and stay there as long as it is of the same class.

        Without `look` nobody else could start now anyway, and when the first can start need not be known yet.
        """
        kept = self.reservation
        if kept is not None:
            before = kept.at
            if look:
                kept.look()
            if kept.at > before:  # some that would have been in the way before are not now
                self.grown.update(dict.fromkeys(kept.nodes))
            if kept.need.nodes == 1 or not self.grown:
                return
            self._keep_no_longer()  # one that has come free now may do as well as one that is kept
        only = only_place(head.cls.needs, self.rooms)
        if only is not None:
            lanes = {only: self.lanes[only.name]}
            self.reservation, self.reserved_for = Reservation(head.cls.needs[0], lanes, self.time), head.cls
            return
        seconds = head.tasks.expected_seconds
        home = head.cls.home
        found = []
        for need in head.cls.needs:
            nodes = self.rooms.widest_first() if home is None else [self.nodes[home]]
            found.append((need, *earliest(need, seconds, nodes, self.lanes, self.time, few=_FEW)))
        best = min((one for one in found if one[1]), key=lambda one: max(wait.at for wait in one[2]), default=None)
        if best is not None:
            lanes = {node: self.lanes[node.name] for node in best[1]}
            self.reservation, self.reserved_for = Reservation(best[0], lanes, self.time, best[2]), head.cls

    def _keep_no_longer(self) -> None:
        """Give up the reservation; what nobody was let use on its nodes is offered to all."""
        kept, self.reservation, self.reserved_for = self.reservation, None, None
        for node in kept.nodes if kept is not None else ():
            if self.nodes.get(node.name) is node:
                self.grown[node] = None

    # What a lane holds

    def _open(self, pool: Pool, places: _Places, low: dict[Lane, None]) -> None:
        """Open a lane for one task, on several nodes one on each, and grant it."""
        lane = self.open(*places[0], pool.cls)
        beside = [self.open(*place, None) for place in places[1:]]
        if pool.cls is self.reserved_for and any(self._is_kept(one) for one in (lane, *beside)):
            self._keep_no_longer()  # it was for this one; the next one may start earlier elsewhere
        self._grant(pool, lane, 1, beside)
        low[lane] = None

    def _fill(self, lane: Lane, cls: RequestClass) -> None:
        """Let tasks wait in a lane that runs low."""
        ahead = self._jobs[lane.attempts[0].job].typical_seconds
        if not cls.simple or not depth(ahead, self._settings):
            return  # short ones must not wait behind a long one
        if self._must_yield(lane) or lane.node.stops:
            return  # the lane closes when it has ended what it holds
        while True:
            pool = self._queue.first(cls)
            if pool is None:
                self.hungry.setdefault(cls, {})[lane] = None
                return
            wanted = self._wanted(lane, pool)
            if not wanted or self._next_for(lane, waiting=wanted) is None:
                return
            self._grant(pool, lane, wanted)
            if self._queue.room(pool):
                return

    def _wanted(self, lane: Lane, pool: Pool) -> int:
        """How many more attempts may wait in a lane: none while enough do, and never the share of other lanes."""
        tasks = pool.tasks
        if lane.recalled or lane.strangers or not pool.unlimited:
            return 0  # what waits would use up the limit of what runs
        ahead = self._jobs[lane.attempts[0].job]
        target = 1 + depth(tasks.typical_seconds, self._settings)
        if ahead is not tasks:
            target = min(target, 1 + depth(ahead.typical_seconds, self._settings))
        if len(lane.attempts) > target // 2:
            return 0
        share = self._shares.get(pool)
        if share is None:
            share = self._shares[pool] = -(-pool.size // len(self.by_class[pool.cls]))
        return min(target - len(lane.attempts), share)

    def _grant(self, pool: Pool, lane: Lane, most: int, beside: Iterable[Lane] = ()) -> None:
        most = min(most, self._queue.room(pool))
        tasks, job, epoch = pool.tasks, pool.tasks.job.id, self._epoch
        self._renew(lane)
        place = (lane.node.name, lane.number)
        parts = tuple([Part(one.node.name, one.number, one.slots) for one in beside]) if beside else ()
        if not lane.attempts:
            lane.since = self.time
        while most > 0 and (span := pool.take(most)) is not None:
            lo, hi = span.lo, span.hi
            most -= hi - lo
            number = tasks.numbers.get(lo, 0) + 1
            tasks.move_span(lo, hi, Trigger.grant)
            for position in range(lo, hi):
                attempt = AttemptId(job, position, number, epoch)
                tasks.numbers[position] = number
                lane.attempts.append(attempt)
                self.held[attempt] = place
            if parts:  # of one task alone
                self.beside[attempt] = parts
                for one in beside:
                    self.hold_part(attempt, one)
                    self._renew(one)
            self._say(lane, Grant(*place, lane.slots, job, lo, hi, number, epoch, parts))
            self._started(tasks, lo, hi, place[0])
        self.some_wait = self.some_wait or len(lane.attempts) > 1
        self.expect(lane)
        self._queue.first(pool.cls)

    def _renew(self, lane: Lane) -> None:
        """Reckon the reservation anew where something has begun or ended on its nodes."""
        kept = self.reservation
        if kept is not None and lane.node in kept.nodes:
            kept.renew(self.time)

    def _is_kept(self, lane: Lane) -> bool:
        """Whether a lane is on a node of the reservation."""
        return self.reservation is not None and lane.node in self.reservation.nodes

    def expect(self, lane: Lane) -> None:
        """Reckon again when a lane will probably have ended what it holds."""
        if lane.attempts:
            tasks = self._jobs[lane.attempts[0].job]
            lane.due = lane.since + tasks.expected_seconds
            if len(lane.attempts) > 1:
                lane.due += (len(lane.attempts) - 1) * (tasks.typical_seconds or 0.0)
            for part in self.parts.get(lane.attempts[0], {}).values() if self.parts else ():
                part.due = lane.due

    def _say(self, lane: Lane, grant: Grant) -> None:
        """Say a grant, in one with the lane's newest where they are neighbours."""
        at, newest = self._newest.get(lane, (len(self._out), None))
        if newest is not None and (newest.job, newest.hi, newest.number) == (grant.job, grant.lo, grant.number):
            grant = self._out[at] = msgspec.structs.replace(newest, hi=grant.hi)
        else:
            at = len(self._out)
            self._out.append(grant)
        self._newest[lane] = (at, grant)
