"""Pieces of files from a node to the folder of its campaign, where the node does not see that: beside all messages.

A dialer reads the pieces that its agent names, a gateway writes them into files of the same name at the same place, and
says so when they are on the disk. Sent twice they are the same.

What belongs here: this conversation of the two. What must not: which pieces, connections.
"""

import asyncio
import os
import re
from pathlib import Path

import msgspec
from distributed.comm.core import Comm

__all__ = ["Piece", "send_pieces", "take_pieces"]

_CHUNK = 2**20
"""Bytes that travel at once."""
_DONE = "done"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of files that a node may write."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A part of a file."""

    file: str
    """Name in the folder of outputs."""
    offset: int
    size: int
    """In bytes."""


async def send_pieces(comm: Comm, folder: Path, pieces: list[Piece]) -> str:
    """Send them; empty when they are on the other side's disk, else what is wrong there. Raises OSError."""
    for piece in pieces:
        with (folder / piece.file).open("rb") as file:
            for offset in range(piece.offset, piece.offset + piece.size, _CHUNK):
                data = os.pread(file.fileno(), min(_CHUNK, piece.offset + piece.size - offset), offset)
                await comm.write((piece.file, offset, data))
                await comm.stream.write(b"")  # type: ignore[attr-defined]  # else Dask would keep all of it
    await comm.write(_DONE)
    trouble: str = await comm.read()
    return trouble


async def take_pieces(comm: Comm, folder: Path) -> None:
    """Write what comes, until the connection ends."""
    files: dict[str, int] = {}
    trouble = ""
    try:
        while True:
            message = await comm.read()
            try:
                if message != _DONE:
                    await asyncio.to_thread(_write, files, folder, *message)  # a disk that hangs holds up no message
                    continue
                await asyncio.to_thread(_sync, files, folder)
            except OSError as error:
                trouble = trouble or f"{folder}: {error.strerror}"
            if message == _DONE:
                await comm.write(trouble)
                trouble = ""
    finally:
        _close(files)


def _write(files: dict[str, int], folder: Path, name: str, offset: int, data: bytes) -> None:
    if _NAME.fullmatch(name) is None:
        raise PermissionError(1, f"no node may write {name!r}")
    if name not in files:
        folder.mkdir(exist_ok=True)
        files[name] = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o666)
    while data:
        written = os.pwrite(files[name], data, offset)
        data, offset = data[written:], offset + written


def _sync(files: dict[str, int], folder: Path) -> None:
    for descriptor in files.values():
        os.fdatasync(descriptor)
    _close(files)
    entries = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)


def _close(files: dict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])
