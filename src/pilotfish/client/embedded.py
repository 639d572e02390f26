"""A manager in a thread of this process, with an agent and workers of its own: what an embedded session works with.

Other threads put what they want into the inbox; the manager's thread takes it out once a turn, so that a thousand calls
that come together become one event. How tasks ended goes to whoever asked for them, in the manager's thread.

What belongs here: this thread and what lives with it. What must not: pickling, futures.
"""

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.inventory import Declared
from pilotfish.agent.launch import AgentProcess
from pilotfish.client.backend import Conclusion, Ticket
from pilotfish.client.earlier import EarlierCalls, EarlierCommands
from pilotfish.client.home import Home
from pilotfish.client.printing import Printer
from pilotfish.errors import InternalError, StoreError, UnavailableError, UserError
from pilotfish.manager.campaigns import write_access
from pilotfish.manager.loop import Manager
from pilotfish.manager.start import Agents
from pilotfish.model.changes import Change, Finish, Settle, Submit
from pilotfish.model.events import Cancelled, Draining, Event, Explanation, Grown, Revived, Submitted
from pilotfish.model.jobs import Job, JobSpec
from pilotfish.model.messages import Ask, Progressed
from pilotfish.model.states import FINAL, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.transport.caller import Caller
from pilotfish.transport.local import LocalListener

if TYPE_CHECKING:
    from pilotfish.transport.carrier import Gateway

__all__ = ["Embedded"]

_Value = TypeVar("_Value")


class Embedded:
    """An embedded manager: starts when it is made, ends by `close`.

    Args:
        declared: what its node has.
        settings: of manager and agent.
        note: is told what a person should read.
        home: where it lives; None: a place that goes with it.
        limits: the named ones of its queue.
        agents: who starts its agents; None: one of this machine.

    """

    def __init__(
        self,
        declared: Declared,
        settings: Settings,
        *,
        note: Callable[[str], None],
        home: Home | None = None,
        limits: Mapping[str, int] | None = None,
        agents: Agents | None = None,
    ) -> None:
        """Start manager and agent. Raises BusyError where another session lives there."""
        self._settings, self._note, self.limits = settings, note, limits or {}
        self.home = home or Home.passing()
        self.folder = self.home.folder
        self.store, self.snapshot = self.home.open_store(self._wake)
        self._earlier = None if self.snapshot is None else EarlierCommands(self.store, self.snapshot)
        self._inbox: deque[Ticket | Event | Callable[[], None]] = deque()
        self._rung = False
        self._lock = threading.Lock()
        self._open, self._over, self._pid = True, False, os.getpid()
        self.broken: BaseException | None = None
        """Why nothing more can be asked for, although nobody has closed it."""
        self._connected = False
        """Whether the agent was ever there: one that has just been started hears nothing of an end."""
        self.printer = Printer(self.folder / "outputs", keep=self.home.lasting)
        self._tickets: dict[int, dict[int, Ticket]] = {}
        """Those taken up and not ended, by job and position."""
        self._watchers: dict[int, Callable[[Conclusion], None]] = {}
        """Who is told of all ends in a job."""
        self._scheduler = Scheduler(settings, self.store.epoch)
        self._listener = LocalListener(self.home.runtime / "manager.sock")
        write_access(self.folder, self._listener.path, os.getpid(), socket.gethostname())
        self._manager = Manager(
            self.store,
            self._scheduler,
            self._listener,
            settings=settings,
            observer=self,
            answer=_refuse,
            inbox=self._take,
            progressed=self._progressed,
            new_job=self._new_job,
        )
        self.line = Caller(lambda: self._listener.path, patience=settings.lease)
        """From other threads to the manager, for what tasks ask too; never from the manager's own."""
        config = AgentConfig(
            **msgspec.structs.asdict(declared),
            node=socket.gethostname(),
            campaign=str(self.folder),
            folder=str(self.home.runtime),
            scratch=str(self.home.runtime / "scratch"),
            settings=settings,
        )
        known = () if self.snapshot is None else self.snapshot.submits
        self._numbers = count(1 + max((submit.job.id for submit in known), default=0))
        self._tickets.update({submit.job.id: {} for submit in known})
        self._agents = agents or AgentProcess(config, fork=False)
        self._manager.restore(self.snapshot or self.store.load(), self.limits, self._agents.expected)
        self._gateway: Gateway | None = None
        self._thread = threading.Thread(target=self._run, name="pilotfish manager", daemon=True)
        self._thread.start()
        _living.add(self)

    # What other threads call

    def earlier_calls(self) -> EarlierCalls | None:
        """What earlier sessions have left in the store; None: nothing is kept."""
        return None if self.snapshot is None else EarlierCalls(self.store, self.snapshot)

    def open_job(self, spec: JobSpec, depends_on: tuple[int, ...] = ()) -> int:
        """Submit a job; its id. Calls are added to it, or its tasks are those of its spec."""
        with self._lock:
            job = self._new_job()
            self._put(Submitted((Submit(Job(job, spec, depends_on, time.time())),)))
        return job

    def _new_job(self) -> int:
        return next(self._numbers)

    def add(self, ticket: Ticket) -> None:
        """Add a call to its job. Raises RuntimeError after `close`."""
        if not self._open:
            self.require_open()
        self._inbox.append(ticket)
        if not self._rung:
            self._rung = True
            self._listener.wake()
        if self._over:  # it may have been closed in between
            self._let_down(CancelledError())

    def require_open(self) -> None:
        """Raise where no more can be asked for: RuntimeError after `close`."""
        if self.broken is not None:
            raise self.broken
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"its workers belong to process {self._pid}, of which this is a fork: make one of its own"
            )
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if not self._open:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def take_up(self, ticket: Ticket, position: int) -> None:
        """Ask for a task of an earlier session again: how it ended, or will; one that failed is tried again."""
        self._put(lambda: self._take_up(ticket, position))

    def cancel(self, ticket: Ticket) -> None:
        """End a task, running or not; what it is told then is nobody's business any more."""
        self._put(lambda: self._cancel(ticket))

    def watch_job(self, spec: JobSpec, depends_on: tuple[int, ...], ended: Callable[[Conclusion], None]) -> int:
        """Submit a job of commands; its id. `ended` is told in the manager's thread of each end in it."""
        with self._lock:
            if not self._open:
                raise RuntimeError("this session is closed")
            job = None if self._earlier is None else self._earlier.same(spec, depends_on)
            if job is not None:
                self._watchers[job] = ended
                self._put(partial(self._resume, job, range(spec.count)))
                return job
            job = self._new_job()
            self._watchers[job] = ended
            submit = Submit(Job(job, spec, depends_on, time.time()))
            if self._earlier is not None:
                submit = self._earlier.replacing(submit.job)
            self._put(Submitted((submit,)))
            for kept in submit.kept:
                self._put(partial(self._resume, job, range(kept.span.lo, kept.span.hi)))
        return job

    def cancel_job(self, job: int, count: int) -> None:
        """End all tasks of a job."""
        self._put(Cancelled(job, 0, count))

    def cancel_pending(self) -> None:
        """Cancel all tasks that no node holds."""
        self._put(self._cancel_unstarted)

    def explain(self, ticket: Ticket) -> Explanation:
        """Why a task is where it is. Waits for the manager's answer."""
        return self.ask(lambda: self._scheduler.explain(ticket.job, ticket.position, time.time()))

    def ask(self, question: Callable[[], _Value]) -> _Value:
        """What a function says that is called in the manager's thread."""
        if threading.current_thread() is self._thread:  # as when a callback of a future asks
            return question()
        answer: Future[_Value] = Future()

        def respond() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - it belongs to who asked
                answer.set_exception(error)

        self._put(respond)
        return answer.result()

    def state(self, ticket: Ticket) -> TaskState:
        """Of a task, as the scheduler knows it."""
        return TaskState.waiting if ticket.position < 0 else self._scheduler.state(ticket.job, ticket.position)

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state that there is."""
        return {state.name: count for state, count in self._scheduler.totals().items() if count}

    def close(self, *, wait: bool = True, cancel: bool = False) -> None:
        """Take no more; end when all tasks have, or at once with `cancel`. Idempotent."""
        self._open = False
        if os.getpid() != self._pid:
            return  # a fork must not disturb whom it was forked from
        if cancel:
            self._manager.drain(Draining(kill=True, hard=True), "cancelled")
        self._listener.wake()
        if wait and threading.current_thread() not in (self._thread, self.printer.thread):
            self._thread.join()

    # What the manager calls

    def recorded(self, changes: Sequence[Change]) -> None:
        """Tell those who asked how their tasks have ended."""
        for change in changes:
            if type(change) is Settle:
                if change.state in FINAL:
                    position = change.report.attempt.position
                    self._ended(change, change.report.attempt.job, position, position + 1)
            elif type(change) is Finish:
                self._ended(change, change.job, change.lo, change.hi)

    def _ended(self, end: Settle | Finish, job: int, lo: int, hi: int) -> None:
        if job in self._watchers:
            self._watchers[job](end)
            return
        tickets = self._tickets.get(job, {})  # of a job that tasks have submitted there are none
        for position in range(lo, hi):
            ticket = tickets.pop(position, None)
            if ticket is not None:
                ticket.ended(end)

    def note(self, text: str) -> None:
        """Something that a person should read."""
        self._note(text)

    def tick(self, now: float) -> None:
        """Nothing is due."""

    def _progressed(self, progress: Progressed) -> None:
        """Pass on what a task says of itself, unless it has ended meanwhile."""
        ticket = self._tickets.get(progress.job, {}).get(progress.position)
        if ticket is not None and ticket.progressed is not None:
            try:
                ticket.progressed(progress.fraction, progress.text)
            except Exception as error:  # noqa: BLE001 - it is the user's, and must not end the manager
                self._note(f"who was told of progress has raised {error!r}")

    def _take(self) -> Iterator[Event]:
        """What other threads want, calls of one job together."""
        self._rung = False
        inbox = self._inbox
        while inbox:
            first = inbox.popleft()
            if isinstance(first, Ticket):
                yield self._grown(first)
            elif callable(first):
                first()
            else:
                if isinstance(first, Submitted):
                    self._tickets.update({submit.job.id: {} for submit in first.submits})
                    self.store.commit(first.submits)
                yield first

    def _grown(self, first: Ticket) -> Grown:
        """A call, and those of its job that come directly after it."""
        inbox, job = self._inbox, first.job
        position = self._scheduler.count(job)
        tickets, calls = self._tickets[job], []
        ticket = first
        while True:
            ticket.position = position
            tickets[position] = ticket
            calls.append(ticket.arguments)
            ticket.arguments = b""
            position += 1
            following = inbox[0] if inbox else None
            if not isinstance(following, Ticket) or following.job != job:
                return Grown(job, tuple(calls))
            ticket = following
            inbox.popleft()

    def _resume(self, job: int, positions: range) -> None:
        """Tell how tasks of an earlier session ended, and have those again that failed."""
        for position in positions:
            state = self._scheduler.state(job, position)
            if state is TaskState.succeeded and self._earlier is not None:
                end = self._earlier.ends(job, position)
                attempt = msgspec.structs.replace(end.report.attempt, position=position)
                report = msgspec.structs.replace(end.report, attempt=attempt)
                self._watchers[job](msgspec.structs.replace(end, report=report))
            elif state in FINAL:
                self._inbox.append(Revived(job, position, position + 1))

    def _take_up(self, ticket: Ticket, position: int) -> None:
        ticket.position = position
        state = self._scheduler.state(ticket.job, position)
        if state is TaskState.succeeded:
            ticket.ended(self.store.results([(ticket.job, position)])[0])
            return
        self._tickets[ticket.job][position] = ticket
        if state in FINAL:
            self._inbox.append(Revived(ticket.job, position, position + 1))

    def _cancel(self, ticket: Ticket) -> None:
        if ticket.position in self._tickets.get(ticket.job, {}):
            self._inbox.append(Cancelled(ticket.job, ticket.position, ticket.position + 1))

    def _cancel_unstarted(self) -> None:
        for job, tickets in self._tickets.items():
            for position in tickets:
                if self._scheduler.state(job, position) in (TaskState.waiting, TaskState.ready):
                    self._inbox.append(Cancelled(job, position, position + 1))

    # The thread

    def _wake(self) -> None:
        self._listener.wake()

    def _put(self, wanted: Event | Callable[[], None]) -> None:
        self._inbox.append(wanted)
        if not self._rung:
            self._rung = True
            self._listener.wake()

    def _run(self) -> None:
        try:
            self._agents.go(self._let_in)
            self._manager.run(self._supervise, stays=lambda: self._open or bool(self._inbox))
            self._agents.end(self._settings.grace if self._connected else 0.0)
            self._over = True
            self._let_down(CancelledError())
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._break(error)
        finally:
            self._open, self._over = False, True
            self.printer.close()
            if self._gateway is not None:
                self._gateway.close()
            self._listener.close()
            self.home.leave()
            with contextlib.suppress(StoreError):  # who waited was told already
                self.store.close()
            _living.discard(self)

    def _let_in(self) -> Path:
        """Open the manager to agents of other machines; the file that tells them how to join."""
        from pilotfish.transport.carrier import Gateway  # most sessions are on one machine

        values = (self.home.values, self.home.spill)
        key, manager = self.home.runtime.name, self._listener.path
        self._gateway = Gateway(self.folder, key, manager, self._settings, values=values)
        return self._gateway.file

    def _supervise(self, now: float) -> Iterator[str | Event]:
        self._connected = self._connected or bool(self._manager.agents)
        if self._gateway is not None:
            note = self._gateway.tend()
            if note is not None:
                yield note
        yield from self._agents.supervise(self._manager.agents, now)

    def _break(self, error: BaseException) -> None:
        """Tell all who wait that nothing will come."""
        self._open = False
        self._agents.end(self._settings.grace)
        broken = InternalError(f"the session broke down: {error!r}")
        self._let_down(error if isinstance(error, UnavailableError) else broken)

    def _let_down(self, reason: BaseException) -> None:
        """Tell all who still wait why nothing will come."""
        waiting = [ticket.ended for tickets in self._tickets.values() for ticket in tickets.values()]
        while self._inbox:
            with contextlib.suppress(IndexError):  # another thread was faster
                left = self._inbox.popleft()
                if isinstance(left, Ticket):
                    waiting.append(left.ended)
        for ended in (*waiting, *self._watchers.values()):
            with contextlib.suppress(Exception):  # each shall hear it
                ended(reason)


def _close_all() -> None:
    """The program ends: what was asked for is done first, as by the standard's executors."""
    global _exiting  # noqa: PLW0603 - of this process, as its end is
    _exiting = True
    for one in list(_living):
        one.close()


def _forget_all() -> None:
    """After a fork: what lives belongs to its parent."""
    _living.clear()


_living: set[Embedded] = set()
_exiting = False
threading._register_atexit(_close_all)  # type: ignore[attr-defined]  # noqa: SLF001 - `atexit` comes too late for it
os.register_at_fork(after_in_child=_forget_all)


def _refuse(ask: Ask, _now: float, _tell: object) -> object:
    raise UserError(f"an embedded session answers nobody: {ask.name}")
