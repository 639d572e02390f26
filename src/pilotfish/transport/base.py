"""The Protocols of every transport; one contract suite (``tests/contracts``) proves their laws.

A transport may drop, repeat or reorder frames: :mod:`pilotfish.transport.link` mends that above it.
It never blocks its caller, never delivers half a frame, and raises `DisconnectedError` when the peer is gone.
"""

from collections.abc import Sequence
from typing import Protocol

from pilotfish.errors import PilotfishError
from pilotfish.model.messages import Frame

__all__ = ["Connection", "DisconnectedError", "Listener"]


class DisconnectedError(PilotfishError):
    """The other side is gone. Frames that it had sent before were delivered first."""


class Connection(Protocol):
    """One peer. Usable with `selectors` through `fileno`."""

    def fileno(self) -> int:
        """A descriptor that is readable when `receive` has something to say."""

    def receive(self) -> Sequence[Frame]:
        """Frames that have arrived, maybe none. Raises DisconnectedError, after the last frame was given out."""

    def send(self, frame: Frame) -> None:
        """Send soon, in order; keeps what the peer cannot take yet. Silently nothing once disconnected."""

    @property
    def unsent(self) -> bool:
        """True while something kept waits for `flush`; then also select for writing."""

    def flush(self) -> None:
        """Send as much of what was kept as the peer takes now."""

    def close(self) -> None:
        """End the connection. Idempotent."""


class Listener(Protocol):
    """The manager's end: many connections and one wait."""

    def poll(self, timeout: float | None, awake: float = 0.0) -> list[tuple[Connection, Sequence[Frame] | None]]:
        """Wait until something arrives, `wake` is called or the timeout (seconds, None: for ever) is over.

        For the first `awake` seconds of it the thread looks again and again, instead of sleeping until it is woken; but
        for a moment, in which whoever was just told something starts.
        Each entry is a connection with its new frames, or with None when it is gone; a connection
        that has just come appears first with its first frame. Kept frames are flushed meanwhile.
        """

    def wake(self) -> None:
        """Make the current or next `poll` return. May be called from any thread and from a signal handler."""

    def close(self) -> None:
        """Close all connections and the listening end. Idempotent."""
