"""What a store should remember, told task by task: slow, and too simple to be wrong."""

from collections import defaultdict

from pilotfish.model.changes import (
    Change,
    Finish,
    Forget,
    Grant,
    Release,
    Revive,
    Settle,
    Snapshot,
    Submit,
    Survey,
    TaskRecord,
)
from pilotfish.model.states import Outcome, TaskState

END_WITHOUT_SUCCESS = {TaskState.failed, TaskState.cancelled, TaskState.skipped}

Place = tuple[int, int]
"""Job and position."""


class Task:
    def __init__(self) -> None:
        self.settles: list[Settle] = []
        self.state: TaskState | None = None
        """What the newest attempt made of it."""
        self.tries = self.losses = 0
        self.finish: tuple[TaskState, str] | None = None
        self.grant: tuple[str, int, int, int] | None = None
        """Node, lane, number, epoch."""

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
        if self.grant and self.grant[2:] == (attempt.number, attempt.epoch):
            self.grant = None

    def revive(self) -> None:
        ended = self.finish[0] if self.finish else self.state
        if ended in END_WITHOUT_SUCCESS:
            self.finish, self.tries, self.losses = None, 0, 0
            if self.settles:
                self.state = TaskState.ready


class Ledger:
    def __init__(self) -> None:
        self.submits: dict[int, Submit] = {}
        self.current: set[int] = set()
        self.tasks: defaultdict[Place, Task] = defaultdict(Task)

    def apply(self, change: Change) -> None:
        match change:
            case Submit(job=job, replaces=replaces):
                self.submits[job.id] = change
                self.current = (self.current | {job.id}) - {replaces}
            case Forget(job=job):
                self.current -= {job}
            case Settle():
                attempt = change.report.attempt
                self.tasks[attempt.job, attempt.position].settle(change)
            case Grant() | Release() | Finish() | Revive():
                for position in range(change.lo, change.hi):
                    self._apply_to(self.tasks[change.job, position], change)

    def _apply_to(self, task: Task, change: Grant | Release | Finish | Revive) -> None:
        match change:
            case Grant(node=node, lane=lane, number=number, epoch=epoch):
                task.grant = node, lane, number, epoch
            case Release(number=number, epoch=epoch):
                if task.grant and task.grant[2:] == (number, epoch):
                    task.grant = None
            case Finish(state=state, reason=reason):
                task.finish = state, reason
            case Revive():
                task.revive()

    def of_current(self) -> dict[Place, Task]:
        return {place: task for place, task in sorted(self.tasks.items()) if place[0] in self.current}

    def check(self, snapshot: Snapshot) -> None:
        """Assert that the snapshot tells exactly what this ledger knows of current jobs."""
        tasks = self.of_current()
        assert snapshot.submits == tuple(self.submits[job] for job in sorted(self.current))
        assert list(snapshot.tasks) == [
            TaskRecord(*place, task.state, task.settles[-1].report.attempt.number, task.tries, task.losses)
            for place, task in tasks.items()
            if task.state is not None
        ]
        assert expanded_finishes(snapshot.finishes) == {p: t.finish for p, t in tasks.items() if t.finish}
        assert expanded_grants(snapshot.grants) == {p: t.grant for p, t in tasks.items() if t.grant}

    def check_survey(self, survey: Survey) -> None:
        """Likewise of the states alone."""
        tasks = self.of_current()
        assert expanded_states(survey) == {place: task.state for place, task in tasks.items() if task.state is not None}
        assert expanded_finishes(survey.finishes) == {p: t.finish for p, t in tasks.items() if t.finish}
        assert expanded_grants(survey.grants) == {p: t.grant for p, t in tasks.items() if t.grant}


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


def expanded_grants(grants: tuple[Grant, ...]) -> dict[Place, tuple[str, int, int, int]]:
    places = [(g.job, position) for g in grants for position in range(g.lo, g.hi)]
    assert len(places) == len(set(places)), "grants overlap"
    return {(g.job, position): (g.node, g.lane, g.number, g.epoch) for g in grants for position in range(g.lo, g.hi)}
