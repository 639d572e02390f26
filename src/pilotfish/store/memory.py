"""The store's twin that keeps everything in memory: for sessions that keep nothing, and for tests of what is above.

What belongs here: the laws of :mod:`pilotfish.store.base`, told as plainly as possible. What must not: files, threads.
"""

import copy
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import (
    Cancel,
    Change,
    Finish,
    Forget,
    Grant,
    Grow,
    Hold,
    Put,
    Release,
    Revive,
    Settle,
    Snapshot,
    Submit,
    Survey,
    TaskRecord,
)
from pilotfish.model.jobs import Job, Span
from pilotfish.model.states import FINAL, Outcome, TaskState
from pilotfish.store.base import DURATIONS, LOOKED_AT, followed_jobs, origins

__all__ = ["MemoryStore"]

_Spanned = TypeVar("_Spanned", Cancel, Finish, Grant, Hold)


def _ignore() -> None:
    """Nobody wants to be woken."""


class MemoryStore:
    """Keeps what it is given as long as it lives: every ticket is durable at once, and nothing can fail."""

    trouble: str | None = None
    """Never any."""

    def __init__(self, *, wake: Callable[[], None] = _ignore) -> None:
        """An empty store; `wake` is called in each commit."""
        self.epoch = 1
        self.durable = 0
        self.wake = wake
        """Called in each commit."""
        self._submits: dict[int, Submit] = {}
        self._retired: set[int | None] = set()
        """Jobs that were replaced or forgotten; None stands for what a job replaces that replaces none."""
        self._calls: dict[int, list[bytes]] = {}
        self._grants: list[Grant] = []
        self._attempts: dict[tuple[int, int], list[Settle]] = {}
        self._past: set[AttemptId] = set()
        self._finishes: dict[int, list[Finish]] = {}
        self._holds: dict[int, list[Hold]] = {}
        self._cancels: dict[int, list[Cancel]] = {}
        self._values: dict[str, Put] = {}

    def reopened(self, *, wake: Callable[[], None] = _ignore) -> "MemoryStore":
        """The same memory as the next manager would find it: of a higher epoch, with tickets from 1."""
        later = copy.copy(self)
        later.epoch, later.durable, later.wake = self.epoch + 1, 0, wake
        return later

    def load(self) -> Snapshot:
        """All that a new manager must know."""
        submits = self.current()
        current = {submit.job.id for submit in submits}
        durations = {
            submit.job.id: self._durations(submit.job)
            for submit in submits
            if submit.replaces is not None or submit.job.spec.count > 1
        }
        return Snapshot(
            submits=submits,
            tasks=tuple(self._record(*task) for task in sorted(self._attempts) if task[0] in current),
            finishes=_spans_of(self._finishes, current),
            grants=tuple(sorted((grant for grant in self._grants if grant.job in current), key=_by_place)),
            holds=_spans_of(self._holds, current),
            cancels=_spans_of(self._cancels, current),
            durations={job: found for job, found in durations.items() if found},
            nodes={job: self.nodes(job) for job in followed_jobs(submits)},
            values=self.values(""),
        )

    def commit(self, changes: Sequence[Change]) -> int:
        """Remember the changes; the ticket, which is durable."""
        for change in changes:
            self._apply(change)
        self.durable += 1
        self.wake()
        return self.durable

    def raise_failure(self) -> None:
        """Nothing can fail."""

    def flush(self) -> None:
        """Nothing waits."""

    def submits(self) -> tuple[Submit, ...]:
        """All jobs ever submitted, forgotten and replaced ones too, by ascending id."""
        return tuple(self._submits[job] for job in sorted(self._submits))

    def calls(self, job: int, span: Span | None = None) -> dict[int, bytes]:
        """The arguments of calls of a job, or of a span of it, by position."""
        within = span or Span(0, sys.maxsize)
        return dict(list(enumerate(self._calls.get(job, ())))[within.lo : within.hi])

    def attempts(self, job: int, position: int) -> tuple[Settle, ...]:
        """All settled attempts of a task, oldest first; those before a revival read as ready and not charged."""
        return tuple(map(self._as_of_now, self._attempts.get((job, position), ())))

    def finishes(self, job: int) -> tuple[Finish, ...]:
        """The ends without an attempt that hold for tasks of the job, by position."""
        return _spans_of(self._finishes, {job})

    def current(self) -> tuple[Submit, ...]:
        """The jobs that were neither replaced nor forgotten, by ascending id."""
        return tuple(submit for submit in self.submits() if submit.job.id not in self._retired)

    def survey(self, job: int | None = None, span: Span | None = None) -> Survey:
        """The standing of all tasks of the current jobs, or of a span of any one job."""
        current = {one.job.id for one in self.current()}
        jobs = current if job is None else {job}
        within = span or Span(0, sys.maxsize)
        states: dict[int, list[tuple[TaskState, list[int]]]] = {}
        for of_job, position in sorted(self._attempts):
            if of_job in jobs and within.lo <= position < within.hi:
                state = self.attempts(of_job, position)[-1].state
                states.setdefault(of_job, []).append((state, [position]))
        return Survey(
            states=states,
            finishes=_reaching(_spans_of(self._finishes, jobs), within),
            grants=_reaching(sorted((one for one in self._grants if one.job in jobs), key=_by_place), within),
            holds=_reaching(_spans_of(self._holds, jobs & current), within),
        )

    def results(self, tasks: Sequence[tuple[int, int]]) -> tuple[Settle, ...]:
        """The newest settled attempt of each of these tasks, as (job, position), that has one; in their order."""
        return tuple(self.attempts(*task)[-1] for task in tasks if task in self._attempts)

    def nodes(self, job: int) -> dict[int, str]:
        """Where tasks of a job ran last, by position; of those that were kept, where they ran then."""
        found: dict[int, str] = {}
        for origin, span, shift in origins(self._submits[job], self._submits.__getitem__):
            for position in range(span.lo, span.hi):
                if (origin, position) in self._attempts:
                    found[position - shift] = self._attempts[origin, position][-1].node
        return found

    def values(self, prefix: str) -> tuple[Put, ...]:
        """The values of the keys that begin so, by key."""
        known = sorted(self._values.items())
        return tuple(put for key, put in known if put.value is not None and key.startswith(prefix))

    def close(self) -> None:
        """Nothing to release."""

    def _apply(self, change: Change) -> None:
        match change:
            case Submit() | Grow() | Forget():
                self._apply_to_job(change)
            case Grant():
                self._grants.append(change)
            case Release(job=job, lo=lo, hi=hi, number=number, epoch=epoch):
                self._close_grants(job, lo, hi, number=number, epoch=epoch)
            case Settle():
                self._settle(change)
            case Finish(job=job, lo=lo, hi=hi):
                self._finishes[job] = [*_cut(self._finishes.get(job, []), lo, hi), change]
                self._uncancel(job, lo, hi)
            case Revive(job=job, lo=lo, hi=hi):
                self._revive(change)
                self._uncancel(job, lo, hi)
            case Hold():
                self._hold(change)
            case Cancel(job=job, lo=lo, hi=hi):
                self._uncancel(job, lo, hi)
                self._cancels[job].append(change)
            case Put(key=key):
                self._values[key] = change

    def _apply_to_job(self, change: Submit | Grow | Forget) -> None:
        match change:
            case Submit(job=job, replaces=replaces):
                self._submits[job.id] = change
                self._retired.add(replaces)
            case Grow(job=number, calls=calls):
                known, submit = self._calls.setdefault(number, []), self._submits[number]
                known.extend(calls)
                self._submits[number] = msgspec.structs.replace(submit, job=submit.job.grown(len(known)))
            case Forget(job=number):
                self._retired.add(number)

    def _settle(self, settle: Settle) -> None:
        attempt = settle.report.attempt
        job, position = attempt.job, attempt.position
        known = self._attempts.setdefault((job, position), [])
        if any(earlier.report.attempt == attempt for earlier in known):
            return  # the first record of an attempt stands
        known.append(settle)
        known.sort(key=lambda one: (one.report.attempt.number, one.report.attempt.epoch))
        self._close_grants(job, position, position + 1, number=attempt.number, epoch=attempt.epoch)
        self._finishes[job] = _cut(self._finishes.get(job, []), position, position + 1)
        if settle.state in FINAL:
            self._uncancel(job, position, position + 1)

    def _revive(self, revive: Revive) -> None:
        job, lo, hi = revive.job, revive.lo, revive.hi
        ends = [finish for finish in self._finishes.get(job, []) if finish.state is not TaskState.succeeded]
        kept = [finish for finish in self._finishes.get(job, []) if finish.state is TaskState.succeeded]
        for task in self._tasks(job, lo, hi):
            failed = self.attempts(*task)[-1].state in {TaskState.failed, TaskState.cancelled}
            if failed or any(finish.lo <= task[1] < finish.hi for finish in ends):
                self._past |= {
                    settle.report.attempt for settle in self._attempts[task] if settle.state is not TaskState.succeeded
                }
        self._finishes[job] = kept + _cut(ends, lo, hi)

    def _hold(self, hold: Hold) -> None:
        others = _cut(self._holds.get(hold.job, []), hold.lo, hold.hi)
        self._holds[hold.job] = [*others, hold] if hold.held else others

    def _uncancel(self, job: int, lo: int, hi: int) -> None:
        self._cancels[job] = _cut(self._cancels.get(job, []), lo, hi)

    def _close_grants(self, job: int, lo: int, hi: int, *, number: int, epoch: int) -> None:
        meant = [grant for grant in self._grants if (grant.job, grant.number, grant.epoch) == (job, number, epoch)]
        others = [grant for grant in self._grants if (grant.job, grant.number, grant.epoch) != (job, number, epoch)]
        self._grants[:] = others + _cut(meant, lo, hi)

    def _tasks(self, job: int, lo: int, hi: int) -> list[tuple[int, int]]:
        return [(job, position) for position in range(lo, hi) if (job, position) in self._attempts]

    def _record(self, job: int, position: int) -> TaskRecord:
        newest = self.attempts(job, position)[-1]
        counted = [one for one in self._attempts[job, position] if one.report.attempt not in self._past]
        return TaskRecord(
            job=job,
            position=position,
            state=newest.state,
            number=newest.report.attempt.number,
            tries=sum(settle.charged for settle in counted),
            losses=sum(settle.report.outcome is Outcome.lost for settle in counted),
            shortages=sum(settle.charged and settle.report.outcome is Outcome.out_of_memory for settle in counted),
            preemptions=sum(settle.report.outcome is Outcome.preempted for settle in self._attempts[job, position]),
        )

    def _durations(self, job: Job) -> tuple[float, ...]:
        """How long the newest attempts took that succeeded: of the job, then of earlier ones of its name."""
        same = {one for one, submit in self._submits.items() if one <= job.id and submit.job.spec.name == job.spec.name}
        tasks = sorted((task for task in self._attempts if task[0] in same), reverse=True)
        newest = [settle for task in tasks for settle in reversed(self._attempts[task])][:LOOKED_AT]
        took = [
            settle.report.ended_at - settle.report.started_at
            for settle in newest
            if settle.state is TaskState.succeeded and settle.report.started_at > 0
        ]
        return tuple(took[:DURATIONS])

    def _as_of_now(self, settle: Settle) -> Settle:
        if settle.report.attempt in self._past:
            return msgspec.structs.replace(settle, state=TaskState.ready, charged=False)
        return settle


def _cut(spans: list[_Spanned], lo: int, hi: int) -> list[_Spanned]:
    """What remains of the spans without the positions `lo` … `hi`-1."""
    return [
        msgspec.structs.replace(span, lo=first, hi=last)
        for span in spans
        for first, last in ((span.lo, min(span.hi, lo)), (max(span.lo, hi), span.hi))
        if first < last
    ]


def _spans_of(spans: Mapping[int, Iterable[_Spanned]], jobs: Iterable[int]) -> tuple[_Spanned, ...]:
    """Those of some of the jobs, by job and position."""
    return tuple(one for job in sorted(jobs) for one in sorted(spans.get(job, ()), key=lambda span: span.lo))


def _reaching(spans: Iterable[_Spanned], within: Span) -> tuple[_Spanned, ...]:
    """Those that hold a position of the span."""
    return tuple(span for span in spans if span.lo < within.hi and span.hi > within.lo)


def _by_place(grant: Grant) -> tuple[int, ...]:
    return grant.job, grant.lo, grant.number, grant.epoch
