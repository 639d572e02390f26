"""The calls of functions that a lane makes: given to its worker, limited, reported; another worker where one is spent.

What a call leaves running in its worker ends with that, before the call is reported; who dies charges the call that
ran, and those behind it are given to the next worker.

What belongs here: what follows from a worker's results, silence and death. What must not: the agent, journals.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic, time
from typing import TYPE_CHECKING

import msgspec

from pilotfish.agent.confine import Bounds, Execution
from pilotfish.agent.outputs import Outputs, Stream
from pilotfish.agent.spawn import Program
from pilotfish.functions.line import Line
from pilotfish.functions.wire import REFUSED, Afar, Call, CallEnd
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.messages import Started
from pilotfish.model.states import Outcome

if TYPE_CHECKING:
    from pilotfish.agent.worker import Worker

__all__ = ["Bench", "Task"]

_PEEK_OFTEN, _PEEK_SELDOM = 0.002, 0.05
"""Seconds between two looks for results that nobody rang for: often while there are some."""


class Task(msgspec.Struct, frozen=True):
    """One attempt that waits in a keeper."""

    attempt: AttemptId
    row: tuple[str, ...]
    """Of its job's array."""
    program: Program
    arguments: bytes = b""
    """Of the call, packed."""


class Bench:
    """The worker of one lane, and its calls.

    Args:
        lane: its number.
        mark: that the worker's processes carry.
        outputs: of the keeper.
        kept: collects an output, and waits while there is no room for it.
        started: is told of a call that has been running for a while.
        started_after: seconds after which it is.
        line: from its calls to the manager.
        afar: how they have values that lie on another machine; None: on this one.

    """

    def __init__(
        self,
        lane: int,
        mark: int,
        outputs: Outputs,
        *,
        kept: Callable[[Stream, AttemptId], OutputRef | None],
        started: Callable[[Started], None],
        started_after: float,
        line: Line,
        afar: Afar | None,
    ) -> None:
        """Begin without a worker."""
        self._lane, self._mark, self._outputs = lane, mark, outputs
        self._kept, self._started, self._started_after = kept, started, started_after
        self._line, self._afar = line, afar
        self.worker: Worker | None = None
        self._execution: Execution | None = None
        """Of the worker's process."""
        self._program: Program | None = None
        """Whose function the worker calls."""
        self._given: deque[tuple[int, Task]] = deque()
        """With their numbers, in their order; the first runs or is about to."""
        self._refused: list[Task] = []
        """Taken back, but found by the worker only as they were to begin."""
        self._last: Report | None = None
        """Of the call that has spoiled its worker: told when nothing of that is left."""
        self._spent = False
        """The worker makes no further call: its output has become a file of its own."""
        self._announced = -1
        """The number of the newest call that was told to have started."""
        self._peek_at = math.inf
        self._peek_pause = _PEEK_OFTEN

    @property
    def idle(self) -> bool:
        """True while no call is on its way."""
        return not self._given and not self._refused and self._last is None

    @property
    def attempts(self) -> list[AttemptId]:
        """Of the calls on their way."""
        return [task.attempt for _, task in self._given]

    @property
    def running(self) -> AttemptId | None:
        """Of the call that has begun and not ended, as far as was heard."""
        if self.worker is not None and self._given and self.worker.begun[0] > self._given[0][0]:
            return self._given[0][1].attempt
        return None

    @property
    def due(self) -> float:
        """When to call `look` at the latest, on the monotonic clock."""
        return math.inf if self._execution is None else min(self._execution.due, self._peek_at)

    @property
    def rings(self) -> "Worker | None":
        """What to wait for: the worker, while it lives."""
        return None if self._execution is None or self._execution.main_ended else self.worker

    def accepts(self, program: Program) -> bool:
        """Whether a call of this program may be given now: with another one only when nothing is on its way."""
        alive = self._execution is None or not (self._execution.ending or self._execution.main_ended)
        return alive and not self._spent and self._last is None and (program is self._program or not self._given)

    def give(self, tasks: list[Task], bounds: Bounds, cores: tuple[int, ...]) -> None:
        """Let these calls, all of one program, be made; those given before come first. Raises OSError.

        Args:
            tasks: of one program that is accepted.
            bounds: of each.
            cores: that the worker is bound to; none: those of this process.

        """
        program = tasks[0].program
        assignment = None
        if self.worker is None:
            from pilotfish.agent.worker import Worker  # what runs in it takes time to import

            self.worker = Worker(*self._outputs.open(None, None, program.spec.output_limit), self._line, self._afar)
            self._execution = Execution(self.worker.pid, self._mark, bounds, monotonic())
            self._program = None
        if program is not self._program:
            assignment, self._program = program.assignment(cores), program
            if self._execution is not None:
                self._execution.bounds = bounds
        number = self.worker.given
        self._given.extend(enumerate(tasks, number))
        calls = tuple([Call(task.attempt.position, task.attempt.number, task.arguments) for task in tasks])
        self.worker.give(assignment, calls)
        self._peek_at, self._peek_pause = monotonic() + _PEEK_OFTEN, _PEEK_OFTEN

    def look(self, now: float) -> Iterator[Report]:
        """What has ended, and what is due. Reports are complete when they come out."""
        if self.worker is None or self._execution is None:
            return
        self.worker.flush()
        yield from self._heard(self.worker, now)
        over = self._execution.gather()
        if self._execution.main_ended:
            yield from self._heard(self.worker, now)
            if over:
                yield from self._bury(self.worker, self._execution)
                return
        else:
            self._time_call(self.worker, self._execution, now)
        self._execution.look(now)

    def orphans(self) -> list[Task]:
        """Calls to be given again: refused by the worker, or left behind by its death."""
        left, self._refused = self._refused, []
        if self.worker is None:
            left += [task for _, task in self._given]
            self._given.clear()
        return left

    def take_back(self) -> list[Task]:
        """Those that have not begun, and will not."""
        if self.worker is None or not self._given:
            return []
        first = self.worker.take_back()
        back = [task for number, task in self._given if number >= first]
        self._given = deque(entry for entry in self._given if entry[0] < first)
        return back

    def end(self, outcome: Outcome, reason: str, *, hard: bool) -> None:
        """End the call that runs, and the worker with it."""
        if self._execution is not None:
            self._execution.end(outcome, reason, monotonic(), hard=hard)

    def hurry(self, grace: float, now: float) -> None:
        """Give what runs no more than so many seconds between TERM and KILL."""
        if self._execution is not None:
            self._execution.hurry(grace, now)

    def dismiss(self) -> None:
        """Let the worker end: nothing runs in it. Call `look` until `worker` is None."""
        if self.worker is not None:
            self.worker.dismiss()

    # What follows

    def _heard(self, worker: "Worker", now: float) -> Iterator[Report]:
        done = worker.hear()
        if now >= self._peek_at:
            self._peek_pause = _PEEK_OFTEN if done else min(2 * self._peek_pause, _PEEK_SELDOM)
            self._peek_at = now + self._peek_pause
        for one in done:
            _, task = self._given.popleft()
            if one.code == REFUSED:
                self._refused.append(task)
                continue
            report = self._report(task, one)
            if one.spoiled:
                self._last = self._as_ordered(report)
            else:
                yield report
        if not self._given:
            self._peek_at = math.inf

    def _report(self, task: Task, done: CallEnd) -> Report:
        out = err = None
        if done.printed:
            out, err = self._collect(task.attempt)
            if not done.spoiled and self.worker is not None:
                self._spent = self._outputs.replaced
                if self._spent:
                    self.worker.dismiss()
                else:
                    self.worker.give(None, ())
        return Report(
            attempt=task.attempt,
            lane=self._lane,
            outcome=Outcome.exited if done.defer is None else Outcome.deferred,
            code=done.code,
            started_at=done.began,
            ended_at=done.ended,
            cpu_seconds=done.cpu_seconds,
            peak_rss=0,
            stdout=out,
            stderr=err,
            reason=done.reason,
            result=done.result,
            defer=done.defer or 0.0,
        )

    def _as_ordered(self, report: Report) -> Report:
        """Whoever was told to end, and did so by itself, has ended as it was told."""
        if self._execution is None or not self._execution.ending:
            return report
        outcome, code = self._execution.outcome
        reason = self._execution.reason
        return msgspec.structs.replace(report, outcome=outcome, code=code, reason=reason, result=b"", defer=0.0)

    def _collect(self, attempt: AttemptId) -> tuple[OutputRef | None, OutputRef | None]:
        return self._kept(self._outputs.out, attempt), self._kept(self._outputs.err, attempt)

    def _time_call(self, worker: "Worker", execution: Execution, now: float) -> None:
        """Keep the time limit of the call that runs, and tell of its start."""
        begun, when = worker.begun
        if not self._given or begun <= self._given[0][0] or execution.ending:
            execution.limit_at = math.inf
            return
        number, task = self._given[0]
        limit = task.program.spec.time
        execution.limit_at = math.inf if limit is None else when + limit
        if number > self._announced and now >= when + self._started_after:
            self._announced = number
            self._started(Started(task.attempt, self._lane, time() - (now - when), worker.pid))

    def _bury(self, worker: "Worker", execution: Execution) -> Iterator[Report]:
        """The worker is gone with all that it had started: charge the call that ran; others wait for the next."""
        begun, when = worker.begun
        worker.close()
        self.worker = self._execution = None
        self._announced, self._peek_at, self._spent = -1, math.inf, False
        if self._last is not None:
            report, self._last = self._last, None
            yield report
        elif self._given and self._given[0][0] < begun:
            _, task = self._given.popleft()
            out, err = self._collect(task.attempt)
            outcome, code = execution.outcome
            if outcome is Outcome.exited:
                reason = f"its function ended the worker, with exit code {code}"
                outcome, code = Outcome.exited, code or 1
            else:
                reason = execution.reason or "its worker died"
            now, started_at = time(), time() - (monotonic() - when)
            yield Report(
                task.attempt, self._lane, outcome, code, started_at, max(now, started_at), execution.cpu_seconds,
                execution.peak_rss, out, err, reason,
            )  # fmt: skip
