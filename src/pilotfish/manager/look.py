"""One look at a campaign, to answer one question: from scheduler, store and records to rows.

What belongs here: finding tasks and making rows of them. What must not: questions (:mod:`pilotfish.manager.api`),
the shapes of rows (:mod:`pilotfish.manager.answers`), wording.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec

from pilotfish.formats.placeholders import Template, task_values
from pilotfish.manager.answers import (
    AfterRow,
    AttemptRow,
    JobRow,
    JobView,
    OutputRow,
    Place,
    RequestRow,
    RetriesRow,
    SignalRow,
    TaskRow,
    TaskView,
)
from pilotfish.manager.naming import Named, array_words, find, task_id
from pilotfish.manager.records import Records
from pilotfish.manager.schedules import Schedules
from pilotfish.model.attempts import AttemptId, OutputRef
from pilotfish.model.changes import Finish, Hold, Settle, Submit
from pilotfish.model.events import Explanation
from pilotfish.model.jobs import Job, Span, task_name
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.model.states import FINAL, TaskState
from pilotfish.store.base import Store

__all__ = ["Look", "Standing", "View"]

_RUNNING = frozenset({TaskState.running, TaskState.stopping})
_TAIL = 4096
"""Bytes at the end of an output in which its last line is looked for."""
_LONGEST_LINE = 200
_AS_SUBMITTED = (
    "env", "estimate", "grace", "hold", "max_fails", "max_parallel", "memory_growth", "modules", "on_lost",
    "output_limit", "priority", "setup", "stderr", "stdin", "stdout", "time", "uses", "venv",
)  # fmt: skip
"""What a view of a job takes over from it as it is."""


class Standing(Protocol):
    """What is known of the tasks of current jobs: by a living scheduler, or by :class:`Records`."""

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The current jobs by id."""

    def state(self, job: int, position: int) -> TaskState:
        """The state of one task."""

    def states(self, job: int) -> Sequence[int]:
        """The states of all tasks of a job, by position."""

    def counts(self, job: int) -> Mapping[TaskState, int]:
        """How many tasks of a job are in each state."""

    def holder(self, job: int, position: int) -> tuple[str, int, AttemptId] | None:
        """The node and lane of a running task, and its attempt."""

    def head(self, node: str, lane: int) -> AttemptId | None:
        """The attempt that a lane runs now: those behind it have not started. None where nobody can tell."""

    def explain(self, job: int, position: int, now: float) -> Explanation:
        """Why a task that has not ended is where it is, and when it will probably start."""


class View(msgspec.Struct, frozen=True):
    """What answers are made from."""

    scheduler: Standing
    store: Store
    folder: Path
    """Of the campaign."""
    live: bool
    """A manager runs the campaign."""
    now: float
    schedules: Schedules | None = None
    """None: there are none."""


class Look:
    """What a view shows, read at most once and only where it is needed."""

    def __init__(self, view: View) -> None:
        """Nothing is read yet."""
        self.view = view
        self.current = view.scheduler.jobs
        self._finishes: dict[int, Sequence[Finish]] = {}

    @cached_property
    def submits(self) -> Mapping[int, Submit]:
        """All jobs ever submitted."""
        return {submit.job.id: submit for submit in self.view.store.submits()}

    def find(self, text: str) -> Named:
        """The job or task that a user means. Raises UserError."""
        return find(text, self.current, {number: submit.job for number, submit in self.submits.items()})

    def standing(self, job: int) -> Standing:
        """Who knows the tasks of this job: of a retired one only the records."""
        return self.view.scheduler if job in self.current else self._records

    @cached_property
    def _records(self) -> Records:
        return Records(self.view.store, self.view.now)

    def origin(self, job: int, position: int) -> tuple[int, int]:
        """The task that really ran: that of an earlier run, where its success is kept for this one."""
        for kept in self.submits[job].kept:
            if kept.span.lo <= position < kept.span.hi:
                return self.origin(kept.from_job, kept.from_lo + position - kept.span.lo)
        return job, position

    def rows(self, tasks: Sequence[tuple[Job, int, int]]) -> list[TaskRow]:
        """A row for each (job, position, state)."""
        origins = [self.origin(job.id, position) for job, position, _ in tasks]
        newest = {_task(settle): settle for settle in self.view.store.results(origins)}
        rows = [
            self._row(job, position, TaskState(state), (origin, newest.get(origin)))
            for (job, position, state), origin in zip(tasks, origins, strict=True)
        ]
        self._mark_held([(row, task) for row, task in zip(rows, tasks, strict=True) if task[2] not in FINAL])
        return rows

    def row(self, job: Job, position: int) -> TaskRow:
        """One task."""
        return self.rows([(job, position, self.standing(job.id).state(job.id, position))])[0]

    def task(self, job: Job, position: int) -> TaskView:
        """All that is known of one task."""
        row = self.row(job, position)
        attempts = self.view.store.attempts(*self.origin(job.id, position))
        values = self._values(job, position, row.attempt or 1)
        why = self.why(job, position)
        return TaskView(
            **msgspec.structs.asdict(row),
            command=_filled_command(job, values),
            cwd=_filled(job.spec.cwd, values),
            why=why.reason,
            starts_at=why.starts_at,
            attempts=[self._attempt(settle) for settle in attempts],
        )

    def why(self, job: Job, position: int) -> Explanation:
        """Why a task that has not ended is where it is; without words for one that has."""
        standing = self.standing(job.id)
        if standing.state(job.id, position) in FINAL:
            return Explanation("")
        return standing.explain(job.id, position, self.view.now)

    def holds(self, job: int, span: Span) -> Sequence[Hold]:
        """What is held of a job, at least within the span; also tasks that have ended."""
        return self.view.store.survey(job, span).holds

    def held(self, tasks: Iterable[tuple[Job, int, int]]) -> Iterator[tuple[Job, int, int]]:
        """Those of the tasks, as (job, position, state), that are held back."""
        spans: dict[int, list[Hold]] = {}
        for hold in self.view.store.survey().holds:
            spans.setdefault(hold.job, []).append(hold)
        for job, position, state in tasks:
            if state not in FINAL and any(hold.lo <= position < hold.hi for hold in spans.get(job.id, ())):
                yield job, position, state

    def job(self, job: Job) -> JobView:
        """What was submitted."""
        spec = job.spec
        schedule, due = self._schedule(job)
        successors = [later.job.id for later in self.submits.values() if later.replaces == job.id]
        return JobView(
            id=job.id,
            name=spec.name,
            tasks=spec.count,
            current=job.id in self.current,
            replaced_by=successors[0] if successors else None,
            submitted_at=job.submitted_at,
            command=spec.command if isinstance(spec.command, str) else list(spec.command),
            directory=spec.directory,
            cwd=spec.cwd,
            array=array_words(job),
            after=[
                AfterRow(dependency.on, on, dependency.when, dependency.each)
                for dependency, on in zip(spec.after, job.depends_on, strict=True)
            ],
            requests=[_request(request) for request in spec.requests],
            retries=RetriesRow(**msgspec.structs.asdict(spec.retries)),
            signal=None if spec.signal is None else SignalRow(spec.signal.number, spec.signal.before),
            start_after=job.start_time or None,
            schedule=schedule,
            due=due,
            **{name: getattr(spec, name) for name in _AS_SUBMITTED},
        )

    def counts(self, job: Job) -> JobRow:
        """One job with the states of its tasks."""
        counts = self.standing(job.id).counts(job.id)
        by_name = {state.name: count for state, count in counts.items() if count}
        schedule, due = self._schedule(job)
        return JobRow(
            id=job.id, name=job.spec.name, tasks=job.spec.count, counts=by_name, schedule=schedule, due=due
        )  # fmt: skip

    def _schedule(self, job: Job) -> tuple[str | None, float | None]:
        schedules = self.view.schedules
        return (None, None) if schedules is None else schedules.of(job.id) or (None, None)

    def outputs(self, tasks: Sequence[tuple[Job, int, int]], attempt: int | None) -> list[OutputRow]:
        """Where the outputs of one attempt of each (job, position, state) lie; None: of the newest."""
        origins = [self.origin(job.id, position) for job, position, _ in tasks]
        if attempt is None:
            settles = self.view.store.results(origins)
        else:
            every = (settle for origin in origins for settle in self.view.store.attempts(*origin))
            settles = tuple(settle for settle in every if settle.report.attempt.number == attempt)
        ended = {_task(settle): settle for settle in settles}
        return [
            self._output(job, position, TaskState(state), (attempt, ended.get(origin)))
            for (job, position, state), origin in zip(tasks, origins, strict=True)
        ]

    def last_line(self, job: Job, position: int) -> str:
        """The last line that the newest attempt of a task wrote to stderr, or to stdout where that is the same file."""
        settles = self.view.store.results([self.origin(job.id, position)])
        if not settles:
            return ""
        report = settles[0].report
        place = self._place(
            report.stderr or (report.stdout if job.spec.stderr in ("stdout", job.spec.stdout) else None)
        )
        return "" if place is None else _last_line(place)

    def _row(self, job: Job, position: int, state: TaskState, ran: tuple[tuple[int, int], Settle | None]) -> TaskRow:
        origin, newest = ran
        row = TaskRow(
            id=task_id(job, position),
            name=task_name(job, position),
            job=job.id,
            index=job.spec.index(position),
            value=", ".join(job.spec.row(position)) if job.spec.columns else None,
            state=state.name,
            attempt=None,
            kept_from=task_id(self.submits[origin[0]].job, origin[1]) if origin[0] != job.id else None,
        )
        if state in _RUNNING and (holder := self.standing(job.id).holder(job.id, position)) is not None:
            row.node, _, attempt = holder
            row.attempt = attempt.number
        elif newest is not None:
            _describe(row, newest)
        if state in FINAL and (newest is None or newest.state is not state):
            row.reason = self._finish_reason(job.id, position)
        return row

    def _mark_held(self, rows: Sequence[tuple[TaskRow, tuple[Job, int, int]]]) -> None:
        by_job: dict[int, list[tuple[int, TaskRow]]] = {}
        for row, (job, position, _) in rows:
            by_job.setdefault(job.id, []).append((position, row))
        for number, unfinished in by_job.items():
            holds = self.holds(number, Span(unfinished[0][0], unfinished[-1][0] + 1))
            for position, row in unfinished if holds else ():
                reasons = (hold.reason or "held" for hold in holds if hold.lo <= position < hold.hi)
                row.held = next(reasons, None)

    def _output(self, job: Job, position: int, state: TaskState, which: tuple[int | None, Settle | None]) -> OutputRow:
        attempt, settle = which
        row = OutputRow(id=task_id(job, position), name=task_name(job, position), state=state.name)
        holder = self.standing(job.id).holder(job.id, position) if state in _RUNNING else None
        if holder is not None and attempt in (None, holder[2].number):
            node, lane, held = holder
            row.attempt, row.running, row.node = held.number, True, node
            if self.standing(job.id).head(node, lane) == held:
                values = self._values(job, position, held.number)
                row.stdout, row.stderr = _growing(job.spec.stdout, values), _growing(job.spec.stderr, values)
                row.lane = lane
        elif settle is not None:
            row.attempt, row.node = settle.report.attempt.number, settle.node
            row.stdout, row.stderr = self._place(settle.report.stdout), self._place(settle.report.stderr)
        return row

    def _values(self, job: Job, position: int, number: int) -> dict[str, str]:
        """What placeholders stand for; ``{cores}`` of an attempt that runs for those that it was given."""
        grants = self.view.store.survey(job.id, Span(position, position + 1)).grants
        cores = next((len(grant.slots.cores) for grant in grants if grant.number == number), None)
        return task_values(job.id, job.spec, position, number, cores=cores)

    def _finish_reason(self, job: int, position: int) -> str:
        if job not in self._finishes:
            self._finishes[job] = self.view.store.finishes(job)
        reasons = (finish.reason for finish in self._finishes[job] if finish.lo <= position < finish.hi)
        return next(reasons, "")

    def _attempt(self, settle: Settle) -> AttemptRow:
        report = settle.report
        return AttemptRow(
            number=report.attempt.number,
            outcome=report.outcome,
            code=report.code,
            reason=report.reason,
            state=settle.state.name,
            charged=settle.charged,
            started_at=report.started_at or None,
            ended_at=report.ended_at,
            cpu_seconds=report.cpu_seconds,
            peak_rss=report.peak_rss,
            node=settle.node,
            stdout=self._place(report.stdout),
            stderr=self._place(report.stderr),
        )

    def _place(self, ref: OutputRef | None) -> Place | None:
        # An absolute path stays as it is.
        return None if ref is None else Place(str(self.view.folder / "outputs" / ref.file), ref.offset, ref.length)


def _request(request: Request) -> RequestRow:
    return RequestRow(
        cores=request.cores / ONE,
        most_cores=None if request.most_cores is None else request.most_cores / ONE,
        memory=request.memory,
        gpus=request.gpus / ONE,
        nodes=request.nodes,
        exclusive=request.exclusive,
        resources={name: amount / ONE for name, amount in request.resources},
        labels=request.labels,
        words=str(request),
    )


def _task(settle: Settle) -> tuple[int, int]:
    return settle.report.attempt.job, settle.report.attempt.position


def _describe(row: TaskRow, settle: Settle) -> None:
    """Fill in what is known of the newest attempt."""
    report = settle.report
    row.attempt, row.outcome, row.code, row.reason = report.attempt.number, report.outcome, report.code, report.reason
    row.started_at, row.ended_at = report.started_at or None, report.ended_at
    row.cpu_seconds, row.peak_rss, row.node = report.cpu_seconds, report.peak_rss, settle.node


def _growing(path: str | None, values: Mapping[str, str]) -> Place | None:
    """Where a running attempt writes what the user wants in a file of their own."""
    return None if path in (None, "stdout") else Place(_filled(path, values), 0, None)


def _filled_command(job: Job, values: Mapping[str, str]) -> str | list[str]:
    command = job.spec.command
    if isinstance(command, str):
        return Template.compile(command, quoted=True).render(values)
    return [_filled(word, values) for word in command]


def _filled(text: str, values: Mapping[str, str]) -> str:
    return Template.compile(text, quoted=False).render(values)


def _last_line(place: Place) -> str:
    """The last line that says something, without what a terminal would obey."""
    length = place.length or 0
    try:
        with Path(place.path).open("rb") as file:
            file.seek(place.offset + max(0, length - _TAIL))
            tail = file.read(min(length, _TAIL)).decode(errors="replace")
    except OSError:
        return ""
    lines = ("".join(filter(str.isprintable, line)).strip() for line in reversed(tail.splitlines()))
    return next(filter(None, lines), "")[:_LONGEST_LINE]
