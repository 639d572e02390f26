"""Where campaigns lie: ``<store>/<campaign>/{lock, access, store.sqlite, outputs/, agent.log}``.

What belongs here: names of folders, finding and choosing them, the access file that tells where a
manager is. What must not: what is in a store, and who may open it.
"""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pilotfish.errors import UserError
from pilotfish.runtime import runtime_folder, write_private

__all__ = [
    "ARCHIVE",
    "DEFAULT_STORE",
    "SERVER",
    "Access",
    "archive",
    "archived",
    "campaigns",
    "choose",
    "delete",
    "find_store",
    "folder_of_command",
    "folder_of_files",
    "folder_of_name",
    "key",
    "last_run",
    "newest_of_command",
    "read_access",
    "remove_access",
    "socket_path",
    "user_store",
    "write_access",
]

DEFAULT_STORE = ".pilotfish"
"""The folder that `find_store` looks for, and that `run` makes where there is none."""

ARCHIVE = "archive"
"""The folder in a store that holds what `archive` put away; no campaign is called so."""

SERVER = "server"
"""The folder in a store of what its `serve` has; no campaign of files is called so."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ACCESS = "access"
_TRACES = (_ACCESS, "store.sqlite")
"""Files that runs write and looks do not; any of them makes a folder a campaign."""


class Access(msgspec.Struct, frozen=True):
    """Where the manager of a campaign can be reached while it lives."""

    socket: str
    """Path of its Unix socket."""
    pid: int
    host: str


def folder_of_name(name: str) -> str:
    """The folder of the campaign `name`: the name itself where it is plain, else a readable and unique form of it."""
    if _PLAIN.fullmatch(name) and name not in (ARCHIVE, SERVER):
        return name
    return _slug(name, name)


def folder_of_files(paths: Sequence[Path]) -> str:
    """The folder of a campaign that has no name and is known by its files, whatever their order."""
    ordered = sorted(path.absolute() for path in paths)
    return _slug("-".join(path.stem for path in ordered), "\0".join(map(str, ordered)))


def folder_of_command(words: Sequence[str], directory: Path) -> str:
    """A new folder for a campaign that is one command in a folder: another one each time."""
    return f"{_stem_of_command(words, directory)}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def newest_of_command(store: Path, words: Sequence[str], directory: Path) -> str | None:
    """The folder in which this command ran last in this folder; None where it never has."""
    stem = _stem_of_command(words, directory)
    return next((folder.name for folder in campaigns(store) if folder.name.startswith(f"{stem}-")), None)


def _stem_of_command(words: Sequence[str], directory: Path) -> str:
    return _slug(Path(words[0]).name, "\0".join((str(directory), *words)))


def _slug(readable: str, unique: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "-", readable).strip("-")[:40]
    return f"{plain}-{_digest(unique)}" if plain else _digest(unique)


def _digest(text: str) -> str:
    # Looking at a campaign with a plain name does without; and hashlib would load OpenSSL, which takes 2 ms more.
    from _blake2 import blake2b

    return blake2b(text.encode(errors="surrogateescape"), digest_size=5).hexdigest()


def find_store(start: Path) -> Path:
    """The nearest ``.pilotfish`` in `start` or above it. Raises UserError where there is none."""
    start = start.absolute()
    for folder in (start, *start.parents):
        store = folder / DEFAULT_STORE
        if store.is_dir():
            return store
    raise UserError(
        f"there is no {DEFAULT_STORE} in {start} or above it: `pilotfish run FILE` makes one, --store names one"
    )


def user_store() -> Path:
    """The store of the user's own server: ``$XDG_STATE_HOME/pilotfish``, by default in ``~/.local/state``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "pilotfish").absolute()


def campaigns(store: Path) -> list[Path]:
    """The folders of all campaigns of a store, that which ran last first."""
    found = []
    for folder in store.iterdir() if store.is_dir() else ():
        touched = last_run(folder)
        if touched is not None and folder.name != ARCHIVE:
            found.append((touched, folder))
    return [folder for _, folder in sorted(found, reverse=True)]


def last_run(folder: Path) -> int | None:
    """When a run last touched a campaign, in nanoseconds since 1970; None for a folder that is none."""
    return max((path.stat().st_mtime_ns for name in _TRACES if (path := folder / name).exists()), default=None)


def choose(store: Path, name: str | None = None) -> Path:
    """The folder of the campaign `name`, or of that which ran last. Raises UserError naming those that there are."""
    found = campaigns(store)
    if not found:
        raise UserError(f"nothing has run in {store} yet; `pilotfish run FILE` begins")
    if name is None:
        return found[0]
    wanted = {name, folder_of_name(name)}
    for folder in found:
        if folder.name in wanted:
            return folder
    known = ", ".join(folder.name for folder in found[:10])
    raise UserError(f"there is no campaign `{name}` in {store}; there are: {known}")


def archive(folder: Path) -> Path | None:
    """Put a campaign away under ``<store>/archive`` with the time in its name, and return where it lies now.

    Only the owner of the campaign may do this. None where there is no such campaign yet.
    """
    if not folder.exists():
        return None
    shelf = folder.parent / ARCHIVE
    shelf.mkdir(exist_ok=True)
    stem = f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    return folder.rename(next(shelf / name for name in names if not (shelf / name).exists()))


def archived(store: Path) -> list[Path]:
    """All that `archive` has put away in a store, by name."""
    shelf = store / ARCHIVE
    return sorted(folder for folder in shelf.iterdir() if folder.is_dir()) if shelf.is_dir() else []


def delete(folder: Path) -> None:
    """Remove a campaign or an archived one for ever. Only the owner of the campaign may do this."""
    import shutil  # only where something is deleted

    if folder.parent.name != ARCHIVE:
        # At once out of sight: what is left if this is interrupted is an archived one.
        folder = archive(folder) or folder
    shutil.rmtree(folder)


def key(folder: Path) -> str:
    """A short name of the campaign that no other campaign of this machine has: for its folder of sockets."""
    return _digest(str(folder.absolute()))


def socket_path(folder: Path) -> Path:
    """Where the manager of a campaign listens on this machine. Raises UserError where no private folder can be had."""
    return runtime_folder(key(folder)) / "manager.sock"


def write_access(folder: Path, socket: Path, pid: int, host: str) -> None:
    """Tell agents and clients where the manager is; readable by its user alone, never half written."""
    write_private(folder / _ACCESS, msgspec.json.encode(Access(str(socket), pid, host)))


def read_access(folder: Path) -> Access | None:
    """Where the manager said that it is; None where none has, or where the file is damaged. It may be gone by now."""
    try:
        return msgspec.json.decode((folder / _ACCESS).read_bytes(), type=Access)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def remove_access(folder: Path) -> None:
    """Take back what `write_access` told; nothing where nothing was told."""
    (folder / _ACCESS).unlink(missing_ok=True)
