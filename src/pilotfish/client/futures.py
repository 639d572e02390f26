"""The future of one call: a true ``concurrent.futures.Future`` whose task can be ended while it runs.

What belongs here: from how a task ended to what its future tells. What must not: how tasks come about.
"""

import contextlib
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, CancelledError, Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED
from typing import Any, TypeVar

from pilotfish.client.backend import Backend, Conclusion, Ticket
from pilotfish.errors import (
    ImpossibleRequestError,
    InitializerError,
    RemoteError,
    TaskError,
    TaskMemoryError,
    TaskTimeoutError,
    WorkerDiedError,
)
from pilotfish.functions.envelope import unpack_exception, unpack_value, value_names
from pilotfish.functions.values import Values
from pilotfish.functions.wire import join_call
from pilotfish.model.attempts import Report
from pilotfish.model.changes import Finish, Settle
from pilotfish.model.states import Outcome, TaskState

__all__ = ["BrokenWorkerError", "JobFuture", "TaskFuture"]

_T = TypeVar("_T")

_ENDED = (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)
_KINDS: dict[Outcome, type[TaskError]] = {
    Outcome.timed_out: TaskTimeoutError,
    Outcome.out_of_memory: TaskMemoryError,
}


class BrokenWorkerError(WorkerDiedError, BrokenExecutor):
    """The worker that made the call died, or could not begin because the executor's initializer raised.

    It is what programs catch that were written for the standard's process pools. But only after an initializer has
    raised is the executor of no more use: whose worker died goes on with another one.
    """


class JobFuture(Future[_T]):
    """What will have become of something that was asked for.

    It differs from its base in two things: `cancel` also ends what runs already, and what that has started; and it
    can be awaited, where cancelling the await cancels it.
    """

    def cancel(self) -> bool:
        """Give it up, and end it where it runs already; False where it has ended."""
        if self._give_up():
            self._end_task()
            return True
        return self._state != FINISHED

    def _give_up(self) -> bool:
        """Be cancelled; False where it has ended."""
        with self._condition:
            if self._state in _ENDED:
                return False
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined] # it is there, and of the standard's own executors
        return True

    def __await__(self) -> Generator[Any, None, _T]:
        """Wait in the running loop of asyncio."""
        import asyncio  # programs without it need not import it

        return asyncio.wrap_future(self).__await__()

    def _end_task(self) -> None:
        """It was cancelled: see that it ends."""
        raise NotImplementedError


class TaskFuture(JobFuture[_T]):
    """What will have become of a call."""

    def __init__(self, backend: Backend, values: Values, name: str) -> None:
        """Pending."""
        super().__init__()
        self._backend, self._values = backend, values
        self.name = name
        """Of its job."""
        self._ticket: Ticket | None = None
        self._held: tuple[str, ...] = ()
        """Large values among the arguments."""
        self.seconds = 0.0
        """How long its last attempt took, once it has ended."""
        self._progressed: Callable[[float, str], object] | None = None
        self._function: object = None
        """What is called: as long as it lives, so do the bytes that it travels as."""

    def send(self, job: int, packed: bytes, arguments: bytes, held: tuple[str, ...], function: object) -> None:
        """Let the call be made: what function or its name, its arguments, packed, and the values held for it."""
        self._held, self._function = held, function
        self._ticket = Ticket(job, join_call(packed, arguments), self._settle)
        self._ticket.progressed = self._progressed
        self._backend.add(self._ticket)

    def take_up(self, job: int, position: int) -> None:
        """Stand for a call of an earlier session."""
        self._ticket = Ticket(job, b"", self._settle)
        self._ticket.progressed = self._progressed
        self._backend.take_up(self._ticket, position)

    def _end_task(self) -> None:
        if self._ticket is not None:
            self._backend.cancel(self._ticket)

    def running(self) -> bool:
        """Whether it has been given to a worker."""
        if self.done() or self._ticket is None:
            return False
        return self._backend.state(self._ticket) in (TaskState.running, TaskState.stopping)

    def on_progress(self, tell: Callable[[float, str], object]) -> None:
        """Let `tell` hear what the task says by ``pf.current().progress(…)``: a fraction from 0 to 1, and a text.

        It is called in a thread of the session, at most ten times a second, and must be quick.
        """
        self._progressed = tell
        if self._ticket is not None:
            self._ticket.progressed = tell

    def explain(self) -> str:
        """Why it is where it is, in one line."""
        if self.done():
            return "it has ended"
        return "it waits for its inputs" if self._ticket is None else self._backend.explain(self._ticket).reason

    def _settle(self, end: Conclusion) -> None:
        """Called in the manager's thread, once."""
        if isinstance(end, Settle) and (end.report.stdout or end.report.stderr):
            self._backend.printer.show(end.report, lambda: self._conclude(end))
        else:
            self._conclude(end)

    def _conclude(self, end: Conclusion) -> None:
        """Let the future tell it; what was needed for the call no longer is."""
        self._function = None
        held, self._held = self._held, ()
        for name in held:
            self._values.release(name)
        try:
            if isinstance(end, Settle):
                self._reported(end.report)
            elif isinstance(end, CancelledError) or (isinstance(end, Finish) and end.state is TaskState.cancelled):
                self._give_up()
            else:
                self._fail(self._unmade(end) if isinstance(end, Finish) else end)
        except InvalidStateError:
            pass  # it was cancelled in this very moment
        except Exception as error:  # noqa: BLE001 - a result that cannot be unpickled here
            self._fail(error)
        except BaseException as error:  # noqa: BLE001 - to raise that where the result is wanted would end the program
            self._fail(RemoteError(f"{self.name}: its result cannot be unpickled here: it raised {error!r}"))

    def _fail(self, error: BaseException) -> None:
        with contextlib.suppress(InvalidStateError):  # it was cancelled
            self.set_exception(error)

    def _reported(self, report: Report) -> None:
        self.seconds = report.ended_at - report.started_at
        if self._state in _ENDED:
            for name in value_names(report.result) if report.result else ():
                self._values.drop(name)
        elif report.succeeded:
            self.set_result(self._unpacked(unpack_value, report.result))
        elif report.result:
            error = self._unpacked(unpack_exception, report.result)
            if isinstance(error, InitializerError):
                error = self._backend.broken = _broken(error)
            self.set_exception(error)
        elif report.outcome is Outcome.cancelled:
            self._give_up()
        else:
            kind = _KINDS.get(report.outcome, BrokenWorkerError)
            how = {
                Outcome.exited: f"exit code {report.code}",
                Outcome.signalled: f"signal {report.code}",
            }.get(report.outcome, report.outcome.value)
            self.set_exception(kind(f"{self.name}: {report.reason or how} ({how})"))

    def _unpacked(self, unpack: Callable[[bytes, Values], Any], packed: bytes) -> Any:  # noqa: ANN401 - whatever it is
        """What came back; its files are needed no more once they are mapped."""
        try:
            return unpack(packed, self._values)
        finally:
            for name in value_names(packed):
                self._values.drop(name)

    def _unmade(self, end: Finish) -> BaseException:
        if end.state is TaskState.skipped:
            return TaskError(f"{self.name}: skipped, because {end.reason}")
        return ImpossibleRequestError(f"{self.name} {end.reason}")


def _broken(error: InitializerError) -> BrokenWorkerError:
    broken = BrokenWorkerError(str(error))
    for note in getattr(error, "__notes__", ()):
        broken.add_note(note)
    return broken
