"""Gateways and dialers where something else goes wrong than the network: what lies around, who else is there."""

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import pytest

from pilotfish.errors import UnavailableError
from pilotfish.model.messages import Frame, Note
from pilotfish.settings import Settings
from pilotfish.transport.base import Connection, DisconnectedError
from pilotfish.transport.carrier import Dialer, Gateway
from pilotfish.transport.credentials import credentials_in
from pilotfish.transport.join import read_join
from pilotfish.transport.local import LocalListener, connect

PATIENCE = 20.0
_T = TypeVar("_T")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short enough for sockets
        yield Path(folder)


@pytest.fixture
def listener(folder: Path) -> Iterator[LocalListener]:
    with closing(LocalListener(folder / "manager")) as listener:
        yield listener


@pytest.fixture
def gateway(folder: Path, listener: LocalListener) -> Iterator[Gateway]:
    with closing(Gateway(folder, "test", listener.path, Settings())) as gateway:
        yield gateway


@pytest.fixture
def dialer(folder: Path, gateway: Gateway) -> Iterator[Dialer]:
    with closing(Dialer((gateway.file,), folder / "door", folder / "far")) as dialer:
        yield dialer


def eventually(attempt: Callable[[], _T | None]) -> _T:
    """What the attempt gives once that is something."""
    deadline = time.monotonic() + PATIENCE
    while (found := attempt()) is None:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def connected(dialer: Dialer) -> Connection:
    """A connection, once the dialer is there."""

    def attempt() -> Connection | None:
        with suppress(UnavailableError):
            return dialer.connect()
        return None

    return eventually(attempt)


def is_heard(listener: LocalListener, dialer: Dialer) -> None:
    """What is said at the dialer's door comes to the manager."""
    with ExitStack() as connections:

        def say() -> Connection:
            connection = connections.enter_context(closing(connected(dialer)))
            connection.send(Frame(1, 0, (Note("hear me"),)))
            return connection

        current = say()

        def attempt() -> bool | None:
            nonlocal current
            try:
                current.receive()
            except DisconnectedError:  # as an agent does
                current = say()
            return any(frames for _, frames in listener.poll(0.0)) or None

        eventually(attempt)


def test_files_of_the_user_are_not_taken_for_modules(
    folder: Path, listener: LocalListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dask", "asyncio", "signal"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(folder)
    with (
        closing(Gateway(folder, "test", listener.path, Settings())) as gateway,
        closing(Dialer((gateway.file,), folder / "door", folder)) as dialer,
    ):
        is_heard(listener, dialer)


AGENT = """
import sys
from pathlib import Path
from pilotfish.errors import UnavailableError
from pilotfish.transport.carrier import Dialer
dialer = Dialer((Path(sys.argv[1]),), Path(sys.argv[2]), Path(sys.argv[3]))
while True:
    try:
        dialer.connect().close()
        break
    except UnavailableError:
        pass
print(dialer, flush=True)
sys.stdin.read()
"""


def test_a_dialer_that_ends_late_leaves_the_doors_of_its_successor(
    folder: Path, listener: LocalListener, gateway: Gateway, dialer: Dialer
) -> None:
    door = folder / "door"
    words = [sys.executable, "-c", AGENT, str(gateway.file), str(door), str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline()
        (late,) = psutil.Process(agent.pid).children()
        late.suspend()
        agent.kill()
    before = door.stat().st_ino
    with suppress(UnavailableError):  # its door is about to be made
        dialer.connect().close()
    eventually(lambda: (door.exists() and door.stat().st_ino != before) or None)
    late.resume()
    late.wait(PATIENCE)
    is_heard(listener, dialer)


def test_many_knock_before_the_manager_looks(listener: LocalListener) -> None:
    with ExitStack() as ends:
        for _ in range(1000):
            ends.enter_context(closing(connect(listener.path)))


def test_the_folder_for_temporary_files_may_go(
    folder: Path, listener: LocalListener, dialer: Dialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    is_heard(listener, dialer)
    place.rmdir()
    is_heard(listener, dialer)


def test_addresses_where_nobody_answers_hold_up_nobody(
    listener: LocalListener, gateway: Gateway, dialer: Dialer
) -> None:
    told = msgspec.json.decode(gateway.file.read_bytes())
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        wrong = [f"tls://127.0.0.1:{one.getsockname()[1]}" for one in (silent, closed)] * 3
        gateway.file.write_bytes(msgspec.json.encode(told | {"addresses": [*wrong, *told["addresses"]]}))
        is_heard(listener, dialer)


def test_a_disk_that_hangs_holds_up_no_message(folder: Path, listener: LocalListener, dialer: Dialer) -> None:
    (folder / "far").mkdir()
    (folder / "far" / "output").write_bytes(b"bytes")
    (folder / "outputs").mkdir()
    os.mkfifo(folder / "outputs" / "output")  # to open it takes as long as nobody reads it
    is_heard(listener, dialer)
    with socket.socket(socket.AF_UNIX) as bulk:
        bulk.connect(str(folder / "door-bulk"))
        bulk.sendall(b'[["output", 0, 5]]\n')
        bulk.settimeout(1.0)
        with pytest.raises(TimeoutError):
            bulk.recv(1)
        is_heard(listener, dialer)


def test_an_agent_cannot_pose_as_the_manager(folder: Path, listener: LocalListener) -> None:
    own = credentials_in(folder / "credentials")
    posing = {"manager_certificate": own.agent_certificate, "manager_secret": own.agent_secret}
    (folder / "credentials").write_bytes(msgspec.json.encode(msgspec.structs.replace(own, **posing)))
    with (
        closing(Gateway(folder, "test", listener.path, Settings())) as gateway,
        closing(Dialer((gateway.file,), folder / "door", folder)) as dialer,
        closing(connected(dialer)) as connection,
    ):
        connection.send(Frame(1, 0, (Note("whoever you are"),)))
        with pytest.raises(DisconnectedError):
            eventually(lambda: connection.receive() or None)
        assert listener.poll(0.0) == []


def test_strangers_who_say_nothing_are_let_go(
    listener: LocalListener, gateway: Gateway, dialer: Dialer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where they have taken all descriptors."""
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (64, 64))
    port = int(read_join(gateway.file).addresses[-1].rpartition(":")[2])
    with ExitStack() as ends:
        for _ in range(80):
            ends.enter_context(socket.create_connection(("127.0.0.1", port)))
        eventually(lambda: psutil.Process(gateway.pid).num_fds() == 64 or None)
        is_heard(listener, dialer)
    assert capfd.readouterr().err == ""
