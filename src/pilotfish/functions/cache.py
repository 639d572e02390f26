"""A node's copies of values that lie on another machine: fetched once, shared by all its workers, bounded.

What belongs here: files named by their content, who fetches one, which go first, and who removes them. What must not:
where they come from, what the bytes mean.

All copies can be had again, so that any of them may go at any time: what is mapped stays readable.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pilotfish.functions.values import Arriving, mapped

__all__ = ["Cache", "Tenancy", "cache_name", "sweep_caches"]

_PREFIX = "far-"
"""Of the folders of copies in shared memory."""
_PART = ".part"
_ROOM = 2**62
"""Which byte of the file `lock` is locked by who makes room; copies have those below 2**60."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}


def cache_name(key: str) -> str:
    """Of the folder for copies of what lies at a session, or a campaign, of this key."""
    return f"{_PREFIX}{key}"


class Cache:
    """Copies of values in folders of this node; each process that uses them makes its own `Cache` of them.

    Args:
        homes: folders, the fastest first. All copies in one take at most half of what would be free there without them;
            those that were not used for the longest time go first.

    """

    def __init__(self, homes: Sequence[Path]) -> None:
        """Make nothing yet."""
        self._homes = homes
        self._guard = threading.Lock()  # the locks of files are those of the whole process

    def get(self, content: str, fetch: Callable[[Arriving], None]) -> memoryview:
        """The bytes, mapped read-only; fetched where no process of this node has done that.

        Raises whatever `fetch` raises, which is to return when what arrives is complete; OSError where there is no
        room.
        """
        found = self._find(content)
        if found is not None:
            return found
        with self._guard, self._locked(_byte_of(content)) as lock:
            found = self._find(content)  # another one has fetched it meanwhile
            return self._fetch(content, fetch, lock) if found is None else found

    def _find(self, content: str) -> memoryview | None:
        for home in self._homes:
            try:
                descriptor = os.open(home / content, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                os.utime(descriptor)
                return mapped(descriptor)
            finally:
                os.close(descriptor)
        return None

    def _fetch(self, content: str, fetch: Callable[[Arriving], None], lock: int) -> memoryview:
        arriving = self._begin(content, lock)
        try:
            fetch(arriving)
            with contextlib.suppress(FileNotFoundError):  # the folder is gone: then it is ours alone
                arriving.path.rename(arriving.path.with_name(content))
            return arriving.map()
        except BaseException:
            arriving.path.unlink(missing_ok=True)
            raise
        finally:
            arriving.close()

    def _begin(self, content: str, lock: int) -> Arriving:
        size = int(content.rpartition("-")[2])
        with _byte(lock, _ROOM):
            for home in self._homes:
                home.mkdir(mode=0o700, parents=True, exist_ok=True)
                (home / f"{content}{_PART}").unlink(missing_ok=True)  # of one that was killed
                if not _make_room(home, size, lock):
                    continue
                try:
                    return Arriving(home / f"{content}{_PART}", content)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
        places = " nor ".join(map(str, self._homes))
        raise OSError(errno.ENOSPC, f"no room for a copy of a value of {size} bytes in {places}")

    @contextlib.contextmanager
    def _locked(self, byte: int) -> Iterator[int]:
        """Alone among all processes; the kernel gives the lock up when one dies."""
        self._homes[0].mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._homes[0] / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX, 1, byte)
            yield lock
        finally:
            os.close(lock)


class Tenancy:
    """That an agent of this node lives, whose workers use these copies; the last one that ends removes them.

    Args:
        folder: of the copies, in a folder where those of others lie too.

    """

    def __init__(self, folder: Path) -> None:
        """Begin it; what killed agents have left is removed."""
        self._folder = folder
        sweep_caches(folder.parent)
        while True:
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # somebody has just removed it
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), folder.stat()):
                    return
            os.close(self._descriptor)  # or did so before we had the lock

    def end(self) -> None:
        """End it."""
        _remove_abandoned(self._folder, self._descriptor)
        os.close(self._descriptor)


def sweep_caches(root: Path) -> None:
    """Remove the copies in this folder of folders that nobody needs."""
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another one is sweeping too
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _remove_abandoned(folder, descriptor)
            finally:
                os.close(descriptor)


def _remove_abandoned(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    shutil.rmtree(folder, ignore_errors=True)


def _make_room(home: Path, size: int, lock: int) -> bool:
    """Let those go that were not used for the longest time; False where even all of them would not do."""
    found = os.statvfs(home)
    copies = sorted(_copies(home))
    used = sum(taken for _, taken, _ in copies)
    limit = (found.f_bavail * found.f_frsize + used) // 2
    if size > limit:
        return False
    for _, taken, path in copies:
        if used + size <= limit:
            break
        if _may_go(path, lock):
            path.unlink(missing_ok=True)
            used -= taken
    return used + size <= limit


def _copies(home: Path) -> Iterator[tuple[int, int, Path]]:
    """When each was used last, and its size in bytes."""
    for path in home.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just been renamed
            known = path.stat()
            yield known.st_mtime_ns, known.st_size, path


def _may_go(path: Path, lock: int) -> bool:
    """Not while it is being fetched."""
    if path.suffix != _PART:
        return path.name != "lock"
    try:
        with _byte(lock, _byte_of(path.stem), fcntl.LOCK_NB):
            return True
    except OSError:
        return False


def _byte_of(content: str) -> int:
    """Of the file `lock`: it stands for this content."""
    return int(content[:15], 16)


@contextlib.contextmanager
def _byte(lock: int, byte: int, flags: int = 0) -> Iterator[None]:
    fcntl.lockf(lock, fcntl.LOCK_EX | flags, 1, byte)
    try:
        yield
    finally:
        fcntl.lockf(lock, fcntl.LOCK_UN, 1, byte)
