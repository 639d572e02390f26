"""Composition root of a run: opens the campaign, plans, connects the parts, works, closes."""

import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pilotfish.manager import campaigns
from pilotfish.manager.intake import Plan, plan
from pilotfish.manager.loop import Manager
from pilotfish.manager.notify import Observer
from pilotfish.model.changes import Snapshot
from pilotfish.model.events import Draining
from pilotfish.model.jobs import JobSpec
from pilotfish.model.messages import Ask
from pilotfish.runtime import runtime_folder
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.sqlite import SqliteStore
from pilotfish.transport.local import LocalListener

__all__ = ["Campaign", "LocalAgent", "plan_of_new"]


def plan_of_new(specs: Sequence[JobSpec]) -> Plan:
    """What running these jobs would do where nothing has run before."""
    return plan(specs, Snapshot(submits=(), tasks=(), finishes=(), grants=()), next_id=1, now=time.time())


class LocalAgent(Protocol):
    """The agent of this machine, as the manager's owner sees it."""

    def go(self) -> None:
        """Start it: the manager can be reached now."""

    def supervise(self, *, connected: bool, now: float) -> str | None:
        """See that an agent lives, start one where none does; what a person should know of the last one."""

    def end(self, patience: float) -> None:
        """Wait for the agent's process; KILL it after `patience` seconds."""


class Campaign:
    """One campaign opened for running, by this process alone.

    Args:
        folder: of the campaign; made if missing.
        settings: leases and heartbeats.

    Raises:
        BusyError: another manager owns it.

    """

    def __init__(self, folder: Path, settings: Settings, *, fresh: bool = False) -> None:
        """Take the ownership and read what is there; with `fresh`, put that away first and begin with nothing."""
        self.folder = folder
        self._settings = settings
        self._listener: LocalListener | None = None
        if fresh and folder.exists():
            with closing(SqliteStore(folder)):
                campaigns.archive(folder)
        self.store = SqliteStore(folder, wake=self._wake)
        self._snapshot = self.store.load()
        self.scheduler = Scheduler(settings, self.store.epoch)
        self._manager: Manager | None = None

    def plan(self, specs: Sequence[JobSpec]) -> Plan:
        """What running these jobs would do."""
        submits = self.store.submits()
        next_id = 1 + max((submit.job.id for submit in submits), default=0)
        return plan(specs, self._snapshot, next_id=next_id, now=time.time())

    def accept(self, accepted: Plan) -> None:
        """Make the plan durable and load the queue that it makes."""
        if accepted.changes:
            self.store.commit(accepted.changes)
            self.store.flush()
            self._snapshot = self.store.load()

    def run(self, observer: Observer, agent: LocalAgent) -> None:
        """Work until the campaign is done or drained."""
        key = campaigns.key(self.folder)
        self._listener = LocalListener(runtime_folder(key) / "manager.sock")
        manager = self._manager = Manager(
            self.store,
            self.scheduler,
            self._listener,
            settings=self._settings,
            observer=observer,
            answer=self._answer,
        )
        campaigns.write_access(self.folder, self._listener.path, os.getpid(), socket.gethostname())
        manager.restore(self._snapshot)
        self._snapshot = msgspec.structs.replace(self._snapshot, tasks=(), submits=())
        if self.scheduler.unfinished:
            # The store's thread asks for the interpreter after each step of SQLite: at the default of 5 ms a busy
            # loop would make a commit last 200 ms.
            sys.setswitchinterval(0.0005)
            agent.go()
            manager.run(lambda now: agent.supervise(connected=bool(manager.agents), now=now))
            agent.end(self._settings.grace)

    def drain(self, wish: Draining) -> None:
        """Ask for a drain; may be called from a signal handler."""
        if self._manager is not None:
            self._manager.drain(wish)

    def ask(self, name: str, arguments: dict[str, object]) -> Any:  # noqa: ANN401 - as many shapes as questions
        """Answer a question about the campaign from inside this process."""
        return self._answer(Ask(name, arguments), time.time())

    def close(self) -> None:
        """Give up the ownership. Idempotent."""
        if self._listener is not None:
            campaigns.remove_access(self.folder)
            self._listener.close()
            with suppress(OSError):  # keepers, or another agent, still need it
                self._listener.path.parent.rmdir()
        self.store.close()

    def _answer(self, ask: Ask, now: float) -> object:
        from pilotfish.manager import api  # most runs are asked nothing: their start need not pay for it
        from pilotfish.manager.look import View

        view = View(scheduler=self.scheduler, store=self.store, folder=self.folder, live=True, now=now)
        return api.answer(ask.name, ask.arguments, view)

    def _wake(self) -> None:
        if self._listener is not None:
            self._listener.wake()
