"""Commands of a session: one job, whose future tells how its tasks ended.

What belongs here: from a command's words to a job, and from its tasks' ends to results. What must not: functions.
"""

from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import msgspec

from pilotfish.client.backend import Backend, Conclusion
from pilotfish.client.futures import JobFuture
from pilotfish.errors import TaskError
from pilotfish.model.attempts import OutputRef
from pilotfish.model.changes import Finish, Settle
from pilotfish.model.jobs import JobSpec
from pilotfish.model.states import Outcome, TaskState

__all__ = ["CommandFuture", "TaskResult"]


class TaskResult(msgspec.Struct, frozen=True):
    """How a task of a command ended."""

    name: str
    """``sim:3``, or ``sim`` for a job of one task."""
    state: str
    """``succeeded``, ``failed``, ``cancelled`` or ``skipped``."""
    exit_code: int | None
    """None where it did not end by itself."""
    outcome: str
    """How its last attempt ended, such as ``exited`` or ``timed_out``; empty where it had none."""
    stdout: str
    stderr: str
    reason: str
    """For people, where it did not succeed."""
    seconds: float
    """Of its last attempt."""


class CommandFuture(JobFuture[Any]):
    """A job that runs a command.

    Its result is a :class:`TaskResult`, of an array a list of them in the order of its tasks. Where a task did not
    succeed, `result` raises TaskError, and `results` tells all the same how each ended.
    """

    def __init__(self, backend: Backend, spec: JobSpec) -> None:
        """Pending."""
        super().__init__()
        self._backend, self._spec = backend, spec
        self._ends: list[TaskResult | None] = [None] * spec.count
        self._left = spec.count
        self.job = 0
        """Its id, once it was submitted."""

    @property
    def name(self) -> str:
        """Of the job."""
        return self._spec.name

    def results(self, timeout: float | None = None) -> list[TaskResult]:
        """How each task ended, whether it succeeded or not; waits for the last one."""
        self.exception(timeout)
        return [end for end in self._ends if end is not None]

    def _end_task(self) -> None:
        self._backend.cancel_job(self.job, self._spec.count)

    def settle(self, end: Conclusion) -> None:
        """Called in the manager's thread for each end of a task."""
        if isinstance(end, Settle):
            self._note(end.report.attempt.position, self._of_attempt(end))
        elif isinstance(end, Finish):
            for position in range(end.lo, end.hi):
                name = self._task_name(position)
                self._note(position, TaskResult(name, end.state.name, None, "", "", "", end.reason, 0.0))
        elif not self.done():
            self.set_exception(end)

    def _note(self, position: int, end: TaskResult) -> None:
        self._left -= self._ends[position] is None
        self._ends[position] = end
        if self._left or self.done():
            return
        bad = [one for one in self._ends if one is not None and one.state != TaskState.succeeded.name]
        if not bad:
            self.set_result(self._ends[0] if self._spec.array is None else list(self._ends))
        elif all(one.state == TaskState.cancelled.name for one in bad):
            self.set_exception(CancelledError())
        else:
            others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            first = bad[0]
            why = first.reason or (f"exit code {first.exit_code}" if first.exit_code is not None else first.outcome)
            error = TaskError(f"{first.name}{others} did not succeed: {why}")
            if first.stderr:
                error.add_note(first.stderr.rstrip())
            self.set_exception(error)

    def _of_attempt(self, end: Settle) -> TaskResult:
        report, read = end.report, self._reader()
        return TaskResult(
            name=self._task_name(report.attempt.position),
            state=end.state.name,
            exit_code=report.code if report.outcome is Outcome.exited else None,
            outcome=report.outcome.value,
            stdout=read(report.stdout),
            stderr=read(report.stderr),
            reason=report.reason,
            seconds=report.ended_at - report.started_at,
        )

    def _reader(self) -> Callable[[OutputRef | None], str]:
        folder = Path(self._backend.folder, "outputs")

        def read(ref: OutputRef | None) -> str:
            if ref is None:
                return ""
            with Path(folder, ref.file).open("rb") as file:
                file.seek(ref.offset)
                return file.read(ref.length).decode(errors="replace")

        return read

    def _task_name(self, position: int) -> str:
        index = self._spec.index(position)
        return self._spec.name if index is None else f"{self._spec.name}:{index}"
