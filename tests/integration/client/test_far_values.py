"""Large values of calls on a node that does not see the session's folder of values."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilotfish.client.futures import TaskFuture
from pilotfish.errors import UnavailableError
from tests.integration.client.far_node import Far

pytestmark = pytest.mark.needs("root", "tmpfs")

PATIENCE = 60.0
LARGE = 30_000_000
"""Bytes of an array."""


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with Far(tmp_path) as far:
        yield far


def call(far: Far, function: Callable[..., Any], *args: object) -> TaskFuture[Any]:
    return far.calls.start(function, args, {}, far.wanted)


def copies() -> list[Path]:
    """Of values, on the node that calls this."""
    return [path for path in Path("/dev/shm").glob("*/far-*/*") if path.name != "lock"]


def ends(array: np.ndarray) -> tuple[int, int, int]:
    """First and last item, and which file the copy is."""
    (copy,) = [path for path in copies() if path.name.endswith(f"-{array.nbytes}")]
    return int(array[0]), int(array[-1]), copy.stat().st_ino


def array(number: int, size: int = LARGE) -> np.ndarray:
    return np.full(size // 8, number, dtype=np.int64)


def test_an_array_for_many_calls_travels_once(far: Far) -> None:
    given = array(7)
    found = [call(far, ends, given) for _ in range(50)]
    results = {future.result(PATIENCE) for future in found}
    assert len(results) == 1
    assert next(iter(results))[:2] == (7, 7)
    assert LARGE < far.relay.back < 1.2 * LARGE


def test_where_the_folder_is_seen_nothing_travels(tmp_path: Path) -> None:
    with Far(tmp_path, memory=None) as far:
        assert (call(far, echo, array(7)).result(PATIENCE) == 7).all()
        assert far.relay.there + far.relay.back < LARGE // 10


def test_a_large_result_comes_back(far: Far) -> None:
    made = call(far, array, 3).result(PATIENCE)
    assert (made == 3).all()
    assert not made.flags.writeable
    assert made.nbytes == LARGE
    assert LARGE < far.relay.there < 1.2 * LARGE
    assert call(far, int, 5).result(PATIENCE) == 5


def echo(value: object) -> object:
    return value


def test_what_the_session_has_is_not_sent_again(far: Far) -> None:
    given = array(4)
    assert (call(far, echo, given).result(PATIENCE) == given).all()
    assert far.relay.there < LARGE


def test_what_was_put_is_brought(far: Far) -> None:
    handle = far.calls.put({"table": array(5)})
    found = [call(far, lambda it: int(it["table"].sum()), handle) for _ in range(3)]
    assert [future.result(PATIENCE) for future in found] == [5 * LARGE // 8] * 3
    assert far.relay.back < 1.2 * LARGE


def test_exceptions_may_be_large(far: Far) -> None:
    def fail() -> None:
        raise ValueError(array(6))

    with pytest.raises(ValueError, match="6") as caught:
        call(far, fail).result(PATIENCE)
    assert (caught.value.args[0] == 6).all()


def test_a_value_that_is_cut_off_is_fetched_again(far: Far) -> None:
    assert call(far, int, 5).result(PATIENCE) == 5
    far.relay.cut_at = far.relay.back + LARGE // 2
    assert call(far, ends, array(8)).result(PATIENCE)[:2] == (8, 8)
    assert far.relay.cuts == 1
    assert far.relay.back > 1.4 * LARGE


def hold_and_return(folder: str, number: int) -> np.ndarray:
    """Once the test says so."""
    Path(folder, "began").touch()
    deadline = time.monotonic() + PATIENCE
    while not Path(folder, "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return array(number)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_dialer_that_is_killed_costs_a_transfer(far: Far, tmp_path: Path) -> None:
    future = call(far, hold_and_return, str(tmp_path), 9)
    wait_for((tmp_path / "began").exists)
    (dialer,) = far.node.dialers()
    before = far.relay.there
    (tmp_path / "go").touch()
    wait_for(lambda: far.relay.there > before + LARGE // 10 or future.done())
    os.kill(dialer, signal.SIGKILL)
    assert (future.result(PATIENCE) == 9).all()


def test_without_its_session_a_call_does_not_hang(far: Far, tmp_path: Path) -> None:
    """Its agent ends it, or it ends by itself; nobody is left to be told which."""
    future = call(far, hold_and_return, str(tmp_path), 1)
    wait_for((tmp_path / "began").exists)
    far.backend.close(cancel=True)
    assert future.cancelled() or future.exception(PATIENCE) is not None


def forget(far: Far, given: object) -> TaskFuture[Any]:
    """A call whose argument is gone before it can be fetched."""
    future = call(far, echo, given)
    for path in far.backend.home.values.iterdir():
        if path.name.partition(".")[0].endswith(f"-{LARGE}"):
            path.unlink()
    return future


def test_a_value_that_is_gone_is_an_error(far: Far, tmp_path: Path) -> None:
    waits = [call(far, hold_and_return, str(tmp_path), 1) for _ in range(2)]
    future = forget(far, array(2))
    (tmp_path / "go").touch()
    with pytest.raises(FileNotFoundError, match="dropped"):
        future.result(PATIENCE)
    assert all((wait.result(PATIENCE) == 1).all() for wait in waits)


def test_a_value_that_was_damaged_is_never_given(far: Far, tmp_path: Path) -> None:
    waits = [call(far, hold_and_return, str(tmp_path), 1) for _ in range(2)]
    future = call(far, echo, array(2))
    for path in far.backend.home.values.glob(f"*-{LARGE}"):
        with path.open("r+b") as file:
            file.seek(LARGE // 2)
            file.write(b"!")
    (tmp_path / "go").touch()
    with pytest.raises(UnavailableError, match="not what was asked for"):
        future.result(PATIENCE)
    assert all(wait.result(PATIENCE).nbytes == LARGE for wait in waits)


def sizes() -> list[int]:
    return [path.stat().st_size for path in copies()]


def test_copies_are_bounded(tmp_path: Path) -> None:
    with Far(tmp_path, memory="100M") as far:
        for number in range(5):
            found = call(far, echo, array(number))
            assert (found.result(PATIENCE) == number).all()
        assert LARGE in call(far, sizes).result(PATIENCE)
        assert sum(call(far, sizes).result(PATIENCE)) < 52_500_000
        assert (call(far, echo, array(11, 3 * LARGE)).result(PATIENCE) == 11).all(), "it has room on the disk"


def test_copies_go_with_the_agent(far: Far) -> None:
    given = array(7)
    call(far, ends, given).result(PATIENCE)
    (folder,) = call(far, lambda: sorted({str(path.parent) for path in copies()})).result(PATIENCE)
    assert far.node.agent is not None
    seen = Path(f"/proc/{far.node.agent.pid}/root{folder}")
    assert seen.exists()
    kept = os.open(seen.parent, os.O_RDONLY)  # what was mounted stays as long as somebody looks
    try:
        far.backend.close()
        left = os.listdir(kept)  # noqa: PTH208 - there is no path to it any more
        assert [name for name in left if name.startswith("far-")] == []
    finally:
        os.close(kept)
