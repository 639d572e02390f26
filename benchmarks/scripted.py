"""Agents by script, on virtual time: what a scheduler costs and decides without processes, messages and a store.

What belongs here: doing what the scheduler says, as agents would, and the time that it takes to say it. What must
not: what is measured, and against what.
"""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Grant
from pilotfish.model.events import Command, Ended, Event, Kill, Retract, Returned, WakeAt, Woken
from pilotfish.model.states import Outcome
from pilotfish.scheduler.engine import Scheduler

__all__ = ["Agents"]

_Place = tuple[str, int]
"""A node, and a lane of it."""


class Agents:
    """All nodes of a scheduler; every attempt succeeds.

    Args:
        scheduler: is told of nodes and jobs by whoever owns the agents, through :meth:`tell`.
        seconds: of virtual time that an attempt takes.
        turn: seconds in which an agent collects reports before it tells them.

    """

    def __init__(self, scheduler: Scheduler, seconds: Callable[[AttemptId], float], *, turn: float = 0.0) -> None:
        """Begin at time 0, with no nodes."""
        self._scheduler, self._seconds, self._turn = scheduler, seconds, turn
        self._lanes: dict[_Place, deque[AttemptId]] = {}
        """In their order; the first runs."""
        self._ends: list[tuple[float, int, _Place, float]] = []
        """A heap of what runs: its end, what makes that unique, where, and when it started."""
        self._begun = 0
        self._wake_at = math.inf
        self.now = 0.0
        """The virtual time."""
        self.granted = 0
        """Attempts that the scheduler has started."""
        self.ended = 0
        """Attempts that have ended."""
        self.cpu_seconds = 0.0
        """Spent by the scheduler."""

    def tell(self, *events: Event) -> None:
        """Hand over what has happened, one after the other, and do what the scheduler says."""
        for event in events:
            begin = time.process_time()
            commands = self._scheduler.handle(event, self.now)
            self.cpu_seconds += time.process_time() - begin
            self.tell(*[answer for command in commands if (answer := self._obey(command)) is not None])

    def run(self, *, grants: float = math.inf) -> None:
        """Let virtual time pass until nothing runs any more, or the scheduler has said so many grants in all."""
        while self._ends and self.granted < grants:
            moment = self._ends[0][0]
            if self._wake_at <= moment:
                self.now, self._wake_at = max(self.now, self._wake_at), math.inf
                self.tell(Woken())
                continue
            self.now = moment + self._turn
            reports: dict[str, list[Report]] = {}
            while self._ends and self._ends[0][0] <= self.now:
                report, node = self._end()
                reports.setdefault(node, []).append(report)
            self.tell(*(Ended(node, tuple(ended)) for node, ended in reports.items()))

    def _end(self) -> tuple[Report, str]:
        """End the attempt whose end is next, and begin what waits behind it."""
        end, _, place, started = heapq.heappop(self._ends)
        node, lane = place
        attempt = self._lanes[place].popleft()
        self.ended += 1
        if self._lanes[place]:
            self._begin(place, end)
        return Report(attempt, lane, Outcome.exited, 0, started, end, 0.0, 0), node

    def _begin(self, place: _Place, at: float) -> None:
        self._begun += 1
        heapq.heappush(self._ends, (at + self._seconds(self._lanes[place][0]), self._begun, place, at))

    def _obey(self, command: Command) -> Event | None:
        """Do what an agent does; perhaps it has something to answer."""
        if isinstance(command, Grant):
            place = command.node, command.lane
            queue = self._lanes.setdefault(place, deque())
            idle = not queue
            positions = range(command.lo, command.hi)
            queue.extend(AttemptId(command.job, at, command.number, command.epoch) for at in positions)
            self.granted += len(positions)
            if idle:
                self._begin(place, self.now)
        elif isinstance(command, Retract):
            queue = self._lanes[command.node, command.lane]
            back = tuple(attempt for attempt in list(queue)[1:] if attempt in command.attempts)
            for attempt in back:
                queue.remove(attempt)
            self.granted -= len(back)
            return Returned(command.node, command.lane, back)
        elif isinstance(command, WakeAt):
            self._wake_at = command.time
        elif isinstance(command, Kill):
            raise TypeError(f"nobody asked for {command}")
        return None
