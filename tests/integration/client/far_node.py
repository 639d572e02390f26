"""A node with shared memory and folders of its own, on this machine: what lies elsewhere comes by connections only.

Its agent is told the address of a relay, which counts what goes by, and can cut it.
"""

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Self

import msgspec

from pilotfish.agent.inventory import Declared
from pilotfish.agent.processes import descendants
from pilotfish.client.calls import Calls
from pilotfish.client.embedded import Embedded
from pilotfish.client.wanted import Wanted
from pilotfish.model.events import Event
from pilotfish.settings import Settings
from pilotfish.transport.join import read_join, write_join

PILOTFISH = str(Path(sys.executable).with_name("pilotfish"))
APART = 'mount -t tmpfs -o size="$1" none /dev/shm && mount -t tmpfs none "$2" && shift 2 && exec "$@"'
"""In mounts of its own, neither shared memory nor the folder of the session is what it is outside."""
SETTINGS = Settings(lease=10.0, grace=0.5, heartbeat=0.2, resend_after=0.3)


class Relay:
    """Passes connections on to an address, and counts the bytes that go each way."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("tls://").rpartition(":")
        self._to = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tls://127.0.0.1:{self._listener.getsockname()[1]}"
        self.there = self.back = 0
        """Bytes to the session, and from it."""
        self.cut_at: int | None = None
        """After so many bytes from the session all connections are cut, once."""
        self.cuts = 0
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._near: set[socket.socket] = set()
        self._over, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._pass)
        self._thread.start()

    def _pass(self) -> None:
        while True:
            ready, _, _ = select.select([self._over, self._listener, *self._pairs], [], [])
            if self._over in ready:
                break
            for one in ready:
                if one is self._listener:
                    near, _ = one.accept()
                    far = socket.create_connection(self._to)
                    for end in (near, far):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._pairs |= {near: far, far: near}
                    self._near.add(near)
                elif one in self._pairs:
                    self._move(one)
        self._cut()
        self._listener.close()

    def _move(self, one: socket.socket) -> None:
        other = self._pairs[one]
        try:
            data = one.recv(2**18)
            other.sendall(data)
        except OSError:
            data = b""
        if one in self._near:
            self.there += len(data)
        else:
            self.back += len(data)
        if not data:
            self._end(one, other)
        elif self.cut_at is not None and self.back >= self.cut_at:
            self.cut_at = None
            self.cuts += 1
            self._cut()

    def _cut(self) -> None:
        while self._pairs:
            self._end(*next(iter(self._pairs.items())))

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            self._pairs.pop(end)
            end.close()

    def close(self) -> None:
        self._wake.send(b".")
        self._thread.join()
        self._wake.close()
        self._over.close()


class FarNode:
    """The one agent of a session."""

    expected: int | None = 1

    def __init__(self, folder: Path, *, cores: int = 2, memory: str | None = "1G") -> None:
        self.folder, self._cores, self._memory = folder, cores, memory
        self.runtime = folder / "n"
        self.runtime.mkdir(mode=0o700)
        self.agent: subprocess.Popen[bytes] | None = None
        self.relay: Relay | None = None
        self.campaign = Path()

    def go(self, let_in: object) -> None:
        assert callable(let_in)
        join = read_join(let_in())
        self.campaign = Path(join.campaign)
        self.relay = Relay(join.addresses[-1])  # that of the loopback is the last
        write_join(self.folder / "join", msgspec.structs.replace(join, addresses=(self.relay.address,)))
        self.start()

    def start(self) -> None:
        """A first agent, or the next one."""
        words = [PILOTFISH, "agent", "--join", str(self.folder / "join"), "--node", "far", "--cores", str(self._cores)]
        if self._memory is not None:
            words = ["unshare", "--mount", "sh", "-c", APART, "sh", self._memory, str(self.campaign), *words]
        environment = os.environ | {"PILOTFISH_RUNTIME": str(self.runtime)}
        with (self.folder / "said").open("ab") as said:
            self.agent = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def supervise(self, connected: Collection[str], now: float) -> Iterable[str | Event]:
        del now
        del connected
        return ()

    def end(self, patience: float) -> None:
        if self.agent is not None:
            self.agent.wait(patience + 20)
        if self.relay is not None:
            self.relay.close()

    def dialers(self) -> list[int]:
        assert self.agent is not None
        found = [(pid, Path(f"/proc/{pid}/cmdline").read_bytes()) for pid in descendants([self.agent.pid])]
        return [pid for pid, words in found if b"\0dialer\0" in words]


class Far:
    """A session whose only node is a far one.

    Args:
        folder: for all of it.
        cores: of the node.
        memory: size of its shared memory; None: it is not far, and only its agent has come as if it were.

    """

    def __init__(self, folder: Path, *, cores: int = 2, memory: str | None = "1G") -> None:
        self.node = FarNode(folder, cores=cores, memory=memory)
        self.notes: list[str] = []
        self.backend = Embedded(Declared(), SETTINGS, note=self.notes.append, agents=self.node)
        self.calls = Calls(self.backend)
        self.wanted = Wanted()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.close()

    @property
    def relay(self) -> Relay:
        assert self.node.relay is not None
        return self.node.relay
