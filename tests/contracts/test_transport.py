"""Every transport keeps the laws of ``pilotfish.transport.base``."""

import select
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Protocol, TypeVar

import pytest

from pilotfish.errors import UnavailableError
from pilotfish.model.messages import Frame, Note
from pilotfish.settings import Settings
from pilotfish.transport import local
from pilotfish.transport.base import Connection, DisconnectedError, Listener
from pilotfish.transport.carrier import Dialer, Gateway

PATIENCE = 20.0
"""Seconds until a condition that must come true counts as one that does not."""


_T = TypeVar("_T")


class Transport(Protocol):
    """A listener, and a way to connect to it."""

    listener: Listener

    def connect(self) -> Connection: ...

    def clear(self) -> None: ...


class LocalTransport:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "socket"
        self.listener: Listener = local.LocalListener(self._path)

    def connect(self) -> Connection:
        return local.connect(self._path)

    def clear(self) -> None:
        self.listener.close()
        self._folder.cleanup()


class DaskTransport:
    """Through a gateway and a dialer, over mutual TLS."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")
        folder = Path(self._folder.name)
        self.listener: Listener = local.LocalListener(folder / "manager")
        self._gateway = Gateway(folder, "test", folder / "manager", Settings())
        self._dialer = Dialer((self._gateway.file,), folder / "door", folder)
        self._wait_for_dialer()

    def _wait_for_dialer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        first = None
        while first is None:
            assert time.monotonic() < deadline, "no dialer came"
            try:
                first = self._dialer.connect()
            except UnavailableError:
                time.sleep(0.02)
        first.send(note("first"))
        first.close()
        while not any(frames is None for _, frames in self.listener.poll(PATIENCE)):
            assert time.monotonic() < deadline, "the first connection did not end"

    def connect(self) -> Connection:
        return self._dialer.connect()

    def clear(self) -> None:
        self._dialer.close()
        self._gateway.close()
        self.listener.close()
        self._folder.cleanup()


TRANSPORTS: dict[str, type[Transport]] = {"dask": DaskTransport, "local": LocalTransport}


class Harness:
    """Both ends in one thread: what has come to each, and waiting for more."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.listener = transport.listener
        self.heard: dict[Connection, list[Frame]] = {}
        self.gone: list[Connection] = []

    def poll(self, timeout: float | None = 0.01) -> None:
        for connection, frames in self.listener.poll(timeout):
            if frames is None:
                self.gone.append(connection)
            else:
                assert frames, "a poll that tells of a connection has frames"
                self.heard.setdefault(connection, []).extend(frames)

    def introduce(self, client: Connection) -> Connection:
        """The listener's end of a client that says something first."""
        known = set(self.heard)
        client.send(note("hello"))
        (server,) = self.wait_for(lambda: [one for one in self.heard if one not in known])
        self.heard[server].clear()
        return server

    def wait_for(self, condition: Callable[[], _T]) -> _T:
        """What the condition gives once that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, "waited in vain"
            self.poll()
        return found


@pytest.fixture(params=TRANSPORTS)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    transport = TRANSPORTS[request.param]()
    yield Harness(transport)
    transport.clear()


def note(text: str, number: int = 1) -> Frame:
    return Frame(number, 0, (Note(text),))


def take(connection: Connection, count: int) -> list[Frame]:
    """Wait for so many frames."""
    frames: list[Frame] = []
    while len(frames) < count:
        readable, _, _ = select.select([connection], [], [], PATIENCE)
        assert readable, f"{len(frames)} of {count} frames came"
        frames += connection.receive()
    return frames


def take_to_the_end(connection: Connection) -> list[Frame]:
    frames: list[Frame] = []
    while True:
        assert select.select([connection], [], [], PATIENCE)[0], "it should be gone"
        try:
            frames += connection.receive()
        except DisconnectedError:
            return frames


def test_frames_go_both_ways_and_in_order(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    there, back = [note("x" * n, n) for n in range(1, 300)], [note("y" * n, n) for n in range(1, 300)]
    for frame in there:
        client.send(frame)
    for frame in back:
        server.send(frame)
    frames: list[Frame] = []

    def all_have_come() -> bool:
        client.flush()
        frames.extend(client.receive())
        return len(frames) == len(back) and len(harness.heard[server]) == len(there)

    harness.wait_for(all_have_come)
    assert frames == back
    assert harness.heard[server] == there
    client.close()


def test_nothing_has_come_is_no_frames(harness: Harness) -> None:
    client = harness.transport.connect()
    assert list(client.receive()) == []
    assert harness.listener.poll(0) == []
    client.close()


def test_a_connection_appears_with_its_first_frame(harness: Harness) -> None:
    silent, talking = harness.transport.connect(), harness.transport.connect()
    harness.introduce(talking)
    assert len(harness.heard) == 1
    silent.close()
    talking.close()
    harness.wait_for(lambda: harness.gone)
    harness.poll(0.05)
    assert harness.gone == list(harness.heard), "one that never spoke is not told of"


def test_large_frames_pass_each_other(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    large = note("z" * 5_000_000)
    client.send(large)
    server.send(large)
    assert client.unsent
    assert server.unsent
    frames: list[Frame] = []

    def both_have_come() -> bool:
        client.flush()
        frames.extend(client.receive())
        return bool(frames and harness.heard[server])

    harness.wait_for(both_have_come)
    assert frames == harness.heard[server] == [large]
    assert not client.unsent
    assert not server.unsent
    client.close()


def test_many_messages_may_need_more_than_one_frame(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    messages = tuple(Note(f"{n}" + "x" * 2**20) for n in range(80))
    client.send(Frame(2, 1, messages))

    def all_have_come() -> bool:
        client.flush()
        return sum(len(frame.messages) for frame in harness.heard[server]) == len(messages)

    harness.wait_for(all_have_come)
    frames = harness.heard[server]
    assert tuple(message for frame in frames for message in frame.messages) == messages
    assert [frame.first for frame in frames] == [2, 2 + len(frames[0].messages)]
    client.close()


def test_many_connections_are_kept_apart(harness: Harness) -> None:
    clients = [harness.transport.connect() for _ in range(50)]
    for n, client in enumerate(clients):
        client.send(note(f"client {n}"))
    harness.wait_for(lambda: len(harness.heard) == len(clients))
    for server, frames in harness.heard.items():
        for frame in frames:
            server.send(frame)
    for n, client in enumerate(clients):
        assert take(client, 1) == [note(f"client {n}")]
    for client in clients:
        client.close()
    harness.wait_for(lambda: len(harness.gone) == len(clients))
    assert set(harness.gone) == set(harness.heard)


def test_the_last_frame_comes_before_the_end(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    for n in range(20):
        client.send(note("last words", n))
    client.close()
    harness.wait_for(lambda: harness.gone)
    assert harness.gone == [server]
    assert harness.heard[server] == [note("last words", n) for n in range(20)]


def test_a_client_hears_the_last_frame_before_the_end(harness: Harness) -> None:
    for _ in range(50):
        client = harness.transport.connect()
        server = harness.introduce(client)
        client.send(note("never read"))
        server.send(note("farewell"))
        server.close()
        assert take_to_the_end(client) == [note("farewell")]
        with pytest.raises(DisconnectedError):
            client.receive()


def test_the_last_frame_of_a_client_that_has_not_heard_all_comes_too(harness: Harness) -> None:
    for gone in range(50):
        client = harness.transport.connect()
        server = harness.introduce(client)
        server.send(note("never read"))
        client.send(note("farewell"))
        client.close()
        harness.wait_for(lambda: len(harness.gone) > gone)  # noqa: B023 - it is called at once
        assert harness.heard[server] == [note("farewell")]


def test_a_connection_that_we_closed_is_not_told_of(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    client.send(note("too late"))
    server.close()
    server.close()
    harness.poll(0.05)
    assert harness.gone == []
    assert harness.heard[server] == []
    client.close()


def test_sending_to_one_who_is_gone_is_silent(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    client.close()
    client.send(note("closed"))
    for _ in range(3):
        server.send(note("x" * 1_000_000))
    harness.wait_for(lambda: harness.gone)
    server.send(note("still"))
    server.flush()
    assert not server.unsent


def test_a_slow_reader_holds_up_nobody(harness: Harness) -> None:
    slow, quick = harness.transport.connect(), harness.transport.connect()
    to_slow, to_quick = harness.introduce(slow), harness.introduce(quick)
    before = time.monotonic()
    frames = [note("x" * 100_000, n) for n in range(50)]
    for frame in frames:
        to_slow.send(frame)
    assert time.monotonic() - before < PATIENCE / 4, "send waited for its reader"
    assert to_slow.unsent
    to_quick.send(note("at once"))
    assert take(quick, 1) == [note("at once")]
    received: list[Frame] = []

    def all_have_come() -> bool:
        received.extend(slow.receive())
        return len(received) == len(frames)

    harness.wait_for(all_have_come)
    assert received == frames
    slow.close()
    quick.close()


@pytest.mark.parametrize("awake", [0.0, PATIENCE * 10])
def test_waking_ends_a_wait_from_another_thread(harness: Harness, awake: float) -> None:
    thread = Thread(target=harness.listener.wake)
    thread.start()
    assert harness.listener.poll(PATIENCE * 10, awake) == []
    thread.join()


def test_waking_beforehand_ends_the_next_wait(harness: Harness) -> None:
    for _ in range(100_000):
        harness.listener.wake()
    before = time.monotonic()
    assert harness.listener.poll(PATIENCE * 10) == []
    assert time.monotonic() - before < PATIENCE


@pytest.mark.parametrize("awake", [0.0, 0.01, 0.05])
def test_waiting_ends_after_its_time(harness: Harness, awake: float) -> None:
    before = time.monotonic()
    assert harness.listener.poll(0.05, awake) == []
    assert time.monotonic() - before >= 0.04


def test_what_arrives_is_heard_awake(harness: Harness) -> None:
    client = harness.transport.connect()
    server = harness.introduce(client)
    thread = Thread(target=client.send, args=(note("x", 2),))
    thread.start()
    assert harness.listener.poll(PATIENCE * 10, PATIENCE * 10) == [(server, [note("x", 2)])]
    thread.join()
    client.close()


def test_closing_the_listener_ends_its_connections(harness: Harness) -> None:
    client = harness.transport.connect()
    harness.introduce(client)
    harness.listener.close()
    harness.listener.close()
    harness.listener.wake()
    assert take_to_the_end(client) == []
