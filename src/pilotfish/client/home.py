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

from pilotfish.manager.campaigns import folder_of_name, key, remove_access
from pilotfish.manager.start import make_campaign
from pilotfish.model.changes import Snapshot
from pilotfish.runtime import private_folder, runtime_folder
from pilotfish.store.base import Store
from pilotfish.store.forgetful import ForgetfulStore
from pilotfish.store.sqlite import SqliteStore

__all__ = ["Home"]

_SHARED = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it
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
    lasting: bool
    """Whether all that stays, for the next session here."""

    @classmethod
    def passing(cls) -> Self:
        """A place that goes with its session."""
        folder = runtime_folder(f"s{os.getpid()}-{secrets.token_hex(3)}")
        _sweep(folder.parent)
        values = folder / "values"
        if os.access(_SHARED, os.W_OK):
            shared = private_folder(_SHARED / f"pilotfish-{os.getuid()}")
            _sweep(shared)
            values = shared / folder.name
        return cls(folder, folder, values, lasting=False)

    @classmethod
    def in_store(cls, store: Path, name: str | None) -> Self:
        """The place of a name in a store; by default that of the program. Raises UserError where none can be made."""
        folder = store.absolute() / folder_of_name(name or Path(sys.argv[0]).stem or "session")
        make_campaign(folder)
        return cls(folder, runtime_folder(key(folder)), folder / "values", lasting=True)

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
