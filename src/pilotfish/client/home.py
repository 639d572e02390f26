"""Where an embedded session lives: a folder that goes with it, or one of a store, in which the next session goes on.

What belongs here: folders and the store in them. What must not: who runs.
"""

import contextlib
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from pilotfish.functions.cache import sweep_caches
from pilotfish.manager.campaigns import folder_of_name, key, remove_access
from pilotfish.manager.servers import client_folder
from pilotfish.manager.start import make_campaign
from pilotfish.model.changes import Snapshot
from pilotfish.runtime import memory_folder, runtime_folder
from pilotfish.store.base import Store
from pilotfish.store.forgetful import ForgetfulStore
from pilotfish.store.sqlite import SqliteStore

__all__ = ["Home"]

_PASSING = re.compile(r"s(\d+)-[0-9a-f]{6}")
_SETTLED = 60.0
"""Seconds after which the agent of a session that was killed has ended, and nobody needs its folder."""


class Home(msgspec.Struct, frozen=True):
    """The places of one session."""

    folder: Path
    """Of its outputs and its agent's log."""
    runtime: Path
    """Of its sockets."""
    values: Path
    """Of large values."""
    spill: Path
    """Of those for which there is no room."""
    lasting: bool
    """Whether all that stays, for the next session here."""

    @classmethod
    def passing(cls) -> Self:
        """A place that goes with its session."""
        folder = runtime_folder(f"s{os.getpid()}-{secrets.token_hex(3)}")
        _sweep(folder.parent)
        values = folder / "values"
        memory = memory_folder()
        if memory is not None:
            _sweep(memory)
            sweep_caches(memory)
            values = memory / folder.name
        return cls(folder, folder, values, folder / "spill", lasting=False)

    @classmethod
    def in_store(cls, store: Path, name: str | None) -> Self:
        """The place of a name in a store; by default that of the program. Raises UserError where none can be made."""
        folder = store.absolute() / folder_of_name(name or Path(sys.argv[0]).stem or "session")
        make_campaign(folder)
        return cls(folder, runtime_folder(key(folder)), folder / "values", folder / "spill", lasting=True)

    @classmethod
    def at_server(cls, folder: Path, client: str) -> Self:
        """The place of a client of the server whose campaign lies in `folder`; the server takes it away."""
        own = client_folder(folder, client)
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, folder, own / "values", own / "spill", lasting=False)

    def open_store(self, wake: Callable[[], None]) -> tuple[Store, Snapshot | None]:
        """The store, and what it knows; None: nothing. Raises BusyError where another session is there."""
        if not self.lasting:
            return ForgetfulStore(), None
        store = SqliteStore(self.folder, wake=wake)
        return store, store.load()

    def leave(self) -> None:
        """Take away what only a living session needs."""
        remove_access(self.folder)
        if not self.lasting:
            shutil.rmtree(self.values, ignore_errors=True)
            shutil.rmtree(self.folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what sessions have left that were killed."""
    for folder in root.iterdir():
        found = _PASSING.fullmatch(folder.name)
        if found is not None and not Path("/proc", found[1]).exists():
            with contextlib.suppress(OSError):  # another session is sweeping too
                if time.time() - folder.stat().st_mtime > _SETTLED:
                    shutil.rmtree(folder)
