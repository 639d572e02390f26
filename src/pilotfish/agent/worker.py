"""A worker as its keeper sees it: a process forked from the keeper that calls functions, given calls, heard, ended.

What belongs here: the process, and what goes to and fro. What must not: reports, limits, what follows from results.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from typing import Never

import msgspec

from pilotfish.agent.processes import close_descriptors
from pilotfish.functions.line import Line
from pilotfish.functions.wire import CHUNK, Afar, Assignment, Batch, Call, CallEnd, Page, framed, unframed
from pilotfish.functions.worker import work

__all__ = ["Worker"]

_PIPE = 1 << 20
"""Bytes of results that may wait; asked of the kernel, which may allow less."""
_F_SETPIPE_SZ = 1031
_SOON = 0.0002
"""Seconds in which a write to shared memory is seen by everybody, many times over."""
_decode = msgspec.msgpack.Decoder(CallEnd).decode


class Worker:
    """One worker process, a child of this one.

    Args:
        out: descriptor of its standard output.
        err: likewise.
        line: from what it calls to the manager.
        afar: how it has values that lie on another machine; None: on this one.

    """

    def __init__(self, out: int, err: int, line: Line, afar: Afar | None) -> None:
        """Fork it. Raises OSError."""
        self._socket, theirs = socket.socketpair()
        self._results, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # the limit of what a user's pipes may hold together
            import fcntl

            fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE)
        self._page = Page()
        self._unsent = bytearray()
        self._arrived = bytearray()
        self._given = 0
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            _become(theirs, writing, self._page, (out, err), (line, afar))
        theirs.close()
        os.close(writing)
        self._socket.settimeout(0.0)

    def fileno(self) -> int:
        """The descriptor to wait for: readable when it rings."""
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """True while something waits for `flush`; then also wait for writing."""
        return bool(self._unsent)

    @property
    def given(self) -> int:
        """How many calls it was given: the number of the next one."""
        return self._given

    @property
    def begun(self) -> tuple[int, float]:
        """The number behind that of the last call that began, and when that was on the monotonic clock."""
        return self._page.begun

    def give(self, assignment: Assignment | None, calls: tuple[Call, ...]) -> None:
        """Let it make these calls after those that it has; without calls, let it go on after an output."""
        self._unsent += framed(Batch(assignment, calls))
        self._given += len(calls)
        self.flush()

    def flush(self) -> None:
        """Send what it takes now."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return

    def hear(self) -> list[CallEnd]:
        """What has ended since the last time, in the order in which it was given."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self._socket.recv(4096)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._results, CHUNK):
                self._arrived += chunk
                if len(chunk) < CHUNK:  # that was all
                    break
        return list(map(_decode, unframed(self._arrived)))

    def take_back(self) -> int:
        """Let no further call begin: the number of the first that will not. Those before it end, or are refused."""
        lo, hi = self._page.voided
        begun, _ = self._page.begun
        self._page.void(lo if begun < hi else begun, self._given)
        time.sleep(_SOON)
        return max(self._page.begun[0], hi if begun < hi else 0)

    def dismiss(self) -> None:
        """Let it end when it has made all calls."""
        with contextlib.suppress(OSError):  # it has gone already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Forget it, once it is dead."""
        self._socket.close()
        os.close(self._results)


def _become(
    keeper: socket.socket, results: int, page: Page, streams: tuple[int, int], reach: tuple[Line, Afar | None]
) -> Never:
    """Be the worker; never returns into the keeper's code."""
    code = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for standard, stream in enumerate(streams, 1):
            os.dup2(stream, standard)
        close_descriptors(kept=(keeper.fileno(), results))
        code = work(keeper, results, page, *reach)
    except BaseException:  # noqa: BLE001 - whatever ends the process belongs in its output
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
