"""A worker's process between two calls: set back what can be, and tell what cannot.

What belongs here: folder, environment, cores, streams, threads and children of the process. What must not: calls.
"""

import _signal  # type: ignore[import-not-found]
import _thread
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from pilotfish.functions.wire import Assignment

__all__ = ["Surroundings"]

_GROWTH = 2**30
"""Bytes by which a worker may grow; then another takes over, and what was not given back is."""
_LOOK_EVERY = 64
"""Calls between two looks at that."""
_NUMBERS = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
"""Signals that programs use."""
_PAGE = os.sysconf("SC_PAGESIZE")


class Surroundings:
    """What a call must find, and leave, as it is."""

    def __init__(self) -> None:
        """Nothing is known before `set`."""
        self._cwd = ""
        self._environment: dict[bytes, bytes] = {}
        self._cores: set[int] = set()
        self._files: tuple[int, int] = (0, 0)
        """Of standard output and error: their numbers on the disk."""
        self._threads = _thread._count()  # noqa: SLF001 - see `_leftovers`
        self._scratch = ""
        self._scratch_folder = -1
        self._scratch_changed = 0
        self._umask = os.umask(0o22)
        os.umask(self._umask)
        self._handlers = _handlers()
        self._standard = (sys.stdin, sys.stdout, sys.stderr)
        self._depth = sys.getrecursionlimit()
        self._path: list[str] = []
        self._own_path: list[str] = []
        """Where the initializer wants modules to be found."""
        self._own_folder = ""
        """Where the initializer went; empty: it stayed."""
        self._own_environment: dict[bytes, bytes] = {}
        """What the initializer has set."""
        self._calls = 0
        self._most_calls: int | None = None
        self._resident = _resident_memory()

    def _open_scratch(self) -> None:
        if self._scratch_folder >= 0:
            os.close(self._scratch_folder)
        self._scratch_folder = os.open(self._scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._scratch_changed = os.fstat(self._scratch_folder).st_mtime_ns

    def set(self, assignment: Assignment) -> None:
        """Make the process what the job wants. Raises OSError where its folder is missing."""
        self._most_calls = assignment.function.most_calls
        self._path = [*self._own_path, *assignment.function.path]
        sys.path[:] = self._path
        self._cwd = self._own_folder or assignment.cwd
        os.environb.clear()
        os.environb.update({**assignment.env, **self._own_environment})
        self._environment = dict(os.environ._data)  # type: ignore[attr-defined]  # noqa: SLF001 - see restore
        self._cores = set(assignment.cores) or os.sched_getaffinity(0)
        self._bind()
        os.chdir(self._cwd)
        self._scratch = os.environ["TMPDIR"]
        self._open_scratch()

    def adopt(self) -> None:
        """Let what the initializer has changed be what every call finds."""
        here, now = os.getcwd(), os.environ._data  # type: ignore[attr-defined]  # noqa: PTH109, SLF001
        self._own_folder = "" if here == self._cwd else here
        self._own_environment = {name: value for name, value in now.items() if self._environment.get(name) != value}
        self._cwd, self._environment = here, dict(now)
        self._own_path = [folder for folder in sys.path if folder not in self._path]
        self._path, self._depth = list(sys.path), sys.getrecursionlimit()
        self._umask = os.umask(0o22)
        os.umask(self._umask)
        self._handlers = _handlers()
        self._threads = _thread._count()  # noqa: SLF001 - see `_leftovers`

    def accept_streams(self) -> None:
        """The streams that are open now are those that shall stay."""
        self._files = os.fstat(1).st_ino, os.fstat(2).st_ino

    def look(self) -> tuple[str, bool]:
        """Why no other call may follow the one that has ended, else empty; and whether it printed."""
        self._calls += 1
        spoiled, printed = self._streams()
        return spoiled or self._leftovers() or self._growth(), printed

    def restore(self) -> None:
        """Set back what a call has changed. Raises OSError where its folder is gone."""
        # All of this happens between any two calls. The environment's own dictionary is compared, because a copy of
        # it costs more than all the rest.
        if os.environ._data != self._environment:  # type: ignore[attr-defined]  # noqa: SLF001
            os.environb.clear()
            os.environb.update(self._environment)
        if os.sched_getaffinity(0) != self._cores:
            self._bind()
        self._restore_settings()
        if _here() != self._cwd:
            os.chdir(self._cwd)
        scratch = os.fstat(self._scratch_folder)
        if scratch.st_mtime_ns != self._scratch_changed or not scratch.st_nlink:
            self._empty_scratch()

    def _streams(self) -> tuple[str, bool]:
        try:
            sys.stdin, sys.stdout, sys.stderr = self._standard
            sys.stdout.flush()
            sys.stderr.flush()
            out, err = os.fstat(1), os.fstat(2)
            os.lseek(0, 0, os.SEEK_CUR)  # asks the least that only an open stream answers
        except (OSError, ValueError, AttributeError):
            return "it closed a standard stream", True
        if (out.st_ino, err.st_ino) != self._files:
            return "it replaced a standard stream", True
        return "", bool(out.st_size or err.st_size)

    def _restore_settings(self) -> None:
        if sys.path != self._path:
            sys.path[:] = self._path
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        os.umask(self._umask)
        if _handlers() != self._handlers:
            self._set_handlers()
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _set_handlers(self) -> None:
        for number, handler, before in zip(_NUMBERS, _handlers(), self._handlers, strict=True):
            if handler != before and before is not None:
                signal.signal(number, before)

    def _leftovers(self) -> str:
        if _thread._count() > self._threads:  # noqa: SLF001 - all there are, for a tenth of what asking `threading` costs
            return "it left threads behind"
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ""
        return "it left processes behind"

    def _growth(self) -> str:
        if self._most_calls is not None and self._calls >= self._most_calls:
            return f"it has made {self._calls} calls"
        if self._calls % _LOOK_EVERY == 0 and _resident_memory() - self._resident > _GROWTH:
            return "it has grown"
        return ""

    def _empty_scratch(self) -> None:
        Path(self._scratch).mkdir(mode=0o700, exist_ok=True)
        for entry in list(os.scandir(self._scratch)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)  # noqa: PTH108
        self._open_scratch()

    def _bind(self) -> None:
        for thread in map(int, os.listdir("/proc/self/task")):  # noqa: PTH208 - names only
            os.sched_setaffinity(thread, self._cores)


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - between any two calls
    except FileNotFoundError:
        return ""


def _handlers() -> list[Any]:
    return list(map(_signal.getsignal, _NUMBERS))  # that of `signal` makes enumerations, for 40 µs


def _resident_memory() -> int:
    """Bytes."""
    with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - often
        return int(file.read(128).split()[1]) * _PAGE
