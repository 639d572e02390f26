"""What calls have printed, written to this process's own streams: each call's output whole, when the call has ended.

A thread of its own does it, so that a slow terminal or a pager does not hold the manager up; the future of a call is
done after its output was written. What was written is given back to the disk, so that a long session needs no more
room for outputs than a short one.

What belongs here: from files of outputs to ``sys.stdout`` and ``sys.stderr``. What must not: futures, the manager.
"""

import codecs
import contextlib
import ctypes
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

from pilotfish.model.attempts import OutputRef, Report

__all__ = ["Printer"]

_CHUNK = 1 << 16
"""Bytes that are read at once."""
_PUNCH = 1 << 20
"""Bytes that lie beside each other and have been written, before they are given back."""
_KEEP_SIZE_AND_PUNCH = 0x01 | 0x02
"""Of ``fallocate``: a hole in a file that stays as long as it is."""


class _Written(msgspec.Struct):
    """A part of a file that nobody needs any more."""

    lo: int = 0
    hi: int = 0


class Printer:
    """Writes outputs in the order in which they come.

    Args:
        folder: where the outputs lie.
        keep: do not give back what was written: others may want to read it too.

    """

    def __init__(self, folder: Path, *, keep: bool) -> None:
        """Its thread starts with the first output."""
        self._folder, self._keep = folder, keep
        self._waiting: queue.SimpleQueue[tuple[Report, Callable[[], None]] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        """None before the first output."""
        self._written: dict[str, _Written] = {}

    def show(self, report: Report, then: Callable[[], None]) -> None:
        """Write what an attempt has printed; `then` is called in another thread."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="pilotfish printer", daemon=True)
            self.thread.start()
        self._waiting.put((report, then))

    def close(self) -> None:
        """Write all that waits, and end."""
        if self.thread is not None:
            self._waiting.put(None)
            self.thread.join()

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            report, then = waiting
            del waiting
            with contextlib.suppress(OSError, ValueError):  # a stream that was closed, or a reader that has gone
                self._write(report.stdout, sys.stdout)
            with contextlib.suppress(OSError, ValueError):
                self._write(report.stderr, sys.stderr)
            then()
            del report, then  # or they would live until the next one comes

    def _write(self, ref: OutputRef | None, stream: TextIO | None) -> None:
        if ref is None:
            return
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        path = self._folder / ref.file
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(ref.offset)
                left = ref.length
                while left and (chunk := file.read(min(left, _CHUNK))):
                    left -= len(chunk)
                    if stream is not None:
                        stream.write(decoder.decode(chunk, final=not left))
            if stream is not None:
                stream.flush()
        finally:
            if not self._keep:
                self._give_back(path, ref)

    def _give_back(self, path: Path, ref: OutputRef) -> None:
        if not path.name.startswith("segment-"):
            path.unlink(missing_ok=True)
            return
        written = self._written.setdefault(ref.file, _Written())
        if ref.offset != written.hi:
            written.lo = ref.offset
        written.hi = ref.offset + ref.length
        if written.hi - written.lo >= _PUNCH:
            _punch(path, written.lo, written.hi)
            written.lo = written.hi


def _punch(path: Path, lo: int, hi: int) -> None:
    """Give the blocks of a part of a file back; nothing happens where the file system cannot."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        offset = ctypes.c_int64
        ctypes.CDLL(None).fallocate64(file, _KEEP_SIZE_AND_PUNCH, offset(lo), offset(hi - lo))
    finally:
        os.close(file)
