"""Cores and GPUs are claimed, so that two runs of one user on one machine do not use the same ones.

There is one file per user and machine with a record for each core and each GPU: who claims it locks the first byte of
the record and writes into it who it is. The locks belong to the open file description, which keepers inherit from their
agent and hand to its successor: so a claim lives exactly as long as anybody who may use what was claimed.

What belongs here: this file. What must not: how much anybody wants.
"""

import fcntl
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pilotfish.runtime import runtime_folder

__all__ = ["FIRST_GPU", "Claims", "claim_path"]

FIRST_GPU = 1 << 16
"""Records before it are of cores, by their ids; those from it on of GPUs. The file has holes, and is small."""
_RECORD = 512
"""Bytes of a record."""
_FLOCK = struct.Struct("hhqqi4x")
"""``struct flock``: type, whence, start, length, pid."""


def claim_path() -> Path:
    """The file of this user on this machine. Raises UserError."""
    return runtime_folder() / "claims"


class Claims:
    """An open file description that may hold claims.

    Args:
        descriptor: of it; closed with the process.

    """

    def __init__(self, descriptor: int) -> None:
        """Hold what the description holds."""
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Begin with no claim."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    def claim(self, records: Iterable[int], at_least: int, at_most: int, who: str) -> tuple[int, ...]:
        """Claim the first `at_most` records that are free; none where fewer than `at_least` are.

        Args:
            records: to choose from.
            at_least: with fewer nothing could be done.
            at_most: more are not wanted.
            who: one line for those who find them taken.

        """
        got: list[int] = []
        for record in records:
            if len(got) < at_most and self._lock(record, fcntl.F_WRLCK):
                got.append(record)
        if len(got) < at_least:
            self.release(got)
            return ()
        for record in got:
            os.pwrite(self.descriptor, who.encode()[:_RECORD].ljust(_RECORD, b"\0"), record * _RECORD)
        return tuple(got)

    def release(self, records: Iterable[int]) -> None:
        """Leave these to others."""
        for record in records:
            self._lock(record, fcntl.F_UNLCK)

    def holders(self, records: Iterable[int]) -> dict[str, list[int]]:
        """Which of the records others hold, by what they wrote of themselves."""
        found: dict[str, list[int]] = {}
        for record in records:
            query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, record * _RECORD, 1, 0)
            kind, *_ = _FLOCK.unpack(fcntl.fcntl(self.descriptor, fcntl.F_OFD_GETLK, query))
            if kind != fcntl.F_UNLCK:
                content = os.pread(self.descriptor, _RECORD, record * _RECORD)
                found.setdefault(content.rstrip(b"\0").decode(errors="replace"), []).append(record)
        return found

    def _lock(self, record: int, kind: int) -> bool:
        try:
            lock = _FLOCK.pack(kind, os.SEEK_SET, record * _RECORD, 1, 0)
            fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, lock)
        except (BlockingIOError, PermissionError):  # the two ways to say that another one holds it
            return False
        return True
