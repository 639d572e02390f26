"""What a keeper and its worker tell each other: calls one way, results the other, and a page that both can see.

Calls travel over a socket, as many as there are. Results travel through a pipe that nobody waits for: a wake-up of the
keeper for each would cost more than a short call. The worker rings the bell, on the socket, when it has nothing left to
do or needs an answer; meanwhile the keeper looks into the pipe from time to time. What is in the pipe survives the
worker's death, and a result is there before the next call begins: so the call that killed its worker is always known.

The page says which call has begun and when, so that limits can be kept, and which calls not to begin any more.

What belongs here: these messages, their framing, the page. What must not: calling, processes.
"""

import mmap
import signal
import struct
from pathlib import Path

import msgspec

from pilotfish.model.jobs import Function
from pilotfish.model.resources import Slots

__all__ = [
    "CHUNK",
    "ENDED",
    "IN_BAND",
    "REFUSED",
    "Afar",
    "Assignment",
    "Batch",
    "Call",
    "CallEnd",
    "Page",
    "framed",
    "join_call",
    "split_call",
    "unframed",
]


class Afar(msgspec.Struct, frozen=True):
    """What a worker must know where its manager is on another machine."""

    door: Path
    """The socket behind which the values are that do not lie on this node."""
    copies: tuple[Path, ...]
    """Folders for copies of them; the fastest first."""
    shared: bool
    """Whether the campaign's folder is there on this node too."""
    patience: float
    """Seconds for which the other machine is waited for."""


class Assignment(msgspec.Struct, frozen=True):
    """The job whose function a worker calls from now on, and what it may use."""

    job: int
    name: str
    function: Function
    slots: Slots
    cores: tuple[int, ...]
    """To be bound to; none: stay as you are."""
    time: float | None
    """The most seconds that a call may take."""
    cwd: str
    env: dict[bytes, bytes]


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One call."""

    position: int
    number: int
    """Of the attempt."""
    arguments: bytes
    """Which function, and with what; see `join_call`."""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Keeper to worker: make these calls, one after the other; none: go on after an output was collected."""

    assignment: Assignment | None
    """None: that of the batch before."""
    calls: tuple[Call, ...]


REFUSED = -1
"""Instead of a code: the call was not made, because the keeper had taken it back."""
ENDED = 128 + signal.SIGTERM
"""The code of a call that returned because it was told to end; what a shell says of a command that TERM has ended."""


class CallEnd(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Worker to keeper: a call has ended."""

    code: int
    """0: it returned; 1: it raised, or could not be made; else one of those above."""
    result: bytes
    """What it returned or raised; packed."""
    reason: str
    """For people, where the code is not 0."""
    began: float
    """Seconds since 1970."""
    ended: float
    cpu_seconds: float
    printed: bool
    """There is output, and the worker waits until it was collected."""
    spoiled: str
    """Why no further call may run in this process; empty: one may."""
    defer: float | None = None
    """It wants to be made again after so many seconds; None: it has ended."""


IN_BAND = b"="
"""Before a function that travels with its call; the others are named, and lie among the values."""
CHUNK = 1 << 17
"""Bytes that one read takes at most. Not more: for a larger buffer the allocator asks the kernel, 11 µs each time."""
_LENGTH = struct.Struct("<I")


def join_call(function: bytes, arguments: bytes) -> bytes:
    """A function, or its name, and packed arguments as one."""
    return _LENGTH.pack(len(function)) + function + arguments


def split_call(packed: bytes) -> tuple[bytes, bytes]:
    """The two again."""
    end = _LENGTH.size + _LENGTH.unpack_from(packed)[0]
    return packed[_LENGTH.size : end], packed[end:]


_encode = msgspec.msgpack.Encoder().encode


def framed(message: Batch | CallEnd) -> bytes:
    """As it travels."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


def unframed(data: bytearray) -> list[bytearray]:
    """Take out of `data` the messages that are there whole, encoded."""
    messages, at = [], 0
    while (begin := at + _LENGTH.size) <= len(data):
        end = begin + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            break
        messages.append(data[begin:end])
        at = end
    del data[:at]
    return messages


class Page:
    """Memory that a keeper and its worker share. Calls are numbered from 0, in the order in which they are given.

    The worker looks what is void, writes which call begins, and looks again; the keeper writes what is void, and looks
    a moment later what has begun. So each call either begins, or is skipped, or is refused by the second look, which
    the worker then says: it is never in doubt whether one was made.
    """

    _BEGUN = struct.Struct("<Qd")
    _VOID = struct.Struct("<QQ")
    _VOID_AT = 64

    def __init__(self) -> None:
        """Nothing has begun, and nothing is void."""
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def is_void(self, call: int) -> bool:
        """Worker: whether the call must not be made."""
        lo, hi = self._VOID.unpack_from(self._memory, self._VOID_AT)
        return bool(lo <= call < hi)

    def begin(self, call: int, now: float) -> None:
        """Worker: the call begins, at this time of the monotonic clock."""
        self._BEGUN.pack_into(self._memory, 0, call + 1, now)

    @property
    def begun(self) -> tuple[int, float]:
        """Keeper: the number behind that of the last call that began, and when that was."""
        count, when = self._BEGUN.unpack_from(self._memory, 0)
        return count, when

    def void(self, lo: int, hi: int) -> None:
        """Keeper: calls `lo` … `hi`-1 must not begin."""
        self._VOID.pack_into(self._memory, self._VOID_AT, lo, hi)

    @property
    def voided(self) -> tuple[int, int]:
        """Keeper: the calls that must not begin, from the first to the one behind the last."""
        lo, hi = self._VOID.unpack_from(self._memory, self._VOID_AT)
        return lo, hi
