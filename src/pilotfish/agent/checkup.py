"""Facts of a node that decide whether pilotfish can work there, and what several nodes find out about each other.

``python -m pilotfish.agent.checkup STORE MEETING`` is a node's part in a meeting: one line of JSON.

What belongs here: finding out, by trying where that is possible. What must not: what the facts mean (`findings`),
starting anything on another node.
"""

import contextlib
import fcntl
import importlib.util
import os
import platform
import resource
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from pilotfish import __version__
from pilotfish.agent.inventory import cgroup_folders
from pilotfish.runtime import runtime_folder

__all__ = ["APPENDED", "Facts", "Folder", "Meeting", "Met", "Venue", "attend", "hold_meeting", "read_facts"]

_PATIENCE = 3.0
"""Seconds for a connection within a cluster: a packet that was lost is sent again after one."""
_SIOCGIFADDR = 0x8915
"""Asks the kernel for the IPv4 address of an interface."""
APPENDED = 50
"""Lines that each node appends to one file."""
_LINE = 200
"""Bytes of each of them."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A place for files."""

    path: str
    problem: str = ""
    """Why it cannot be written to; empty where it can."""
    kind: str = ""
    """Of its file system, as the kernel calls it."""
    free: int = 0
    """Bytes that we may still write."""
    locks: bool = True
    """A second process is kept out by a lock of the first, on this node."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one node."""

    host: str
    """Its name without a domain."""
    version: str
    """Of pilotfish."""
    python: str
    kernel: str
    handles: bool
    """The kernel has handles of processes (pidfd), as Linux has from 5.3 on."""
    cores: int
    """That we may use."""
    open_files: int
    """The most that a process may have."""
    open_files_most: int
    """To what a user may raise that."""
    processes: int | None
    """The most that there may be; None: no limit."""
    memory_cgroup: bool
    """One could be made for each task."""
    engine: bool
    """What carries messages between nodes is installed."""
    store: Folder
    temporary: Folder
    shared_memory: Folder
    runtime: Folder
    interfaces: Mapping[str, str]
    """IPv4 address of each, but for the loopback's."""


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """Where nodes find each other."""

    folder: str
    """Made for this; whether nodes see it is one of the questions."""
    token: str
    """What is written there."""
    addresses: tuple[str, ...]
    """Of the node that holds it."""
    port: int


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has found at a meeting."""

    facts: Facts
    clock: float
    """When it had found out all this, in seconds since 1970."""
    shared: bool = False
    """It sees the folder."""
    kept_out: bool = False
    """It was kept out by a lock that the first node holds there."""
    reached: tuple[str, ...] = ()
    """Addresses of the first node to which it could connect."""


def read_facts(store: Path) -> Facts:
    """Find out about this node.

    Args:
        store: where campaigns lie, or will.

    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Facts(
        host=(os.environ.get("SLURMD_NODENAME") or os.uname().nodename).partition(".")[0],
        version=__version__,
        python=platform.python_version(),
        kernel=os.uname().release,
        handles=_has_handles(),
        cores=len(os.sched_getaffinity(0)),
        open_files=_count(soft),
        open_files_most=_count(hard),
        processes=_most_processes(),
        memory_cgroup=_may_make_cgroup(),
        engine=all(importlib.util.find_spec(name) for name in ("distributed", "cryptography")),
        store=_look_at(_existing(store)),
        temporary=_look_at(Path(os.environ.get("TMPDIR", "/tmp"))),  # noqa: S108 - what tasks are told
        shared_memory=_look_at(Path("/dev/shm")),  # noqa: S108 - where shared memory lies on Linux
        runtime=_look_at_runtime(),
        interfaces=_interfaces(),
    )


def _has_handles() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _count(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _most_processes() -> int | None:
    limits = [_count(resource.getrlimit(resource.RLIMIT_NPROC)[0])]
    folders = cgroup_folders(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    texts = [_text(f"{folder}/pids.max") for folder in (*folders.get("", ()), *folders.get("pids", ()))]
    least = min([*limits, *(int(text) for text in texts if text.isdecimal())])
    return None if least == sys.maxsize else least


def _may_make_cgroup() -> bool:
    """Our own cgroup is ours to divide, and has been given the memory controller."""
    own = cgroup_folders(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo")).get("", ())[:1]
    return any(os.access(folder, os.W_OK) and "memory" in _text(f"{folder}/cgroup.controllers") for folder in own)


def _existing(path: Path) -> Path:
    return next((one for one in (path, *path.parents) if one.exists()), Path("/"))


def _look_at_runtime() -> Folder:
    try:
        return _look_at(runtime_folder())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the fact
        return Folder(path=os.environ.get("PILOTFISH_RUNTIME", "/tmp"), problem=str(error))  # noqa: S108


def _look_at(path: Path) -> Folder:
    kind = _kind(path, _text("/proc/self/mountinfo"))
    try:
        with tempfile.NamedTemporaryFile(dir=path) as file:
            room = os.fstatvfs(file.fileno())
            locks = _lock(file.fileno()) and not _lock_again(file.name)
    except OSError as error:
        return Folder(path=str(path), kind=kind, problem=error.strerror or str(error))
    return Folder(path=str(path), kind=kind, free=room.f_bavail * room.f_frsize, locks=locks)


def _kind(path: Path, mounts: str) -> str:
    """The type of the file system that is mounted nearest above a path, the last one mounted where several are."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= best:
            best, kind = len(point), after.split()[0]
    return kind


def _lock(descriptor: int) -> bool:
    """As the owner of a store does it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock_again(name: str) -> bool:
    descriptor = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _lock(descriptor)
    finally:
        os.close(descriptor)


def _interfaces() -> dict[str, str]:
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has none
                answer = fcntl.ioctl(asker.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found[name] = socket.inet_ntoa(answer[20:24])
    return {name: address for name, address in found.items() if not address.startswith("127.")}


class Venue:
    """A meeting that goes on: the folder, its lock and the door."""

    def __init__(self, meeting: Meeting, door: socket.socket, lock: int) -> None:
        """Keep them open."""
        self.meeting, self._door, self._lock = meeting, door, lock
        self.delays: dict[str, float] = {}
        """Seconds by which a new file was seen here after the node that made it had said so, by host."""

    def await_file(self, host: str, patience: float) -> None:
        """Wait until we see the file that a node has made."""
        told, path = time.monotonic(), Path(self.meeting.folder, f"{host}.told")
        while not path.exists() and time.monotonic() < told + patience:
            time.sleep(0.02)
        self.delays[host] = time.monotonic() - told

    def torn_lines(self, hosts: Collection[str]) -> int:
        """How many lines are missing or damaged of those that the nodes have appended to one file."""
        with contextlib.suppress(FileNotFoundError):
            lines = Path(self.meeting.folder, "lines").read_bytes().splitlines(keepends=True)
            whole = {host: lines.count(_line(host)) for host in hosts}
            return sum(max(0, APPENDED - count) for count in whole.values())
        return APPENDED * len(hosts)

    def close(self) -> None:
        """End it."""
        self._door.close()
        os.close(self._lock)


@contextlib.contextmanager
def hold_meeting(near: Path, addresses: Collection[str]) -> Iterator[Venue]:
    """Open a folder, a lock in it and a door, until the end of the block.

    Args:
        near: where campaigns lie, or will.
        addresses: of this node.

    """
    with tempfile.TemporaryDirectory(
        prefix=".pilotfish-doctor-", dir=_existing(near), ignore_cleanup_errors=True
    ) as at:
        token = os.urandom(8).hex()
        Path(at, "token").write_text(token, encoding="ascii")
        lock = os.open(Path(at, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _lock(lock)
        door = socket.create_server(("", 0), backlog=1024)
        port = door.getsockname()[1]
        venue = Venue(Meeting(folder=at, token=token, addresses=tuple(addresses), port=port), door, lock)
        try:
            yield venue
        finally:
            venue.close()


def attend(meeting: Meeting, facts: Facts) -> Met:
    """Find out what a node can tell of a meeting that another one holds."""
    folder = Path(meeting.folder)
    reached = tuple([address for address in meeting.addresses if _reaches(address, meeting.port)])
    if _text(str(folder / "token")) != meeting.token:
        return Met(facts=facts, clock=time.time(), reached=reached)
    kept_out = not _lock_again(str(folder / "lock"))
    lines = os.open(folder / "lines", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(APPENDED):
        os.write(lines, _line(facts.host))
    os.fsync(lines)
    os.close(lines)
    (folder / f"{facts.host}.new").touch()
    (folder / f"{facts.host}.new").rename(folder / f"{facts.host}.told")
    return Met(facts=facts, clock=time.time(), shared=True, kept_out=kept_out, reached=reached)


def _line(host: str) -> bytes:
    return f"{host} {'=' * _LINE}\n".encode()


def _reaches(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE):
            return True
    except OSError:
        return False


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    _met = attend(msgspec.json.decode(sys.argv[2], type=Meeting), read_facts(Path(sys.argv[1])))
    os.write(1, msgspec.json.encode(_met) + b"\n")  # at once: all nodes write to one output
