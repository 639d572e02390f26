"""Places for stores of every kind, which can be closed and opened again."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from pilotfish.store.base import Store
from pilotfish.store.memory import MemoryStore
from pilotfish.store.sqlite import SqliteStore


class Shelf(Protocol):
    """A place for one store, which can be closed and opened again."""

    store: Store

    def reopen(self, wake: Callable[[], None] = ...) -> Store: ...

    def clear(self) -> None: ...


class MemoryShelf:
    store: Store

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self.store = self._memory

    def reopen(self, wake: Callable[[], None] = lambda: None) -> Store:
        self.store.close()
        self._memory = self._memory.reopened(wake=wake)
        self.store = self._memory
        return self.store

    def clear(self) -> None:
        self.store.close()


class SqliteShelf:
    store: Store
    exclusive: ClassVar[bool | None] = None

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self.store = SqliteStore(self._folder, exclusive=self.exclusive)

    def reopen(self, wake: Callable[[], None] = lambda: None) -> Store:
        self.store.close()
        self.store = SqliteStore(self._folder, wake=wake, exclusive=self.exclusive)
        return self.store

    def clear(self) -> None:
        self.store.close()
        shutil.rmtree(self._folder)


class ExclusiveSqliteShelf(SqliteShelf):
    exclusive = True


SHELVES: dict[str, type[Shelf]] = {"memory": MemoryShelf, "sqlite": SqliteShelf, "exclusive": ExclusiveSqliteShelf}
