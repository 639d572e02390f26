"""What a store should remember, told task by task: slow, and too simple to be wrong."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from pilotfish.model.changes import (
    Cancel,
    Change,
    Finish,
    Forget,
    Grant,
    Grow,
    Hold,
    Part,
    Release,
    Revive,
    Settle,
    Snapshot,
    Submit,
    Survey,
    TaskRecord,
)
from pilotfish.model.jobs import Span
from pilotfish.model.states import FINAL, Outcome, TaskState
from pilotfish.store.base import DURATIONS, Store

END_WITHOUT_SUCCESS = {TaskState.failed, TaskState.cancelled, TaskState.skipped}

Place = tuple[int, int]
"""Job and position."""

Granted = tuple[int, int, str, int, tuple[Part, ...]]
"""Number, epoch, node, lane, what it holds on other nodes."""


class Task:
    def __init__(self) -> None:
        self.settles: list[Settle] = []
        self.state: TaskState | None = None
        """What the newest attempt made of it."""
        self.tries = self.losses = self.shortages = self.preemptions = 0
        self.finish: tuple[TaskState, str] | None = None
        self.grant: Granted | None = None
        self.hold: str | None = None
        self.cancel: str | None = None

    @property
    def next_number(self) -> int:
        return 1 + len(self.settles)

    def settle(self, settle: Settle) -> None:
        attempt = settle.report.attempt
        if attempt in [one.report.attempt for one in self.settles]:
            return
        self.settles.append(settle)
        self.state, self.finish = settle.state, None
        self.tries += settle.charged
        self.losses += settle.report.outcome is Outcome.lost
        self.shortages += settle.charged and settle.report.outcome is Outcome.out_of_memory
        self.preemptions += settle.report.outcome is Outcome.preempted
        if self.grant and self.grant[:2] == (attempt.number, attempt.epoch):
            self.grant = None
        if settle.state in FINAL:
            self.cancel = None

    def revive(self) -> None:
        ended = self.finish[0] if self.finish else self.state
        self.cancel = None
        if ended in END_WITHOUT_SUCCESS:
            self.finish, self.tries, self.losses, self.shortages = None, 0, 0, 0
            if self.settles:
                self.state = TaskState.ready


class Ledger:
    def __init__(self) -> None:
        self.submits: dict[int, Submit] = {}
        self.current: set[int] = set()
        self.tasks: defaultdict[Place, Task] = defaultdict(Task)
        self.calls: defaultdict[int, list[bytes]] = defaultdict(list)

    def apply(self, change: Change) -> None:
        match change:
            case Submit(job=job, replaces=replaces):
                self.submits[job.id] = change
                self.current = (self.current | {job.id}) - {replaces}
            case Grow(job=job, lo=lo, calls=calls):
                assert lo == len(self.calls[job])
                self.calls[job] += calls
            case Forget(job=job):
                self.current -= {job}
            case Settle():
                attempt = change.report.attempt
                self.tasks[attempt.job, attempt.position].settle(change)
            case Grant() | Release() | Finish() | Revive() | Hold() | Cancel():
                for position in range(change.lo, change.hi):
                    self._apply_to(self.tasks[change.job, position], change)

    def _apply_to(self, task: Task, change: Grant | Release | Finish | Revive | Hold | Cancel) -> None:
        match change:
            case Grant():
                task.grant = granted(change)
            case Release(number=number, epoch=epoch):
                if task.grant and task.grant[:2] == (number, epoch):
                    task.grant = None
            case Finish(state=state, reason=reason):
                task.finish, task.cancel = (state, reason), None
            case Revive():
                task.revive()
            case Hold(held=held, reason=reason):
                task.hold = reason if held else None
            case Cancel(reason=reason):
                task.cancel = reason

    def submit(self, job: int) -> Submit:
        """As it is read now."""
        submit = self.submits[job]
        if not self.calls[job]:
            return submit
        return msgspec.structs.replace(submit, job=submit.job.grown(len(self.calls[job])))

    def of_current(self) -> dict[Place, Task]:
        return {place: task for place, task in sorted(self.tasks.items()) if place[0] in self.current}

    def check(self, snapshot: Snapshot) -> None:
        """Assert that the snapshot tells exactly what this ledger knows of current jobs."""
        tasks = self.of_current()
        assert snapshot.submits == tuple(self.submit(job) for job in sorted(self.current))
        assert list(snapshot.tasks) == [
            TaskRecord(
                *place,
                state=task.state,
                number=task.settles[-1].report.attempt.number,
                tries=task.tries,
                losses=task.losses,
                shortages=task.shortages,
                preemptions=task.preemptions,
            )
            for place, task in tasks.items()
            if task.state is not None
        ]
        assert expanded_finishes(snapshot.finishes) == {p: t.finish for p, t in tasks.items() if t.finish}
        assert expanded_grants(snapshot.grants) == {p: t.grant for p, t in tasks.items() if t.grant}
        assert reasons(snapshot.holds) == {p: t.hold for p, t in tasks.items() if t.hold is not None}
        assert reasons(snapshot.cancels) == {p: t.cancel for p, t in tasks.items() if t.cancel is not None}
        assert snapshot.durations == {job: took for job in self.current if (took := self.durations(job))}

    def check_survey(self, survey: Survey) -> None:
        """Likewise of the states alone."""
        tasks = self.of_current()
        assert expanded_states(survey) == {place: task.state for place, task in tasks.items() if task.state is not None}
        assert expanded_finishes(survey.finishes) == {p: t.finish for p, t in tasks.items() if t.finish}
        assert expanded_grants(survey.grants) == {p: t.grant for p, t in tasks.items() if t.grant}
        assert reasons(survey.holds) == {p: t.hold for p, t in tasks.items() if t.hold is not None}

    def check_calls(self, store: Store, span: Span) -> None:
        """Likewise of the arguments of calls."""
        assert store.submits() == tuple(self.submit(job) for job in sorted(self.submits))
        for job in self.submits:
            told = list(enumerate(self.calls[job]))
            assert store.calls(job) == dict(told)
            assert store.calls(job, span) == dict(told[span.lo : span.hi])

    def durations(self, job: int) -> tuple[float, ...]:
        """Those that a snapshot tells of a job which has few attempts."""
        submit = self.submit(job)
        if submit.job.spec.count <= 1 and submit.replaces is None:
            return ()
        same = [one for one in range(job, 0, -1) if self.submits[one].job.spec.name == submit.job.spec.name]
        newest = [task for one in same for place, task in sorted(self.tasks.items(), reverse=True) if place[0] == one]
        took = [
            settle.report.ended_at - settle.report.started_at
            for task in newest
            for settle in reversed(task.settles)
            if settle.state is TaskState.succeeded and settle.report.started_at
        ]
        return tuple(took[:DURATIONS])


def expanded_states(survey: Survey) -> dict[Place, TaskState]:
    """By task: of two states for one the later holds."""
    return {
        (job, position): state
        for job, made in survey.states.items()
        for state, positions in made
        for position in positions
    }


def expanded_finishes(finishes: tuple[Finish, ...]) -> dict[Place, tuple[TaskState, str]]:
    places = [(f.job, position) for f in finishes for position in range(f.lo, f.hi)]
    assert len(places) == len(set(places)), "finishes overlap"
    return {(f.job, position): (f.state, f.reason) for f in finishes for position in range(f.lo, f.hi)}


def expanded_grants(grants: tuple[Grant, ...]) -> dict[Place, Granted]:
    places = [(g.job, position) for g in grants for position in range(g.lo, g.hi)]
    assert len(places) == len(set(places)), "grants overlap"
    return {(g.job, position): granted(g) for g in grants for position in range(g.lo, g.hi)}


def granted(grant: Grant) -> Granted:
    return grant.number, grant.epoch, grant.node, grant.lane, grant.beside


def reasons(flags: Sequence[Hold] | Sequence[Cancel]) -> dict[Place, str]:
    places = [(flag.job, position) for flag in flags for position in range(flag.lo, flag.hi)]
    assert len(places) == len(set(places)), "flags overlap"
    assert all(flag.held for flag in flags if isinstance(flag, Hold))
    return {(flag.job, position): flag.reason for flag in flags for position in range(flag.lo, flag.hi)}
