"""Where this user's sockets, journals and claims lie on this machine.

What belongs here: that one folder. What must not: what lies in it.
"""

import os
import stat
from pathlib import Path

from pilotfish.errors import UserError

__all__ = ["runtime_folder"]


def runtime_folder(key: str = "") -> Path:
    """A private folder: ``/tmp/pilotfish-<uid>``, or `key` in it; ``PILOTFISH_RUNTIME`` names another one.

    It depends on nothing but the user, so that a run from a cron job finds the agents, and respects the cores, of one
    from a terminal; it is short, because a socket's path holds 107 bytes; and it does not vanish at logout, as
    ``$XDG_RUNTIME_DIR`` does. Raises UserError where somebody else owns it, or can enter it.
    """
    root = Path(os.environ.get("PILOTFISH_RUNTIME") or f"/tmp/pilotfish-{os.getuid()}")  # noqa: S108 - checked below
    for made in (root, root / key):
        made.mkdir(mode=0o700, exist_ok=True)
        found = made.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UserError(f"{made} must be a folder that only you can enter: remove it, or have it removed")
        if found.st_mode & 0o077:
            raise UserError(f"{made} must be a folder that only you can enter: `chmod 700 {made}` makes it one")
    return root / key
