"""Cores are claimed, so that two runs of one user on one machine do not use the same ones.

There is one file per user and machine with a record for each core: who claims the core locks the first byte of the
record and writes into it who it is. The locks belong to the open file description, which keepers inherit from their
agent and hand to its successor: so a claim lives exactly as long as anybody who may use the core.

What belongs here: this file. What must not: how many cores anybody wants.
"""

import fcntl
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from pilotfish.runtime import runtime_folder

__all__ = ["Claims", "claim_path", "holders_text"]

_RECORD = 512
"""Bytes of a core's record."""
_FLOCK = struct.Struct("hhqqi4x")
"""``struct flock``: type, whence, start, length, pid."""


def claim_path() -> Path:
    """The file of this user on this machine. Raises UserError."""
    return runtime_folder() / "cores"


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

    def claim(self, cores: Iterable[int], at_least: int, at_most: int, who: str) -> tuple[int, ...]:
        """Claim the first `at_most` cores that are free; none where fewer than `at_least` are.

        Args:
            cores: ids to choose from.
            at_least: with fewer nothing could be done.
            at_most: more are not wanted.
            who: one line for those who find them taken.

        """
        got: list[int] = []
        for core in cores:
            if len(got) < at_most and self._lock(core, fcntl.F_WRLCK):
                got.append(core)
        if len(got) < at_least:
            for core in got:
                self._lock(core, fcntl.F_UNLCK)
            return ()
        for core in got:
            os.pwrite(self.descriptor, who.encode()[:_RECORD].ljust(_RECORD, b"\0"), core * _RECORD)
        return tuple(got)

    def holders(self, cores: Iterable[int]) -> dict[str, list[int]]:
        """Which of the cores others hold, by what they wrote of themselves."""
        found: dict[str, list[int]] = {}
        for core in cores:
            query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, core * _RECORD, 1, 0)
            kind, *_ = _FLOCK.unpack(fcntl.fcntl(self.descriptor, fcntl.F_OFD_GETLK, query))
            if kind != fcntl.F_UNLCK:
                record = os.pread(self.descriptor, _RECORD, core * _RECORD)
                found.setdefault(record.rstrip(b"\0").decode(errors="replace"), []).append(core)
        return found

    def _lock(self, core: int, kind: int) -> bool:
        try:
            lock = _FLOCK.pack(kind, os.SEEK_SET, core * _RECORD, 1, 0)
            fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, lock)
        except (BlockingIOError, PermissionError):  # the two ways to say that another one holds it
            return False
        return True


def holders_text(holders: Mapping[str, Iterable[int]]) -> str:
    """For people: ``0, 1 are held by pid 17 (/home/me/.pilotfish/sim)``."""
    return "; ".join(f"{', '.join(map(str, cores))} held by {who}" for who, cores in holders.items())
