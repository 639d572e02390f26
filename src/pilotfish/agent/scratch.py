"""The folder for temporary files of a lane: ``TMPDIR`` of its attempts, empty whenever one starts.

What belongs here: that folder. What must not: anything else that tasks write.
"""

import os
from pathlib import Path

__all__ = ["Scratch"]


class Scratch:
    """One lane's folder.

    Args:
        path: made if missing, emptied if not.

    """

    def __init__(self, path: Path) -> None:
        """Begin empty."""
        self.path = path
        self.empty()

    def empty(self) -> None:
        """Remove what an attempt left in it; make it again where the attempt removed it. Raises OSError."""
        try:
            left = os.listdir(self.path)  # noqa: PTH208 - after every attempt
        except FileNotFoundError:
            left = []
            self.path.mkdir(parents=True, mode=0o700)
        if left:
            self.remove()
            self.path.mkdir(mode=0o700, exist_ok=True)

    def remove(self) -> None:
        """Remove it with all that is in it; what not even its owner may remove stays."""
        import shutil  # most attempts leave nothing, and most keepers never need it

        try:
            shutil.rmtree(self.path)
        except PermissionError:
            _open_up(self.path)
            shutil.rmtree(self.path, ignore_errors=True)


def _open_up(folder: Path) -> None:
    """Take back the rights on folders that a task gave away."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
            _open_up(path)
