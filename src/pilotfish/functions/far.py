"""Values of a session on another machine, as its workers on this one have them: by a socket, with copies kept here.

What is said there, in lines, with bytes behind some of them; each is answered by one line:

    here                    ok                                       is the other machine there?
    get NAME                ok, then the bytes
    put CONTENT             ok NAME  |  send, then the bytes: ok NAME

Whatever cannot be done is answered by ``no ERRNO WHY``. Sizes are part of names.

What belongs here: this side of it, and which values are such. What must not: the other side, connections of machines.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pilotfish.errors import UnavailableError
from pilotfish.functions.cache import Cache
from pilotfish.functions.values import Arriving, Values, is_value_name
from pilotfish.functions.wire import Afar
from pilotfish.model.jobs import Function
from pilotfish.model.quantities import format_bytes

__all__ = ["FarValues", "values_of"]

_TRIES = 3
"""Times that a transfer is begun which breaks off in the middle, or brings something else."""
_PAUSE = 0.1
"""Seconds between two attempts to reach the other machine."""
_SILENCE = 60.0
"""Seconds after which a connection on which nothing moves is given up. A disk may take its time to find room."""
_CHUNK = 2**18
"""Bytes that are read at once."""

_T = TypeVar("_T")


def values_of(function: Function, afar: Afar | None) -> Values:
    """Where the large values of a job's calls are."""
    folder, spill = Path(function.values), Path(function.spill)
    if afar is None or _is_here(folder, spill, afar):
        return Values(folder, spill=spill, limit=function.limit)
    return _far_values(afar)


@lru_cache(maxsize=1)  # with its connection, for all jobs
def _far_values(afar: Afar) -> Values:
    return FarValues(afar)


def _is_here(folder: Path, spill: Path, afar: Afar) -> bool:
    """In the campaign's folder they are here if that is; in shared memory, their folder has a name like no other."""
    return afar.shared if folder.parent == spill.parent else folder.is_dir()


class FarValues(Values):
    """Values in a folder of another machine."""

    def __init__(self, afar: Afar) -> None:
        """Nothing is fetched yet."""
        self._cache = Cache(afar.copies)
        self._origin = _Origin(afar.door, afar.patience)
        super().__init__(afar.copies[-1])  # for counting who holds what

    def get(self, name: str) -> memoryview:
        """The bytes, as from the folder itself; a copy on this node is used by all its workers.

        Raises FileNotFoundError where the value was dropped, OSError where there is no room for it here,
        UnavailableError where it cannot be brought.
        """
        if not is_value_name(name):
            raise ValueError(f"this is the name of no value: {name!r}")
        return self._cache.get(name.partition(".")[0], lambda arriving: self._origin.get(name, arriving))

    def drop(self, name: str) -> None:
        """What nobody was told of stays until the session ends."""

    def close(self) -> None:
        """End the connection; copies stay, for others."""
        self._origin.close()

    def _store(self, raw: memoryview, content: str) -> str:
        name = self._origin.put(raw, content)
        if not is_value_name(name) or name.partition(".")[0] != content:
            raise ValueError(f"{content} was stored as {name!r}")
        return name


class _CutError(Exception):
    """The connection has ended, or makes no sense."""


class _Origin:
    """The other machine."""

    def __init__(self, door: Path, patience: float) -> None:
        self._door, self._patience = door, patience
        self._guard = threading.Lock()
        self._stream: _Stream | None = None
        self._process = 0
        """Whose that connection is: not that of a fork."""

    def get(self, name: str, arriving: Arriving) -> None:
        def bring(stream: _Stream) -> None:
            arriving.again()
            stream.ask(f"get {name}")
            left = arriving.size
            while left:
                data = stream.read(min(left, _CHUNK))
                arriving.take(data)
                left -= len(data)
            if not arriving.complete:
                raise _CutError("what has arrived is not what was asked for")

        self._converse(bring, arriving.size)

    def put(self, raw: memoryview, content: str) -> str:
        def send(stream: _Stream) -> str:
            answer = stream.ask(f"put {content}")
            if answer == "send":
                stream.write(raw)
                answer = stream.answer()
            return answer.removeprefix("ok ")

        return self._converse(send, raw.nbytes)

    def _converse(self, talk: "Callable[[_Stream], _T]", size: int) -> _T:
        with self._guard:
            reason = ""
            for _ in range(_TRIES):
                stream = self._reach(size)
                try:
                    return talk(stream)
                except _CutError as error:
                    self._hang_up()
                    reason = str(error)
                except BaseException:
                    if not stream.even:
                        self._hang_up()
                    raise
            raise _unavailable(size, reason)

    def _reach(self, size: int) -> "_Stream":
        """The connection, made where there is none; the other machine has answered on it."""
        until = time.monotonic() + self._patience
        while self._stream is None or self._process != os.getpid():
            try:
                self._stream, self._process = _Stream(self._door), os.getpid()
                self._stream.ask("here")
            except (_CutError, OSError) as error:
                self._hang_up()
                if time.monotonic() >= until:
                    raise _unavailable(size, f"no connection for {self._patience:g} s: {error}") from None
                time.sleep(_PAUSE)
        return self._stream

    def close(self) -> None:
        with self._guard:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _unavailable(size: int, reason: str) -> UnavailableError:
    return UnavailableError(f"a value of {format_bytes(size)} cannot be exchanged with the session's machine: {reason}")


class _Stream:
    """One connection; all that can go wrong with it is a `_CutError`."""

    def __init__(self, door: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_SILENCE)
        self._early = b""
        """What came behind a line."""
        self.even = True
        """Whether the other side waits for a question."""
        try:
            self._socket.connect(str(door))
        except OSError:
            self.close()
            raise

    def ask(self, question: str) -> str:
        """The answer. Raises the OSError that it tells."""
        self.even = False
        self.write(f"{question}\n".encode())
        return self.answer()

    def answer(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            line += self.read(1)
        answer = line[:-1].decode(errors="replace")
        word, _, rest = answer.partition(" ")
        if word == "no":
            number, _, why = rest.partition(" ")
            self.even = True
            raise OSError(int(number), why)
        return answer

    def write(self, data: bytes | memoryview) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _CutError(error.strerror or str(error)) from error

    def read(self, most: int) -> bytes:
        if not self._early:
            try:
                self._early = self._socket.recv(_CHUNK)
            except OSError as error:
                raise _CutError(error.strerror or str(error)) from error
            if not self._early:
                raise _CutError("the connection has ended")
        data, self._early = self._early[:most], self._early[most:]
        return data

    def close(self) -> None:
        self._socket.close()
