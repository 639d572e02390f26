"""What the tables of an SQLite store mean: changes to rows, rows to values. One connection, no thread, no file.

What belongs here: the encoding of values and the order in which changes take effect. What must not: transactions,
locks, waiting. The statements themselves stand in ``sql/statements.sql``.
"""

import sqlite3
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.changes import (
    Cancel,
    Change,
    Finish,
    Forget,
    Grant,
    Grow,
    Hold,
    Part,
    Put,
    Release,
    Revive,
    Settle,
    Snapshot,
    Submit,
    Survey,
    TaskRecord,
)
from pilotfish.model.jobs import Span
from pilotfish.model.resources import Slots
from pilotfish.model.states import FINAL, Outcome, TaskState
from pilotfish.store.base import DURATIONS, LOOKED_AT, followed_jobs, origins
from pilotfish.store.sql import repeated, statements

__all__ = ["Tables"]

_Row: TypeAlias = tuple[Any, ...]

_COLUMNS = {"add_calls": 4, "add_grants": 9, "add_attempts": 23, "put_values": 3}
_ROWS_AT_ONCE = 32
"""Of one INSERT. Each statement gives up the interpreter's lock and must win it back from a busy manager."""
_CALLS_IN_A_ROW = 1000
"""At most: SQLite takes no value of more than 1 GB, and what is packed together goes together."""

_STATE_NAMES = [state.name for state in sorted(TaskState)]
_STATES = {state.name: state for state in TaskState}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_NO_OUTPUT = (None, None, None)
_CUT_GRANTS = "keep_grant_behind", "remove_grants_inside", "shorten_grant_before"
_CUT_FINISHES = "keep_finish_behind", "remove_finishes_inside", "shorten_finish_before"
_CUT_FLAGS = "keep_flag_behind", "remove_flags_inside", "shorten_flag_before"

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack_calls = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode
_decode_submit = msgspec.json.Decoder(Submit).decode
_decode_slots = msgspec.json.Decoder(Slots).decode
_decode_beside = msgspec.json.Decoder(tuple[Part, ...]).decode
_decode_positions = msgspec.json.Decoder(list[int]).decode


class Tables:
    """The content of one store, through a connection whose transactions somebody else begins and ends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """The schema must be the newest one."""
        self._connection = connection
        self._sql = statements()
        self._inserts: dict[tuple[str, int], str] = {}
        # Supersets are enough, so that a transaction that is rolled back does no harm.
        self._finished_jobs: set[int] = {job for (job,) in self._run("finished_jobs")}
        self._cancelled_jobs: set[int] = {job for (job,) in self._run("cancelled_jobs")}

    def epoch(self) -> int:
        """Of the newest owner."""
        (epoch,) = self._run("epoch").fetchone()
        return int(epoch)

    def raise_epoch(self) -> int:
        """Enter a new owner and tidy up behind the old one; the new epoch."""
        self._run("raise_epoch")
        self._run("prune")
        self._run("prune_values")
        return self.epoch()

    def apply(self, changes: Sequence[Change]) -> None:
        """Let changes take effect in their order.

        Calls, grants, settled attempts and values touch different tables and are gathered; every other change
        sees what came before it.
        """
        gathered: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        calls, grants, attempts, values = gathered.values()
        for change in changes:
            if isinstance(change, Settle) and not self._has_spans(change.report.attempt.job):
                attempts += _attempt_row(change)
            elif isinstance(change, Grant):
                grants += _grant_row(change)
            elif isinstance(change, Grow):
                calls += _call_rows(change)
            elif isinstance(change, Put):
                values += msgspec.structs.astuple(change)
            else:
                self._insert(gathered)
                self._apply_alone(change)
        self._insert(gathered)

    def load(self) -> Snapshot:
        """All that a new manager must know."""
        submits = self.current()
        return Snapshot(
            submits=submits,
            tasks=tuple(
                [
                    TaskRecord(job, position, _STATES[state], *counts)
                    for job, position, state, *counts in self._run("current_tasks")
                ]
            ),
            finishes=tuple(map(_finish_of_row, self._run("current_finishes"))),
            grants=self._open_grants("current_grants", ()),
            holds=self._holds("current_holds", ()),
            cancels=tuple(Cancel(*row) for row in self._run("current_cancels")),
            durations=self._durations(submits),
            nodes={job: self.nodes(job) for job in followed_jobs(submits)},
            values=self.values(""),
        )

    def submits(self) -> tuple[Submit, ...]:
        """All jobs ever submitted, by ascending id."""
        return tuple(_submit_of_row(*row) for row in self._run("submits"))

    def attempts(self, job: int, position: int) -> tuple[Settle, ...]:
        """All settled attempts of a task, oldest first."""
        return tuple(map(_settle_of_row, self._run("attempts", (job, position))))

    def finishes(self, job: int) -> tuple[Finish, ...]:
        """The ends without an attempt that hold for tasks of the job, by position."""
        return tuple(map(_finish_of_row, self._run("finishes", (job,))))

    def current(self) -> tuple[Submit, ...]:
        """The jobs that were neither replaced nor forgotten, by ascending id."""
        return tuple(_submit_of_row(*row) for row in self._run("current_submits"))

    def survey(self, job: int | None, span: Span | None) -> Survey:
        """The standing of all tasks of the current jobs, or of a span of any one job."""
        within = span or Span(0, sys.maxsize)
        kind, values = ("current", ()) if job is None else ("span", (job, within.lo, within.hi))
        states: dict[int, list[tuple[TaskState, list[int]]]] = {}
        for of_job, state, _number, positions in self._run(f"{kind}_states", values):
            states.setdefault(of_job, []).append((_STATES[state], _decode_positions(f"[{positions}]")))
        return Survey(
            states=states,
            finishes=tuple(map(_finish_of_row, self._run(f"{kind}_finishes", values))),
            grants=self._open_grants(f"{kind}_grants", values),
            holds=self._holds(f"{kind}_holds", values),
        )

    def results(self, tasks: Sequence[tuple[int, int]]) -> tuple[Settle, ...]:
        """The newest settled attempt of each of these tasks, as (job, position), that has one; in their order."""
        rows = (self._run("result", task).fetchone() for task in tasks)
        return tuple(_settle_of_row(row) for row in rows if row is not None)

    def calls(self, job: int, span: Span | None) -> dict[int, bytes]:
        """The arguments of calls of a job, or of a span of it, by position."""
        within = span or Span(0, sys.maxsize)
        return {
            position: arguments
            for lo, packed in self._run("calls", (job, within.lo, within.hi))
            for position, arguments in enumerate(_unpack_calls(packed), lo)
            if within.lo <= position < within.hi
        }

    def nodes(self, job: int) -> dict[int, str]:
        """Where tasks of a job ran last, by position; of those that were kept, where they ran then."""
        return {
            position - shift: node
            for origin, span, shift in origins(self._submit(job), self._submit)
            for position, node, _number in self._run("nodes", (origin, span.lo, span.hi))
        }

    def values(self, prefix: str) -> tuple[Put, ...]:
        """The values of the keys that begin so, by key."""
        return tuple(Put(*row) for row in self._run("values", (prefix,)))

    def _submit(self, job: int) -> Submit:
        return _submit_of_row(*self._run("submit", (job,)).fetchone())

    def _run(self, name: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(self._sql[name], values)

    def _insert(self, gathered: dict[str, list[Any]]) -> None:
        """Write the rows that were gathered for each statement, and forget them."""
        for name, values in gathered.items():
            columns = _COLUMNS[name]
            step = _ROWS_AT_ONCE * columns
            for start in range(0, len(values), step):
                part = values[start : start + step]
                key = name, len(part) // columns
                if key not in self._inserts:
                    self._inserts[key] = repeated(self._sql[name], key[1])
                self._connection.execute(self._inserts[key], part)
            values.clear()

    def _has_spans(self, job: int) -> bool:
        """Whether it may have spans that the end of an attempt cuts."""
        return job in self._finished_jobs or job in self._cancelled_jobs

    def _apply_alone(self, change: Change) -> None:
        match change:
            case Settle():
                self._settle(change)
            case Release():
                self._cut(_CUT_GRANTS, msgspec.structs.asdict(change))
            case Finish(job=job, lo=lo, hi=hi):
                self._cut_finishes(job, lo, hi)
                self._uncancel(job, lo, hi)
                self._run("add_finish", {**msgspec.structs.asdict(change), "state": change.state.name})
                self._finished_jobs.add(job)
            case Revive(job=job, lo=lo, hi=hi):
                self._run("revive_attempts", msgspec.structs.asdict(change))
                self._cut_finishes(job, lo, hi, spared=TaskState.succeeded.name)
                self._uncancel(job, lo, hi)
            case Hold(held=held):
                self._flag("held", change, flagged=held)
            case Cancel(job=job):
                self._flag("cancelled", change, flagged=True)
                self._cancelled_jobs.add(job)
            case Submit():
                self._run("add_job", (change.job.id, change.job.spec.name, _encode(change).decode()))
                self._run("retire_job", (change.replaces,))
            case Forget():
                self._run("retire_job", (change.job,))

    def _settle(self, settle: Settle) -> None:
        """Its task had ended without an attempt, or was to end; if this is news, it is what holds."""
        job, position = settle.report.attempt.job, settle.report.attempt.position
        if self._run("add_attempts", _attempt_row(settle)).rowcount == 1:
            self._cut_finishes(job, position, position + 1)
            if settle.state in FINAL:
                self._uncancel(job, position, position + 1)

    def _flag(self, kind: str, change: Hold | Cancel, *, flagged: bool) -> None:
        span = {**msgspec.structs.asdict(change), "kind": kind}
        self._cut(_CUT_FLAGS, span)
        if flagged:
            self._run("add_flag", span)

    def _uncancel(self, job: int, lo: int, hi: int) -> None:
        if job in self._cancelled_jobs:
            self._cut(_CUT_FLAGS, {"kind": "cancelled", "job": job, "lo": lo, "hi": hi})

    def _cut_finishes(self, job: int, lo: int, hi: int, *, spared: str = "") -> None:
        self._cut(_CUT_FINISHES, {"job": job, "lo": lo, "hi": hi, "spared": spared})

    def _cut(self, steps: Sequence[str], span: dict[str, Any]) -> None:
        for step in steps:
            self._run(step, span)

    def _holds(self, name: str, values: Sequence[int]) -> tuple[Hold, ...]:
        return tuple(Hold(job, lo, hi, reason=reason) for job, lo, hi, reason in self._run(name, values))

    def _durations(self, submits: Sequence[Submit]) -> dict[int, tuple[float, ...]]:
        found = {}
        for submit in submits:
            job = submit.job
            if submit.replaces is not None or job.spec.count > 1:
                asked = {"name": job.spec.name, "job": job.id, "looked_at": LOOKED_AT, "wanted": DURATIONS}
                if rows := self._run("durations", asked).fetchall():
                    found[job.id] = tuple([duration for (duration,) in rows])
        return found

    def _open_grants(self, name: str, values: Sequence[int]) -> tuple[Grant, ...]:
        grants = []
        for node, lane, slots, beside, job, lo, hi, number, epoch in self._run(name, values).fetchall():
            given, further = _decode_slots(slots), () if beside is None else _decode_beside(beside)
            start = lo
            for end in [*(p for (p,) in self._run("ended_of_grant", (job, lo, hi, number, epoch))), hi]:
                if start < end:
                    grants.append(Grant(node, lane, given, job, start, end, number, epoch, further))
                start = end + 1
        return tuple(sorted(grants, key=lambda grant: (grant.job, grant.lo, grant.number, grant.epoch)))


def _submit_of_row(text: str, calls: int | None) -> Submit:
    submit = _decode_submit(text)
    return submit if calls is None else msgspec.structs.replace(submit, job=submit.job.grown(calls))


def _call_rows(grow: Grow) -> list[Any]:
    rows: list[Any] = []
    for start in range(0, len(grow.calls), _CALLS_IN_A_ROW):
        part = grow.calls[start : start + _CALLS_IN_A_ROW]
        rows += (grow.job, grow.lo + start, grow.lo + start + len(part), _pack(part))
    return rows


def _grant_row(grant: Grant) -> _Row:
    slots = _encode(grant.slots).decode()
    beside = _encode(grant.beside).decode() if grant.beside else None
    return (grant.job, grant.number, grant.epoch, grant.lo, grant.hi, grant.node, grant.lane, slots, beside)


def _attempt_row(settle: Settle) -> _Row:
    # Plain strings and integers: sqlite3 takes a slow way for members of enumerations and for booleans.
    report = settle.report
    attempt = report.attempt
    return (
        attempt.job,
        attempt.position,
        attempt.number,
        attempt.epoch,
        _STATE_NAMES[settle.state],
        1 if settle.charged else 0,
        1 if report.outcome is Outcome.lost else 0,
        settle.node,
        report.lane,
        str(report.outcome),
        report.code,
        report.started_at,
        report.ended_at,
        report.cpu_seconds,
        report.peak_rss,
        *(msgspec.structs.astuple(report.stdout) if report.stdout else _NO_OUTPUT),
        *(msgspec.structs.astuple(report.stderr) if report.stderr else _NO_OUTPUT),
        report.reason,
        report.result or None,
    )


def _settle_of_row(row: _Row) -> Settle:
    report = Report(
        attempt=AttemptId(*row[:4]),
        lane=row[8],
        outcome=_OUTCOMES[row[9]],
        code=row[10],
        started_at=row[11],
        ended_at=row[12],
        cpu_seconds=row[13],
        peak_rss=row[14],
        stdout=None if row[15] is None else OutputRef(*row[15:18]),
        stderr=None if row[18] is None else OutputRef(*row[18:21]),
        reason=row[21],
        result=row[22] or b"",
    )
    return Settle(report=report, node=row[7], state=_STATES[row[4]], charged=bool(row[5]))


def _finish_of_row(row: _Row) -> Finish:
    job, lo, hi, state, reason = row
    return Finish(job, lo, hi, _STATES[state], reason)
