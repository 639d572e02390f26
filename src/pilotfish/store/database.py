"""The file of an SQLite store: how it is born, opened, lifted to the newest schema, and told from other files.

What belongs here: files, pragmas, versions, the wording of SQLite's errors. What must not: changes and their meaning.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pilotfish.errors import StoreError, StoreFullError, StoreVersionError
from pilotfish.store.sql import migrations

__all__ = ["MAY_PASS", "make_folder", "on_network", "open_database", "store_error"]

MAY_PASS = frozenset(
    {
        sqlite3.SQLITE_BUSY,  # another program holds the file for a moment
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_WRITE,  # a quota, or a file server that is away
    }
)
"""Errors of SQLite after which the same transaction may work later."""

_APPLICATION = 0x70666973
_NETWORK_TYPES = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "fhgfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "virtiofs", "wekafs",
})  # fmt: skip


def open_database(path: Path, *, create: bool, exclusive: bool | None) -> sqlite3.Connection:
    """A connection to a store of the newest schema, in autocommit mode, durable at each commit.

    `exclusive`: without memory shared between processes; None: on network file systems, where there is none.
    Raises StoreError, StoreFullError or StoreVersionError, each naming the file.
    """
    try:
        if not path.exists():
            if not create:
                raise StoreError(f"{path.parent} holds no store")
            _give_birth(path)
        connection = _connect(path)
        try:
            _prepare(connection, exclusive=on_network(path.parent) if exclusive is None else exclusive)
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise store_error(path, error) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return connection


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, so that they survive loss of power as their files do. May raise OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def on_network(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether machines may share the folder, so that memory mapped from its files is not one memory."""
    device = folder.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return True  # slower, never wrong
    for line in lines:
        place, _, kind = line.partition(" - ")
        if place.split()[2] == name:
            file_system = kind.split()[0]
            return file_system in _NETWORK_TYPES or file_system.startswith("fuse.")
    return False  # a subvolume: only local file systems hide their device


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """SQLite's error as ours: one line that names the file."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(f"{path}: {error}")
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreError(f"{path}: {error}: move it away, or use another --store")
    return StoreError(f"{path}: {error}")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, *, exclusive: bool) -> None:
    if exclusive:
        # Before anything that reads the file: the first reading makes the shared memory.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    # FULL: a commit is on the disk when it returns, in WAL mode too.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = OFF")


def _give_birth(path: Path) -> None:
    """A new store appears whole or not at all: it is made beside its place, synced once, renamed."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with closing(_connect(beside)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        _migrate(connection, 0)
        connection.execute("PRAGMA journal_mode = WAL")
    _sync(beside)
    beside.rename(path)
    _sync(path.parent)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != _APPLICATION:
        raise StoreError(f"{path} is not a store of pilotfish: move it away, or use another --store")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = max(migrations(after=0))
    if version > newest:
        raise StoreVersionError(
            f"{path} has schema version {version}, this pilotfish knows up to {newest}: "
            "upgrade pilotfish, or use another --store"
        )
    _migrate(connection, version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for number, script in migrations(after=version).items():
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
