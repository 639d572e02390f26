"""The store of one campaign in one SQLite file: one thread writes, whatever came meanwhile is the next transaction.

What belongs here: the queue before the writer, its thread, what it does when the disk refuses. What must
not: tables (:mod:`pilotfish.store.tables`), the file (:mod:`pilotfish.store.database`).

Questions go through the same queue as changes, so that an answer sees all that was committed before it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from pilotfish.errors import InternalError, StoreError
from pilotfish.faults import reached
from pilotfish.model.changes import Change, Finish, Put, Settle, Snapshot, Submit, Survey
from pilotfish.model.jobs import Span
from pilotfish.store.database import MAY_PASS, make_folder, open_database, store_error
from pilotfish.store.ownership import Ownership
from pilotfish.store.tables import Tables

__all__ = ["SqliteStore"]

_RETRY_AFTER = 1.0
"""Seconds between two tries while the disk refuses."""

_T = TypeVar("_T")


class _Question:
    """Something that the writer thread is asked, and the place where its answer arrives."""

    def __init__(self, ask: Callable[[Tables], Any]) -> None:
        self.ask = ask
        self.answer: SimpleQueue[tuple[Any, StoreError | None]] = SimpleQueue()


_Item: TypeAlias = tuple[int, Sequence[Change]] | _Question | None
"""What the writer thread is given: a ticket with its changes, a question, or the end."""


def _ignore() -> None:
    """Nobody wants to be woken."""


class SqliteStore:
    """The durable memory of a campaign in ``<folder>/store.sqlite``, owned through ``<folder>/lock``.

    Open it after the last fork: a child would inherit the lock and keep it. `commit` is for one thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wake: Callable[[], None] = _ignore,
        create: bool = True,
        visitor: bool = False,
        exclusive: bool | None = None,
    ) -> None:
        """Open, or with `create` make, the store in `folder`.

        `wake` is called from another thread after each change of `durable` or `trouble`. A `visitor` stays for
        a moment: it does not raise the epoch, and an owner that comes meanwhile waits for it. `exclusive` is
        for file systems that machines share, and found out when None.
        Raises BusyError, StoreVersionError, StoreFullError or another StoreError, each of one line.
        """
        self._path = folder / "store.sqlite"
        self._wake = wake
        try:
            if create:
                make_folder(folder)
            elif not folder.is_dir():
                raise StoreError(f"there is no folder {folder}")
            self._ownership = Ownership(folder, visitor=visitor)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from error
        try:
            self._connection = open_database(self._path, create=create, exclusive=exclusive)
            self._tables, self.epoch = self._enter(visitor=visitor)
        except BaseException:
            self._ownership.release()
            raise
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._given = self._durable = 0
        self._trouble: StoreError | None = None
        self._failure: StoreError | None = None
        self._closed = False
        self._thread = Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def load(self) -> Snapshot:
        """All that a new manager must know. Call before the first commit."""
        return self._ask(Tables.load)

    def commit(self, changes: Sequence[Change]) -> int:
        """Make the changes durable soon and in order; the ticket to compare with `durable`."""
        self._check_open()
        self._given += 1
        self._queue.put((self._given, changes))
        return self._given

    @property
    def durable(self) -> int:
        """The highest ticket whose changes, and all before them, are durable."""
        return self._durable

    @property
    def trouble(self) -> str | None:
        """Why the store cannot write at the moment (it tries again by itself), None when all is well."""
        return str(self._trouble) if self._trouble else None

    def raise_failure(self) -> None:
        """Raise the error that ended the writing for good, if there was one."""
        if self._failure:
            raise self._failure

    def flush(self) -> None:
        """Wait until everything given to `commit` is durable. Raises StoreError if it cannot be, or not now."""
        self._ask(lambda _tables: None)

    def submits(self) -> tuple[Submit, ...]:
        """All jobs ever submitted, forgotten and replaced ones too, by ascending id."""
        return self._ask(Tables.submits)

    def attempts(self, job: int, position: int) -> tuple[Settle, ...]:
        """All settled attempts of a task, oldest first; those before a revival read as ready and not charged."""
        return self._ask(lambda tables: tables.attempts(job, position))

    def finishes(self, job: int) -> tuple[Finish, ...]:
        """The ends without an attempt that hold for tasks of the job, by position."""
        return self._ask(lambda tables: tables.finishes(job))

    def current(self) -> tuple[Submit, ...]:
        """The jobs that were neither replaced nor forgotten, by ascending id."""
        return self._ask(Tables.current)

    def survey(self, job: int | None = None, span: Span | None = None) -> Survey:
        """The standing of all tasks of the current jobs, or of a span of any one job."""
        return self._ask(lambda tables: tables.survey(job, span))

    def results(self, tasks: Sequence[tuple[int, int]]) -> tuple[Settle, ...]:
        """The newest settled attempt of each of these tasks, as (job, position), that has one; in their order."""
        return self._ask(lambda tables: tables.results(tasks))

    def calls(self, job: int, span: Span | None = None) -> dict[int, bytes]:
        """The arguments of calls of a job, or of a span of it, by position."""
        return self._ask(lambda tables: tables.calls(job, span))

    def nodes(self, job: int) -> dict[int, str]:
        """Where tasks of a job ran last, by position; of those that were kept, where they ran then."""
        return self._ask(lambda tables: tables.nodes(job))

    def values(self, prefix: str) -> tuple[Put, ...]:
        """The values of the keys that begin so, by key."""
        return self._ask(lambda tables: tables.values(prefix))

    def close(self) -> None:
        """Flush, release the ownership, end the thread. Idempotent.

        Raises StoreError, after all was released, where something given to `commit` is not durable.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._connection.close()
        self._ownership.release()
        if self._durable < self._given and (error := self._failure or self._trouble):
            raise error

    def _enter(self, *, visitor: bool) -> tuple[Tables, int]:
        try:
            tables = Tables(self._connection)
            if visitor:
                return tables, tables.epoch()
            self._connection.execute("BEGIN IMMEDIATE")
            epoch = tables.raise_epoch()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._connection.close()
            raise store_error(self._path, error) from error
        return tables, epoch

    def _check_open(self) -> None:
        if self._closed:
            raise InternalError(f"{self._path} was closed before")

    def _ask(self, ask: Callable[[Tables], _T]) -> _T:
        self._check_open()
        question = _Question(ask)
        self._queue.put(question)
        value: _T
        value, error = question.answer.get()
        if error:
            raise error
        return value

    def _work(self) -> None:
        """The life of the writer thread."""
        waiting: list[Change] = []
        ticket = 0
        closing = False
        while not closing:
            questions = []
            for item in self._take_all():
                if item is None:
                    closing = True
                elif isinstance(item, _Question):
                    questions.append(item)
                else:
                    ticket, changes = item
                    waiting += changes
            if ticket > self._durable and not self._failure:
                self._write(waiting, ticket)
            for question in questions:
                self._reply(question)

    def _take_all(self) -> list[_Item]:
        """Wait until something is there and take all of it; while the disk refuses, wait no longer than a moment."""
        try:
            items = [self._queue.get(timeout=_RETRY_AFTER if self._trouble else None)]
        except Empty:
            return []
        while not self._queue.empty():
            items.append(self._queue.get())
        return items

    def _write(self, waiting: list[Change], ticket: int) -> None:
        """Make all that waits durable in one transaction, and clear it; or keep it, and the reason."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._check_epoch()
            self._tables.apply(waiting)
            reached("store.committing")
            self._connection.execute("COMMIT")
            reached("store.committed")
        except Exception as error:  # noqa: BLE001 - whatever it is, the owner must hear of it
            self._recover(error)
        else:
            waiting.clear()
            self._durable = ticket
            self._trouble = None
        self._wake()

    def _check_epoch(self) -> None:
        """Somebody who removed the lock file may have started a second manager: then it is the owner, not we."""
        if self._tables.epoch() != self.epoch:
            raise StoreError(f"{self._path} was taken over by another manager")

    def _recover(self, error: Exception) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        problem = self._explain(error)
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode in MAY_PASS:
            self._trouble = type(problem)(f"{problem}; nothing is lost, it is tried again every second")
        else:
            self._failure = problem

    def _reply(self, question: _Question) -> None:
        if problem := self._failure or self._trouble:
            question.answer.put((None, problem))
            return
        try:
            question.answer.put((question.ask(self._tables), None))
        except Exception as error:  # noqa: BLE001 - it belongs to the one who asked
            question.answer.put((None, self._explain(error)))

    def _explain(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        if isinstance(error, sqlite3.Error):
            explained = store_error(self._path, error)
        else:
            explained = StoreError(f"{self._path}: {type(error).__name__}: {error}")
        explained.__cause__ = error
        return explained
