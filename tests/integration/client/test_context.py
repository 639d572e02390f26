"""What running tasks can say and ask, with real workers: `pf.current()`."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pilotfish as pf
from pilotfish.errors import TaskTimeoutError, UserError
from pilotfish.functions.keyvalues import KeyValues
from pilotfish.model.states import TaskState

PATIENCE = 60.0


@pytest.fixture
def session() -> Iterator[pf.Session]:
    with pf.Session(cores=2) as opened:
        yield opened


def wait_until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Values


def count(key: str) -> int:
    total: int = pf.current().kv.increment(key)
    return total


def meet(me: str, other: str) -> object:
    """Two tasks, each of which needs the other."""
    kv = pf.current().kv
    kv.set(me, f"from {me}")
    return kv.watch(other, PATIENCE, known=None)


async def count_from_coroutine(key: str) -> int:
    return await asyncio.to_thread(pf.current().kv.increment, key)


def test_tasks_share_values_with_each_other_and_with_their_session(session: pf.Session) -> None:
    assert sorted(session.gather(session.map(count, ["n"] * 50))) == list(range(1, 51))
    counted: pf.TaskFuture[Any] = session.submit(count_from_coroutine, "n")
    assert counted.result() == 51
    values = KeyValues(session.calls.backend.line)
    assert values.get("n") == 51
    values.set("settings", {"depth": 3})
    assert session.submit(read, "settings").result() == {"depth": 3}


def read(key: str) -> object:
    return pf.current().kv.get(key)


def test_tasks_wait_for_each_other(session: pf.Session) -> None:
    left, right = session.submit(meet, "left", "right"), session.submit(meet, "right", "left")
    assert session.gather(left, right) == ["from right", "from left"]


# Progress


def report_often(told: str) -> None:
    """Far more often than anybody looks."""
    task = pf.current()
    for step in range(1001):
        task.progress(step / 1000, f"step {step}")
    while not Path(told).exists():
        task.progress(1, "waiting")
        time.sleep(0.01)


def report_wrongly() -> None:
    pf.current().progress(30)


def test_progress_reaches_who_watches_and_not_too_often(session: pf.Session, tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    future = session.submit(report_often, str(tmp_path / "told"))
    future.on_progress(lambda *what: heard.append(what))
    wait_until(lambda: (1.0, "waiting") in heard)
    (tmp_path / "told").touch()
    future.result()
    assert len([what for what in heard if what[0] < 1]) < 100


def test_a_watcher_that_raises_harms_nobody(session: pf.Session, tmp_path: Path) -> None:
    called = threading.Event()

    def fail(*_what: object) -> None:
        called.set()
        raise ZeroDivisionError

    future = session.submit(report_often, str(tmp_path / "told"))
    future.on_progress(fail)
    assert called.wait(PATIENCE)
    (tmp_path / "told").touch()
    future.result()


def test_progress_is_a_fraction(session: pf.Session) -> None:
    with pytest.raises(UserError, match="progress is a fraction from 0 to 1, not 30"):
        session.submit(report_wrongly).result()


# Being told to end


def save_when_told(folder: str) -> str:
    task = pf.current()
    assert not task.stopping
    Path(folder, "began").touch()
    deadline = time.monotonic() + PATIENCE
    while not task.stopping:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    Path(folder, "saved").touch()
    return "all is well"


def ask_in_thread() -> str:
    refused: list[str] = []

    def ask() -> None:
        try:
            assert pf.current().stopping
        except UserError as error:
            refused.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return refused[0]


def test_a_task_that_is_cancelled_may_save_what_it_has(session: pf.Session, tmp_path: Path) -> None:
    future = session.submit(save_when_told, str(tmp_path))
    wait_until((tmp_path / "began").exists)
    assert future.cancel()
    wait_until((tmp_path / "saved").exists)
    assert session.submit(count, "n").result() == 1, "the place is free again"
    wait_until(lambda: session.counts() == {"cancelled": 1, "succeeded": 1})


def test_a_task_that_is_out_of_time_has_timed_out_whatever_it_returns(session: pf.Session, tmp_path: Path) -> None:
    future = session.options(time="2s").submit(save_when_told, str(tmp_path))
    with pytest.raises(TaskTimeoutError, match=r"ran longer than its limit of 2s"):
        future.result()
    assert (tmp_path / "saved").exists()


def test_threads_of_a_task_cannot_ask_first(session: pf.Session) -> None:
    assert "in the main thread of the task first" in session.submit(ask_in_thread).result()


# Deferral


def succeed_at(attempt: int, delay: float | str = 0.05) -> int:
    task = pf.current()
    if task.attempt < attempt:
        try:
            task.defer(delay, "not yet")
        except Exception:  # noqa: BLE001 - what careless functions do; it must not catch a deferral
            return -1
    return task.attempt


async def succeed_at_in_group(attempt: int) -> int:
    async def once() -> int:
        await asyncio.sleep(0)
        return succeed_at(attempt)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(once()) for _ in range(3)]
    return sum(task.result() for task in tasks)


def test_a_task_that_defers_itself_runs_again_and_is_charged_nothing(session: pf.Session) -> None:
    futures: list[pf.TaskFuture[Any]] = [session.submit(succeed_at, 4), session.submit(succeed_at, 3, 0)]
    futures.append(session.submit(succeed_at_in_group, 2))
    assert session.gather(futures) == [4, 3, 6]


def test_a_deferred_task_says_why_it_waits_and_can_be_cancelled(session: pf.Session) -> None:
    future = session.submit(succeed_at, 2, "1h")
    embedded = session.calls.backend
    ticket: Any = future._ticket  # noqa: SLF001 - there is no other way to see its state
    wait_until(lambda: ticket.position == 0 and embedded.state(ticket) is TaskState.waiting)
    assert future.explain().endswith(": not yet")
    assert future.explain().startswith("has deferred itself, for another ")
    assert future.cancel()
    wait_until(lambda: session.counts() == {"cancelled": 1})


def defer_soon() -> None:
    pf.current().defer("soon")


def test_nothing_but_a_time_defers(session: pf.Session) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        session.submit(defer_soon).result()


def test_outside_of_a_task_there_is_nobody_to_be() -> None:
    with pytest.raises(UserError, match="answers in functions that pilotfish calls"):
        pf.current()
