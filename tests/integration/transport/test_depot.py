"""What workers on other machines may ask of a session's values, through a dialer and a gateway as they are."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from pilotfish.errors import UnavailableError
from pilotfish.functions.far import FarValues
from pilotfish.functions.values import LARGE, Values, content_name
from pilotfish.functions.wire import Afar
from pilotfish.settings import Settings
from pilotfish.transport.carrier import Dialer, Gateway

PATIENCE = 20.0
DATA = bytes(range(256)) * (LARGE // 128)


class Site:
    """A session's values, and a node from which they can be reached."""

    def __init__(self, *, with_values: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.folder = Path(self._folder.name)
        self.home, spill = self.folder / "values", self.folder / "spill"
        places = (self.home, spill) if with_values else None
        self._gateway = Gateway(self.folder, "test", self.folder / "manager", Settings(), values=places)
        self.values = Values(self.home, spill=spill)
        self.dialer = Dialer((self._gateway.file,), self.folder / "door", self.folder)
        self.door = self.folder / "door-values"

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE
        while not self.door.exists():
            assert time.monotonic() < deadline
            try:
                self.dialer.connect().close()
            except UnavailableError:
                time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.dialer.close()
        self._gateway.close()
        self._folder.cleanup()

    def far(self, *, patience: float = PATIENCE) -> FarValues:
        return FarValues(Afar(self.door, (self.folder / "copies",), shared=False, patience=patience))

    def say(self, *said: bytes) -> bytes:
        """The first line that is answered to raw words; empty where the connection is ended."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(str(self.door))
            for one in said:
                stream.sendall(one)
            with stream.makefile("rb") as file:
                return file.readline()

    def files(self) -> set[str]:
        return {path.name for path in self.home.iterdir()} - {"used"}


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def far(site: Site) -> Iterator[FarValues]:
    with closing(site.far()) as far:
        yield far


def test_values_go_to_and_fro(site: Site, far: FarValues) -> None:
    name = site.values.put(DATA)
    assert bytes(far.get(name)) == DATA
    assert bytes(far.get(content_name(DATA))) == DATA, "functions have no other name"
    made = far.put(DATA[::-1])
    assert bytes(site.values.get(made)) == DATA[::-1]
    same = far.put(DATA)
    assert site.values.get(same) == DATA
    for one in (name, made, same):
        site.values.drop(one)
    assert site.files() == set()


def test_empty_values_travel_too(site: Site, far: FarValues) -> None:
    name = far.put(b"")
    assert site.values.get(name).nbytes == 0
    assert far.get(name).nbytes == 0
    site.values.drop(name)


def test_a_refusal_does_not_end_the_conversation(site: Site, far: FarValues) -> None:
    with pytest.raises(FileNotFoundError, match="this value was dropped"):
        far.get(f"{content_name(b'gone')}.{'0' * 12}")
    site.values.drop(far.put(DATA))


def test_only_values_have_names(site: Site, far: FarValues) -> None:
    for name in ("../join", "used", "/etc/passwd", f"{content_name(b'a')}/../../join", ""):
        assert b"name of no value" in site.say(f"get {name}\n".encode())
        assert b"name of no value" in site.say(f"put {name}\n".encode())
        with pytest.raises(ValueError, match="name of no value"):
            far.get(name)


def test_what_is_not_what_its_name_says_is_not_kept(site: Site) -> None:
    assert site.say(f"put {content_name(DATA)}\n".encode()) == b"send\n"
    content = content_name(b"right").encode()
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(str(site.door))
        with stream.makefile("rb") as file:
            stream.sendall(b"put %s\n" % content)
            assert file.readline() == b"send\n"
            stream.sendall(b"wrong")
            assert b"is not" in file.readline()
            stream.sendall(b"put %s\nright" % content)
            assert file.readline() == b"send\n"
            name = file.readline().decode().removeprefix("ok ").strip()
    assert bytes(site.values.get(name)) == b"right"
    site.values.drop(name)
    deadline = time.monotonic() + PATIENCE
    while site.files():  # who has gone in the middle leaves nothing either
        assert time.monotonic() < deadline


def test_endless_questions_are_not_heard(site: Site) -> None:
    assert site.say(b"get " + b"a" * 4096) == b""


def test_without_values_it_says_so() -> None:
    away = pytest.raises(FileNotFoundError, match="do not travel to other machines")
    with Site(with_values=False) as site, closing(site.far()) as far, away:
        far.get(content_name(DATA))


def test_a_session_that_is_away_is_not_waited_for_for_ever() -> None:
    with Site() as site, closing(site.far(patience=0.3)) as far:
        name = far.put(DATA)
        assert bytes(far.get(name)) == DATA
        site.dialer.close()
        assert bytes(far.get(name)) == DATA, "there is a copy"
        with pytest.raises(UnavailableError, match=r"a value of 128 KiB cannot be exchanged.*no connection for 0.3 s"):
            far.put(DATA[::-1])
