"""Where commands get their answers and wishes: from the manager that lives, else from the store that it left.

What belongs here: finding the campaign, reaching whoever can answer. What must not: questions, wishes, and what becomes
of the answers.
"""

import argparse
import os
import select
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from pilotfish.errors import BusyError, PilotfishError, UnavailableError, UserError
from pilotfish.manager import campaigns
from pilotfish.manager.answers import Done
from pilotfish.manager.api import WISH, Question, answer
from pilotfish.manager.look import View
from pilotfish.manager.records import Records
from pilotfish.manager.schedules import Schedules
from pilotfish.manager.talk import last_version
from pilotfish.manager.wishes import Clerk, Wish, grant
from pilotfish.model.changes import Put
from pilotfish.store.sqlite import SqliteStore

__all__ = ["Inquiry", "store_of"]

_PATIENCE = 5.0
"""Seconds that a manager gets to begin, to answer, or to end."""
_PAUSE = 0.02
"""Seconds between two tries."""

_T = TypeVar("_T")


def store_of(arguments: argparse.Namespace) -> Path:
    """The store that the option of that name says, else the nearest one upward. Raises UserError without one."""
    store = Path(arguments.store) if arguments.store else campaigns.find_store(Path.cwd())
    return store.absolute()


class Inquiry:
    """Asks about one campaign. A context manager: a store without a manager is held until its end.

    Args:
        folder: of the campaign.

    Raises:
        UnavailableError: when asked, where a manager owns the campaign and cannot be reached.

    """

    def __init__(self, folder: Path) -> None:
        """Nobody is asked yet."""
        self.folder = folder
        self._source: _Source | None = None

    @classmethod
    def about(cls, arguments: argparse.Namespace) -> Self:
        """About the campaign that `server`, or `store` and `campaign` mean, as `add_place` declares them.

        Raises UserError where there is no such server, store or campaign.
        """
        own = arguments.store or arguments.campaign
        named = arguments.server or (None if own else os.environ.get("PILOTFISH_SERVER"))
        if named:
            if own:
                raise UserError(f"--server and {own} are two places: choose one")
            from pilotfish.manager.servers import find_server  # most are asked about what ran here

            return cls(find_server(named))
        try:
            return cls(campaigns.choose(store_of(arguments), arguments.campaign))
        except UserError:
            users = campaigns.user_store() / campaigns.SERVER
            if own or campaigns.last_run(users) is None:
                raise
            return cls(users)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of store and connection."""
        self.pause()

    @property
    def live(self) -> bool:
        """Whether the last answer came from a living manager."""
        return isinstance(self._source, _LivingManager)

    @property
    def way_on(self) -> str:
        """What goes on with the campaign where no manager runs it."""
        if self.folder.name == campaigns.SERVER:
            return f"`pilotfish serve --store {self.folder.parent}`"
        return "`pilotfish run` with the same file"

    def ask(self, question: Question, shape: type[_T]) -> _T:
        """The answer to a question of `manager.api`, in its shape."""
        return self._ask(type(question).__name__.lower(), msgspec.to_builtins(question), shape)

    def wish(self, wish: Wish) -> Done:
        """What a wish has come to; it is durable then."""
        return self._ask(WISH, msgspec.to_builtins(wish), Done)

    def ask_living(self, name: str, arguments: dict[str, Any], shape: type[_T]) -> _T | None:
        """What the manager that lives answers; None where none does."""
        return self._ask(name, arguments, shape | None, living=True)  # type: ignore[arg-type] # a union is no type

    def _ask(self, name: str, arguments: dict[str, Any], shape: type[_T], *, living: bool = False) -> _T:
        deadline = time.monotonic() + _PATIENCE
        while True:
            source = self._source = self._source or _reach(self.folder, deadline)
            if living and not self.live:
                return msgspec.convert(None, shape)
            try:
                value = source.answer(name, arguments)
            except _GoneError:
                self.pause()  # its manager has ended meanwhile: now the store can be asked
            else:
                return msgspec.convert(value, shape)

    def pause(self) -> None:
        """Let go of what answers, so that a `run` may begin; the next question reaches for it again."""
        if self._source is not None:
            self._source.close()
            self._source = None


class _GoneError(Exception):
    """Who was asked has ended before it answered."""


class _Source(Protocol):
    """Who answers."""

    def answer(self, name: str, arguments: dict[str, Any]) -> object:
        """The answer as plain data. Raises PilotfishError, or _GoneError where another one must be asked."""

    def close(self) -> None:
        """Let go."""


def _reach(folder: Path, deadline: float) -> _Source:
    """Whoever answers now; waits a little for a manager that is just beginning or ending."""
    while True:
        try:
            return _StoreAlone(folder)
        except BusyError as busy:
            access = campaigns.read_access(folder)
            if access is not None and access.host != os.uname().nodename:
                raise UnavailableError(f"{busy}: ask there") from busy
            try:
                if access is not None:
                    return _LivingManager(Path(access.socket))
            except UnavailableError:
                pass  # it listens not yet, or no more
            if time.monotonic() > deadline:
                raise UnavailableError(f"{busy}, and does not answer") from busy
        time.sleep(_PAUSE)


class _StoreAlone:
    """A campaign that no manager runs."""

    def __init__(self, folder: Path) -> None:
        self._store = SqliteStore(folder, create=False, visitor=True)
        now = time.time()
        schedules = Schedules(self._store, self._write)
        self._view = View(Records(self._store, now), self._store, folder, live=False, now=now, schedules=schedules)

    def answer(self, name: str, arguments: dict[str, Any]) -> object:
        if name != WISH:
            return answer(name, arguments, self._view)
        clerk = Clerk(self._view)
        done = grant(arguments, self._view, clerk.tell)
        self._store.commit(clerk.changes)
        self._store.flush()
        return done

    def _write(self, key: str, value: bytes | None) -> None:
        self._store.commit([Put(key, value, last_version(self._store.epoch))])

    def close(self) -> None:
        self._store.close()


class _LivingManager:
    """The other end of a connection to a manager."""

    def __init__(self, socket: Path) -> None:
        from pilotfish.transport.link import Link  # only where there is somebody to talk to
        from pilotfish.transport.local import connect

        self._connection = connect(socket)
        self._link = Link(resend_after=1.0, heartbeat=_PATIENCE)

    def answer(self, name: str, arguments: dict[str, Any]) -> object:
        from pilotfish.model.messages import Answer, Ask, Refusal
        from pilotfish.transport.base import DisconnectedError

        self._link.send(Ask(name, arguments))
        deadline = time.monotonic() + _PATIENCE
        while (now := time.monotonic()) < deadline:
            frame = self._link.outgoing(now)
            if frame is not None:
                self._connection.send(frame)
            select.select([self._connection], [], [], max(0.0, min(deadline, self._link.next_due()) - now))
            try:
                frames = self._connection.receive()
            except DisconnectedError as error:
                raise _GoneError from error
            for message in (message for frame in frames for message in self._link.receive(frame, now)):
                self._link.handled(self._link.received)
                if isinstance(message, Answer):
                    return message.value
                if isinstance(message, Refusal):
                    refused = PilotfishError(message.reason)
                    refused.exit_code = message.exit_code
                    raise refused
        raise UnavailableError(f"the manager has not answered for {_PATIENCE:g} s")

    def close(self) -> None:
        self._connection.close()
