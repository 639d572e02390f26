"""The pass: ready tasks in their order onto nodes, as grants; and what is asked back for those that come first.

A lane that has run empty goes on with the next task of its class, unless one that comes before it could use the
lane's slots: then it closes. New lanes open for ready tasks strictly in their order, with one task each; only then
are lanes filled with tasks that wait in them. The first class that does not fit reserves room on the node where
the least is missing: those after it may use there only what is left beside it, so that a wide task is not
starved by a stream of narrow ones.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pilotfish.errors import InternalError
from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Grant
from pilotfish.model.events import CloseLane, Command, Retract
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request, Slots
from pilotfish.model.states import Trigger
from pilotfish.scheduler.fit import fit
from pilotfish.scheduler.lanes import Lane, depth, patience
from pilotfish.scheduler.limits import room
from pilotfish.scheduler.occupancy import Node
from pilotfish.scheduler.queue import Queue
from pilotfish.scheduler.tasks import JobTasks
from pilotfish.settings import Settings

__all__ = ["Placement", "Reservation"]

_WORTH_SHARING = 0.02
"""Seconds of waiting work: for less, asking it back takes longer than running it."""


class Reservation:
    """Room on a node that is kept for a request until it fits.

    Lanes that together leave room for the request may go on and be filled again, in the order of their
    numbers; all others run dry, so the request fits when they have. Cores are counted whole: two halves of
    different cores leave none of them to a request for all but one.
    """

    def __init__(self, node: Node, request: Request, lanes: Mapping[int, Lane]) -> None:
        """Nobody else holds anything yet."""
        self.node = node
        self.request = request
        self._lanes = lanes
        self._beside: set[int] | None = None
        """Numbers of the lanes that may go on; None until somebody asks."""
        self._most_cores = len(node.free) - -(-request.cores // ONE)
        self._cores: set[int] = set()
        self._memory = node.inventory.memory - (request.memory or 0)

    def lets_go_on(self, lane: Lane) -> bool:
        """Whether a lane may get more work from those that come later."""
        return lane.node is not self.node or lane.number in self._go_on()

    def lets_open(self, node: Node, slots: Slots) -> bool:
        """Whether those that come later may hold these slots for any time; if so, they are counted."""
        if node is not self.node:
            return True
        self._go_on()
        return self._spare(slots)

    def _go_on(self) -> set[int]:
        if self._beside is None:
            self._beside = {number for number in sorted(self._lanes) if self._spare(self._lanes[number].slots)}
        return self._beside

    def _spare(self, slots: Slots) -> bool:
        memory, cores = slots.memory or 0, self._cores.union(slots.cores)
        if len(cores) > self._most_cores or memory > self._memory:
            return False
        self._cores = cores
        self._memory -= memory
        return True


class Placement:
    """Nodes and their lanes, and the decisions over them."""

    def __init__(self, jobs: Mapping[int, JobTasks], queue: Queue, settings: Settings, epoch: int) -> None:
        """Begin without nodes."""
        self._jobs, self._queue, self._settings, self._epoch = jobs, queue, settings, epoch
        self.nodes: dict[str, Node] = {}
        self.lanes: dict[str, dict[int, Lane]] = {}
        """By node and number: the open ones."""
        self.held: dict[AttemptId, tuple[str, int]] = {}
        """By granted attempt: the name of the node, which may be absent, and the number of the lane."""
        self._by_request: dict[Request, dict[Lane, None]] = {}
        self._spacious: dict[Node, None] = {}
        """Nodes on which some part of some core is free."""
        self._hungry: dict[Request, dict[Lane, None]] = {}
        """Lanes that would have taken more, had anything of their class been ready."""
        self._out: list[Command] = []
        self._newest: dict[Lane, tuple[int, Grant]] = {}
        """By lane its newest grant of this pass, and where that stands in `_out`."""
        self._shares: dict[JobTasks, int] = {}
        """By job, how many of its ready tasks each lane of its class may get in this pass."""
        self._idle = False
        """Whether room has appeared that nobody has used yet."""
        self.reservation: Reservation | None = None
        self.some_wait = False
        """Whether attempts may wait in some lane and could be asked back."""

    def decide(self, touched: Iterable[Lane], now: float, *, start: bool) -> list[Command]:
        """One pass: what becomes of lanes in which something has ended, and everything that can start now.

        Args:
            touched: the lanes in which something has ended, or that a node has just told of.
            now: the time.
            start: whether anything may start.

        """
        self._out, self._newest, self._shares = [], {}, {}
        if self.reservation is not None:  # its lanes have changed: choose again which of them may go on
            self._reserve(self.reservation.request, self.reservation)
        low = {lane: None for lane in touched if self.lanes.get(lane.node.name, {}).get(lane.number) is lane}
        self.some_wait = self.some_wait or any(len(lane.attempts) > 1 for lane in low)
        self._go_on_or_close([lane for lane in low if lane.empty], now, start=start)
        if start:
            self._open_lanes(low, now)
            for request in self._queue.take_fresh():
                low.update(self._hungry.pop(request, {}))
            for lane in low:
                if lane.attempts:
                    self._fill(lane, now)
            if self._idle and self.some_wait:
                self._share_out()
        self._idle = False
        return self._out

    def _go_on_or_close(self, empty: list[Lane], now: float, *, start: bool) -> None:
        """Give empty lanes the next task of their class where they may have it; first all that they held is free."""
        for lane in empty:
            lane.node.give(lane.slots)
            self._room_changed(lane.node)
        for lane in empty:
            tasks = self._next_for(lane) if start else None
            if tasks is not None:
                self._take(lane)
                self._grant(tasks, lane, 1, now)
            else:
                self._forget(lane)
                self._idle = True
                self._out.append(CloseLane(lane.node.name, lane.number))

    def _next_for(self, lane: Lane) -> JobTasks | None:
        """The first job of the lane's class, unless one that comes before it could use the lane's slots."""
        tasks = None if lane.request is None else self._queue.first(lane.request)
        if tasks is None:
            return None
        kept = self.reservation
        for request in self._queue.in_order():
            if request == lane.request:
                break
            if kept is not None and kept.request == request and not kept.lets_go_on(lane):
                return None
            if self._could_use(request, lane):
                return None
        return tasks

    @staticmethod
    def _could_use(request: Request, lane: Lane) -> bool:
        """Whether a request would fit on the lane's node, were the lane closed; what an empty one held is free."""
        if lane.empty:
            return not isinstance(fit(request, lane.node), str)
        lane.node.give(lane.slots)
        fits = not isinstance(fit(request, lane.node), str)
        lane.node.take(lane.slots)
        return fits

    def _open_lanes(self, low: dict[Lane, None], now: float) -> None:
        """Open lanes for ready tasks in their order while there is room; `low` collects them."""
        aside: set[Request] = set()
        self.reservation, before = None, self.reservation
        while (request := self._next_class(aside)) is not None:
            tasks, slots = self._queue.first(request), self._room_for(request)
            if tasks is not None and slots is not None:
                lane = self.open(*slots, request)
                self._grant(tasks, lane, 1, now)
                low[lane] = None
                continue
            if not aside:
                self._reserve(request, before)
            if tasks is not None and self._queue.is_fresh(request):
                self._out.extend(self._recall_less_urgent(tasks))
            aside.add(request)

    def _next_class(self, aside: set[Request]) -> Request | None:
        """The first class that was not set aside; where no core is free, of those that need none."""
        for request in self._queue.in_order():
            if not aside or ((self._spacious or not request.cores) and request not in aside):
                return request
        return None

    def _room_for(self, request: Request) -> tuple[Node, Slots] | None:
        kept = self.reservation
        for node in self._spacious if request.cores else self.nodes.values():
            slots = fit(request, node)
            if not isinstance(slots, str) and (kept is None or kept.lets_open(node, slots)):
                return node, slots
        return None

    def _fill(self, lane: Lane, now: float) -> None:
        """Let tasks wait in a lane that runs low."""
        while lane.request is not None:
            tasks = self._queue.first(lane.request)
            if tasks is None:
                self._hungry.setdefault(lane.request, {})[lane] = None
                return
            wanted = self._wanted(lane, tasks)
            if not wanted or self._next_for(lane) is None:
                return
            self._grant(tasks, lane, wanted, now)
            if room(tasks):
                return

    def _wanted(self, lane: Lane, tasks: JobTasks) -> int:
        """How many more attempts may wait in a lane: none while enough do, and never the share of other lanes."""
        if lane.recalled or lane.strangers or tasks.job.spec.max_parallel is not None:
            return 0  # what waits would use up the limit of what runs
        target = 1 + depth(tasks.typical_seconds, self._settings)
        if target > 1:  # short ones must not wait behind a long one
            target = min(target, 1 + depth(self._jobs[lane.attempts[0].job].typical_seconds, self._settings))
        if len(lane.attempts) > target // 2:
            return 0
        share = self._shares.get(tasks)
        if share is None:
            share = self._shares[tasks] = -(-tasks.ready // len(self._by_request[tasks.job.spec.request]))
        return min(target - len(lane.attempts), share)

    def _grant(self, tasks: JobTasks, lane: Lane, most: int, now: float) -> None:
        most = min(most, room(tasks))
        place = (lane.node.name, lane.number)
        if not lane.attempts:
            lane.since = now
        while most > 0 and (span := tasks.take_ready(most)) is not None:
            most -= len(span)
            number = tasks.numbers.get(span.lo, 0) + 1
            tasks.move_span(span.lo, span.hi, Trigger.grant)
            for position in range(span.lo, span.hi):
                attempt = AttemptId(tasks.job.id, position, number, self._epoch)
                tasks.numbers[position] = number
                lane.attempts.append(attempt)
                self.held[attempt] = place
            self._say(lane, Grant(*place, lane.slots, tasks.job.id, span.lo, span.hi, number, self._epoch))
        self.some_wait = self.some_wait or len(lane.attempts) > 1
        self._queue.first(tasks.job.spec.request)

    def _say(self, lane: Lane, grant: Grant) -> None:
        """Say a grant, in one with the lane's newest where they are neighbours."""
        at, newest = self._newest.get(lane, (len(self._out), None))
        if newest is not None and (newest.job, newest.hi, newest.number) == (grant.job, grant.lo, grant.number):
            grant = self._out[at] = msgspec.structs.replace(newest, hi=grant.hi)
        else:
            at = len(self._out)
            self._out.append(grant)
        self._newest[lane] = (at, grant)

    def join(self, node: Node) -> None:
        """Take in a node, in the place of what was known under its name."""
        self.drop(node.name)
        self.nodes[node.name], self.lanes[node.name] = node, {}
        self._room_changed(node)
        self._idle = True

    def open(self, node: Node, slots: Slots, request: Request | None, number: int | None = None) -> Lane:
        """Open a lane; by default under the lowest number that is free on the node."""
        by_number = self.lanes[node.name]
        if number is None:
            number = next(n for n in range(len(by_number) + 1) if n not in by_number)
        lane = by_number[number] = Lane(node, number, slots, request)
        if request is not None:
            self._by_request.setdefault(request, {})[lane] = None
        self._take(lane)
        return lane

    def _take(self, lane: Lane) -> None:
        lane.node.take(lane.slots)
        self._room_changed(lane.node)

    def _room_changed(self, node: Node) -> None:
        if node.free_cores:
            self._spacious[node] = None
        else:
            self._spacious.pop(node, None)

    def drop(self, name: str) -> None:
        """Forget a node and its lanes; what they held is the caller's to settle."""
        for lane in list(self.lanes.get(name, {}).values()):
            self._forget(lane)
        self.lanes.pop(name, None)
        node = self.nodes.pop(name, None)
        if node is not None:
            self._spacious.pop(node, None)
            if self.reservation is not None and self.reservation.node is node:
                self.reservation = None

    def _forget(self, lane: Lane) -> None:
        del self.lanes[lane.node.name][lane.number]
        if lane.request is not None:
            del self._by_request[lane.request][lane]
            self._hungry.get(lane.request, {}).pop(lane, None)

    def _reserve(self, request: Request, before: Reservation | None) -> None:
        """Keep room where the least is missing, among nodes that could ever hold the request; and stay there."""
        if before is not None and before.request == request:
            self.reservation = Reservation(before.node, request, self.lanes[before.node.name])
        elif able := [node for node in self.nodes.values() if node.could_hold(request)]:
            best = max(able, key=lambda node: (len(node.whole), node.free_memory))
            self.reservation = Reservation(best, request, self.lanes[best.name])

    def _share_out(self) -> None:
        """Ask back half of what waits in the longest lane of a class of which nothing is ready, where room is idle."""
        for request, lanes in self._by_request.items():
            asked = [lane for lane in lanes if not lane.recalled and len(lane.attempts) > 1]
            if not asked or self._queue.first(request) is not None or self._room_for(request) is None:
                continue
            lane = max(asked, key=lambda lane: len(lane.attempts))
            waiting = lane.waiting
            if len(waiting) * (self._jobs[waiting[0].job].typical_seconds or 0.0) > _WORTH_SHARING:
                self._out.append(Retract(lane.node.name, lane.number, waiting[len(waiting) // 2 :]))

    def _recall_less_urgent(self, first: JobTasks) -> Iterator[Retract]:
        """Ask back what waits in lanes and is less urgent than a job that must wait."""
        urgency = first.job.spec.priority
        if urgency == self._queue.lowest_priority:
            return
        for lane in self.all_lanes():
            if lane.recalled or len(lane.attempts) < 2:
                continue
            later = [attempt for attempt in lane.waiting if self._priority(attempt) < urgency]
            if later:
                lane.recalled = True
                yield Retract(lane.node.name, lane.number, tuple(later))

    def recall_stuck(self, now: float) -> Iterator[Retract]:
        """Ask back what waits behind an attempt that runs much longer than its like."""
        self.some_wait = False
        for lane in self.all_lanes():
            if lane.recalled or len(lane.attempts) < 2:
                continue
            self.some_wait = True
            if now >= lane.since + patience(self._jobs[lane.attempts[0].job].typical_seconds):
                lane.recalled = True
                yield Retract(lane.node.name, lane.number, lane.waiting)

    def all_lanes(self) -> Iterator[Lane]:
        """The open lanes of all nodes."""
        for by_number in self.lanes.values():
            yield from by_number.values()

    def _priority(self, attempt: AttemptId) -> int:
        return self._jobs[attempt.job].job.spec.priority

    def check(self) -> None:
        """Raise InternalError where lanes and what nodes count as held are not the same."""
        for name, node in self.nodes.items():
            left = dict.fromkeys(node.free, int(ONE))
            memory = node.inventory.memory
            for lane in self.lanes[name].values():
                memory -= lane.slots.memory or 0
                for core in left.keys() & lane.slots.cores:
                    left[core] -= min(int(lane.slots.amount), int(ONE))
            if left != node.free or memory != node.free_memory or min(left.values(), default=0) < 0:
                raise InternalError(f"node {name} counts {node.free} as free, its lanes leave {left}")
        in_lanes = [attempt for lane in self.all_lanes() for attempt in lane.attempts]
        here = [attempt for attempt, (node, _) in self.held.items() if node in self.nodes]
        if sorted(map(repr, in_lanes)) != sorted(map(repr, here)):
            raise InternalError("attempts in lanes and attempts that are held are not the same")
