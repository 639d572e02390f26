"""Who may write a store: one process at a time, by a lock that the kernel releases with the process.

What belongs here: the lock file. What must not: what it protects.
"""

import fcntl
import os
import time
from pathlib import Path

from pilotfish.errors import BusyError, StoreError

__all__ = ["Ownership"]

_PATIENCE = 10.0
"""Seconds that an owner waits for visitors to leave; a visitor stays for a question."""
_PAUSE = 0.01
"""Seconds between two tries."""


class Ownership:
    """Holds ``<folder>/lock``: alone as its owner, whose host and process id it names, or with others as a visitor.

    The lock belongs to the open file: a child forked while it is held would hold it too.
    """

    def __init__(self, folder: Path, *, visitor: bool) -> None:
        """Raises BusyError at once where an owner lives; an owner waits a while for visitors."""
        path = folder / "lock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if visitor:
                self._visit(path)
            else:
                self._own(path)
        except OSError as error:
            self.release()
            msg = f"{path}: this file system has no locks ({error.strerror}): choose another one with --store"
            raise StoreError(msg) from error
        except BaseException:
            self.release()
            raise

    def _visit(self, path: Path) -> None:
        if not self._lock(fcntl.LOCK_SH):
            raise self._busy(path)

    def _own(self, path: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._lock(fcntl.LOCK_EX):
            # The kernel tells visitors from an owner; what the file says may be of somebody who has gone.
            if not self._lock(fcntl.LOCK_SH) or time.monotonic() > deadline:
                raise self._busy(path)
            fcntl.flock(self._file, fcntl.LOCK_UN)
            time.sleep(_PAUSE)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.uname().nodename} {os.getpid()}\n".encode(), 0)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _busy(self, path: Path) -> BusyError:
        host, pid, *_ = (os.pread(self._file, 300, 0).decode(errors="replace") + " ? ?").split()
        return BusyError(f"{path.parent} is in use by process {pid} on host {host}")

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._file)
