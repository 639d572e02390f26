"""What is asked back: attempts that wait in lanes and should start elsewhere, or after others.

What belongs here: which waiting attempts are better off elsewhere. What must not: what starts.
"""

from collections.abc import Iterable, Iterator, Mapping

from pilotfish.model.attempts import AttemptId
from pilotfish.model.events import Retract
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.fit import fits
from pilotfish.scheduler.lanes import Lane, patience
from pilotfish.scheduler.place import Placement
from pilotfish.scheduler.queue import Queue
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["Recall"]

_WORTH_SHARING = 0.02
"""Seconds of waiting work: for less, asking it back takes longer than running it."""


class Recall:
    """Looks at lanes in which attempts wait."""

    def __init__(self, jobs: Mapping[int, JobTasks], queue: Queue, placement: Placement) -> None:
        """Look at the lanes of this placement."""
        self._jobs, self._queue, self._placement = jobs, queue, placement

    def after_pass(self, fresh: Iterable[RequestClass]) -> Iterator[Retract]:
        """What a pass that has offered everything to these classes makes advisable."""
        if self._placement.some_wait:
            for cls in fresh:
                yield from self._less_urgent_than(cls)
            if self._placement.idle:
                yield from self._shares()
        self._placement.idle = False

    def _less_urgent_than(self, cls: RequestClass) -> Iterator[Retract]:
        """Ask back what waits in lanes and is less urgent than a job that must wait."""
        first = self._queue.first(cls)
        if first is None or first.tasks.job.spec.priority == self._queue.lowest_priority:
            return
        for lane in self._placement.all_lanes():
            if not _may_be_asked(lane):
                continue
            later = tuple(one for one in lane.waiting if self._priority(one) < first.tasks.job.spec.priority)
            if later:
                yield self._ask(lane, later)

    def _shares(self) -> Iterator[Retract]:
        """Ask back half of what waits in the longest lane of a class of which nothing is ready, where room is idle."""
        for cls, lanes in self._placement.by_class.items():
            asked = [lane for lane in lanes if _may_be_asked(lane)]
            if not asked or self._queue.first(cls) is not None or not self._has_room(cls):
                continue
            lane = max(asked, key=lambda lane: len(lane.attempts))
            waiting = lane.waiting
            if len(waiting) * (self._jobs[waiting[0].job].typical_seconds or 0.0) > _WORTH_SHARING:
                yield Retract(lane.node.name, lane.number, waiting[len(waiting) // 2 :])

    def _has_room(self, cls: RequestClass) -> bool:
        kept = self._placement.reservation
        for need in cls.needs:
            for node in self._placement.rooms.tightest_first(need):
                if fits(need, node) and (kept is None or node not in kept.nodes):
                    return True
        return False

    def stuck(self, now: float) -> Iterator[Retract]:
        """Ask back what waits behind an attempt that runs much longer than its like."""
        self._placement.some_wait = False
        for lane in self._placement.all_lanes():
            if not _may_be_asked(lane):
                continue
            self._placement.some_wait = True
            if now >= lane.since + patience(self._jobs[lane.attempts[0].job].typical_seconds):
                yield self._ask(lane, lane.waiting)

    def _ask(self, lane: Lane, attempts: tuple[AttemptId, ...]) -> Retract:
        lane.recalled = True
        return Retract(lane.node.name, lane.number, attempts)

    def _priority(self, attempt: AttemptId) -> int:
        return self._jobs[attempt.job].job.spec.priority


def _may_be_asked(lane: Lane) -> bool:
    """Whether something waits in a lane that was not asked back, on a node that would hear of it."""
    return len(lane.attempts) > 1 and not lane.recalled and not lane.node.stops
