"""Jobs that come from job classes: how their calls enter the queue, and what their parents hear of them.

Of each task that has deferred or enqueued something there is a record among the values that tasks share, which is
written in the same transaction as what has entered.

What belongs here: answers to the questions of `functions.family`. What must not: the words of job classes.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from itertools import count, groupby
from time import time
from typing import Any

import msgspec

from pilotfish.errors import UserError
from pilotfish.functions.family import FAMILY_QUESTIONS, Enter, Fate, Fates, Life, Member, Trials
from pilotfish.manager.schedules import SCHEDULE
from pilotfish.manager.talk import Talk
from pilotfish.model.attempts import Report
from pilotfish.model.changes import Change, Finish, Settle, Submit
from pilotfish.model.events import Command, Event, Grown, Submitted
from pilotfish.model.jobs import Job, JobSpec, task_name
from pilotfish.model.states import TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.store.base import Store

__all__ = ["Offspring", "free_name", "job_for", "same_calls"]

_Tell = Callable[[Event], Sequence[Command]]


class _Record(msgspec.Struct, array_like=True):
    """What is kept of a task that has deferred, or has enqueued something."""

    deferrals: int = 0
    first: float = 0.0
    """When its first trial began."""
    entered: Member | None = None
    """The trial whose calls entered last: its deferrals and failures."""
    children: list[tuple[int, int, int]] = []
    """Where they are: job, and the positions from the first to the one behind the last."""


class Offspring:
    """Enters the calls of job classes, and knows whose children they are.

    Args:
        scheduler: that gets them.
        store: knows how children have ended in earlier runs.
        talk: keeps the records.
        record: makes a submission durable.
        new_job: a number for a job that is not there yet; None: the first that is free in the store.

    """

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        talk: Talk,
        *,
        record: Callable[[Change], None],
        new_job: Callable[[], int] | None,
    ) -> None:
        """Nothing is known yet."""
        self._scheduler, self._store, self._talk, self._record = scheduler, store, talk, record
        self._new_job = new_job or self._free_number
        self._jobs: dict[bytes, int] = {}
        """By their packed specs."""
        self._reports: dict[Member, Report] = {}
        """Of children that have ended in this run."""
        self._awaited: set[Member] = set()
        """Children that have entered in this run, and whose parents have not ended."""

    def hear(self, name: str, arguments: dict[str, object], tell: _Tell) -> Any:  # noqa: ANN401 - plain data
        """Answer a question of `functions.family`. Raises UserError where there is something wrong with it."""
        try:
            question = msgspec.convert(arguments, FAMILY_QUESTIONS[name], builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise UserError(f"question `{name}`: {error}") from error
        match question:
            case Enter(parent=parent):
                entered = self._grow(question, tell) if parent is None else self._end_trial(question, parent, tell)
                return [self._name(job, position) for job, lo, hi in entered for position in range(lo, hi)]
            case Trials(task):
                return msgspec.structs.asdict(self._past(task))
            case Fates(task):
                return msgspec.to_builtins(self._ends(task), builtin_types=(bytes,))

    def ended(self, end: Settle | Finish) -> None:
        """A task is final: remember it for its parent, and forget its own children where it has succeeded."""
        if isinstance(end, Settle) and self._awaited:
            task = end.report.attempt.job, end.report.attempt.position
            if task in self._awaited:
                self._reports[task] = end.report
            if end.state is TaskState.succeeded:
                children = set(self._tasks(task))
                self._awaited -= children
                for child in children:
                    self._reports.pop(child, None)

    # Entering

    def _end_trial(self, question: Enter, parent: Member, tell: _Tell) -> list[tuple[int, int, int]]:
        record, trial = self._read(parent), question.trial
        if trial == record.entered or trial != (record.deferrals, self._scheduler.tries(*parent)):
            return []
        entered = self._grow(question, tell)
        for job, lo, hi in entered:
            self._awaited.update((job, position) for position in range(lo, hi))
        record.children += entered
        record.entered = trial
        record.deferrals += question.deferred
        record.first = record.first or question.began
        self._talk.write(_key(parent), msgspec.msgpack.encode(record))
        return entered

    def _grow(self, question: Enter, tell: _Tell) -> list[tuple[int, int, int]]:
        """Add the calls to their jobs: where they are then, in their order."""
        jobs = [self._job_of(packed, tell) for packed in question.specs]
        entered = []
        for place, group in groupby(question.calls, key=lambda call: call[0]):
            job, calls = jobs[place], tuple(call for _, call in group)
            lo = self._scheduler.count(job)
            tell(Grown(job, calls))
            entered.append((job, lo, lo + len(calls)))
        return entered

    def _job_of(self, packed: bytes, tell: _Tell) -> int:
        if packed not in self._jobs:
            found = job_for(msgspec.msgpack.decode(packed, type=JobSpec), self._scheduler.jobs.values())
            if isinstance(found, JobSpec):
                submit = Submit(Job(self._new_job(), found, (), time()))
                self._record(submit)
                tell(Submitted((submit,)))
                found = submit.job.id
            self._jobs[packed] = found
        return self._jobs[packed]

    def _free_number(self) -> int:
        known = [*self._scheduler.jobs, *(submit.job.id for submit in self._store.submits())]
        return 1 + max(known, default=0)

    # Looking

    def _past(self, task: Member) -> Life:
        record = self._read(task)
        states = {job: bytes(self._scheduler.states(job)) for job in {job for job, _, _ in record.children}}
        counts = {
            state.name: count
            for state in TaskState
            if (count := sum(states[job].count(state, lo, hi) for job, lo, hi in record.children))
        }
        return Life(record.deferrals, self._scheduler.tries(*task), record.first, counts)

    def _ends(self, task: Member) -> list[Fate]:
        children = self._tasks(task)
        missing = [child for child in children if child not in self._reports]
        reports = {_task(settle.report): settle.report for settle in self._store.results(missing)} | self._reports
        ends = []
        for job, position in children:
            state, report = self._scheduler.state(job, position), reports.get((job, position))
            succeeded = state is TaskState.succeeded
            reason = "" if report is None or succeeded else report.reason or report.outcome.value
            result = report.result if report is not None and succeeded else b""
            ends.append(Fate(self._name(job, position), state.name, reason, result))
        return ends

    def _tasks(self, parent: Member) -> list[Member]:
        return [(job, position) for job, lo, hi in self._read(parent).children for position in range(lo, hi)]

    def _read(self, task: Member) -> _Record:
        _, packed = self._talk.read(_key(task))
        return msgspec.msgpack.decode(packed, type=_Record) if isinstance(packed, bytes) else _Record()

    def _name(self, job: int, position: int) -> str:
        return task_name(self._scheduler.jobs[job], position)


def job_for(spec: JobSpec, jobs: Iterable[Job]) -> int | JobSpec:
    """The job that calls of this spec belong to: its id, or the spec of one to be submitted, with a name of its own.

    Raises UserError where the jobs are those of a job file: calls of functions do not belong among them.
    """
    everything = list(jobs)
    known = [job for job in everything if not job.origin]
    if known and not any(job.spec.function for job in known):
        raise UserError("the campaign is that of a job file; name another one with --campaign")
    for job in known:
        if same_calls(job.spec, spec) and _is_called(job, spec.name):
            return job.id
    taken = {job.spec.name for job in everything if not job.origin or job.origin.startswith(SCHEDULE)}
    return msgspec.structs.replace(spec, name=free_name(spec.name, taken))


def same_calls(one: JobSpec, other: JobSpec) -> bool:
    """Whether two jobs that calls are added to differ at most in their names, and in how many they have."""
    return msgspec.structs.replace(one, name=other.name, array=other.array) == other


def free_name(name: str, taken: Container[str]) -> str:
    """A name, or where it is in use the first of ``NAME-2``, ``NAME-3`` and so on that is not."""
    if name not in taken:
        return name
    return next(found for number in count(2) if (found := f"{name}-{number}") not in taken)


def _is_called(job: Job, name: str) -> bool:
    """So, or with a number behind it because another job had the name."""
    given, _, number = job.spec.name.rpartition("-")
    return job.spec.name == name or (given == name and number.isdecimal())


def _key(task: Member) -> str:
    return f"family/{task[0]}:{task[1]}"


def _task(report: Report) -> Member:
    return report.attempt.job, report.attempt.position
