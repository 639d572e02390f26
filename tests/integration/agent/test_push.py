"""Outputs that wait to be brought to the manager's side, as a dialer sees that."""

import selectors
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pilotfish.agent.push import Pusher
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.states import Outcome

PATIENCE = 20.0
MANY = 5000
Pieces = list[tuple[str, int, int]]


class Bench:
    """A pusher, and the dialer's side of its socket."""

    def __init__(self, folder: Path) -> None:
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(str(folder / "door-bulk"))
        self.door.listen()
        self.selector = selectors.DefaultSelector()
        self.notes: list[str] = []
        self.arrived: list[int] = []
        self.pusher = Pusher(folder / "door-bulk", self.selector, self.notes.append)

    def end(self, number: int, size: int = 10) -> None:
        """A task has ended and left an output."""
        ref = OutputRef("segment", 10 * number, size)
        report = Report(AttemptId(1, number, 1, 1), 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0, stdout=ref)
        self.pusher.push([report], lambda: self.arrived.append(number))

    def accept(self) -> socket.socket:
        self.door.settimeout(PATIENCE)
        stream, _ = self.door.accept()
        stream.settimeout(PATIENCE)
        return stream

    def hear(self) -> None:
        for key, _ in self.selector.select(PATIENCE):
            key.data()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.door.close()
        for key in list(bench.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        bench.selector.close()


def read_line(stream: socket.socket) -> Pieces:
    line = b""
    while not line.endswith(b"\n"):
        data = stream.recv(2**20)
        assert data, "it has hung up"
        line += data
    assert line.count(b"\n") == 1, "one batch at a time"
    assert len(line) < 2**16, "more than a reader of lines takes"
    return msgspec.json.decode(line, type=Pieces)


def test_whoever_is_slow_to_bring_them_does_not_stop_the_agent(bench: Bench) -> None:
    for number in range(MANY):
        bench.end(number)
    with bench.accept() as stream:
        brought: Pieces = []
        while len(brought) < MANY:
            brought += read_line(stream)
            stream.sendall(b"\n")
            bench.hear()
    assert brought == [("segment", 10 * number, 10) for number in range(MANY)]
    assert bench.arrived == list(range(MANY))
    assert bench.pusher.idle


def test_something_large_does_not_go_with_what_is_small(bench: Bench) -> None:
    sizes = [10, 10, 2**30, 10, 10]
    for number, size in enumerate(sizes):
        bench.end(number, size)
    batches = []
    with bench.accept() as stream:
        while len(bench.arrived) < len(sizes):
            batches.append([size for _, _, size in read_line(stream)])
            stream.sendall(b"\n")
            bench.hear()
    assert batches == [[10], [10], [2**30], [10, 10]]


def test_what_could_not_be_brought_goes_again(bench: Bench) -> None:
    bench.end(0)
    with bench.accept() as stream:
        first = read_line(stream)
        stream.sendall(b"/there: No space left on device\n")
        bench.hear()
    assert bench.notes == ["outputs cannot be brought to /there: No space left on device; tried again"]
    assert bench.arrived == []
    bench.end(1)
    bench.pusher.look(bench.pusher.due)
    with bench.accept() as stream:
        assert read_line(stream) == [*first, ("segment", 10, 10)]
        stream.sendall(b"\n")
        bench.hear()
    assert bench.arrived == [0, 1]
