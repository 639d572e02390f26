"""Outputs of a node that does not see the campaign's folder go there before anything is said of their attempts.

The dialer beside the agent carries them: it is told which pieces of which files, one line of JSON each time, and
answers with a line when they are there; an empty one, or what is wrong. It is told no more before it has answered: so
the agent never waits for it, and what ends meanwhile goes together.

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
_PIECES, _BYTES = 400, 16 * 2**20
"""What goes together at most, beyond the first: a line stays short, and little waits for something large behind it."""


class _Waiting(msgspec.Struct):
    """What is done when pieces have arrived."""

    pieces: list[tuple[str, int, int]]
    """File, offset, bytes."""
    then: Callable[[], None]


class Pusher:
    """Sends outputs, those that wait together, one batch behind the other.

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
        """How many of them are on their way, as one batch."""
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
        self._waiting.append(_Waiting(pieces, then))
        self.look(monotonic())

    def look(self, now: float) -> None:
        """Send what has not been sent."""
        if self._stream is None and self._waiting and now >= self._try_at:
            self._connect(now)
        if self._stream is not None and self._waiting and not self._sent:
            with contextlib.suppress(OSError):  # `_hear` finds the end
                self._stream.sendall(msgspec.json.encode(self._batch()) + b"\n")

    def _batch(self) -> list[tuple[str, int, int]]:
        """The pieces that go together now."""
        pieces: list[tuple[str, int, int]] = []
        left = _BYTES
        for one in self._waiting:
            left -= sum(size for _, _, size in one.pieces)
            if self._sent and (left < 0 or len(pieces) + len(one.pieces) > _PIECES):
                break
            pieces += one.pieces
            self._sent += 1
        return pieces

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
            arrived, self._sent = [self._waiting.popleft() for _ in range(self._sent)], 0
            for one in arrived:
                one.then()
        if not data:
            self._selector.unregister(self._stream)
            self._stream.close()
            self._stream = None
            self._try_at = monotonic() + _AGAIN
        self.look(monotonic())

    def _complain(self, trouble: str) -> None:
        """Tell a person, once; it is tried again."""
        if trouble != self._told:
            self._told = trouble
            self._note(f"outputs cannot be brought to {trouble}; tried again")
