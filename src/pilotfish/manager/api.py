"""The questions that a manager answers about its campaign, and that a store without a manager answers too.

A question is a struct with a name; its answer is plain data, of a shape from :mod:`pilotfish.manager.answers`. What
belongs here: questions and how they are answered. What must not: wording and layout (ui, cli), changes, the bytes
of outputs: an answer says where they lie.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Protocol

import msgspec

from pilotfish.errors import UserError
from pilotfish.manager.answers import Explained, Failed, JobRow, OutputPage, Plight, Shown, TaskPage
from pilotfish.manager.look import Look, View
from pilotfish.manager.naming import Named, task_id
from pilotfish.model.jobs import Job, task_name
from pilotfish.model.states import FINAL, TaskState

__all__ = [
    "MOST_ROWS",
    "QUESTIONS",
    "WISH",
    "Explain",
    "Failures",
    "Jobs",
    "Logs",
    "Names",
    "Question",
    "Show",
    "Tasks",
    "answer",
]

MOST_ROWS = 1000
"""Of one answer: a manager that answers does nothing else meanwhile. Ask again from `next` for more."""


class Question(Protocol):
    """What may be asked."""

    def respond(self, look: Look) -> object:
        """The answer, in a shape of :mod:`pilotfish.manager.answers`. Raises UserError."""


def answer(name: str, arguments: Mapping[str, object], view: View) -> Any:  # noqa: ANN401 - plain data of any shape
    """Answer a question. Raises UserError where there is no such question, job or task, or an argument is wrong."""
    kind = QUESTIONS.get(name)
    if kind is None:
        raise UserError(f"there is no question `{name}`; there are: {', '.join(QUESTIONS)}")
    try:
        question = msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"question `{name}`: {error}") from error
    return msgspec.to_builtins(question.respond(Look(view)))


class Jobs(msgspec.Struct, forbid_unknown_fields=True):
    """Asks which jobs there are."""

    def respond(self, look: Look) -> list[JobRow]:
        """The current jobs by id."""
        return [look.counts(job) for job in _by_id(look)]


class Names(msgspec.Struct, forbid_unknown_fields=True):
    """Asks for the names of jobs alone: quick, however many tasks there are."""

    def respond(self, look: Look) -> list[str]:
        """Of the current jobs, by id."""
        return [job.spec.name for job in _by_id(look)]


class Tasks(msgspec.Struct, forbid_unknown_fields=True):
    """Asks which tasks there are."""

    id: str | None = None
    """A job or a task; None: all current jobs."""
    states: tuple[str, ...] | None = None
    """Only tasks in these; None: in any."""
    name: str | None = None
    """Only tasks whose name, or whose job's, is like this pattern of the shell's; None: any."""
    held: bool = False
    """Only tasks that are held back."""
    start: tuple[int, int] = (0, 0)
    """Job and position to begin with."""
    limit: int = MOST_ROWS

    def respond(self, look: Look) -> TaskPage:
        """Tasks by job and position."""
        limit = max(1, min(self.limit, MOST_ROWS))
        found = list(islice(self._found(look), limit + 1))
        following = (found[limit][0].id, found[limit][1]) if len(found) > limit else None
        return TaskPage(look.rows(found[:limit]), following)

    def _found(self, look: Look) -> Iterator[tuple[Job, int, int]]:
        tasks = self._in_states(look, _states(self.states))
        if self.name is not None:
            tasks = _called(tasks, self.name)
        return look.held(tasks) if self.held else tasks

    def _in_states(self, look: Look, wanted: Container[int]) -> Iterator[tuple[Job, int, int]]:
        if self.id is None:
            return _walk(look, [job for job in _by_id(look) if job.id >= self.start[0]], self.start, wanted)
        job, position = msgspec.structs.astuple(look.find(self.id))
        if position is None:
            return _walk(look, [job], self.start, wanted)
        state = look.standing(job.id).state(job.id, position)
        return iter([(job, position, state)] if state in wanted else [])


class Failures(msgspec.Struct, forbid_unknown_fields=True):
    """Asks which tasks failed, the first by job and position, and what they wrote last."""

    limit: int = 10

    def respond(self, look: Look) -> list[Failed]:
        """As many as wanted."""
        failed = _walk(look, _by_id(look), (0, 0), frozenset({TaskState.failed}))
        found = list(islice(failed, min(self.limit, MOST_ROWS)))
        return [
            Failed(**msgspec.structs.asdict(row), last_line=look.last_line(job, position))
            for row, (job, position, _) in zip(look.rows(found), found, strict=True)
        ]


class Show(msgspec.Struct, forbid_unknown_fields=True):
    """Asks for all that is known of a job or a task."""

    id: str

    def respond(self, look: Look) -> Shown:
        """The job, and the task where one is meant or there is but one."""
        named = look.find(self.id)
        position = _only(named)
        counts = look.counts(named.job).counts if named.position is None else None
        return Shown(look.job(named.job), counts, None if position is None else look.task(named.job, position))


class Explain(msgspec.Struct, forbid_unknown_fields=True):
    """Asks why a task, or the tasks of a job, are where they are."""

    id: str

    def respond(self, look: Look) -> Explained:
        """One plight for each state that tasks are in."""
        named = look.find(self.id)
        job, position = named.job, _only(named)
        if position is not None:
            plights = [_plight(look, job, position, 1)]
            return Explained(task_id(job, position), task_name(job, position), look.view.live, plights)
        states = look.standing(job.id).states(job.id)
        counts = {state: states.count(state) for state in TaskState}
        plights = [_plight(look, job, states.index(state), count) for state, count in counts.items() if count]
        return Explained(str(job.id), job.spec.name, look.view.live, plights)


class Logs(msgspec.Struct, forbid_unknown_fields=True):
    """Asks where the outputs of a task, or of the tasks of a job, lie."""

    id: str
    attempt: int | None = None
    """None: the newest of each."""
    start: int = 0
    """Position to begin with."""
    limit: int = MOST_ROWS

    def respond(self, look: Look) -> OutputPage:
        """Outputs by position."""
        named = look.find(self.id)
        job, position = named.job, _only(named)
        if position is not None:
            state = look.standing(job.id).state(job.id, position)
            row = look.outputs([(job, position, state)], self.attempt)[0]
            if self.attempt is not None and row.attempt is None:
                raise UserError(f"{row.name} has had no attempt {self.attempt}")
            return OutputPage([row], None)
        limit = max(1, min(self.limit, MOST_ROWS))
        found = list(islice(_walk(look, [job], (job.id, self.start), frozenset(TaskState)), limit + 1))
        following = found[limit][1] if len(found) > limit else None
        return OutputPage(look.outputs(found[:limit], self.attempt), following)


WISH = "wish"
"""What a wish is asked by: it is no question, see :mod:`pilotfish.manager.wishes`."""

QUESTIONS: Mapping[str, type[Question]] = {
    "explain": Explain,
    "failures": Failures,
    "jobs": Jobs,
    "logs": Logs,
    "names": Names,
    "show": Show,
    "tasks": Tasks,
}
"""Every question by its name."""


def _walk(
    look: Look, jobs: Iterable[Job], start: tuple[int, int], wanted: Container[int]
) -> Iterator[tuple[Job, int, int]]:
    """The tasks of the jobs from `start` on that are in wanted states: job, position, state."""
    for job in jobs:
        states = look.standing(job.id).states(job.id)
        for position in range(start[1] if job.id == start[0] else 0, len(states)):
            if states[position] in wanted:
                yield job, position, states[position]


def _called(tasks: Iterable[tuple[Job, int, int]], pattern: str) -> Iterator[tuple[Job, int, int]]:
    """Those whose name, or whose job's, is like the pattern."""
    for job, position, state in tasks:
        if fnmatchcase(job.spec.name, pattern) or fnmatchcase(task_name(job, position), pattern):
            yield job, position, state


def _by_id(look: Look) -> list[Job]:
    return sorted(look.current.values(), key=lambda job: job.id)


def _only(named: Named) -> int | None:
    """The task that is meant, if it is one: also that of a job without an array."""
    return 0 if named.position is None and named.job.spec.array is None else named.position


def _states(names: Iterable[str] | None) -> frozenset[TaskState]:
    if names is None:
        return frozenset(TaskState)
    try:
        return frozenset(TaskState[name] for name in names)
    except KeyError as error:
        known = ", ".join(state.name for state in TaskState)
        raise UserError(f"there is no state {error}; there are: {known}") from None


def _plight(look: Look, job: Job, position: int, tasks: int) -> Plight:
    row = look.row(job, position)
    ended = TaskState[row.state] in FINAL
    why = look.why(job, position)
    return Plight(
        state=row.state,
        tasks=tasks,
        first=row.name,
        reason=row.reason if ended else why.reason,
        starts_at=why.starts_at,
        attempt=row.attempt,
        outcome=row.outcome if ended else None,
        code=row.code if ended else None,
        kept_from=row.kept_from,
    )
