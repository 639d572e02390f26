"""The pass: ready tasks in their order onto nodes, as grants; and what is asked back for those that come first.

Each class's first job is tried in turn: open lanes of its class take more where they run low, new lanes are
opened where the request fits. The first class that does not fit reserves room on the node where the
least is missing: those after it may use there only what is left beside it, so that a wide task is not
starved by a stream of narrow ones.
"""

from collections.abc import Iterable, Iterator, Mapping

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
        self.reservation: Reservation | None = None

    def grants(self, now: float) -> Iterator[Command]:
        """One pass: everything that can start now."""
        before, self.reservation = self.reservation, None
        full = False
        for request in self._queue.classes():
            if full and request.cores and not self._by_request.get(request):
                continue  # it has no lanes, and needs cores where none is left
            yield from self._grant_class(request, now)
            tasks = self._queue.first(request)
            if tasks is not None and self.reservation is None:
                self._reserve(request, before)
                yield from self._recall_less_urgent(tasks)
            full = self.reservation is not None and not any(node.free_cores for node in self.nodes.values())

    def _grant_class(self, request: Request, now: float) -> Iterator[Command]:
        kept = self.reservation
        lanes = self._by_request.get(request, {})
        sharing, share = None, 0
        for lane in lanes:
            tasks = self._queue.first(request)
            if tasks is None:
                return
            if tasks is not sharing:
                sharing, share = tasks, -(-tasks.ready // len(lanes))
            wanted = self._wanted(lane, tasks, share)
            if wanted and (kept is None or kept.lets_go_on(lane)):
                yield from self._grant(tasks, lane, wanted, now)
        for node in self.nodes.values():
            while (tasks := self._queue.first(request)) is not None:
                slots = fit(request, node)
                if isinstance(slots, str) or not (kept is None or kept.lets_open(node, slots)):
                    break
                yield from self._grant(tasks, self.open(node, slots, request), 1, now)

    def _wanted(self, lane: Lane, tasks: JobTasks, share: int) -> int:
        """How many attempts a lane should get now: none while enough wait, and never the share of other lanes."""
        if lane.recalled or lane.strangers:
            return 0
        target = 1
        if tasks.job.spec.max_parallel is None:  # what waits would use up the limit of what runs
            target += depth(tasks.typical_seconds, self._settings)
        if lane.attempts and target > 1:  # short ones must not wait behind a long one
            target = min(target, 1 + depth(self._jobs[lane.attempts[0].job].typical_seconds, self._settings))
        if len(lane.attempts) > target // 2:
            return 0
        return min(target - len(lane.attempts), share)

    def _grant(self, tasks: JobTasks, lane: Lane, most: int, now: float) -> Iterator[Grant]:
        most = min(most, room(tasks))
        while most > 0 and (span := tasks.take_ready(most)) is not None:
            most -= len(span)
            number = tasks.numbers.get(span.lo, 0) + 1
            if not lane.attempts:
                lane.since = now
            tasks.move_span(span.lo, span.hi, Trigger.grant)
            place = (lane.node.name, lane.number)
            for position in range(span.lo, span.hi):
                attempt = AttemptId(tasks.job.id, position, number, self._epoch)
                tasks.numbers[position] = number
                lane.attempts.append(attempt)
                self.held[attempt] = place
            yield Grant(*place, lane.slots, tasks.job.id, span.lo, span.hi, number, self._epoch)

    def open(self, node: Node, slots: Slots, request: Request | None, number: int | None = None) -> Lane:
        """Open a lane; by default under the lowest number that is free on the node."""
        by_number = self.lanes[node.name]
        if number is None:
            number = next(n for n in range(len(by_number) + 1) if n not in by_number)
        lane = by_number[number] = Lane(node, number, slots, request)
        if request is not None:
            self._by_request.setdefault(request, {})[lane] = None
        node.take(slots)
        return lane

    def close_empty(self, lanes: Iterable[Lane]) -> Iterator[CloseLane]:
        """Close those of these lanes that hold nothing."""
        for lane in lanes:
            if lane.empty and self.lanes.get(lane.node.name, {}).get(lane.number) is lane:
                self._forget(lane)
                lane.node.give(lane.slots)
                yield CloseLane(lane.node.name, lane.number)

    def drop(self, node: str) -> None:
        """Forget a node and its lanes; what they held is the caller's to settle."""
        for lane in list(self.lanes.get(node, {}).values()):
            self._forget(lane)
        self.lanes.pop(node, None)
        self.nodes.pop(node, None)

    def _forget(self, lane: Lane) -> None:
        del self.lanes[lane.node.name][lane.number]
        if lane.request is not None:
            del self._by_request[lane.request][lane]

    def _reserve(self, request: Request, before: Reservation | None) -> None:
        """Keep room where the least is missing, among nodes that could ever hold the request; and stay there."""
        able = [node for node in self.nodes.values() if node.could_hold(request)]
        if before is not None and before.request == request and before.node in able:
            self.reservation = Reservation(before.node, request, self.lanes[before.node.name])
        elif able:
            best = max(able, key=lambda node: (len(node.whole), node.free_memory))
            self.reservation = Reservation(best, request, self.lanes[best.name])

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
        for lane in self.all_lanes():
            if lane.recalled or len(lane.attempts) < 2:
                continue
            if now >= lane.since + patience(self._jobs[lane.attempts[0].job].typical_seconds):
                lane.recalled = True
                yield Retract(lane.node.name, lane.number, lane.waiting)

    @property
    def some_wait(self) -> bool:
        """Whether attempts wait in some lane that could be asked back."""
        return any(len(lane.attempts) > 1 and not lane.recalled for lane in self.all_lanes())

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
