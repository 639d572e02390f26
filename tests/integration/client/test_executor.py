"""An executor is one of ``concurrent.futures``, and more: what it promises beyond what CPython's own tests ask."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

from pilotfish.client.executor import Executor
from pilotfish.client.futures import BrokenWorkerError
from pilotfish.errors import ImpossibleRequestError, TaskTimeoutError, UnpicklableError, UserError

PATIENCE = 20.0
OURS = f"s{os.getpid()}-*"
SHARED = Path(f"/dev/shm/pilotfish-{os.getuid()}")


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(max_workers=2) as made:
        yield made


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not true after {PATIENCE} s: {true}"
        time.sleep(0.01)


def script(text: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True, timeout=60, **more)


def folders() -> set[str]:
    """Those of sessions of this process."""
    return {str(entry) for folder in (Path(os.environ["PILOTFISH_RUNTIME"]), SHARED) for entry in folder.glob(OURS)}


def values() -> set[Path]:
    """Those that lie in shared memory, or where there is none beside the outputs."""
    places = (*SHARED.glob(OURS), *Path(os.environ["PILOTFISH_RUNTIME"]).glob(f"{OURS}/values"))
    return {entry for place in places for entry in place.iterdir() if entry.name != "used"}


def meet(folder: str, mine: str, other: str) -> bool:
    """Both run at once, or one waits in vain."""
    Path(folder, mine).touch()
    deadline = time.monotonic() + PATIENCE
    while not Path(folder, other).exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def affinity() -> set[int]:
    return os.sched_getaffinity(0)


def whole(number: int, text: str) -> int:
    sys.stdout.write(text * number + "\n")
    sys.stderr.write(f"err {number}\n")
    return number


class TestSubmitting:
    def test_names_of_arguments_are_the_functions_own(self, executor: Executor) -> None:
        def told(*args: object, **kwargs: object) -> tuple[object, object]:
            return args, kwargs

        assert executor.submit(told, 1, self=2, fn=3).result() == ((1,), {"self": 2, "fn": 3})

    def test_coroutine_functions_are_run(self, executor: Executor) -> None:
        async def double(number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        assert executor.submit(double, 4).result() == 8  # type: ignore[comparison-overlap] # the worker awaits it

    def test_the_future_tells_what_cannot_travel(self, executor: Executor) -> None:
        future = executor.submit(id, threading.Lock())
        with pytest.raises(UnpicklableError, match="argument 1"):
            future.result()

    def test_what_was_submitted_is_not_kept(self, executor: Executor) -> None:
        class Thing:
            def method(self) -> None:
                pass

        thing = Thing()
        gone = threading.Event()
        reference = weakref.ref(thing, lambda _: gone.set())
        future = executor.submit(thing.method)
        del thing
        assert future.result() is None
        assert gone.wait(PATIENCE)
        assert reference() is None

    def test_large_values_go_when_they_are_needed_no_more(self, executor: Executor) -> None:
        def large(data: bytes) -> bytes:
            return data + b"."

        executor.submit(abs, 1).result()
        before = values()
        data = os.urandom(2**20)
        assert executor.submit(large, data).result() == data + b"."
        del large
        gc.collect()
        wait_until(lambda: values() <= before)

    def test_cancelling_ends_what_runs(self, executor: Executor, tmp_path: Path) -> None:
        future = executor.submit(meet, str(tmp_path), "mine", "never")
        wait_until((tmp_path / "mine").exists)
        assert future.cancel()
        assert future.cancelled()
        assert [one.result(PATIENCE) for one in (executor.submit(abs, -1), executor.submit(abs, -2))] == [1, 2]


class TestMapping:
    def test_results_come_in_order_whatever_the_chunks(self, executor: Executor) -> None:
        expected = list(map(pow, range(50), range(50)))
        for chunksize in (1, 3, 50, 1000):
            assert list(executor.map(pow, range(50), range(50), chunksize=chunksize)) == expected

    @pytest.mark.parametrize(
        ("more", "kind", "text"),
        [
            ({"chunksize": 0}, ValueError, "chunksize must be >= 1."),
            ({"buffersize": 0}, ValueError, "buffersize must be None or > 0"),
            ({"buffersize": "5"}, TypeError, "buffersize must be an integer or None"),
        ],
    )
    def test_bad_arguments_are_refused_in_the_standards_words(
        self, executor: Executor, more: dict[str, Any], kind: type[Exception], text: str
    ) -> None:
        with pytest.raises(kind, match=text):
            executor.map(abs, [1], **more)

    def test_a_buffer_takes_in_no_more_than_its_size(self, executor: Executor) -> None:
        taken = []

        def numbers() -> Iterator[int]:
            for number in range(20):
                taken.append(number)
                yield number

        results = executor.map(abs, numbers(), buffersize=4)
        assert taken == [0, 1, 2, 3]
        assert next(results) == 0
        assert taken == [0, 1, 2, 3, 4]
        assert list(results) == list(range(1, 20))

    def test_closing_it_cancels_what_is_left(self, executor: Executor, tmp_path: Path) -> None:
        results = executor.map(meet, [str(tmp_path)] * 10, map(str, range(10)), ["0", *["never"] * 9])
        assert next(results)
        wait_until((tmp_path / "1").exists)
        results.close()  # type: ignore[attr-defined] # it is a generator
        assert executor.submit(abs, -1).result(PATIENCE) == 1

    def test_an_empty_one_ends_at_once(self, executor: Executor) -> None:
        assert list(executor.map(abs, [])) == []


class TestEnding:
    def test_nothing_is_left_behind(self) -> None:
        before = folders()
        with Executor(max_workers=1) as executor:
            assert executor.submit(abs, -1).result() == 1
            assert folders() > before
        assert folders() == before

    def test_after_shutdown_nothing_is_taken(self) -> None:
        executor = Executor(max_workers=1)
        executor.shutdown()
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.submit(abs, 1)

    def test_shutdown_right_after_the_first_call_waits_for_it(self) -> None:
        executor = Executor(max_workers=1)
        future = executor.submit(abs, -1)
        executor.shutdown()
        assert future.result(0) == 1

    def test_one_that_nobody_has_any_more_ends_its_processes(self) -> None:
        before = folders()
        executor = Executor(max_workers=1)
        future = executor.submit(abs, -1)
        del executor
        gc.collect()
        assert future.result(PATIENCE) == 1
        wait_until(lambda: folders() == before)

    def test_the_end_of_the_program_waits_for_what_is_pending(self) -> None:
        done = script(
            "import atexit, sys, pilotfish.client.executor as pf\n"
            "executor = pf.Executor(2)\n"
            "@atexit.register\n"
            "def late():\n"
            "    try: executor.submit(print)\n"
            "    except RuntimeError as error: sys.stderr.write(str(error))\n"
            "for number in range(3): executor.submit(print, number)\n"
        )
        assert (sorted(done.stdout.split()), done.returncode) == (["0", "1", "2"], 0)
        assert done.stderr == "cannot schedule new futures after interpreter shutdown"

    def test_a_fork_leaves_its_parents_executor_alone(self) -> None:
        done = script(
            "import os, sys, pilotfish.client.executor as pf\n"
            "executor = pf.Executor(1)\n"
            "executor.submit(abs, 1).result()\n"
            "sys.stdout.flush()\n"
            "if (child := os.fork()) == 0:\n"
            "    try: executor.submit(abs, 1)\n"
            "    except RuntimeError as error: print(error)\n"
            "    executor.shutdown()\n"
            "    sys.exit(0)\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "print(executor.submit(abs, -5).result())\n"
        )
        assert done.stderr == ""
        assert "of which this is a fork" in done.stdout.splitlines()[0]
        assert done.stdout.splitlines()[-1] == "5"

    def test_a_callback_may_shut_down(self) -> None:
        executor, told = Executor(max_workers=1), threading.Event()

        def shut_down(_: object) -> None:
            executor.shutdown()
            told.set()

        executor.submit(abs, 1).add_done_callback(shut_down)
        assert told.wait(PATIENCE)
        executor.shutdown()


class TestRequests:
    @pytest.mark.needs("cores")
    def test_each_call_is_bound_to_its_cores(self) -> None:
        with Executor(cores=1) as executor:
            assert {len(cores) for cores in executor.map(lambda _: affinity(), range(8))} == {1}

    def test_workers_alone_are_not_bound(self, executor: Executor) -> None:
        assert executor.submit(affinity).result() == affinity()

    @pytest.mark.needs("cores")
    def test_as_many_run_at_once_as_fit(self, tmp_path: Path) -> None:
        with Executor(cores=1, memory="64MiB") as executor:
            both = executor.submit(meet, str(tmp_path), "a", "b"), executor.submit(meet, str(tmp_path), "b", "a")
            assert [one.result() for one in both] == [True, True]

    @pytest.mark.needs("cores")
    def test_and_no_more_than_max_workers(self) -> None:
        with Executor(max_workers=1, cores=0.5) as executor:
            pids = {executor.submit(os.getpid).result() for _ in range(4)}
            assert len(pids | set(executor.map(lambda _: os.getpid(), range(4)))) == 1

    def test_what_no_machine_has_fails_with_the_reason(self) -> None:
        with Executor(memory="900TiB") as executor, pytest.raises(ImpossibleRequestError, match="900 TiB"):
            executor.submit(abs, 1).result()

    def test_a_view_asks_for_something_else_of_the_same_workers(self, executor: Executor) -> None:
        view = executor.options(time="0.2s", priority=3)
        assert isinstance(view, Executor)
        with pytest.raises(TaskTimeoutError, match="longer than its limit"):
            view.submit(time.sleep, 60).result()
        assert executor.submit(abs, -1).result() == 1
        with pytest.raises(UserError, match="coers"):
            executor.options(coers=2)

    def test_retries_are_made(self, executor: Executor, tmp_path: Path) -> None:
        def fail_once(path: str) -> str:
            if not Path(path).exists():
                Path(path).touch()
                os._exit(1)
            return "second"

        assert executor.options(retries=1).submit(fail_once, str(tmp_path / "tried")).result() == "second"

    def test_a_worker_is_replaced_after_so_many_calls(self) -> None:
        with Executor(max_workers=1, max_tasks_per_child=2) as executor:
            pids = [executor.submit(os.getpid).result() for _ in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]

    @pytest.mark.parametrize(
        ("more", "kind", "text"),
        [
            ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
            ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1"),
            ({"max_tasks_per_child": 1.5}, TypeError, "max_tasks_per_child must be an integer"),
            ({"initializer": 3}, TypeError, "initializer must be a callable"),
            ({"mp_context": "spawn"}, UserError, "mp_context: workers are no processes of multiprocessing"),
            ({"memory": "10"}, UserError, "memory"),
            ({"cores": "two"}, UserError, "cores"),
        ],
    )
    def test_what_cannot_be_is_refused(self, more: dict[str, Any], kind: type[Exception], text: str) -> None:
        with pytest.raises(kind, match=text):
            Executor(**more)


class TestInitializer:
    def test_it_is_called_first_and_what_it_changes_stays(self, tmp_path: Path) -> None:
        def prepare(folder: str) -> None:
            os.environ["PREPARED"] = folder
            os.chdir(folder)

        def look() -> tuple[str, str]:
            return os.environ["PREPARED"], str(Path.cwd())

        def other() -> str:
            return os.environ["PREPARED"]

        with Executor(max_workers=1, initializer=prepare, initargs=(str(tmp_path),)) as executor:
            assert [executor.submit(look).result() for _ in range(2)] == [(str(tmp_path), str(tmp_path))] * 2
            assert executor.submit(other).result() == str(tmp_path)

    def test_where_it_raises_nothing_is_taken_any_more(self) -> None:
        def fail() -> None:
            raise ValueError("not today")

        with Executor(max_workers=1, initializer=fail) as executor:
            with pytest.raises(BrokenWorkerError, match="ValueError: not today"):
                executor.submit(abs, 1).result()
            with pytest.raises(BrokenExecutor, match="not today"):
                executor.submit(abs, 1)


class TestOutput:
    def test_each_calls_output_is_written_whole_when_it_has_ended(
        self, executor: Executor, capfd: pytest.CaptureFixture[str]
    ) -> None:
        sizes = [10, 100_000, 3_000_000, 20, 0]
        letters = "abcde"
        assert list(executor.map(whole, sizes, letters)) == sizes
        captured = capfd.readouterr()
        for size, letter in zip(sizes, letters, strict=True):
            assert (letter * size + "\n") in captured.out
        assert sorted(captured.err.splitlines()) == sorted(f"err {size}" for size in sizes)

    def test_what_was_written_gives_its_room_back(self, capfd: pytest.CaptureFixture[str]) -> None:
        runtime = Path(os.environ["PILOTFISH_RUNTIME"])

        def room() -> int:
            return sum(file.stat().st_blocks * 512 for file in runtime.glob("s*/outputs/*"))

        with Executor(max_workers=1) as executor:
            for size in [500_000] * 20 + [2_000_000] * 2:
                executor.submit(whole, size, "x").result()
            assert room() < 4_000_000
        assert len(capfd.readouterr().out) > 14_000_000

    def test_a_stream_that_takes_nothing_does_no_harm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdout", None)
        with Executor(max_workers=1) as executor:
            assert executor.submit(whole, 5, "x").result() == 5


class TestAsyncio:
    def test_a_loop_can_run_calls_in_it(self, executor: Executor) -> None:
        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            return list(await asyncio.gather(*(loop.run_in_executor(executor, abs, -number) for number in range(5))))

        assert asyncio.run(main()) == [0, 1, 2, 3, 4]

    def test_as_the_default_of_a_loop_it_leaves_to_threads_what_cannot_travel(self) -> None:
        async def main() -> tuple[int, int]:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(Executor(max_workers=1).as_default())
            return await loop.run_in_executor(None, os.getpid), await asyncio.to_thread(os.getpid)

        worker, thread = asyncio.run(main())
        assert worker != os.getpid() == thread

    def test_cancelling_the_await_ends_the_call(self, executor: Executor, tmp_path: Path) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            call = loop.run_in_executor(executor, meet, str(tmp_path), "mine", "never")
            await loop.run_in_executor(None, wait_until, (tmp_path / "mine").exists)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        asyncio.run(main())
        assert [one.result(PATIENCE) for one in as_completed([executor.submit(abs, -1)])] == [1]
