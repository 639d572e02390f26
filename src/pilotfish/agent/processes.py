"""Processes as the kernel shows them: who lives, who descends from whom, who carries a keeper's mark.

Every process that descends from a keeper carries its *mark*: the keeper's soft limit of real-time CPU time, a huge
number that is never reached and that nobody else has. It is inherited through fork and exec, survives
``setsid``, ``env -i`` and the death of the parent, and is read of any process of ours with one system call.

What belongs here: reading processes and sending signals to them. What must not: why.
"""

import contextlib
import os
import resource
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

__all__ = [
    "Identity",
    "be_killed_first",
    "become_subreaper",
    "carry_mark",
    "close_descriptors",
    "descendants",
    "end_with_parent",
    "identify",
    "limit_descriptors",
    "marked",
    "new_mark",
    "proportional_memory",
    "raise_descriptor_limit",
    "resident_memory",
    "send_signal",
    "still_lives",
]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_KILLED_FIRST = 500
"""Of at most 1000."""
_ENDLESS = 2**62
_STANDARD_ERROR = 2
_DESCRIPTORS = 65536
_CHUNK = 16 * 1024
"""Bytes; more than the files that are read here have."""


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """Names one process for ever, though its number be used again."""

    pid: int
    start: int
    """In clock ticks after the boot."""
    boot: str
    """Identifies the boot of the machine."""


def identify(pid: int) -> Identity:
    """The identity of a living process. Raises ProcessLookupError where there is none of that number."""
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(pid)
    return Identity(pid, int(fields[19]), _BOOT_ID.read_text().strip())


def still_lives(identity: Identity) -> bool:
    """True while this very process lives; a zombie does not."""
    try:
        return identify(identity.pid) == identity
    except ProcessLookupError:
        return False


def become_subreaper() -> None:
    """Orphans among the descendants of this process become its children from now on."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Let this process be told to end when its parent has ended, whatever ended that; what it starts is not told."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended just before
        os.kill(os.getpid(), signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    import ctypes  # 4 ms, and only needed by processes that nobody waits for

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def be_killed_first() -> None:
    """Tell the kernel, when memory runs out, to end descendants of this process before agents and managers."""
    with contextlib.suppress(OSError):  # some containers forbid it
        if int(_OOM_SCORE.read_text()) < _KILLED_FIRST:
            _OOM_SCORE.write_text(str(_KILLED_FIRST))


def new_mark() -> int:
    """A mark that no other keeper has."""
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    half = max(1, (_ENDLESS if hard == resource.RLIM_INFINITY else hard) // 2)
    return half + int.from_bytes(os.urandom(8)) % half


def carry_mark(mark: int) -> None:
    """Mark this process and all that descend from it from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    resource.setrlimit(resource.RLIMIT_RTTIME, (mark, hard))


def marked(mark: int) -> list[int]:
    """The living processes that carry the mark."""
    return [pid for pid in _pids() if _mark(pid) == mark and _stat(pid) is not None]


def _mark(pid: int) -> int | None:
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except (ProcessLookupError, PermissionError):
        return None


def close_descriptors(kept: Iterable[int]) -> None:
    """Close all descriptors of this process but the standard streams and these."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - each name is a number
        if int(name) > _STANDARD_ERROR and int(name) not in kept:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))


def raise_descriptor_limit() -> tuple[int, int]:
    """Allow this process as many open descriptors as it may have; the limit before, and the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = _DESCRIPTORS if hard == resource.RLIM_INFINITY else max(soft, min(hard, _DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return soft, raised


def limit_descriptors(soft: int) -> None:
    """Allow this process, and those that it starts, so many open descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def descendants(roots: Iterable[int]) -> set[int]:
    """The living children of the processes `roots`, their children, and so on; without `roots` themselves."""
    children = defaultdict(list)
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None:
            children[int(fields[1])].append(pid)
    found: set[int] = set()
    unseen = list(roots)
    while unseen:
        new = [child for child in children[unseen.pop()] if child not in found]
        found.update(new)
        unseen.extend(new)
    return found


def send_signal(pids: Iterable[int], number: int) -> None:
    """Send a signal to those that still live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # it has ended, or became another user's by a set-user-id program


def resident_memory(pids: Iterable[int]) -> int:
    """Bytes of memory that the processes have, pages that they share counted for each: quick, never too small."""
    pages = 0
    for pid in pids:
        text = _read(f"/proc/{pid}/statm")
        if text:
            pages += int(text.split(None, 2)[1])
    return pages * resource.getpagesize()


def proportional_memory(pids: Iterable[int]) -> int:
    """Bytes of memory that the processes have, each shared page counted once: exact, and slow for large ones."""
    kibibytes = 0
    for pid in pids:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                kibibytes += int(line.split()[1])
    return kibibytes * 1024


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - called often


def _stat(pid: int) -> list[bytes] | None:
    """Fields of ``/proc/PID/stat`` from the state on; None for a process that has ended."""
    # The name before them stands in parentheses, and may itself hold some.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    # A zombie waits for nobody but its parent, unless it is only the first thread that has ended.
    return fields if fields and (fields[0] not in b"ZX" or int(fields[17]) > 1) else None


def _read(path: str) -> bytes:
    """The content of a file of a process, empty where that has ended."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, _CHUNK)
        finally:
            os.close(file)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
