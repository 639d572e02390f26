"""Values of a session for its workers on other machines, which do not see the folder where they lie.

A worker asks as :mod:`pilotfish.functions.far` tells; what it says comes through its node's dialer, byte for byte. It
names values by their content, never places; what it leaves here is what its name says, or nothing.

What belongs here: answering it. What must not: connections.
"""

import asyncio
import errno
import os
from functools import cache
from pathlib import Path

from distributed.comm.core import Comm, CommClosedError

from pilotfish.functions.values import Arriving, Values, is_value_name

__all__ = ["END", "Depot", "open_values"]

END = b""
"""What a connection carries last."""
_CHUNK = 2**20
"""Bytes that travel at once."""
_LONGEST = 128
"""Bytes of a question."""


@cache
def open_values(folders: tuple[Path, ...]) -> Values | None:
    """Those of a session: in a folder, where they take half of what is free, and one for the rest; None without any."""
    if not folders:
        return None
    free = os.statvfs(folders[0].parent)
    return Values(folders[0], spill=folders[1], limit=free.f_bavail * free.f_frsize // 2)


class Depot:
    """One connection with a worker.

    Args:
        comm: carries its bytes.
        values: of the session; None: there are none.

    """

    def __init__(self, comm: Comm, values: Values | None) -> None:
        """Nothing has been asked."""
        self._comm, self._values = comm, values
        self._arrived = b""

    async def serve(self) -> None:
        """Answer until the connection ends. Raises OSError, of it or of the folder in the middle of a value."""
        while True:
            word, _, name = (await self._question()).partition(" ")
            try:
                await self._answer(word, name)
            except _RefusedError as refused:
                await self._comm.write(f"no {refused.errno} {refused.strerror}\n".encode())

    async def _question(self) -> str:
        while b"\n" not in self._arrived:
            if len(self._arrived) > _LONGEST:
                raise OSError(errno.EPROTO, "a worker does not ask as it should")
            self._arrived += await self._read()
        line, self._arrived = self._arrived.split(b"\n", 1)
        return line.decode(errors="replace")

    async def _read(self) -> bytes:
        data: bytes = await self._comm.read()
        if data == END:
            raise CommClosedError("the worker has gone")
        return data

    async def _answer(self, word: str, name: str) -> None:
        if word == "here":
            await self._comm.write(b"ok\n")
        elif self._values is None:
            raise _RefusedError(errno.ENOENT, "large values of this session do not travel to other machines")
        elif not is_value_name(name):
            raise _RefusedError(errno.EINVAL, f"this is the name of no value: {name!r}")
        elif word == "get":
            await self._give(self._values, name)
        else:
            await self._take(self._values, name.partition(".")[0])

    async def _give(self, values: Values, name: str) -> None:
        try:
            found = values.get(name)
        except OSError as error:
            raise _RefusedError(error.errno, error.strerror) from error
        await self._comm.write(b"ok\n")
        for offset in range(0, found.nbytes, _CHUNK):
            await self._comm.write(bytes(found[offset : offset + _CHUNK]))
            await self._comm.stream.write(b"")  # type: ignore[attr-defined]  # else Dask would keep all of it

    async def _take(self, values: Values, content: str) -> None:
        name = values.share(content) or await self._bring(values, content)
        await self._comm.write(f"ok {name}\n".encode())

    async def _bring(self, values: Values, content: str) -> str:
        try:
            arriving = await asyncio.to_thread(values.arrive, content)  # room for much is not found at once
        except OSError as error:
            raise _RefusedError(error.errno, error.strerror) from error
        try:
            await self._comm.write(b"send\n")
            await self._hear(arriving)
        except BaseException:
            values.refuse(arriving)
            raise
        return values.keep(arriving)

    async def _hear(self, arriving: Arriving) -> None:
        left = arriving.size
        while left:
            data = self._arrived or await self._read()
            data, self._arrived = data[:left], data[left:]
            arriving.take(data)
            left -= len(data)
        if not arriving.complete:
            raise _RefusedError(errno.EBADMSG, f"what has arrived is not {arriving.content}")


class _RefusedError(OSError):
    """A question is answered by this."""
