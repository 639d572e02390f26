"""Frames over a Unix socket on one machine: a length of four bytes, then the frame as msgpack.

What belongs here: sockets, framing, who may connect, where sockets lie. What must not: numbering, what messages mean.
"""

import contextlib
import errno
import os
import selectors
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep

import msgspec

from pilotfish.errors import BusyError, InternalError, UnavailableError, UserError
from pilotfish.model.messages import Frame
from pilotfish.transport.base import Connection, DisconnectedError

__all__ = ["PATH_LIMIT", "LocalConnection", "LocalListener", "connect"]

_FRAME_LIMIT = 64 * 2**20
"""Bytes. A longer frame is garbage, or something that must not travel here."""

PATH_LIMIT = 107
"""Bytes of a socket's path that the kernel takes."""

_READ_SIZE = 2**16
"""Bytes that one `receive` takes at most, so that a busy peer does not keep the others waiting.

Not above 2**17, from where on the allocator asks the kernel for each buffer: 15 µs more a call.
"""

_CONNECT_PATIENCE = 5.0
"""Seconds to wait for a listener that is busy or stopped."""

_QUEUE = 4096
"""Who may wait at the door at the same time: after a manager's restart all agents come at once."""

_NAP = 0.00002
"""Seconds of sleep in which whoever was just told something starts; the kernel adds twice as many."""

_NEVER = 2**62
_CREDENTIALS = struct.Struct("iII")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


def _ignore(_connection: "LocalConnection") -> None:
    """Nobody watches."""


class LocalConnection:
    """One end of a connected socket; a :class:`~pilotfish.transport.base.Connection`.

    What the peer is slow to take is kept without limit: whoever sends must see to it that peers live.
    """

    def __init__(self, peer: socket.socket, changed: Callable[["LocalConnection"], None] = _ignore) -> None:
        """Own the socket. `changed` is called when `unsent` has changed, and before the socket is closed."""
        peer.settimeout(0)
        self._socket = peer
        self._changed = changed
        self._arrived = bytearray()
        self._awaited = 4
        """How many bytes must have arrived before there is something new to take."""
        self._kept = bytearray()
        self._end = "the other side is gone"
        self.closed = False
        """True after `close`, and once `receive` has told that the peer is gone."""

    def fileno(self) -> int:
        """A descriptor that is readable when `receive` has something to say; -1 once closed."""
        return self._socket.fileno()

    def receive(self) -> Sequence[Frame]:
        """Frames that have arrived, maybe none. Raises DisconnectedError, after the last frame was given out."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return ()
        except OSError:
            data = b""
        if not data:
            self.close()
            raise DisconnectedError(self._end)
        self._arrived += data
        return self._take_frames() if len(self._arrived) >= self._awaited else ()

    def _take_frames(self) -> list[Frame]:
        frames: list[Frame] = []
        arrived, at = self._arrived, 0
        while len(arrived) - at >= 4:
            size = int.from_bytes(arrived[at : at + 4], "big")
            end = at + 4 + size
            if size > _FRAME_LIMIT:
                self._hang_up(f"the other side announced a frame of {size} bytes")
                break
            if end > len(arrived):
                self._awaited = end - at
                break
            try:
                frames.append(_decode(arrived[at + 4 : end]))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                self._hang_up(f"the other side sent something that is no frame: {error}")
                break
            at = end
        else:
            self._awaited = 4
        del arrived[:at]
        return frames

    def _hang_up(self, reason: str) -> None:
        """Hear nothing more; the next `receive` finds the end, after the good frames were given out."""
        self._end, self._awaited = reason, _NEVER
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, frame: Frame) -> None:
        """Send soon, in order; keeps what the peer cannot take yet. Silently nothing once disconnected."""
        if self.closed:
            return
        body = _encode(frame)
        if len(body) > _FRAME_LIMIT:
            self._send_halves(frame, len(body))
            return
        data = len(body).to_bytes(4, "big") + body
        if self._kept:
            self._kept += data
            return
        sent = self._push(data)
        if sent < len(data):
            self._kept += data[sent:]
            self._changed(self)

    def _send_halves(self, frame: Frame, size: int) -> None:
        """All that a busy side has not acknowledged, sent again, may be too much for one frame."""
        half = len(frame.messages) // 2
        if not half:
            raise InternalError(f"a frame of {size} bytes was to be sent, the limit is {_FRAME_LIMIT}")
        self.send(msgspec.structs.replace(frame, messages=frame.messages[:half]))
        self.send(msgspec.structs.replace(frame, first=frame.first + half, messages=frame.messages[half:]))

    @property
    def unsent(self) -> bool:
        """True while something kept waits for `flush`; then also select for writing."""
        return bool(self._kept)

    def flush(self) -> None:
        """Send as much of what was kept as the peer takes now."""
        while self._kept and (sent := self._push(self._kept)):
            del self._kept[:sent]
            if not self._kept:
                self._changed(self)

    def _push(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # nobody will ever read it; `receive` tells that, after what had arrived before

    def close(self) -> None:
        """End the connection; what was kept is lost. Idempotent."""
        if not self.closed:
            self.closed = True
            self._changed(self)
            self._kept.clear()
            self._socket.close()


class LocalListener:
    """The manager's end: a Unix socket at `path`, for processes of our user and of root only."""

    def __init__(self, path: Path) -> None:
        """Listen at `path`, in place of a dead process's socket.

        Raises BusyError where a living process listens there, UserError where the path is too long.
        """
        self.path = path
        self._door = _listen(path)
        self._bell, self._ringer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for end in (self._door, self._bell, self._ringer):
            end.settimeout(0)
        self._selector.register(self._door, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._connections: dict[LocalConnection, bool] = {}
        """Each with whether it has been heard."""
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._closed = False

    def poll(self, timeout: float | None, awake: float = 0.0) -> list[tuple[Connection, Sequence[Frame] | None]]:
        """Wait until something arrives, `wake` is called or the timeout (seconds, None: for ever) is over.

        For the first `awake` seconds of it the thread looks again and again, instead of sleeping until it is woken; but
        for a moment, in which whoever was just told something starts.
        """
        arrivals: list[tuple[Connection, Sequence[Frame] | None]] = []
        awake = awake if timeout is None else min(awake, timeout)
        ready = self._look(awake) if awake else None
        for key, events in ready or self._selector.select(timeout and timeout - awake):
            if key.fileobj is self._door:
                self._welcome()
            elif key.fileobj is self._bell:
                self._bell.recv(4096)
            else:
                connection: LocalConnection = key.data
                if events & selectors.EVENT_WRITE:
                    connection.flush()
                if events & selectors.EVENT_READ:
                    self._hear(connection, arrivals)
        return arrivals

    def _look(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """What there is to hear within so many seconds."""
        end = monotonic() + seconds
        # The kernel lets a receiver start on the core of its sender, and trusts that this one is about to sleep.
        sleep(min(_NAP, seconds))
        while not (ready := self._selector.select(0.0)) and monotonic() < end:
            pass
        return ready

    def wake(self) -> None:
        """Make the current or next `poll` return. May be called from any thread and from a signal handler."""
        with contextlib.suppress(OSError):  # full: it has been rung enough; closed: nobody waits
            self._ringer.send(b"\0")

    def close(self) -> None:
        """Close all connections and the listening end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        self.path.unlink(missing_ok=True)
        self._selector.close()
        for end in (self._door, self._bell, self._ringer):
            end.close()
        os.close(self._spare)

    def _hear(self, connection: LocalConnection, arrivals: list[tuple[Connection, Sequence[Frame] | None]]) -> None:
        heard = self._connections[connection]
        try:
            frames = connection.receive()
        except DisconnectedError:
            if heard:
                arrivals.append((connection, None))
            return
        if frames:
            self._connections[connection] = True
            arrivals.append((connection, frames))

    def _welcome(self) -> None:
        while True:
            try:
                peer, _ = self._door.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE}:
                    raise
                self._turn_away()
                return
            if _user_of(peer) not in {0, os.getuid()}:
                peer.close()
                continue
            connection = LocalConnection(peer, self._watch)
            self._connections[connection] = False
            self._selector.register(connection, selectors.EVENT_READ, connection)

    def _turn_away(self) -> None:
        """Let a peer go for want of descriptors: left at the door, it would make every `poll` return at once."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._door.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def _watch(self, connection: LocalConnection) -> None:
        if connection.closed:
            self._selector.unregister(connection)
            del self._connections[connection]
        else:
            writing = selectors.EVENT_WRITE if connection.unsent else 0
            self._selector.modify(connection, selectors.EVENT_READ | writing, connection)


def connect(path: Path) -> LocalConnection:
    """A connection to the listener at `path`. Raises UnavailableError where there is none of our user or root."""
    peer = _socket_for(path)
    try:
        peer.settimeout(_CONNECT_PATIENCE)
        peer.connect(str(path))
    except OSError as error:
        peer.close()
        raise UnavailableError(f"nobody answers at {path}: {error.strerror or error}") from error
    if _user_of(peer) not in {0, os.getuid()}:
        peer.close()
        raise UnavailableError(f"{path} belongs to another user")
    return LocalConnection(peer)


def _listen(path: Path) -> socket.socket:
    door = _socket_for(path)
    try:
        try:
            door.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _check_dead(path)
            path.unlink()
            door.bind(str(path))
        path.chmod(0o600)
        door.listen(_QUEUE)
    except BaseException:
        door.close()
        raise
    return door


def _check_dead(path: Path) -> None:
    """Raise BusyError where a process listens at `path`."""
    with _socket_for(path) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass  # it has no time for us, but it lives
    raise BusyError(f"another process listens at {path}")


def _socket_for(path: Path) -> socket.socket:
    size = len(os.fsencode(path))
    if size > PATH_LIMIT:
        raise UserError(f"the path of a socket has {size} bytes, at most {PATH_LIMIT} are possible: {path}")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _user_of(peer: socket.socket) -> int:
    _pid, user, _group = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)
