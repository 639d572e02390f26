"""Where this user's sockets, journals and claims lie on this machine.

What belongs here: that one folder, and what makes a folder or a file private. What must not: what lies in it.
"""

import os
import stat
from pathlib import Path

from pilotfish.errors import UserError

__all__ = ["memory_folder", "private_folder", "runtime_folder", "write_private"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it


def runtime_folder(key: str = "") -> Path:
    """A private folder: ``/tmp/pilotfish-<uid>``, or `key` in it; ``PILOTFISH_RUNTIME`` names another one.

    It depends on nothing but the user, so that a run from a cron job finds the agents, and respects the cores, of one
    from a terminal; it is short, because a socket's path holds 107 bytes; and it does not vanish at logout, as
    ``$XDG_RUNTIME_DIR`` does. Raises UserError where somebody else owns it, or can enter it.
    """
    root = private_folder(Path(os.environ.get("PILOTFISH_RUNTIME") or f"/tmp/pilotfish-{os.getuid()}"))  # noqa: S108
    return private_folder(root / key)


def memory_folder() -> Path | None:
    """A private folder in shared memory, ``/dev/shm/pilotfish-<uid>``; None where nothing can be written there.

    Raises UserError as `runtime_folder` does.
    """
    return private_folder(_MEMORY / f"pilotfish-{os.getuid()}") if os.access(_MEMORY, os.W_OK) else None


def private_folder(path: Path) -> Path:
    """The folder, made where it is missing. Raises UserError where somebody else owns it, or can enter it."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{path} must be a folder that only you can enter: remove it, or have it removed")
    if found.st_mode & 0o077:
        raise UserError(f"{path} must be a folder that only you can enter: `chmod 700 {path}` makes it one")
    return path


def write_private(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file that its user alone may read, never half written; also in a folder where others may write.

    Args:
        path: of the file; one that is there is replaced.
        content: all of it.
        durable: it is on the disk before it appears.

    """
    # Nobody can have made the draft before, to read what we write: its name is not to be guessed, and it is made anew.
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
