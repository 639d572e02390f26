"""Paths of the job file, seen from the root.

What belongs here: what a written path means. What must not: whether anything lies there.
"""

import os

from pilotfish.formats.entries import shown
from pilotfish.formats.words import read_text

__all__ = ["read_path"]


def read_path(folder: str, value: str) -> str:
    """A path that is relative to `folder` or to a home. ``..`` stays: the folder before it may be a symbolic link."""
    path = read_text(value)
    if path.startswith("~"):
        home, path = path, os.path.expanduser(path)  # noqa: PTH111 - pathlib raises where this leaves it alone
        if path == home:
            msg = f"{shown(path)}: there is no such user; for a folder of that name put ./ before it"
            raise ValueError(msg)
    joined = path if path.startswith("/") else f"{folder.rstrip('/')}/{path}"
    return joined if ".." in path else os.path.normpath(joined)
