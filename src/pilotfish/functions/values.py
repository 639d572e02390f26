"""Large values by reference: immutable bytes, in files that the processes of one session on one node share.

What belongs here: files of bytes, named by their content, and who still needs them. What must not: what the bytes mean.

A folder holds, for each value, one file under the name of its content, ``<digest>-<size>``, and hard links to it,
``<digest>-<size>.<random>``, one for each that needs it. The data goes with the last link: the file system counts, so
that a value which one process lets go of, while another is about to send the same content, stays. The file ``used``
is the lock under which links change; its length tells how many bytes the values have.
"""

import errno
import fcntl
import mmap
import os
import re
import secrets
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from pickle import PickleBuffer

from pilotfish.model.quantities import format_bytes

__all__ = ["LARGE", "Arriving", "Values", "content_name", "is_value_name", "mapped"]

LARGE = 64 * 1024
"""_Bytes from which on a value is worth a file of its own."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}

_NAME = re.compile(r"[0-9a-f]{32}-(0|[1-9][0-9]{0,15})(\.[0-9a-f]{12})?")

_FEW = 256
"""Open files that mapped values may bring a process to; where a limit stands, it is 1024."""

_Bytes = bytes | bytearray | memoryview | PickleBuffer


def content_name(data: _Bytes) -> str:
    """``<digest>-<size>``: equal for equal bytes, and for no others."""
    raw = PickleBuffer(data).raw()
    return f"{_digest(raw).hexdigest()}-{raw.nbytes}"


def is_value_name(text: str) -> bool:
    """Whether a value, or its content, can have this name. No path is one."""
    return _NAME.fullmatch(text) is not None


class Arriving:
    """A file that takes in a value, piece by piece, and knows at its end whether it is the one.

    Args:
        path: made, with room for all of it. Raises OSError where there is none.
        content: name of what shall arrive.

    """

    def __init__(self, path: Path, content: str) -> None:
        """Begin with nothing."""
        self.path, self.content, self.size = path, content, _size_of(content)
        self._file = path.open("x+b", buffering=0)
        try:
            if self.size:
                os.posix_fallocate(self._file.fileno(), 0, self.size)
        except OSError:
            self.close()
            path.unlink()
            raise
        self._digest, self._taken = _digest(b""), 0

    def again(self) -> None:
        """Begin once more."""
        self._file.seek(0)
        self._digest, self._taken = _digest(b""), 0

    def take(self, data: _Bytes) -> None:
        """The next piece. Raises OSError, ValueError where it is more than there should be."""
        raw = PickleBuffer(data).raw()
        self._taken += raw.nbytes
        if self._taken > self.size:
            raise ValueError(f"more than {self.size} bytes have arrived of {self.content}")
        self._digest.update(raw)
        _write_all(self._file, raw)

    @property
    def complete(self) -> bool:
        """Whether what has arrived is what its name says."""
        return f"{self._digest.hexdigest()}-{self._taken}" == self.content

    def map(self) -> memoryview:
        """What has arrived, as by :meth:`Values.get`."""
        return mapped(self._file.fileno())

    def close(self) -> None:
        """Keep the file as it is."""
        self._file.close()


class Values:
    """Immutable bytes in a folder that several processes use at once; each makes its own `Values` of it.

    One process, the client, owns the folder: it counts who still needs a value, and closes.

    Args:
        folder: in shared memory. It and its parents are made where they are missing; whoever can enter it can read and
            replace what is unpickled, so that its parent must be one that only this user can enter.
        spill: on a disk, for what `folder` has no room for.
        limit: bytes that all processes together put into `folder`; None: as many as it takes.
        lasting: nothing is dropped: the folder outlives all who use it.

    """

    def __init__(
        self, folder: Path, *, spill: Path | None = None, limit: int | None = None, lasting: bool = False
    ) -> None:
        """Make the folders."""
        self._lasting = lasting
        self._folder = folder
        self._homes = [folder] if spill is None else [folder, spill]
        self._limit = limit
        self._guard = threading.Lock()
        self._holders: Counter[str] = Counter()
        self._held: dict[str, str] = {}
        """The name under which this process holds a content."""
        for home in self._homes:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, data: _Bytes, *, hold: bool = False) -> str:
        """Store bytes and return their name; content that is there costs its hash, and is not written again.

        The name is new, so that nobody else can drop it: whoever is sent it is to hold it, or to drop it. With `hold`
        this process holds it once, as if by :meth:`hold`, and the same content gets the same name as long as it is
        held. Raises OSError where there is no room; BufferError for memory that is not contiguous.
        """
        raw = PickleBuffer(data).raw()
        content = content_name(raw)
        if hold and (held := self._hold_again(content)):
            return held
        name = self._store(raw, content)
        if hold:
            with self._guard:
                self._holders[name] = 1
                self._held[content] = name
        return name

    def get(self, name: str) -> memoryview:
        """The bytes, read-only; mapped without a copy, which lives as long as the view, also after they were dropped.

        Where Python keeps a descriptor for each mapping (before 3.13) and the process has hundreds of files open, they
        are read instead. Raises FileNotFoundError where the value was dropped.
        """
        for home in self._homes:
            try:
                descriptor = os.open(home / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                return mapped(descriptor)
            finally:
                os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "this value was dropped, or its session has ended", name)

    def share(self, content: str) -> str | None:
        """One more name for content that is there, as `put` would give it; None where it is not, or takes no more."""
        name = _new_name(content)
        with self._locked():
            for home in self._homes:
                with suppress(OSError):
                    os.link(home / content, home / name)
                    return name
        return None

    def arrive(self, content: str) -> Arriving:
        """Begin to take in what comes piece by piece; then `keep` or `refuse` it. Raises OSError as `put` does."""
        name = _new_name(content)
        for home in self._homes:
            if not self._claim(home, _size_of(content)):
                continue
            try:
                return Arriving(home / name, content)
            except BaseException as error:
                self._undo(home, name)
                if not isinstance(error, OSError) or error.errno not in _FULL:
                    raise
        raise self._no_room(_size_of(content))

    def keep(self, arriving: Arriving) -> str:
        """Store what has arrived and is complete, and return its name, as `put` does."""
        arriving.close()
        self._publish(arriving.path.parent, arriving.content, arriving.path.name)
        return arriving.path.name

    def refuse(self, arriving: Arriving) -> None:
        """Forget what has arrived until now."""
        arriving.close()
        self._undo(arriving.path.parent, arriving.path.name)

    def drop(self, name: str) -> None:
        """Forget a value; its data goes when no other name has the same. Nothing happens where it is gone already."""
        if self._lasting:
            return
        content = name.partition(".")[0]
        with suppress(FileNotFoundError), self._locked() as tally:
            for home in self._homes:
                with suppress(FileNotFoundError):
                    (home / name).unlink()
                    if (home / content).stat().st_nlink == 1:
                        (home / content).unlink()
                        self._count(tally, home, -_size_of(content))

    def hold(self, name: str) -> None:
        """Count one more in this process who needs the value."""
        with self._guard:
            self._holders[name] += 1

    def release(self, name: str) -> None:
        """Count one less; the value is dropped with the last, or where nobody in this process held it."""
        with self._guard:
            self._holders[name] -= 1
            if self._holders[name] > 0:
                return
            del self._holders[name]
            content = name.partition(".")[0]
            if self._held.get(content) == name:
                del self._held[content]
        self.drop(name)

    def close(self) -> None:
        """Remove the folders with all values, those of other processes too; what is mapped stays readable."""
        for home in self._homes:
            shutil.rmtree(home, ignore_errors=True)

    def __contains__(self, name: str) -> bool:
        """True as long as :meth:`get` finds it."""
        return any((home / name).exists() for home in self._homes)

    def _hold_again(self, content: str) -> str | None:
        with self._guard:
            name = self._held.get(content)
            if name is not None:
                self._holders[name] += 1
            return name

    def _store(self, raw: memoryview, content: str) -> str:
        """Under a name of its own, which is returned."""
        return self.share(content) or self._write(raw, content, _new_name(content))

    def _write(self, raw: memoryview, content: str, name: str) -> str:
        for home in self._homes:
            if not self._claim(home, raw.nbytes):
                continue
            try:
                _write_file(home / name, raw)
            except BaseException as error:
                self._undo(home, name)
                if not isinstance(error, OSError) or error.errno not in _FULL:
                    raise
            else:
                self._publish(home, content, name)
                return name
        raise self._no_room(raw.nbytes)

    def _no_room(self, size: int) -> OSError:
        places = " nor ".join(str(home) for home in self._homes)
        way_out = (
            "free some, or name a larger disk" if len(self._homes) > 1 else "free some, or name a disk to spill to"
        )
        return OSError(errno.ENOSPC, f"no room for a value of {format_bytes(size)} in {places}: {way_out}")

    def _claim(self, home: Path, size: int) -> bool:
        """Count the bytes before they are written, so that two writers do not both take the last room."""
        with self._locked() as tally:
            used = os.fstat(tally).st_size
            if home == self._folder and self._limit is not None and used + size > self._limit:
                return False
            self._count(tally, home, size)
            return True

    def _undo(self, home: Path, name: str) -> None:
        with suppress(FileNotFoundError):  # the session may have ended meanwhile
            (home / name).unlink(missing_ok=True)
            with self._locked() as tally:
                self._count(tally, home, -_size_of(name.partition(".")[0]))

    def _publish(self, home: Path, content: str, name: str) -> None:
        """Let others find the content; where another process was faster, share its file."""
        with self._locked() as tally:
            try:
                os.link(home / name, home / content)
            except FileExistsError:
                (home / name).unlink()
                os.link(home / content, home / name)
                self._count(tally, home, -_size_of(content))
            except OSError:
                return  # a disk without hard links: the next one writes its own

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Alone among all threads and processes; the kernel gives the lock up when a process dies."""
        tally = os.open(self._folder / "used", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(tally, fcntl.LOCK_EX)
            yield tally
        finally:
            os.close(tally)

    def _count(self, tally: int, home: Path, change: int) -> None:
        if home == self._folder:  # a length takes no room, so that counting works where the folder is full
            os.ftruncate(tally, max(0, os.fstat(tally).st_size + change))


def _size_of(content: str) -> int:
    return int(content.rpartition("-")[2])


def _new_name(content: str) -> str:
    return f"{content}.{secrets.token_hex(6)}"


def _digest(data: bytes | memoryview) -> blake2b:
    return blake2b(data, digest_size=16)


def _write_file(path: Path, raw: memoryview) -> None:
    with path.open("xb", buffering=0) as file:
        _write_all(file, raw)


def _write_all(file: FileIO, raw: memoryview) -> None:
    while raw.nbytes:
        raw = raw[file.write(raw) :]  # a single write takes 2 GiB at most


def mapped(descriptor: int) -> memoryview:
    """What an open file holds, read-only, as long as the view lives; the descriptor may be closed."""
    size = os.fstat(descriptor).st_size
    if not size:
        return memoryview(b"")
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ, trackfd=False))
    if descriptor < _FEW:  # the lowest that was free: it tells how many there are
        return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
    with open(descriptor, "rb", closefd=False) as file:
        return memoryview(file.read())
