"""Outputs of a node that does not see the campaign's folder go there before anything is said of their attempts.

The dialer beside the agent carries them: it is told which pieces of which files, one line of JSON each time, and
answers with a line when they are there; an empty one, or what is wrong.

What belongs here: which pieces, and what waits for them. What must not: their bytes, connections between machines.
"""

import contextlib
import math
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

import msgspec

from pilotfish.model.attempts import Report

__all__ = ["Pusher"]

_AGAIN = 0.5
"""Seconds between two attempts."""


class _Waiting(msgspec.Struct):
    """What is done when pieces have arrived."""

    line: bytes
    then: Callable[[], None]


class Pusher:
    """Sends outputs, one batch behind the other.

    Args:
        door: the dialer's socket for them.
        selector: of the agent's loop.
        note: tells a person what is wrong.

    """

    def __init__(self, door: Path, selector: selectors.BaseSelector, note: Callable[[str], None]) -> None:
        """Nothing waits."""
        self._door, self._selector, self._note = door, selector, note
        self._waiting: deque[_Waiting] = deque()
        self._sent = 0
        """How many of them are on their way."""
        self._stream: socket.socket | None = None
        self._heard = b""
        self._try_at = -math.inf
        self._told = ""

    @property
    def idle(self) -> bool:
        """True where nothing waits."""
        return not self._waiting

    @property
    def due(self) -> float:
        """When to call `look` at the latest, on the monotonic clock."""
        return self._try_at if self._waiting and self._stream is None else math.inf

    def push(self, reports: Iterable[Report], then: Callable[[], None]) -> None:
        """Call `then` when the outputs that these reports name have arrived; in the order of these calls."""
        refs = [ref for report in reports for ref in (report.stdout, report.stderr)]
        pieces = [
            (ref.file, ref.offset, ref.length) for ref in refs if ref is not None and not ref.file.startswith("/")
        ]
        if not pieces and not self._waiting:
            then()
            return
        self._waiting.append(_Waiting(msgspec.json.encode(pieces) + b"\n", then))
        self.look(monotonic())

    def look(self, now: float) -> None:
        """Send what has not been sent."""
        if self._stream is None and self._waiting and now >= self._try_at:
            self._connect(now)
        if self._stream is not None:
            with contextlib.suppress(OSError):  # `_hear` finds the end
                while self._sent < len(self._waiting):
                    self._stream.sendall(self._waiting[self._sent].line)
                    self._sent += 1

    def _connect(self, now: float) -> None:
        self._try_at = now + _AGAIN
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(str(self._door))
        except OSError:
            stream.close()
            return
        self._stream, self._sent, self._heard = stream, 0, b""
        self._selector.register(stream, selectors.EVENT_READ, self._hear)

    def _hear(self) -> None:
        assert self._stream is not None  # noqa: S101 - it was readable
        try:
            data = self._stream.recv(4096)
        except OSError:
            data = b""
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            if line:
                self._complain(line.decode(errors="replace"))
                data = b""
                break
            self._told = ""
            self._sent -= 1
            self._waiting.popleft().then()
        if not data:
            self._selector.unregister(self._stream)
            self._stream.close()
            self._stream = None
            self._try_at = monotonic() + _AGAIN

    def _complain(self, trouble: str) -> None:
        """Tell a person, once; it is tried again."""
        if trouble != self._told:
            self._told = trouble
            self._note(f"outputs cannot be brought to {trouble}; tried again")
