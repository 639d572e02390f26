"""A server that a session has joined: what is asked for goes there, what becomes of it comes back.

Two threads do that. One sends what other threads want, in its order, and all that has gathered meanwhile at once; it
waits for each answer, which comes when all is durable. The other waits for news. Whatever is asked a second time, as
a server has gone before it answered, does nothing a second time: a submission has an origin, a call a place in its job.
After each interruption the server is asked for what may have been missed.

What belongs here: these threads, who waits for what. What must not: pickling, futures, what carries messages.
"""

import contextlib
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from pilotfish.client.backend import Conclusion, Ticket
from pilotfish.client.home import Home
from pilotfish.client.printing import Printer
from pilotfish.errors import InternalError, PilotfishError, UnavailableError, UserError
from pilotfish.manager.requests import (
    Abandon,
    ClientQuestion,
    Enqueue,
    Extend,
    Farewell,
    Follow,
    News,
    Tally,
    Tidings,
    Whereabouts,
    question_name,
)
from pilotfish.manager.servers import greet, server_socket
from pilotfish.model.changes import Finish, Settle
from pilotfish.model.events import Explanation
from pilotfish.model.jobs import JobSpec
from pilotfish.model.states import TaskState
from pilotfish.transport.caller import Caller

__all__ = ["Joined"]

_MOST_BYTES = 8 * 2**20
"""Of calls in one message, or one call more."""
_MOST_CALLS = 10_000
_LONGEST_WAIT = 3600.0
"""Seconds without news after which they are asked for anew."""
_PAUSE = 0.5
"""Seconds before a server is asked again that could not answer."""
_FAREWELL = 1.0
"""Seconds that a server gets to hear that we leave."""

_read_tidings = msgspec.msgpack.Decoder(Tidings).decode


class _Watched:
    """A job whose ends somebody is told of, one by one."""

    def __init__(self, spec: JobSpec, ended: Callable[[Conclusion], None]) -> None:
        self.ended = ended
        self._done = bytearray(spec.count)
        self.left = spec.count

    def note(self, lo: int, hi: int) -> bool:
        """Whether some of these were not known to have ended."""
        fresh = self._done.count(0, lo, hi)
        self._done[lo:hi] = b"\1" * (hi - lo)
        self.left -= fresh
        return fresh > 0

    def missing(self) -> Iterator[tuple[int, int]]:
        """Spans of those that have not ended."""
        return (found.span() for found in re.finditer(b"\0+", self._done))


class Joined:
    """A session's connection with a server: begins when it is made, ends by `close`.

    Args:
        folder: of the server's campaign.
        patience: seconds for which a server that is away is waited for.
        note: is told what a person should read.

    """

    def __init__(self, folder: Path, patience: float, *, note: Callable[[str], None]) -> None:
        """Greet it. Raises UnavailableError where it is away, UserError where it is another pilotfish."""
        self._socket, self._patience, self._note = server_socket(folder), patience, note
        self._socket()  # at the beginning, a server that is not there is not waited for
        self.line = Caller(self._socket, patience)
        welcomed = greet(self.line)
        self.limits = welcomed.limits
        """The named limits of its queue."""
        self._client = secrets.token_hex(8)
        self.home = Home.at_server(Path(welcomed.folder), self._client)
        self.printer = Printer(self.folder / "outputs", keep=True)
        self.broken: BaseException | None = None
        self._numbers = count(1)
        self._inbox: deque[Ticket | Abandon] = deque()
        self._changed = threading.Condition()
        self._rung = False
        self._tickets: dict[int, dict[int, Ticket]] = {}
        """Calls that have been sent and have not ended, by job and position."""
        self._sent: dict[int, int] = {}
        """How many calls of each job have been."""
        self._watched: dict[int, _Watched] = {}
        self._open, self._leaves, self._over, self._pid = True, False, False, os.getpid()
        self._sender = threading.Thread(target=self._live, args=[self._send], name="pilotfish sender", daemon=True)
        self._listener = threading.Thread(target=self._live, args=[self._listen], name="pilotfish news", daemon=True)
        self._sender.start()
        self._listener.start()
        _living.add(self)

    @property
    def folder(self) -> Path:
        """Of the server's campaign."""
        return self.home.folder

    # What other threads call

    def earlier_calls(self) -> None:
        """None: what a client has left in the queue goes on there, without it."""

    def require_open(self) -> None:
        """Raise where no more can be asked for: RuntimeError after `close`."""
        if self.broken is not None:
            raise self.broken
        if os.getpid() != self._pid:
            raise RuntimeError(f"this session belongs to process {self._pid}, of which this is a fork: join anew")
        if not self._open:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def open_job(self, spec: JobSpec, depends_on: tuple[int, ...] = ()) -> int:
        """Submit a job that calls are added to; its id. It is durable."""
        job = self._enqueue(spec, depends_on)
        self._tickets[job], self._sent[job] = {}, 0
        return job

    def watch_job(self, spec: JobSpec, depends_on: tuple[int, ...], ended: Callable[[Conclusion], None]) -> int:
        """Submit a job of commands; its id. `ended` is told in the listening thread of each end in it."""
        watched = _Watched(spec, ended)
        with self._changed:  # news of it wait until it is known here
            job = self._enqueue(spec, depends_on)
            self._watched[job] = watched
        return job

    def _enqueue(self, spec: JobSpec, depends_on: tuple[int, ...]) -> int:
        self.require_open()
        origin = f"{self._client}/{next(self._numbers)}"
        packed = msgspec.msgpack.encode(spec)
        (job,) = self._ask(Enqueue(origin=origin, specs=(packed,), depends_on=depends_on))
        return int(job)

    def add(self, ticket: Ticket) -> None:
        """Add a call to its job. Raises RuntimeError after `close`."""
        self.require_open()
        self._put(ticket)

    def take_up(self, ticket: Ticket, position: int) -> None:
        """Nothing that could be taken up is ever offered."""
        raise InternalError(f"call {position} of job {ticket.job} belongs to another session")

    def cancel(self, ticket: Ticket) -> None:
        """End a task, running or not."""
        with self._changed:
            if ticket.position < 0:
                with contextlib.suppress(ValueError):  # nobody has asked for it
                    self._inbox.remove(ticket)
                return
        self._put(Abandon(ticket.job, ticket.position, ticket.position + 1))

    def cancel_job(self, job: int, count: int) -> None:
        """End all tasks of a job."""
        self._put(Abandon(job, 0, count))

    def state(self, ticket: Ticket) -> TaskState:
        """Of a task, as the server knows it."""
        return TaskState[self._whereabouts(ticket)[0]]

    def explain(self, ticket: Ticket) -> Explanation:
        """Why a task is where it is."""
        return Explanation(self._whereabouts(ticket)[1])

    def counts(self) -> dict[str, int]:
        """How many tasks of this session are in each state that there is."""
        found: dict[str, int] = self._ask(Tally(self._client))
        return found

    def close(self, *, wait: bool = True, cancel: bool = False) -> None:
        """Take no more; end when all tasks have, or with `cancel` when they are cancelled. Idempotent."""
        if os.getpid() != self._pid:
            return  # a fork must not disturb whom it was forked from
        self._open = False
        if cancel:
            self._give_up()
        with self._changed:
            self._leaves |= cancel
            self._changed.notify_all()
        own = (self._sender, self._listener, self.printer.thread)
        if wait and threading.current_thread() not in own:
            self._sender.join()
            self._listener.join(_FAREWELL)
            self.printer.close()

    def detach(self) -> None:
        """Take no more, and end when everything has been sent: the server goes on with it."""
        self._open = False
        with self._changed:
            self._leaves = True
            self._changed.notify_all()
        self._sender.join(self._patience)

    # Asking

    def _ask(self, question: ClientQuestion, line: Caller | None = None) -> Any:  # noqa: ANN401 - as many shapes as questions
        return (line or self.line).ask(question_name(question), msgspec.structs.asdict(question))

    def _whereabouts(self, ticket: Ticket) -> tuple[str, str]:
        if ticket.position >= 0:
            with contextlib.suppress(UserError):  # it knows no such task yet
                state, why = self._ask(Whereabouts(ticket.job, ticket.position))
                return state, why
        return TaskState.waiting.name, "it is on its way to the server"

    def _put(self, wanted: Ticket | Abandon) -> None:
        self._inbox.append(wanted)
        if not self._rung:
            with self._changed:
                self._rung = True
                self._changed.notify_all()

    # The thread that sends

    def _send(self) -> None:
        while self._wait_for_work():
            while (question := self._next()) is not None:
                self._ask(question)
        self._over = True
        with contextlib.suppress(PilotfishError):  # it will notice that we have gone
            self._ask(Farewell(self._client), Caller(self._socket, _FAREWELL))

    def _wait_for_work(self) -> bool:
        """Wait for something to send; False when nothing will come, and all that was sent has ended."""
        with self._changed:
            while True:
                self._rung = False  # before each look: what had rung may have been cancelled
                if self._inbox or self._finished():
                    return bool(self._inbox)
                self._changed.wait()

    def _finished(self) -> bool:
        if self._open or self._inbox:
            return False
        return self._leaves or not (any(self._tickets.values()) or any(one.left for one in self._watched.values()))

    def _next(self) -> Extend | Abandon | None:
        """What is to be sent next; None: all has been."""
        with self._changed:  # what others cancel meanwhile leaves the inbox
            if not self._inbox:
                return None
            first = self._inbox[0]
            return self._abandoned(first) if isinstance(first, Abandon) else self._calls(first.job)

    def _calls(self, job: int) -> Extend:
        """The calls that come next, of one job."""
        calls: list[bytes] = []
        size = 0
        tickets, lo = self._tickets[job], self._sent[job]
        while self._inbox and size < _MOST_BYTES and len(calls) < _MOST_CALLS:
            ticket = self._inbox[0]
            if not isinstance(ticket, Ticket) or ticket.job != job:
                break
            self._inbox.popleft()
            ticket.position = lo + len(calls)
            tickets[ticket.position] = ticket
            calls.append(ticket.arguments)
            size += len(ticket.arguments)
            ticket.arguments = b""
        self._sent[job] = lo + len(calls)
        return Extend(job, lo, tuple(calls))

    def _abandoned(self, first: Abandon) -> Abandon:
        """The tasks to be cancelled next: those that follow one another in a job."""
        hi = first.lo
        while self._inbox and isinstance(following := self._inbox[0], Abandon):
            if (following.job, following.lo) != (first.job, hi):
                break
            hi = following.hi
            self._inbox.popleft()
        return Abandon(first.job, first.lo, hi)

    def _give_up(self) -> None:
        """Cancel all that has not ended, and tell those who wait."""
        with self._changed:
            unsent = [one for one in self._inbox if isinstance(one, Ticket)]
            self._inbox.clear()
            jobs = [(job, self._sent[job]) for job, tickets in self._tickets.items() if tickets]
            jobs += [(job, 2**62) for job, watched in self._watched.items() if watched.left]
            for job, calls in jobs:
                self._inbox.append(Abandon(job, 0, calls))
        self._let_down(CancelledError(), unsent)

    # The thread that listens

    def _listen(self) -> None:
        line = Caller(self._socket, self._patience)
        follows = False
        while not self._over:
            if not follows:
                self._ask(Follow(self._client, tuple(self._missing())), line)
            try:
                packed = line.ask(question_name(News()), {}, again=False, timeout=_LONGEST_WAIT)
            except (UnavailableError, TimeoutError):  # it has gone, or it is time to see whether it is there
                packed = None
            except UserError:
                raise
            except PilotfishError:  # its disk is full: it will tell, once it can
                packed = None
                time.sleep(_PAUSE)
            follows = packed is not None
            if packed is not None:
                self._hear(_read_tidings(packed))

    def _missing(self) -> list[tuple[int, int, int]]:
        """Spans of tasks of which no end is known."""
        with self._changed:
            found = [(job, lo, hi) for job, one in self._watched.items() for lo, hi in one.missing()]
            for job, tickets in self._tickets.items():
                found += [(job, lo, hi) for lo, hi in _runs(sorted(tickets))]
        return found

    def _hear(self, tidings: Tidings) -> None:
        for settle in tidings.settles:
            position = settle.report.attempt.position
            self._ended(settle, settle.report.attempt.job, position, position + 1)
        for finish in tidings.finishes:
            self._ended(finish, finish.job, finish.lo, finish.hi)
        for progress in tidings.progress:
            ticket = self._tickets.get(progress.job, {}).get(progress.position)
            if ticket is not None and ticket.progressed is not None:
                try:
                    ticket.progressed(progress.fraction, progress.text)
                except Exception as error:  # noqa: BLE001 - it is the user's, and must not end the session
                    self._note(f"who was told of progress has raised {error!r}")
        with self._changed:
            self._changed.notify_all()

    def _ended(self, end: Settle | Finish, job: int, lo: int, hi: int) -> None:
        with self._changed:
            watched, tickets = self._watched.get(job), self._tickets.get(job, {})
            told = [ticket for position in range(lo, hi) if (ticket := tickets.pop(position, None)) is not None]
            fresh = watched is not None and watched.note(lo, hi)
        if watched is not None and fresh:
            watched.ended(end)
        for ticket in told:
            ticket.ended(end)

    # The end

    def _live(self, work: Callable[[], None]) -> None:
        """The life of a thread: whatever ends it, those who wait must hear of it."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it belongs to all who wait
            if not self._over:
                self._break(error)
        finally:
            self._over, self._open = True, False
            _living.discard(self)

    def _break(self, error: BaseException) -> None:
        self._over = True
        if not isinstance(error, PilotfishError):
            error = InternalError(f"the session broke down: {error!r}")
        self.broken = error
        with self._changed:
            unsent = [one for one in self._inbox if isinstance(one, Ticket)]
            self._inbox.clear()
            self._leaves = True
            self._changed.notify_all()
        self._let_down(error, unsent)

    def _let_down(self, reason: BaseException, unsent: Iterable[Ticket]) -> None:
        """Tell all who still wait why nothing will come."""
        with self._changed:
            waiting = [ticket.ended for ticket in unsent]
            for tickets in self._tickets.values():
                waiting += [ticket.ended for ticket in tickets.values()]
                tickets.clear()
            waiting += [one.ended for one in self._watched.values() if one.left]
            self._watched.clear()
        for ended in waiting:
            with contextlib.suppress(Exception):  # each shall hear it
                ended(reason)


def _runs(positions: list[int]) -> Iterator[tuple[int, int]]:
    """The spans of ascending positions."""
    lo = hi = -1
    for position in positions:
        if position != hi:
            if lo >= 0:
                yield lo, hi
            lo = position
        hi = position + 1
    if lo >= 0:
        yield lo, hi


def _detach_all() -> None:
    """The program ends: what was asked for is sent first, and is done without it."""
    for one in list(_living):
        one.detach()


_living: set[Joined] = set()


def _forget_all() -> None:
    """After a fork: what lives belongs to its parent."""
    _living.clear()


threading._register_atexit(_detach_all)  # type: ignore[attr-defined]  # noqa: SLF001 - `atexit` comes too late for it
os.register_at_fork(after_in_child=_forget_all)
