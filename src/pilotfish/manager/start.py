"""Composition root of a run: opens the campaign, plans, connects the parts, works, closes."""

import errno
import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pilotfish.errors import UserError
from pilotfish.manager import campaigns
from pilotfish.manager.intake import Plan, plan
from pilotfish.manager.loop import Manager, ignore_progress
from pilotfish.manager.notify import Observer
from pilotfish.manager.offspring import job_for
from pilotfish.model.changes import Grow, Snapshot, Submit
from pilotfish.model.events import Command, Draining, Event, Expected
from pilotfish.model.jobs import Job, JobSpec, task_name
from pilotfish.model.messages import Ask
from pilotfish.model.states import FINAL
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.database import make_folder
from pilotfish.store.sqlite import SqliteStore
from pilotfish.transport.join import JOIN
from pilotfish.transport.local import LocalListener

if TYPE_CHECKING:  # loaded by those that need them
    from pilotfish.manager.desk import Desk
    from pilotfish.transport.carrier import Gateway

__all__ = ["BACKLOG", "LET_IN", "Agents", "Campaign", "make_campaign", "plan_of_new", "spare_collector"]

LET_IN = "let_in"
"""Opens a manager to agents of other machines; the answer is the file that tells them how to join."""
BACKLOG = "backlog"
"""Asks a manager what is still to be done, and on which nodes."""
_COLLECT_AFTER = 100_000
"""Objects more than were freed; by default 700, which with 100,000 jobs costs a third of all deciding."""


def spare_collector() -> None:
    """Let the garbage collector leave alone what is there, and look seldom at what comes: it has hardly any cycles."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    gc.enable()


def plan_of_new(specs: Sequence[JobSpec]) -> Plan:
    """What running these jobs would do where nothing has run before."""
    return plan(specs, Snapshot(submits=(), tasks=(), finishes=(), grants=()), next_id=1, now=time.time())


def make_campaign(folder: Path) -> None:
    """Make the folder of a campaign where it is missing. Raises UserError where nothing can be written there."""
    try:
        try:
            make_folder(folder)
        except FileNotFoundError:  # a run of `map` may just have removed the empty store
            make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        msg = f"nothing can be kept in {folder.parent} ({error.strerror}): name another place with --store"
        raise UserError(msg) from error


class Agents(Protocol):
    """Those who start the agents of a manager and see that they live."""

    @property
    def expected(self) -> int | None:
        """How many nodes there will be together at most; None: nobody can tell."""

    def go(self, let_in: Callable[[], Path]) -> None:
        """Start them: the manager can be reached now.

        Args:
            let_in: opens the manager to agents of other machines; the file that tells them how to join.

        """

    def supervise(self, connected: Collection[str], now: float) -> Iterable[str | Event]:
        """Start agents where they are missing; what a person should know of them, and what is known of nodes.

        Args:
            connected: nodes whose agents are connected.
            now: seconds since 1970.

        """

    def end(self, patience: float) -> None:
        """Wait for the agents' processes; KILL them after `patience` seconds."""


class Campaign:
    """One campaign opened for running, by this process alone.

    Args:
        folder: of the campaign; made if missing.
        settings: leases and heartbeats.

    Raises:
        BusyError: another manager owns it.
        UserError: nothing can be written there.

    """

    def __init__(self, folder: Path, settings: Settings, *, fresh: bool = False) -> None:
        """Take the ownership and read what is there; with `fresh`, put that away first and begin with nothing."""
        self.folder = folder
        self._settings = settings
        self._listener: LocalListener | None = None
        fresh &= folder.exists()
        make_campaign(folder)
        if fresh:
            with closing(SqliteStore(folder)):
                campaigns.archive(folder)
        self.store = SqliteStore(folder, wake=self.wake)
        gc.disable()  # until all jobs are there: it would look at each of them again and again
        self._snapshot = self.store.load()
        self.scheduler = Scheduler(settings, self.store.epoch)
        self._manager: Manager | None = None
        self._desk: Desk | None = None
        self._gateway: Gateway | None = None
        self._drained = self._met = False

    def plan(self, specs: Sequence[JobSpec], *, keep_failed: bool = False) -> Plan:
        """What running these jobs would do; with `keep_failed`, what failed stays so."""
        submits = self.store.submits()
        next_id = 1 + max((submit.job.id for submit in submits), default=0)
        return plan(specs, self._snapshot, next_id=next_id, now=time.time(), keep_failed=keep_failed)

    def accept(self, accepted: Plan) -> None:
        """Make the plan durable and load the queue that it makes."""
        if accepted.changes:
            self.store.commit(accepted.changes)
            self.store.flush()
            self._snapshot = self.store.load()

    def enqueue(self, spec: JobSpec, call: bytes) -> tuple[int, int]:
        """Make a call durable, and load the queue that it makes; its job and position.

        An equal one that an earlier run has left unfinished is taken instead: whoever asks again wants that to go on.
        """
        from pilotfish.manager.records import Records

        found = job_for(spec, [submit.job for submit in self.store.current()])
        changes: list[Submit | Grow] = []
        if isinstance(found, int):
            states = Records(self.store).states(found)
            for position, known in self.store.calls(found).items():
                if known == call and states[position] not in FINAL:
                    return found, position
            job, position = found, len(states)
        else:
            job = 1 + max((submit.job.id for submit in self.store.submits()), default=0)
            position = 0
            changes.append(Submit(Job(job, found, (), time.time())))
        self.store.commit([*changes, Grow(job, position, (call,))])
        self.store.flush()
        self._snapshot = self.store.load()
        return job, position

    def name(self, job: int, position: int) -> str:
        """Of a task of a current job, as users call it."""
        jobs = {submit.job.id: submit.job for submit in self.store.current()}
        return task_name(jobs[job], position)

    def run(self, observer: Observer, agents: Agents, limits: Mapping[str, int], *, desk: "Desk | None" = None) -> None:
        """Work until the campaign is done or drained; `limits` are the named ones of its queue.

        With a `desk`, which serves clients, until it is drained.
        """
        self._desk = desk
        self._listener = LocalListener(campaigns.socket_path(self.folder))
        manager = self._manager = Manager(
            self.store,
            self.scheduler,
            self._listener,
            settings=self._settings,
            observer=observer,
            answer=self._respond,
            inbox=tuple if desk is None else lambda: desk.due(time.time()),
            progressed=ignore_progress if desk is None else desk.progressed,
            new_job=None if desk is None else desk.new_job,
            desk=desk,
        )
        campaigns.write_access(self.folder, self._listener.path, os.getpid(), socket.gethostname())
        expected = agents.expected
        if (self.folder / JOIN).exists():  # agents of other machines may look for us
            self.let_in()
            expected = expected if desk is None else None
        manager.restore(self._snapshot, limits, expected)
        self._snapshot = msgspec.structs.replace(self._snapshot, tasks=(), submits=())
        spare_collector()
        if self.scheduler.unfinished or desk is not None:
            # The store's thread asks for the interpreter after each step of SQLite: at the default of 5 ms a busy
            # loop would make a commit last 200 ms.
            sys.setswitchinterval(0.0005)
            agents.go(self.let_in)
            stays: Callable[[], bool] = bool if desk is None else lambda: not self._drained
            manager.run(lambda now: self._supervise(agents, manager.agents, now), stays)
            agents.end(self._settings.grace if self._met else 0.0)  # who has not come yet hears nothing of an end

    def let_in(self) -> Path:
        """Open this manager to agents of other machines; the file that tells them how to join. Raises UserError."""
        if self._gateway is None:
            from pilotfish.transport.carrier import Gateway

            key, manager = campaigns.key(self.folder), campaigns.socket_path(self.folder)
            self._gateway = Gateway(self.folder, key, manager, self._settings)
        return self._gateway.file

    def _supervise(self, agents: Agents, connected: Collection[str], now: float) -> Iterable[str | Event]:
        note = None if self._gateway is None else self._gateway.tend()
        self._met |= bool(connected)
        news = agents.supervise(connected, now)
        return news if note is None else (note, *news)

    def drain(self, wish: Draining, why: str) -> None:
        """Ask for a drain and say why; may be called from a signal handler."""
        if self._manager is not None:
            self._drained = True
            self._manager.drain(wish, why)

    def ask(self, name: str, arguments: dict[str, object]) -> Any:  # noqa: ANN401 - as many shapes as questions
        """Answer a question about the campaign from inside this process."""
        from pilotfish.manager import api  # most runs are asked nothing: their start need not pay for it

        return api.answer(name, arguments, self._view(time.time()))

    def write(self, key: str, value: bytes | None) -> None:
        """Set one of the values that tasks share, or remove it, where a manager runs."""
        if self._manager is not None:
            self._manager.write(key, value)

    def close(self) -> None:
        """Give up the ownership. Idempotent."""
        if self._gateway is not None:
            self._gateway.close()
            if self._manager is not None and not self._manager.away:
                (self.folder / JOIN).unlink(missing_ok=True)
        if self._listener is not None:
            campaigns.remove_access(self.folder)
            self._listener.close()
            with suppress(OSError):  # keepers, or another agent, still need it
                self._listener.path.parent.rmdir()
        self.store.close()

    def _respond(self, ask: Ask, now: float, tell: Callable[[Event], Sequence[Command]]) -> object:
        from pilotfish.manager import api, wishes

        if ask.name == LET_IN:
            tell(Expected(None))
            return str(self.let_in())
        if ask.name == BACKLOG:
            return self.scheduler.backlog()
        if ask.name == api.WISH:
            return wishes.grant(ask.arguments, self._view(now), tell)
        return api.answer(ask.name, ask.arguments, self._view(now))

    def _view(self, now: float) -> Any:  # noqa: ANN401 - a View, of a module that most runs do not load
        from pilotfish.manager.look import View

        schedules = None if self._desk is None else self._desk.schedules
        return View(
            scheduler=self.scheduler,
            store=self.store,
            folder=self.folder,
            live=True,
            now=now,
            schedules=schedules,
        )

    def wake(self) -> None:
        """Look at once at what has happened; may be called from any thread and from a signal handler."""
        if self._listener is not None:
            self._listener.wake()
