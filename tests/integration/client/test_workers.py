"""What a worker that ends leaves to the next one."""

import os
import signal
import time
from concurrent.futures import wait
from pathlib import Path

import pytest

import pilotfish as pf
from pilotfish.errors import WorkerDiedError

PATIENCE = 60.0


def end_or_return(number: int) -> int:
    if number < 0:
        time.sleep(0.02)  # those that follow shall be in the worker by then
        os._exit(3)
    return number


def test_calls_behind_one_that_ends_its_worker_are_made_by_the_next() -> None:
    with pf.Executor(max_workers=1) as executor:
        assert list(executor.map(end_or_return, range(200))) == list(range(200)), "short calls are given ahead"
        deadly, *others = [executor.submit(end_or_return, number) for number in (-1, 0, 1, 2, 3)]
        assert not wait(others, PATIENCE).not_done
        assert [future.result() for future in others] == [0, 1, 2, 3]
        with pytest.raises(WorkerDiedError, match="exit code 3"):
            deadly.result()


def note_and_wait(number: int, folder: str) -> int:
    """One waits until all the others are done: they must not stay behind it."""
    if number < 0:
        deadline = time.monotonic() + PATIENCE
        while len(list(Path(folder).iterdir())) < -number:
            assert time.monotonic() < deadline, "calls stayed behind a slow one"
            time.sleep(0.01)
    else:
        (Path(folder) / str(number)).touch()
    return number


def test_calls_given_ahead_behind_a_slow_one_are_made_elsewhere(tmp_path: Path) -> None:
    with pf.Executor(max_workers=2) as executor:
        assert list(executor.map(end_or_return, range(200))) == list(range(200)), "short calls are given ahead"
        futures = [executor.submit(note_and_wait, number, str(tmp_path)) for number in range(100)]
        slow = executor.submit(note_and_wait, -200, str(tmp_path))
        futures += [executor.submit(note_and_wait, number, str(tmp_path)) for number in range(100, 200)]
        assert slow.result() == -200
        assert [future.result() for future in futures] == list(range(200))
        assert len({*map(str, range(200))} & {path.name for path in tmp_path.iterdir()}) == 200


def tell_and_wait(folder: str) -> str:
    keeper = os.getppid()
    agent = int(Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[1])
    with (Path(folder) / "began").open("a") as log:
        log.write(f"{keeper} {agent} {os.getpid()}\n")
    deadline = time.monotonic() + PATIENCE
    while not (Path(folder) / "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return "done"


def parents(folder: Path) -> list[int]:
    """Keeper, agent and worker of the call, once it has begun."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / "began").exists() or not (folder / "began").read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return list(map(int, (folder / "began").read_text().split()))


@pytest.mark.parametrize(("victim", "starts"), [(0, 2), (1, 1)], ids=["keeper", "agent"])
def test_who_is_killed_beside_a_call_costs_at_most_its_repetition(tmp_path: Path, victim: int, starts: int) -> None:
    with pf.Session(cores=1) as session:
        future = session.submit(tell_and_wait, str(tmp_path))
        os.kill(parents(tmp_path)[victim], signal.SIGKILL)
        (tmp_path / "go").touch()
        assert future.result(timeout=PATIENCE) == "done"
    assert len((tmp_path / "began").read_text().splitlines()) == starts


@pytest.mark.parametrize("order", [(2, 0), (0, 2)], ids=["worker first", "keeper first"])
def test_a_call_that_a_term_to_everybody_has_ended_is_made_again(tmp_path: Path, order: tuple[int, int]) -> None:
    with pf.Session(cores=1) as session:
        future = session.submit(tell_and_wait, str(tmp_path))
        everybody = parents(tmp_path)
        for one in order:
            os.kill(everybody[one], signal.SIGTERM)
        (tmp_path / "go").touch()
        assert future.result(timeout=PATIENCE) == "done"
    assert len((tmp_path / "began").read_text().splitlines()) == 2


def test_a_call_that_alone_is_sent_term_has_failed(tmp_path: Path) -> None:
    with pf.Session(cores=1) as session:
        future = session.submit(tell_and_wait, str(tmp_path))
        os.kill(parents(tmp_path)[2], signal.SIGTERM)
        with pytest.raises(WorkerDiedError, match="signal 15"):
            future.result(timeout=PATIENCE)


def save_when_told(folder: str) -> str:
    task = pf.current()
    if task.attempt > 1:
        return "all of it"
    assert not task.stopping
    tell = Path(folder) / "began"
    tell.write_text(f"{os.getppid()} 0 {os.getpid()}\n")
    deadline = time.monotonic() + PATIENCE
    while not task.stopping:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return "half of it"


def test_what_a_call_returns_that_was_told_to_end_counts_no_more(tmp_path: Path) -> None:
    with pf.Session(cores=1) as session:
        future = session.submit(save_when_told, str(tmp_path))
        keeper, _, worker = parents(tmp_path)
        for pid in (keeper, worker):
            os.kill(pid, signal.SIGTERM)
        assert future.result(timeout=PATIENCE) == "all of it"
    (tmp_path / "began").unlink()
    with pf.Session(cores=1) as session:  # of another keeper, which has heard no TERM a moment ago
        future = session.submit(save_when_told, str(tmp_path))
        os.kill(parents(tmp_path)[2], signal.SIGTERM)
        with pytest.raises(WorkerDiedError, match=r"it was told to end \(exit code 143\)"):
            future.result(timeout=PATIENCE)
