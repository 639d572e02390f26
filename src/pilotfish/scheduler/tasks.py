"""What is known of the tasks of one job: a byte of state for each, and more only for those that have run.

What belongs here: state and its counts. What must not: why it changes.
"""

import heapq
import re
from collections import deque
from collections.abc import Iterator

from pilotfish.model.jobs import Job, Span
from pilotfish.model.states import FINAL, TaskState, Trigger, follow

__all__ = ["JobTasks"]

_REMEMBERED = 15
"""Durations of which the median is taken: enough to be robust, few enough to follow a change."""
_RUN = re.compile(b"|".join(b"\\x%02x+" % state for state in TaskState))
"""Finds the runs of a million tasks in milliseconds, however many there are."""


class JobTasks:
    """The tasks of one job.

    Args:
        job: theirs.
        totals: by state, the tasks of all jobs; kept true with every change.

    """

    def __init__(self, job: Job, totals: list[int]) -> None:
        """All tasks wait."""
        self.job = job
        self._totals = totals
        totals[TaskState.waiting] += job.spec.count
        self.count = job.spec.count
        self.states = bytearray(self.count)
        self.counts = [0] * len(TaskState)
        self.counts[TaskState.waiting] = self.count
        self.numbers: dict[int, int] = {}
        """By position, of the newest attempt; absent: none yet."""
        self.tries: dict[int, int] = {}
        """By position, charged attempts since submission or revival."""
        self.losses: dict[int, int] = {}
        self._ready: list[tuple[int, int]] = []
        """A heap of spans; together they hold just the ready positions."""
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._typical: float | None = None

    @property
    def unfinished(self) -> int:
        """Tasks that are not final."""
        return self.count - sum(self.counts[state] for state in FINAL)

    @property
    def granted(self) -> int:
        """Tasks that a node holds: what limits count."""
        return self.counts[TaskState.running] + self.counts[TaskState.stopping]

    @property
    def ready(self) -> int:
        """Tasks that could start."""
        return self.counts[TaskState.ready]

    def state(self, position: int) -> TaskState:
        """The state of one task."""
        return TaskState(self.states[position])

    def move(self, position: int, trigger: Trigger) -> TaskState:
        """Change the state of one task as the table says."""
        before = TaskState(self.states[position])
        after = follow(before, trigger)
        self.states[position] = after
        self._count(before, after, 1)
        if after is TaskState.ready:
            heapq.heappush(self._ready, (position, position + 1))
        return after

    def move_span(self, lo: int, hi: int, trigger: Trigger) -> None:
        """Change the state of tasks that are all in the same one."""
        before = TaskState(self.states[lo])
        after = follow(before, trigger)
        self.states[lo:hi] = bytes([after]) * (hi - lo)
        self._count(before, after, hi - lo)
        if after is TaskState.ready:
            heapq.heappush(self._ready, (lo, hi))

    def restore(self, lo: int, hi: int, state: TaskState) -> None:
        """Set what a record says, whatever was there."""
        for span in list(self.runs(lo, hi)):
            self._count(TaskState(self.states[span.lo]), state, len(span))
        self.states[lo:hi] = bytes([state]) * (hi - lo)

    def _count(self, before: TaskState, after: TaskState, tasks: int) -> None:
        self.counts[before] -= tasks
        self.counts[after] += tasks
        self._totals[before] -= tasks
        self._totals[after] += tasks

    def runs(self, lo: int, hi: int) -> Iterator[Span]:
        """The longest spans of one state each between `lo` and `hi`."""
        for run in _RUN.finditer(self.states, lo, hi):
            yield Span(*run.span())

    def take_ready(self, most: int) -> Span | None:
        """The first ready positions that share their attempt number, at most `most`; the caller grants them."""
        while self._ready:
            lo, hi = heapq.heappop(self._ready)
            if self.states[lo] != TaskState.ready:  # cancelled meanwhile: cancellations come in whole runs
                end = next(self.runs(lo, hi)).hi
                if end < hi:
                    heapq.heappush(self._ready, (end, hi))
                continue
            taken = next(self.runs(lo, min(hi, lo + most)))
            end = self._same_number(taken)
            if end < hi:
                heapq.heappush(self._ready, (end, hi))
            return Span(lo, end)
        return None

    def _same_number(self, span: Span) -> int:
        if not self.numbers:
            return span.hi
        number = self.numbers.get(span.lo, 0)
        return next((p for p in range(span.lo, span.hi) if self.numbers.get(p, 0) != number), span.hi)

    def measured(self, seconds: float) -> None:
        """Learn how long an attempt took."""
        self._durations.append(seconds)
        self._typical = None

    @property
    def typical_seconds(self) -> float | None:
        """The median of the newest durations, None before there is one."""
        if self._typical is None and self._durations:
            self._typical = sorted(self._durations)[len(self._durations) // 2]
        return self._typical
