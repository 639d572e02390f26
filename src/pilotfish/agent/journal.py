"""The journal of a keeper: what it is, what it began, how that ended; for an agent that comes after its death.

One file per keeper, ``k<lane>.<mark>.journal`` in the node's folder, written by the keeper alone: who it is first, then
an intent before each start, the outcome before it is reported. A record is a length, a checksum and msgpack; what a
dying keeper wrote half is not there. The file is not synced: a machine that loses power loses all its processes.

What belongs here: this file. What must not: what follows from it.
"""

import errno
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pilotfish.agent.processes import Identity
from pilotfish.model.attempts import AttemptId, Report

__all__ = ["Journal", "Past", "past_of", "read_journal", "remove_journal"]

_TRIM_ABOVE = 256 * 1024
"""Bytes."""


class _Keeper(msgspec.Struct, frozen=True, array_like=True, tag="k"):
    """The first record: whose journal it is."""

    lane: int
    identity: Identity
    mark: int


class _Intent(msgspec.Struct, frozen=True, array_like=True, tag="i"):
    """The attempt is going to be started."""

    attempt: AttemptId


class _Outcome(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """The attempt has ended."""

    report: Report


class _Withdrawal(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """The attempt was not started after all."""

    attempt: AttemptId


_Record = _Keeper | _Intent | _Outcome | _Withdrawal
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode
_HEAD = struct.Struct("<II")
"""Length and checksum of the record that follows."""


class Past(msgspec.Struct, frozen=True):
    """What a journal tells."""

    lane: int
    keeper: Identity
    mark: int
    reports: tuple[Report, ...]
    """Outcomes, in their order."""
    open: tuple[AttemptId, ...]
    """Intents without an outcome."""


class Journal:
    """The writing end.

    Args:
        path: made anew.
        lane: of the keeper.
        identity: of the keeper.
        mark: of the keeper.

    """

    def __init__(self, path: Path, lane: int, identity: Identity, mark: int) -> None:
        """Write who the keeper is."""
        self._path = path
        self._head = _framed(_Keeper(lane, identity, mark))
        self._intents: dict[AttemptId, bytes] = {}
        """The records of attempts that were intended and have not ended."""
        self._noted = b""
        """Records that wait for the next write."""
        self._begin()

    def intend(self, *attempts: AttemptId) -> None:
        """Write that these attempts are going to be started, with what was noted before. Raises OSError."""
        intents = {attempt: _framed(_Intent(attempt)) for attempt in attempts}
        self._write(b"".join((self._noted, *intents.values())))
        self._noted = b""
        self._intents.update(intents)

    def withdraw(self, attempt: AttemptId) -> None:
        """Note that the attempt, if it was intended, was not started after all."""
        if self._intents.pop(attempt, None):
            self._noted += _framed(_Withdrawal(attempt))

    def note(self, report: Report) -> None:
        """Note an outcome: it is written with the next intent or by `flush`."""
        self._noted += _framed(_Outcome(report))
        self._intents.pop(report.attempt, None)

    def flush(self) -> None:
        """Write what was noted. Raises OSError."""
        if self._noted:
            self._write(self._noted)
            self._noted = b""

    def trim(self, unrecorded: Iterable[Report]) -> None:
        """Where the file has become long, forget outcomes but these, which no manager has recorded. Raises OSError."""
        if self._size > _TRIM_ABOVE:
            before = self._file
            self._begin(b"".join(_framed(_Outcome(report)) for report in unrecorded))
            self._noted = b""
            os.close(before)

    def _begin(self, outcomes: bytes = b"") -> None:
        # Renamed over the old one, so that at each moment there is a whole journal.
        draft = _draft(self._path)
        content = b"".join((self._head, outcomes, *self._intents.values()))
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            if os.write(file, content) < len(content):
                raise _full(draft)
            draft.rename(self._path)
        except OSError:
            os.close(file)
            raise
        self._file, self._size = file, len(content)

    def _write(self, records: bytes) -> None:
        try:
            written = os.write(self._file, records)
        except OSError as error:
            error.filename = str(self._path)
            raise
        if written < len(records):
            # Cut the torn record off, or nothing behind it could be read.
            os.ftruncate(self._file, self._size)
            raise _full(self._path)
        self._size += written


def remove_journal(path: Path) -> None:
    """Nothing that it tells is needed any more."""
    path.unlink(missing_ok=True)
    _draft(path).unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_suffix(".draft")


def _full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_journal(path: Path) -> Past | None:
    """What the journal at `path` tells; None where there is none, or not even its first record."""
    try:
        return past_of(path.read_bytes())
    except FileNotFoundError:
        return None


def past_of(content: bytes) -> Past | None:
    """What the bytes of a journal tell, up to the first torn record; None where that is the first."""
    records = _records(content)
    head = next(records, None)
    if not isinstance(head, _Keeper):
        return None
    intents: dict[AttemptId, None] = {}
    reports: list[Report] = []
    for record in records:
        match record:
            case _Intent(attempt):
                intents[attempt] = None
            case _Withdrawal(attempt):
                intents.pop(attempt, None)
            case _Outcome(report):
                intents.pop(report.attempt, None)
                reports.append(report)
    return Past(head.lane, head.identity, head.mark, tuple(reports), tuple(intents))


def _framed(record: _Record) -> bytes:
    body = _encode(record)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _records(content: bytes) -> Iterator[_Record]:
    """The records up to the first that is torn."""
    at = 0
    while at + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, at)
        body = content[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        yield _decode(body)
        at += _HEAD.size + length
