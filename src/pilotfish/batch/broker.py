"""Asks one batch system for allocations: keeps the book in a file, and runs the commands that the book says are due.

It never waits unless asked to: whoever owns it calls `step` now and then. Its file is its own while it lives.

What belongs here: this file and these commands. What must not: which allocations are wanted.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from pilotfish.batch.allocations import Allocations, Find, Inspect, Pilot, Revoke
from pilotfish.batch.commands import Running
from pilotfish.batch.dialect import AllocationRequest, Dialect, Errand, Output, Refused
from pilotfish.errors import BusyError, UserError
from pilotfish.runtime import write_private

__all__ = ["Broker", "read_book"]

_Then: TypeAlias = Callable[[Output, float], None]


class _Book(msgspec.Struct, frozen=True):
    """What the file holds."""

    system: str
    pilots: tuple[Pilot, ...]


def read_book(path: Path) -> tuple[str, tuple[Pilot, ...]]:
    """The system and the allocations of a file, also one that another process owns. Raises UserError."""
    try:
        book = msgspec.json.decode(path.read_bytes(), type=_Book)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} does not tell of allocations: {error}") from error
    return book.system, book.pilots


class Broker:
    """The allocations of one batch system that one process asks for.

    Args:
        dialect: of the system.
        path: of the file of its book; made with its folder where it is missing.
        environ: of its commands.

    Raises:
        BusyError: another process has that file.

    """

    def __init__(self, dialect: Dialect, path: Path, environ: Mapping[str, str]) -> None:
        """Go on with what the file tells."""
        self._dialect, self._path, self._environ = dialect, path, environ
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BusyError(f"another process asks for the allocations of {path}") from None
        self.book = Allocations(read_book(path)[1] if path.exists() else ())
        self._running: list[tuple[Running, _Then]] = []
        self._told: str | None = None
        self._failures = {pilot.key: pilot.failure for pilot in self.book}
        """Those that were told."""

    def ask(self, wanted: AllocationRequest, now: float) -> int:
        """Ask for an allocation; its key in the book. Raises UserError where the system has no word for it."""
        errand = self._dialect.submit(wanted)
        key = self.book.ask(wanted, now).key
        self._save()
        try:
            self._start(errand, lambda output, now: self.book.answered(key, self._dialect.submitted(output), now))
        except UserError as error:
            self.book.answered(key, Refused(str(error)), now)
            self._save()
            raise
        return key

    def step(self, now: float) -> Iterator[str]:
        """Hear what commands came to and start those that are due; what a person should know."""
        self._hear(now)
        action = self.book.due(now)
        if action is not None:
            self._do(action)
        yield from self._news()

    def settle(self, now: Callable[[], float]) -> Iterator[str]:
        """Wait until no command is on its way, and start none; what a person should know."""
        while self._running:
            self._running[0][0].wait()
            self._hear(now())
            yield from self._news()

    def _hear(self, now: float) -> None:
        for running, then in self._running[:]:
            output = running.poll()
            if output is not None:
                self._running.remove((running, then))
                then(output, now)

    def _news(self) -> Iterator[str]:
        for pilot in self._save():
            if pilot.failure and self._failures.get(pilot.key) != pilot.failure:
                self._failures[pilot.key] = pilot.failure
                yield pilot.failure
        if self.book.away != self._told:
            self._told = self.book.away
            yield f"{self._dialect.name} is away: {self._told}" if self._told else f"{self._dialect.name} is back"

    def close(self) -> None:
        """End commands that still run and let others have the file."""
        for running, _ in self._running:
            running.close()
        os.close(self._lock)

    def _do(self, action: Inspect | Find | Revoke) -> None:
        dialect, book = self._dialect, self.book
        match action:
            case Inspect(ids):
                self._start(dialect.look(ids), lambda output, now: book.looked(dialect.seen(ids, output), now))
            case Find(key, name):
                self._start(dialect.find(name), lambda output, now: book.found(key, dialect.found(name, output), now))
            case Revoke(ids):
                told = dialect.cancelled
                self._start(dialect.cancel(ids), lambda output, now: book.told_to_end(ids, told(output), now))

    def _start(self, errand: Errand, then: _Then) -> None:
        self._running.append((Running(errand, self._environ), then))

    def _save(self) -> list[Pilot]:
        """Keep what has changed, before anything follows from it."""
        changed = self.book.changed()
        if changed:
            content = msgspec.json.encode(_Book(self._dialect.name, tuple(self.book)))
            write_private(self._path, content, durable=True)
        return changed
