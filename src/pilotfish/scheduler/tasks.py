"""What is known of the tasks of one job: a byte of state for each, and more only for those that have run.

What belongs here: states and flags, their counts, and which tasks may start. What must not: why they change.
"""

import heapq
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from pilotfish.model.jobs import Job, Span
from pilotfish.model.states import FINAL, TaskState, Trigger, follow
from pilotfish.scheduler.classes import Durations, RequestClass

__all__ = ["Entry", "JobTasks", "Pool"]

Entry: TypeAlias = tuple[int, float, int, int, "Pool"]
"""Minus priority, minus rank, job id, number of the pool, the pool: the smaller comes first, and no two are equal."""

_RUN = re.compile(b"|".join(b"\\x%02x+" % state for state in TaskState))
"""Finds the runs of a million tasks in milliseconds, however many there are."""
_IS_FINAL = [int(state in FINAL) for state in sorted(TaskState)]
_STATES = tuple(sorted(TaskState))
_GRANTED = (TaskState.running, TaskState.stopping)
_WAITING, _READY = TaskState.waiting, TaskState.ready  # before Python 3.12 an enumeration takes its time to find them


class Pool:
    """Tasks of one job that ask for the same and may start: they are ready, and not held."""

    __slots__ = ("cls", "entry", "number", "size", "spans", "tasks", "unlimited")

    def __init__(self, tasks: "JobTasks", cls: RequestClass, number: int) -> None:
        """Nobody is in it."""
        self.tasks = tasks
        self.cls = cls
        self.number = number
        """Among those of its job; 0 is for what the job asks for, others for tasks that need something else."""
        self.unlimited = tasks.job.spec.max_parallel is None and not tasks.job.spec.uses
        """Whether all that are in it may start, whatever is free."""
        self.entry: Entry | None = None
        """Where it stands among the pools of its class; None: it is not queued."""
        self.size = 0
        """How many tasks are in it."""
        self.spans: list[tuple[int, int]] = []
        """A heap; together its spans hold at least the positions that are in the pool."""

    def change(self, lo: int, hi: int, *, entered: bool) -> None:
        """Let all tasks of a span in, or out: those are gone from `spans` already, or are passed over there."""
        if entered:
            self.size += hi - lo
            self.tasks.entered[self] = None
            heapq.heappush(self.spans, (lo, hi))
        else:
            self.size -= hi - lo

    def take(self, most: int) -> Span | None:
        """The first positions that share their attempt number, at most `most`; the caller grants them."""
        tasks, spans = self.tasks, self.spans
        while spans:
            lo, hi = spans[0]
            first = tasks.next_startable(self, lo, hi)
            if first is None:
                heapq.heappop(spans)
                continue
            end = first + 1 if most == 1 else tasks.end_of_startable(self, first, min(hi, first + most))
            if end < hi:
                heapq.heapreplace(spans, (end, hi))
            else:
                heapq.heappop(spans)
            return Span(first, end)
        return None


class JobTasks:
    """The tasks of one job.

    Args:
        job: theirs.
        cls: what they ask for.
        totals: by state, the tasks of all jobs; kept true with every change.
        held_changed: is told by how many more tasks of the job are held by nodes; None: nobody wants to know.

    """

    __slots__ = (
        "_durations", "_held", "_held_changed", "_moved", "_others", "_totals", "count", "counts", "delayed",
        "entered", "expected_seconds", "homes", "job", "kept", "losses", "numbers", "pool", "preemptions", "rank",
        "shortages", "states", "tries", "unfinished",
    )  # fmt: skip

    def __init__(
        self,
        job: Job,
        cls: RequestClass,
        totals: list[int],
        held_changed: Callable[[Mapping[str, int], int], None] | None = None,
    ) -> None:
        """All tasks wait."""
        self.job = job
        self._totals = totals
        self._held_changed = held_changed if job.spec.uses else None
        self.count = job.spec.count
        totals[_WAITING] += self.count
        self.states = bytearray(self.count)
        self.counts = [0] * len(TaskState)
        self.counts[_WAITING] = self.count
        self.unfinished = self.count
        """Tasks that are not final."""
        self.rank = -1.0
        """The seconds that the longest chain of dependants takes, itself included (HEFT's upward rank; Topcuoglu,
        Hariri and Wu, 2002). Durations that nobody has estimated count alike. Negative: not known yet."""
        self.kept = 0
        """Tasks that succeeded in an earlier job."""
        self.numbers: dict[int, int] = {}
        """By position, of the newest attempt; absent: none yet."""
        self.tries: dict[int, int] = {}
        """By position, charged attempts since submission or revival."""
        self.losses: dict[int, int] = {}
        self.shortages: dict[int, int] = {}
        """By position, attempts since then that ran out of memory."""
        self.preemptions: dict[int, int] = {}
        """By position, attempts that the end of an allocation has ended."""
        self.homes: dict[int, str] = {}
        """By position, the nodes on which tasks are to run, as long as these are there."""
        self.delayed: dict[int, float] = {}
        """By position, when those that wait for their next try will have it."""
        self.entered: dict[Pool, None] = {}
        """Pools to which tasks have come that may not be queued yet."""
        self.pool = Pool(self, cls, 0)
        self._others: dict[RequestClass, Pool] = {}
        self._moved: dict[int, Pool] = {}
        """By position, the pool of those that are not in the job's main one."""
        self._held = bytearray()
        """By position, 1 for those that the user holds back; empty: nobody ever was."""
        self._durations = cls.durations if self.count == 1 and job.spec.function is None else Durations()
        self.expected_seconds = self._expected(None)
        """What an attempt probably takes at most: the estimate, else what was learned, else the limit; or infinite."""

    @property
    def has_exceptions(self) -> bool:
        """Whether some tasks are held, or ask for something else than the others."""
        return bool(self._held or self._moved)

    # Counts

    @property
    def granted(self) -> int:
        """Tasks that a node holds: what limits count."""
        return self.counts[TaskState.running] + self.counts[TaskState.stopping]

    @property
    def unstarted(self) -> int:
        """Tasks that wait or are ready; some may have run before."""
        return self.counts[TaskState.waiting] + self.counts[TaskState.ready]

    def state(self, position: int) -> TaskState:
        """The state of one task."""
        return TaskState(self.states[position])

    def is_held(self, position: int) -> bool:
        """Whether the user holds a task back."""
        return bool(self._held) and bool(self._held[position])

    def runs(self, lo: int, hi: int) -> Iterator[Span]:
        """The longest spans of one state each between `lo` and `hi`."""
        for run in _RUN.finditer(self.states, lo, hi):
            yield Span(*run.span())

    def pools(self) -> Iterable[Pool]:
        """All that there are."""
        return (self.pool, *self._others.values())

    def pool_of(self, position: int) -> Pool:
        """The pool that a task is in when it may start."""
        return self._moved.get(position, self.pool) if self._moved else self.pool

    # Changes

    def grow(self, tasks: int) -> Span:
        """Take in more tasks, which wait; their positions."""
        added = Span(self.count, self.count + tasks)
        self.count += tasks
        self.states.extend(bytes(tasks))
        if self._held:
            self._held.extend(bytes(tasks))
        self.counts[TaskState.waiting] += tasks
        self._totals[TaskState.waiting] += tasks
        self.unfinished += tasks
        return added

    def move(self, position: int, trigger: Trigger) -> TaskState:
        """Change the state of one task as the table says."""
        before = _STATES[self.states[position]]
        after = follow(before, trigger)
        self.states[position] = after
        self._count(before, after, 1)
        if before is _READY or after is _READY:
            self._startable_changed(position, position + 1, entered=after is _READY)
        return after

    def move_span(self, lo: int, hi: int, trigger: Trigger) -> None:
        """Change the state of tasks that are all in the same one."""
        if hi - lo == 1:
            self.move(lo, trigger)
            return
        before = _STATES[self.states[lo]]
        after = follow(before, trigger)
        self.states[lo:hi] = bytes([after]) * (hi - lo)
        self._count(before, after, hi - lo)
        if _READY in (before, after):
            self._startable_changed(lo, hi, entered=after is _READY)

    def restore(self, lo: int, hi: int, state: TaskState) -> None:
        """Set what a record says, whatever was there. Nothing is made ready so."""
        for span in list(self.runs(lo, hi)):
            self._count(TaskState(self.states[span.lo]), state, len(span))
        self.states[lo:hi] = bytes([state]) * (hi - lo)

    def hold(self, lo: int, hi: int, *, held: bool) -> list[Span]:
        """Hold tasks back, or let them go; the spans for which this is news, of tasks that have not ended."""
        if not self._held:
            self._held = bytearray(self.count)
        changed = []
        for span in list(self.runs(lo, hi)):
            if self.states[span.lo] in FINAL:
                continue
            at = span.lo
            while (at := self._held.find(not held, at, span.hi)) >= 0:
                end = self._held.find(held, at, span.hi)
                end = span.hi if end < 0 else end
                if self.states[span.lo] == _READY and held:
                    self._startable_changed(at, end, entered=False)
                self._held[at:end] = bytes([held]) * (end - at)
                if self.states[span.lo] == _READY and not held:
                    self._startable_changed(at, end, entered=True)
                changed.append(Span(at, end))
                at = end
        return changed

    def ask_for(self, position: int, cls: RequestClass) -> None:
        """Let a task ask for something else from now on."""
        if cls is self.pool_of(position).cls:
            return
        startable = self.states[position] == _READY
        if startable:
            self._startable_changed(position, position + 1, entered=False)
        if cls is self.pool.cls:
            del self._moved[position]
        else:
            if cls not in self._others:
                self._others[cls] = Pool(self, cls, len(self._others) + 1)
            self._moved[position] = self._others[cls]
        if startable:
            self._startable_changed(position, position + 1, entered=True)

    def _count(self, before: TaskState, after: TaskState, tasks: int) -> None:
        self.counts[before] -= tasks
        self.counts[after] += tasks
        self._totals[before] -= tasks
        self._totals[after] += tasks
        self.unfinished += tasks * (_IS_FINAL[before] - _IS_FINAL[after])
        if self._held_changed is not None and (before in _GRANTED) != (after in _GRANTED):
            self._held_changed(self.job.spec.uses, tasks if after in _GRANTED else -tasks)

    # What may start

    def _startable_changed(self, lo: int, hi: int, *, entered: bool) -> None:
        """Tasks of a span have become ready, or are so no more."""
        if not self._moved and not (self._held and self._held.count(1, lo, hi)):
            self.pool.change(lo, hi, entered=entered)
            return
        for position in range(lo, hi):
            if not self.is_held(position):
                self.pool_of(position).change(position, position + 1, entered=entered)

    def next_startable(self, pool: Pool, lo: int, hi: int) -> int | None:
        """The first position between `lo` and `hi` that is in the pool now."""
        at = lo
        while (at := self.states.find(_READY, at, hi)) >= 0:
            if not (self._held or self._moved) or (not self.is_held(at) and self.pool_of(at) is pool):
                return at
            at += 1
        return None

    def end_of_startable(self, pool: Pool, lo: int, hi: int) -> int:
        """Where the run of positions from `lo` ends that are in the pool and have its attempt number."""
        end = next(self.runs(lo, hi)).hi
        if not (self.numbers or self._held or self._moved):
            return end
        number = self.numbers.get(lo, 0)
        for position in range(lo + 1, end):
            other = self.is_held(position) or self.pool_of(position) is not pool
            if other or self.numbers.get(position, 0) != number:
                return position
        return end

    # Time

    def measured(self, seconds: float) -> None:
        """Learn how long an attempt took, in seconds."""
        self._durations.add(seconds)
        if self._durations is not self.pool.cls.durations:
            self.expected_seconds = self._expected(self._durations.likely)

    @property
    def typical_seconds(self) -> float | None:
        """The median of the newest durations; of a job of one task, that of all such jobs that ask for the same."""
        return self._durations.typical

    def _expected(self, learned: float | None) -> float:
        spec = self.job.spec
        if spec.estimate is not None:
            return spec.estimate
        limit = math.inf if spec.time is None else spec.time
        return limit if learned is None else min(learned, limit)
