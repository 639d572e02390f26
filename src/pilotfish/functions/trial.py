"""One execution of a job of a class: what it knows of those before it, and what it leaves when it ends.

What belongs here: children as they are looked at, and entering them. What must not: the words of job classes.
"""

from time import time
from typing import Any

import msgspec

from pilotfish.errors import TaskError
from pilotfish.functions.context import Current
from pilotfish.functions.envelope import unpack_value
from pilotfish.functions.family import FAMILY_QUESTIONS, Enter, FamilyQuestion, Fate, Fates, Life, Trials
from pilotfish.functions.shared import values_here
from pilotfish.functions.values import Values
from pilotfish.model.jobs import CallArray, JobSpec
from pilotfish.model.states import FINAL, TaskState

__all__ = ["Children", "Trial"]

_NAMES = {question: name for name, question in FAMILY_QUESTIONS.items()}


class Children:
    """The jobs that a job has enqueued in earlier trials, as they were when it looked."""

    def __init__(self, trial: "Trial", counts: dict[str, int]) -> None:
        """So many of them in each state."""
        self._trial, self._counts = trial, counts

    def __len__(self) -> int:
        """How many there are."""
        return sum(self._counts.values())

    @property
    def unfinished(self) -> int:
        """How many have not ended. One that has failed for good has."""
        return len(self) - sum(self._counts.get(state.name, 0) for state in FINAL)

    @property
    def succeeded(self) -> int:
        """How many have succeeded."""
        return self._counts.get(TaskState.succeeded.name, 0)

    @property
    def failed(self) -> int:
        """How many have ended without success: they failed, or were cancelled or skipped."""
        return len(self) - self.unfinished - self.succeeded

    @property
    def done_fraction(self) -> float:
        """The share that has ended, from 0 to 1; 1 where there are none."""
        return 1 - self.unfinished / len(self) if len(self) else 1.0

    def results(self, *, partial: bool = False) -> list[Any]:
        """What they have returned, in the order in which they were enqueued.

        Args:
            partial: leave out those that have not succeeded.

        Raises:
            TaskError: some have not, and `partial` is False.

        """
        ends = self._trial.ends()
        missing = [end for end in ends if end.state != TaskState.succeeded.name]
        if missing and not partial:
            first = missing[0]
            why = f": {first.reason}" if first.reason else ""
            raise TaskError(
                f"{len(missing)} of {len(ends)} children have not succeeded; the first is {first.name}, "
                f"{first.state}{why}. results(partial=True) leaves them out"
            )
        values = self._trial.values
        return [unpack_value(end.result, values) for end in ends if end.state == TaskState.succeeded.name]


class Trial:
    """An execution of a task, from its beginning to its end."""

    def __init__(self, task: Current) -> None:
        """Of the task that runs now. The manager is asked nothing before something is to be known."""
        self.task = task
        self.began = time()
        self._past: Life | None = None
        self._specs: dict[bytes, int] = {}
        self._calls: list[tuple[int, bytes]] = []

    @property
    def past(self) -> Life:
        """The trials before, and the children at the time of the first look."""
        if self._past is None:
            self._past = self._look()
        return self._past

    @property
    def number(self) -> int:
        """From 1: one more with each deferral and each failure, the same again where nobody witnessed the end."""
        return 1 + self.past.deferrals + self.past.failures

    @property
    def waited(self) -> float:
        """Seconds since the first trial began."""
        return time() - (self.past.first or self.began)

    @property
    def children(self) -> Children:
        """As they are now."""
        return Children(self, self._look().children)

    @property
    def values(self) -> Values:
        """Where large results lie."""
        return values_here()

    def ends(self) -> list[Fate]:
        """What became of the children."""
        return msgspec.convert(self._ask(Fates(self._me)), list[Fate])

    def enqueue(self, fields: dict[str, Any], call: bytes) -> None:
        """Let a call enter when this trial ends, as one of the job with these fields of a `JobSpec`."""
        assignment = self.task._assignment  # noqa: SLF001 - the context is the user's view of the same thing
        spec = JobSpec(
            **fields,
            command=(),
            function=assignment.function,
            directory=assignment.cwd,
            cwd=assignment.cwd,
            array=CallArray(),
        )
        packed = msgspec.msgpack.encode(spec)
        self._calls.append((self._specs.setdefault(packed, len(self._specs)), call))

    def end(self, *, deferred: bool = False) -> None:
        """Let what was enqueued enter. Nothing does of a trial that fails."""
        if deferred or self._calls:
            past = self.past
            self._ask(
                Enter(
                    specs=tuple(self._specs),
                    calls=tuple(self._calls),
                    parent=self._me,
                    trial=(past.deferrals, past.failures),
                    deferred=deferred,
                    began=self.began,
                )
            )

    @property
    def _me(self) -> tuple[int, int]:
        return self.task._assignment.job, self.task.position  # noqa: SLF001 - likewise

    def _look(self) -> Life:
        return msgspec.convert(self._ask(Trials(self._me)), Life)

    def _ask(self, question: FamilyQuestion) -> Any:  # noqa: ANN401 - as many shapes as questions
        return self.task._line.ask(_NAMES[type(question)], msgspec.structs.asdict(question))  # noqa: SLF001 - likewise
