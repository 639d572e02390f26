"""Sessions of real processes: functions and commands together, what they wait for, and how they end."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import pilotfish as pf
from pilotfish.errors import ImpossibleRequestError, TaskError, TaskTimeoutError, UnpicklableError, UserError

LONG = 600


def add(left: float, right: float) -> float:
    return left + right


def total(numbers: list[float]) -> float:
    return sum(numbers)


def fail() -> None:
    raise ZeroDivisionError("no way")


def slots() -> tuple[tuple[int, ...], set[int]]:
    return pf.current().slots.cores, os.sched_getaffinity(0)


def mean(array: np.ndarray) -> tuple[float, bool]:
    return float(array.mean()), array.flags.writeable


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def sleep_after_telling(told: str) -> None:
    Path(told).write_text(str(os.getpid()))
    time.sleep(LONG)


def wait_for(path: Path) -> int:
    """The number in a file, once there is one."""
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return int(path.read_text())


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, pid
        time.sleep(0.01)


@pytest.fixture
def session() -> Iterator[pf.Session]:
    with pf.Session(cores=2) as opened:
        yield opened


def test_futures_anywhere_in_the_arguments_are_waited_for(session: pf.Session) -> None:
    one, two = session.submit(add, 1, 2), session.submit(add, 3, 4)
    three = session.submit(total, [one, two, 10])
    assert session.submit(add, left=three, right=one).result() == 23


def test_an_input_that_fails_fails_who_needs_it_with_its_own_error(session: pf.Session) -> None:
    dependant = session.submit(total, [session.submit(fail)])
    with pytest.raises(ZeroDivisionError, match="no way"):
        dependant.result()


def test_an_error_arrives_with_the_traceback_of_where_it_was_raised(session: pf.Session) -> None:
    error = session.submit(fail).exception()
    assert error is not None
    assert 'raise ZeroDivisionError("no way")' in "".join(error.__notes__)


def test_map_and_gather_keep_the_order(session: pf.Session) -> None:
    assert session.gather(session.map(add, range(100), range(100))) == [2 * number for number in range(100)]


def test_coroutine_functions_are_run_to_their_end(session: pf.Session) -> None:
    assert session.submit(doubled, 21).result() == 42


def test_commands_tell_how_each_task_ended(session: pf.Session) -> None:
    sim = session.command("echo run {index}", array=range(2, 8, 2), name="sim")
    assert [(task.name, task.stdout, task.exit_code) for task in sim.result()] == [
        ("sim:2", "run 2\n", 0),
        ("sim:4", "run 4\n", 0),
        ("sim:6", "run 6\n", 0),
    ]


def test_a_command_that_fails_is_an_error_that_tells_its_last_words(session: pf.Session) -> None:
    bad = session.command(["sh", "-c", "echo why >&2; exit 3"], name="bad")
    with pytest.raises(TaskError, match="bad did not succeed: exit code 3") as caught:
        bad.result()
    assert caught.value.__notes__ == ["why"]
    assert [task.exit_code for task in bad.results()] == [3]


def test_functions_come_after_commands(session: pf.Session, tmp_path: Path) -> None:
    made = session.command(f"echo 7 > {tmp_path}/number", name="make")
    assert session.options(after=made).submit(wait_for, tmp_path / "number").result() == 7


def test_a_function_after_a_command_that_failed_is_skipped(session: pf.Session) -> None:
    with pytest.raises(TaskError, match="skipped, because broken did not succeed"):
        session.options(after=session.command("false", name="broken")).submit(add, 1, 2).result()


def test_a_function_after_a_failure_is_called(session: pf.Session) -> None:
    broken = session.command("false", name="expected")
    assert session.options(after={"job": broken, "when": "failed"}).submit(add, 1, 2).result() == 3


def test_a_function_has_the_very_cores_that_it_asked_for(session: pf.Session) -> None:
    cores, bound = session.options(cores=2).submit(slots).result()
    assert len(cores) == 2
    assert set(cores) == bound


def all_slots() -> tuple[int, int | None]:
    given = pf.current().slots
    return len(given.cores), given.memory


def test_options_over_options_change_only_what_they_name(session: pf.Session) -> None:
    asked = session.options(cores=2).options(memory="64MiB")
    assert asked.submit(all_slots).result() == (2, 64 * 2**20)
    command = asked.command("echo $PILOTFISH_CORES $PILOTFISH_MEMORY", memory="32MiB")
    assert command.result().stdout == f"2 {32 * 2**20}\n"


def test_what_no_node_has_fails_at_once_with_the_reason(session: pf.Session) -> None:
    with pytest.raises(ImpossibleRequestError, match="add asks for 1000 cores, more than any node has"):
        session.options(cores=1000).submit(add, 1, 2).result()


@pytest.mark.parametrize("limit", [0.2, timedelta(milliseconds=200)])
def test_a_time_limit_is_hard(session: pf.Session, limit: object) -> None:
    with pytest.raises(TaskTimeoutError, match=r"sleep: ran longer than its limit of 0\.2s"):
        session.options(time=limit).submit(time.sleep, LONG).result()


def test_cancelling_ends_what_runs(session: pf.Session, tmp_path: Path) -> None:
    future = session.submit(sleep_after_telling, str(tmp_path / "pid"))
    pid = wait_for(tmp_path / "pid")
    assert future.cancel()
    wait_gone(pid)
    with pytest.raises(CancelledError):
        future.result()


def test_cancelling_a_command_ends_its_tasks(session: pf.Session, tmp_path: Path) -> None:
    future = session.command(f"echo $$ > {tmp_path}/pid; sleep {LONG}", name="sleeper")
    pid = wait_for(tmp_path / "pid")
    assert future.cancel()
    wait_gone(pid)


def test_a_value_that_was_put_arrives_without_a_copy_and_is_freed(session: pf.Session) -> None:
    folder = session.calls.backend.home.values
    shared = session.put(np.arange(1_000_000))
    (name,) = shared.names
    assert (folder / name).exists()
    pending = session.submit(mean, shared)
    del shared
    assert pending.result() == (499999.5, False)
    assert not (folder / name).exists()


def test_large_results_leave_nothing_in_memory(session: pf.Session) -> None:
    folder = session.calls.backend.home.values
    before = {path.name for path in folder.iterdir()}
    result = session.submit(np.ones, 1_000_000).result()
    assert result.sum() == 1_000_000
    large = [path for path in folder.iterdir() if path.name not in before and path.stat().st_size > 1_000_000]
    assert [path.name for path in large if path.name != "used"] == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"coress": 2}, "coress: unknown key; did you mean cores?"),
        ({"cores": -1}, "cores: "),
        ({"memory": "2 potatoes"}, "memory: "),
        ({"memory": None}, "memory: no value"),
        ({"array": 10}, "array: a call of a function has none"),
        ({"time": object()}, "expected text, a number, a list or a mapping; got <object"),
        ({"hold": True}, "hold: a session has nobody who would release it"),
        ({"on_lost": "hold"}, "on_lost: a session has nobody who would release what is held; write rerun or fail"),
        ({"uses": {"licence": 1}}, "uses.licence: no such limit; declare it: Session(limits={'licence': 1})"),
        ({"after": "sim"}, "after: expected what `command` or `submit` gave, got 'sim'"),
    ],
)
def test_wrong_options_are_one_clear_error(session: pf.Session, keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        session.options(**keys)
    assert message in str(caught.value)


def both(folder: str, name: str) -> bool:
    """Whether the other one runs at the same time: each waits for it for a moment."""
    Path(folder, name).touch()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if len(list(Path(folder).iterdir())) > 1:
            return True
        time.sleep(0.01)
    Path(folder, name).unlink()
    return False


def test_named_limits_are_kept(tmp_path: Path) -> None:
    with pf.Session(cores=2, limits={"licence": 1}) as session:
        licensed = session.options(uses={"licence": 1})
        assert session.gather([licensed.submit(both, str(tmp_path), name) for name in "ab"]) == [False, False]
        with pytest.raises(UserError, match=r"uses\.licence: expected at most 1, the limit; got 2"):
            session.options(uses={"licence": 2})
    with pytest.raises(UserError, match=r"limits\.licence: "):
        pf.Session(limits={"licence": -1})


def test_what_cannot_travel_is_refused_where_it_is_given(session: pf.Session) -> None:
    with pytest.raises(UnpicklableError, match="left"):
        session.submit(add, threading.Lock(), 2)


def test_leaving_waits_and_leaving_by_an_exception_cancels(tmp_path: Path) -> None:
    with pf.Session(cores=1) as waiting:
        waited_for = waiting.submit(add, 1, 2)
    assert waited_for.done()
    leaving = pf.Session(cores=1)
    future = leaving.submit(sleep_after_telling, str(tmp_path / "pid"))
    pid = wait_for(tmp_path / "pid")
    leaving.__exit__(KeyError, KeyError(), None)
    assert future.cancelled() or isinstance(future.exception(), CancelledError)
    assert not Path(f"/proc/{pid}").exists()


def test_a_closed_session_takes_nothing() -> None:
    with pf.Session() as session:
        pass
    with pytest.raises(RuntimeError, match="after shutdown"):
        session.submit(add, 1, 2)


def test_delayed_functions_run_in_the_session_that_is_open() -> None:
    @pf.delayed
    async def weigh(number: int) -> int:
        return number

    async def main() -> int:
        async with pf.AsyncSession(cores=2) as session:
            halves = (weigh @ pf.Cores(1))(20) + (weigh @ pf.Cores(2) & pf.Memory("64MiB"))(22)
            assert await session.submit(add, 1, 2) == 3
            first: int = await halves
            assert await halves == first
            return first

    assert asyncio.run(main()) == 42


def test_cancelling_an_await_ends_the_task(tmp_path: Path) -> None:
    async def main() -> None:
        async with pf.AsyncSession(cores=1) as session:
            waiter = asyncio.ensure_future(_awaited(session.submit(sleep_after_telling, str(tmp_path / "pid"))))
            pid = await asyncio.to_thread(wait_for, tmp_path / "pid")
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            await asyncio.to_thread(wait_gone, pid)

    asyncio.run(main())


async def _awaited(future: pf.TaskFuture[None]) -> None:
    await future


def test_a_session_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, pilotfish as pf\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_session import sleep_after_telling\n"
        "session = pf.Session(cores=1)\n"
        "session.submit(sleep_after_telling, sys.argv[2]).result()\n"
    )
    arguments = [sys.executable, str(program), str(Path(__file__).parent), str(tmp_path / "pid")]
    with subprocess.Popen(arguments) as child:
        pid = wait_for(tmp_path / "pid")
        child.kill()
    wait_gone(pid)


@pf.delayed
def seconds_that_it_may_take() -> float | None:
    return pf.current().time_limit


def test_a_group_learns_its_limits() -> None:
    with pf.Session(cores=1) as session:
        waiting = pf.Cores(1) & pf.WallTime(group="fit")
        assert (seconds_that_it_may_take @ waiting)().result() is None
        for _ in range(8):
            session.run_times.add("fit", 20)
        assert (seconds_that_it_may_take @ waiting)().result() == 20
