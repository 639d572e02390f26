"""What only the Unix socket can prove: whom it lets in, what it takes for a frame, where it lies."""

import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.errors import BusyError, InternalError, UnavailableError, UserError
from pilotfish.model.messages import Ask, Frame, Note
from pilotfish.runtime import runtime_folder
from pilotfish.transport import local
from pilotfish.transport.base import Connection, DisconnectedError, Listener
from pilotfish.transport.local import LocalConnection, LocalListener, connect

PROTOCOLS: tuple[type[Listener], type[Connection]] = (LocalListener, LocalConnection)
"""The type checker's proof that both keep their Protocol."""

PATIENCE = 20.0
HELLO = Frame(1, 0, (Note("hello"),))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, LocalConnection]]:
    """A bare socket and the connection at its other end."""
    bare, other = socket.socketpair()
    connection = LocalConnection(other)
    with bare, closing(connection):
        yield bare, connection


def raw(frame: Frame) -> bytes:
    body = msgspec.msgpack.encode(frame)
    return len(body).to_bytes(4, "big") + body


def test_frames_may_arrive_byte_by_byte(pair: tuple[socket.socket, LocalConnection]) -> None:
    bare, connection = pair
    frames: list[Frame] = []
    for byte in raw(HELLO) * 2:
        bare.send(bytes([byte]))
        frames += connection.receive()
    assert frames == [HELLO, HELLO]


def test_several_frames_may_arrive_at_once(pair: tuple[socket.socket, LocalConnection]) -> None:
    bare, connection = pair
    bare.send(raw(HELLO) * 3 + raw(HELLO)[:7])
    assert connection.receive() == [HELLO] * 3
    bare.send(raw(HELLO)[7:])
    assert connection.receive() == [HELLO]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        (64 * 2**20 + 1).to_bytes(4, "big"),
        b"\0\0\0\x01\xc1",
        b"\0\0\0\0",
        raw(HELLO)[:4] + bytes(len(raw(HELLO)) - 4),
        b"\0\0\0\x07" + msgspec.msgpack.encode((1, 0, "x", 2)),
    ],
)
def test_garbage_ends_the_connection_after_the_good_frames(
    pair: tuple[socket.socket, LocalConnection], garbage: bytes
) -> None:
    bare, connection = pair
    bare.send(raw(HELLO) + garbage + raw(HELLO))
    assert connection.receive() == [HELLO]
    assert select.select([connection], [], [], PATIENCE)[0], "the end must be told"
    with pytest.raises(DisconnectedError, match=r"the other side (announced|sent something)"):
        connection.receive()
    assert connection.closed
    assert bare.recv(1) == b""


@given(st.lists(st.binary(max_size=40) | st.just(raw(HELLO)), max_size=5))
def test_whatever_arrives_is_frames_or_the_end(pieces: list[bytes]) -> None:
    bare, other = socket.socketpair()
    with bare, closing(LocalConnection(other)) as connection:
        for piece in pieces:
            bare.send(piece)
        bare.shutdown(socket.SHUT_WR)
        try:
            while True:
                assert all(isinstance(frame, Frame) for frame in connection.receive())
        except DisconnectedError:
            pass


def test_a_deeply_nested_value_is_garbage(pair: tuple[socket.socket, LocalConnection]) -> None:
    bare, connection = pair
    body = msgspec.msgpack.encode(Frame(1, 0, (Ask("x", {"a": 1}),)))
    nested = body[:-1] + b"\x91" * 50_000 + b"\x01"
    bare.send(len(nested).to_bytes(4, "big") + nested)
    assert list(connection.receive()) == []
    with pytest.raises(DisconnectedError, match="no frame"):
        connection.receive()


def test_a_frame_that_the_peer_would_refuse_is_not_sent(pair: tuple[socket.socket, LocalConnection]) -> None:
    bare, connection = pair
    with pytest.raises(InternalError, match="the limit is 67108864"):
        connection.send(Frame(1, 0, (Note("x" * (64 * 2**20)),)))
    connection.send(HELLO)
    assert bare.recv(1000) == raw(HELLO)


def test_garbage_does_not_disturb_a_listener(tmp_path: Path) -> None:
    with closing(LocalListener(tmp_path / "s")) as listener, socket.socket(socket.AF_UNIX) as bad:
        bad.connect(str(tmp_path / "s"))
        bad.send(b"\xff" * 100)
        with closing(connect(tmp_path / "s")) as good:
            good.send(HELLO)
            heard: list[object] = []
            while not heard:
                heard += [frames for _, frames in listener.poll(PATIENCE)]
            assert heard == [[HELLO]]
            bad.settimeout(PATIENCE)
            listener.poll(0.01)
            assert bad.recv(1) == b""


def test_the_socket_is_ours_alone_and_goes_with_its_listener(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = LocalListener(path)
    assert path.stat().st_mode & 0o777 == 0o600
    listener.close()
    assert not path.exists()


def test_a_dead_process_leaves_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(UnavailableError, match=r"nobody answers at .*/s: Connection refused"):
        connect(path)
    with closing(LocalListener(path)), closing(connect(path)) as connection:
        assert not connection.closed


def test_a_living_listener_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with closing(LocalListener(path)):
        with pytest.raises(BusyError, match="another process listens at"):
            LocalListener(path)
        with closing(connect(path)) as connection:
            assert not connection.closed


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nobody answers at .*/s: No such file or directory"):
        connect(tmp_path / "s")


def test_a_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100)
    for use in (LocalListener, connect):
        with pytest.raises(UserError, match=r"the path of a socket has \d+ bytes, at most 107"):
            use(path)


@pytest.mark.needs("root")
def test_another_user_is_turned_away() -> None:
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as s: s.connect(sys.argv[1]); print(s.recv(1))"
    )
    with tempfile.TemporaryDirectory() as folder, closing(LocalListener(Path(folder) / "s")) as listener:
        Path(folder).chmod(0o711)
        listener.path.chmod(0o666)
        command = [sys.executable, "-c", script, str(listener.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
            while stranger.poll() is None:
                assert listener.poll(0.05) == []
            assert stranger.stdout
            assert stranger.stdout.read() == "b''\n"


def test_a_listener_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(LocalListener(tmp_path / "s")):
        monkeypatch.setattr(local, "_user_of", lambda _peer: 12345)
        with pytest.raises(UnavailableError, match="belongs to another user"):
            connect(tmp_path / "s")


def test_without_descriptors_peers_are_turned_away_and_the_listener_goes_on(tmp_path: Path) -> None:
    script = """
import os, resource, select, sys, time
from pathlib import Path
from pilotfish.errors import UnavailableError
from pilotfish.transport.base import DisconnectedError
from pilotfish.transport.local import LocalListener, connect
from pilotfish.model.messages import Frame, Note
path = Path(sys.argv[1])
listener = LocalListener(path)
first = connect(path)
client = connect(path)
while len(listener._connections) < 2:
    listener.poll(1)
hog = []
late = connect(path)
try:
    while True:
        hog.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
assert listener.poll(1) == []
assert listener.poll(0.01) == [], "the door is quiet again"
try:
    late.receive()
except DisconnectedError:
    pass
else:
    raise AssertionError("it should be turned away")
client.send(Frame(1, 0, (Note("still here"),)))
assert listener.poll(1)[0][1] == [Frame(1, 0, (Note("still here"),))]
print("ok")
"""

    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    ended = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "s"],
        capture_output=True, text=True, timeout=60, check=False, preexec_fn=few_descriptors,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("ok\n", "")


def test_the_runtime_folder_is_private_and_the_same_each_time() -> None:
    key = f"test-{os.getpid()}"
    folder = runtime_folder(key)
    try:
        assert runtime_folder(key) == folder
        for made in (folder, folder.parent):
            assert made.stat().st_mode & 0o777 == 0o700
            assert made.stat().st_uid == os.getuid()
        assert len(os.fsencode(folder / "manager.sock")) < 80
        folder.chmod(0o755)
        with pytest.raises(UserError, match=f"{folder} must be a folder that only you can enter: `chmod 700 {folder}`"):
            runtime_folder(key)
    finally:
        folder.rmdir()
