"""What an agent and its keepers tell each other, and how it travels: messages over a Unix stream socket.

Where manager and agent have a message for it, that very message is passed on: `TakeBack`, `End` and `Host` downwards,
`Started`, `TakenBack`, `Reports` and `Note` upwards. A stream between two processes of one machine loses nothing, so
there are no numbers here: reports are recorded in the order in which they were sent.

What belongs here: these messages and their framing. What must not: what follows from them.
"""

import contextlib
import os
import socket
import struct

import msgspec

from pilotfish.functions.wire import CHUNK, unframed
from pilotfish.model.attempts import LaneState, Report
from pilotfish.model.jobs import JobSpec
from pilotfish.model.messages import End, Host, Note, Reports, Start, Started, TakeBack, TakenBack
from pilotfish.model.resources import Inventory

__all__ = ["Channel", "ChannelClosedError", "Introduction", "Leave", "Manned", "Order", "Recorded", "Work"]


class Work(msgspec.Struct, frozen=True, tag=True):
    """Agent to keeper: run these tasks after those that it has."""

    start: Start
    spec: JobSpec | None
    """The job, the rows of its array left out; None: that of the work before."""
    rows: tuple[tuple[str, ...], ...]
    """Of its array, for the tasks `lo` … `hi`-1; empty where it has none."""


class Recorded(msgspec.Struct, frozen=True, tag=True):
    """Agent to keeper: the manager has recorded so many more reports, in the order in which they were sent."""

    count: int


class Manned(msgspec.Struct, frozen=True, tag=True):
    """Agent to keeper: whether there is a manager, so that a lease is counted once even if the agent dies."""

    lease: float
    """Seconds without a manager after which tasks end."""
    lost_at: float | None
    """On the monotonic clock; None while there is a manager."""


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Agent to keeper: run nothing more, end what runs, and end."""

    reason: str
    """Of the attempt's end, for people."""


class Introduction(msgspec.Struct, frozen=True, tag=True):
    """Keeper to agent, the first message of each connection; the claim on cores and GPUs travels with it."""

    journal: str
    """Name of its journal."""
    state: LaneState
    reports: tuple[Report, ...]
    """Not recorded as far as it knows."""
    inventory: Inventory
    """Of the node, as the agent that started it knew it."""


Order = (
    Work | Recorded | Manned | Leave | Introduction
    | TakeBack | End | Host
    | Started | TakenBack | Reports | Note
)  # fmt: skip
"""All that travels between an agent and a keeper."""

_LENGTH = struct.Struct("<I")
_MOST_DESCRIPTORS = 4
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Order).decode


class ChannelClosedError(Exception):
    """The other side is gone; all that it had sent was given out before."""


class Channel:
    """One end of the stream between agent and keeper. It never blocks: what the other side cannot take yet is kept.

    Args:
        stream: a connected Unix socket; owned by the channel from now on.

    """

    def __init__(self, stream: socket.socket) -> None:
        """Begin with nothing sent and nothing received."""
        stream.settimeout(0.0)
        self._stream = stream
        self._received = bytearray()
        self._unsent = bytearray()
        self.descriptors: list[int] = []
        """That came with messages; whoever takes one owns it."""

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._stream.fileno()

    @property
    def unsent(self) -> bool:
        """True while something kept waits for `flush`; then also wait for writing."""
        return bool(self._unsent)

    def send(self, *messages: Order) -> None:
        """Send soon; silently nothing where the other side is gone, which `receive` will tell."""
        self._unsent += b"".join(map(_framed, messages))
        self.flush()

    def send_with(self, descriptor: int, message: Order) -> None:
        """Send a message and the descriptor with it. Only as the first message."""
        data = _framed(message)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._unsent += data[self._stream.sendmsg([data], rights) :]

    def flush(self) -> None:
        """Send as much of what was kept as the other side takes now."""
        try:
            while self._unsent:
                del self._unsent[: self._stream.send(self._unsent)]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()

    def receive(self) -> list[Order]:
        """The messages that have arrived whole, maybe none. Raises ChannelClosedError."""
        try:
            chunk, rights, _, _ = self._stream.recvmsg(CHUNK, socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS))
        except BlockingIOError:
            return []
        except ConnectionResetError:
            chunk, rights = b"", []
        for _, _, descriptors in rights:
            self.descriptors.extend(descriptor for (descriptor,) in struct.iter_unpack("i", descriptors))
        if not chunk:
            raise ChannelClosedError
        self._received += chunk
        return list(map(_decode, unframed(self._received)))

    def close(self) -> None:
        """End the connection, and close descriptors that nobody took."""
        self._stream.close()
        while self.descriptors:
            os.close(self.descriptors.pop())


def _framed(message: Order) -> bytes:
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body
