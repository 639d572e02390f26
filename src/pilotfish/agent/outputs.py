"""Outputs without a million files: where standard output and error of attempts go, and where they lie afterwards.

A keeper has one *live* file for each stream, into which its tasks write straight: no pipe, nothing that we copy while
a task runs. When an attempt has ended, an empty live file is used again as it is, a short one is appended to the
keeper's *segment* file, a long one is renamed and replaced. All lie in the campaign's ``outputs`` folder:

    live-<node>-<lane>.out|err                      what the lane's attempt writes now
    segment-<node>-<lane>-<number>                  short outputs, one behind the other; where the folder is the
                                                    node's own, with the time of the keeper's start before the number
    <job>.<position>.<number>.<epoch>.out|err       one long output

Where an output has a limit, its file is looked at while the task writes, and what is beyond is cut off: all files are
open for appending, so that the task goes on behind the cut, and what it wrote first stays.

What belongs here: these files, and those that users name. What must not: processes, reports.
"""

import contextlib
import errno
import math
import os
import stat
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Literal

from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.quantities import format_bytes

__all__ = ["LONGEST_SHORT", "SEGMENT_SIZE", "Outputs", "Stream", "StreamName", "live_output", "sync_outputs"]

LONGEST_SHORT = 1024 * 1024
"""Bytes up to which an output is appended to a segment."""

SEGMENT_SIZE = 256 * 1024 * 1024
"""Bytes from which on a segment gets a successor."""

_CUT_EVERY = 0.05
"""Seconds between two looks at outputs that have a limit: a task that writes 1 GB/s is 50 MB beyond it by then."""

StreamName = Literal["out", "err"]
"""Standard output or standard error."""


def live_output(folder: Path, node: str, lane: int, stream: StreamName) -> Path:
    """Where the attempt that runs in a lane writes now; the file is shared by the attempts of the lane, in turn."""
    return folder / f"live-{node}-{lane}.{stream}"


class Outputs:
    """The files of one keeper.

    Args:
        folder: the campaign's ``outputs``; made if missing.
        node: of the keeper.
        lane: of the keeper.
        alone: the folder is the node's own. It may be emptied at any time, but what was brought elsewhere from it stays
            what it is: no segment gets the name of an earlier one.

    """

    def __init__(self, folder: Path, node: str, lane: int, *, alone: bool = False) -> None:
        """Begin with empty live files: processes of a dead keeper may still write into its own."""
        folder.mkdir(parents=True, exist_ok=True)
        segment = _Segment(folder, f"segment-{node}-{lane}" + (f"-{time.time_ns():x}" if alone else ""))
        self.out = Stream(live_output(folder, node, lane, "out"), segment)
        self.err = Stream(live_output(folder, node, lane, "err"), segment)
        self.due = math.inf
        """When to call `look` at the latest, on the monotonic clock."""
        self._folder = folder
        self._segment = segment

    def open(self, stdout: str | None, stderr: str | None, limit: int | None = None) -> tuple[int, int]:
        """Descriptors for the next attempt's standard output and error. Raises OSError naming the file.

        Args:
            stdout: an absolute path, None to keep it here.
            stderr: likewise; ``stdout`` for the same file as standard output.
            limit: bytes of each that are kept; None: all.

        """
        self.due = math.inf if limit is None else 0.0
        out = self.out.open(stdout, limit)
        if stderr is not None and stderr in {"stdout", stdout}:
            return out, self.err.lean_on(out)
        return out, self.err.open(stderr, limit)

    @property
    def replaced(self) -> bool:
        """True where what was opened last has become a file of its own: whoever writes on writes into that."""
        return self.out.replaced or self.err.replaced

    def look(self, now: float) -> None:
        """Cut what is beyond the limit, if that is due."""
        if now >= self.due:
            self.due = now + _CUT_EVERY
            with contextlib.suppress(OSError):  # a file that cannot be cut says so when the attempt has ended
                self.out.cut()
                self.err.cut()

    def require_room(self) -> None:
        """Raise OSError where the disk is full: a task that could not write its output would fail for nothing."""
        found = os.statvfs(self._folder)
        if found.f_bavail * found.f_frsize < LONGEST_SHORT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def sync(self) -> None:
        """Let what was collected survive a loss of power. Raises OSError."""
        named = [stream.sync() for stream in (self.out, self.err, self._segment)]
        if any(named):
            _sync(self._folder)

    def close(self) -> None:
        """Remove the live files: the keeper ends."""
        self.out.remove()
        self.err.remove()


class _Segment:
    """The file that short outputs are appended to."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder, self._stem = folder, stem
        self._descriptor = -1
        self._name = ""
        self._size = SEGMENT_SIZE
        self._dirty = self._new = False

    def append(self, content: bytes) -> OutputRef:
        """Keep the content. Raises OSError, and keeps nothing of it, where there is no room."""
        if self._size >= SEGMENT_SIZE:
            self._succeed()
        written = 0
        try:
            while written < len(content):
                written += os.pwrite(self._descriptor, content[written:], self._size + written)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        ref = OutputRef(self._name, self._size, written)
        self._size += written
        self._dirty = True
        return ref

    def sync(self) -> bool:
        """Write it to the disk; True where it is a new name in the folder."""
        if self._dirty:
            os.fdatasync(self._descriptor)
        named = self._new
        self._dirty = self._new = False
        return named

    def _succeed(self) -> None:
        self.sync()
        for number in count():
            name = f"{self._stem}-{number}"
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT, 0o666)
            size = os.fstat(descriptor).st_size
            if size < SEGMENT_SIZE:
                break
            os.close(descriptor)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._name, self._size, self._new = descriptor, name, size, True


class Stream:
    """One standard stream of a keeper's attempts; made by `Outputs`."""

    def __init__(self, live: Path, segment: _Segment) -> None:
        """Begin without a file."""
        live.unlink(missing_ok=True)
        self._live, self._segment = live, segment
        self._descriptor = -1
        """Of the live file, -1 while there is none."""
        self._named: tuple[str, int] | None = None
        """The user's file and its descriptor, for this attempt."""
        self._leaning = False
        """This attempt writes to the other stream's file."""
        self._limit: int | None = None
        """Bytes of this attempt that are kept."""
        self._cut = False
        """It wrote more."""
        self._renamed: list[int] = []
        """Descriptors of long outputs that are not yet synced."""

    def open(self, path: str | None, limit: int | None) -> int:
        """The descriptor for the next attempt; of the live file, or of the user's."""
        self._leaning = self._cut = False
        self._limit = limit
        self._forget_named()
        if path is not None:
            self._named = (path, _open_named(path))
            return self._named[1]
        if self._descriptor < 0:
            self._descriptor = os.open(self._live, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        return self._descriptor

    @property
    def replaced(self) -> bool:
        """True where the live file has become that of a long output."""
        return self._descriptor < 0

    def lean_on(self, other: int) -> int:
        """Let the next attempt write to the other stream's file: nothing is collected here."""
        self._forget_named()
        self._leaning = True
        return other

    def cut(self) -> None:
        """Cut what the attempt wrote beyond its limit."""
        if self._leaning or self._limit is None:
            return
        descriptor = self._descriptor if self._named is None else self._named[1]
        found = os.fstat(descriptor)
        if found.st_size > self._limit and stat.S_ISREG(found.st_mode):
            os.ftruncate(descriptor, self._limit)
            self._cut = True

    def collect(self, attempt: AttemptId) -> OutputRef | None:
        """Where the attempt's output lies from now on, None where there is none. Raises OSError; call again then."""
        if self._leaning:
            return None
        self._end_cut()
        if self._named is not None:
            path, descriptor = self._named
            ref = OutputRef(path, 0, os.fstat(descriptor).st_size)
            self._forget_named()
            return ref
        size = os.fstat(self._descriptor).st_size
        if size == 0:
            return None
        return (self._append(size) if size <= LONGEST_SHORT else None) or self._rename(attempt, size)

    def _end_cut(self) -> None:
        """Say at the end of the output that this is not all."""
        self.cut()
        if self._cut and self._limit is not None:
            note = f"\npilotfish: cut here, after {format_bytes(self._limit)} (output_limit)\n"
            os.write(self._descriptor if self._named is None else self._named[1], note.encode())
            self._cut, self._limit = False, None

    def sync(self) -> bool:
        """Write long outputs to the disk; True where there were some."""
        named = bool(self._renamed)
        while self._renamed:
            os.fdatasync(self._renamed[-1])
            os.close(self._renamed.pop())
        return named

    def remove(self) -> None:
        """Remove the live file."""
        self._live.unlink(missing_ok=True)

    def _append(self, size: int) -> OutputRef | None:
        try:
            ref = self._segment.append(os.pread(self._descriptor, size, 0))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            return None  # renaming needs no room
        os.ftruncate(self._descriptor, 0)
        return ref

    def _rename(self, attempt: AttemptId, size: int) -> OutputRef:
        name = f"{attempt.job}.{attempt.position}.{attempt.number}.{attempt.epoch}{self._live.suffix}"
        self._live.rename(self._live.with_name(name))
        self._renamed.append(self._descriptor)
        self._descriptor = -1
        return OutputRef(name, 0, size)

    def _forget_named(self) -> None:
        if self._named is not None:
            os.close(self._named[1])
            self._named = None


def sync_outputs(folder: Path, reports: Iterable[Report]) -> None:
    """Let the outputs that these reports name survive a loss of power: their keeper died before it could say so."""
    refs = [ref for report in reports for ref in (report.stdout, report.stderr) if ref is not None]
    names = {ref.file for ref in refs if not ref.file.startswith("/")}
    for name in names:
        _sync(folder / name)
    if names:
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_named(path: str) -> int:
    # Without O_NONBLOCK a pipe that nobody reads would hold the keeper up.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor
