"""CPython's own tests of executors, with ours in the place of theirs.

They come with most builds of Python, as ``test.test_concurrent_futures``; some distributions have a package for them.
What is left out stands in `LEFT_OUT`, with the reason; where ours does better than theirs stands in `BETTER`.
"""

import importlib
import os
import sys
from concurrent.futures import BrokenExecutor
from importlib.util import find_spec
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import pytest

from pilotfish.client.executor import Executor
from pilotfish.errors import RemoteError

SUITE = "test.test_concurrent_futures"
THERE = find_spec("test") is not None and find_spec(SUITE) is not None

pytestmark = [
    pytest.mark.needs("cpython-tests"),
    pytest.mark.filterwarnings("default"),  # theirs are not written for warnings as errors
]

LEFT_OUT = {
    "test_crash_big_data": "looks at the processes of a ProcessPoolExecutor",
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": "replaces a part of ProcessPoolExecutor",
    "test_idle_process_reuse_multiple": "looks at the processes of a ProcessPoolExecutor",
    "test_idle_process_reuse_one": "looks at the processes of a ProcessPoolExecutor",
    "test_killed_child": "wants the whole pool to break when one worker is killed: ours goes on",
    "test_max_tasks_early_shutdown": "asks for the start method of multiprocessing",
    "test_max_tasks_per_child": "asks for the start method of multiprocessing",
    "test_max_tasks_per_child_defaults_to_spawn_context": "asks for the start method of multiprocessing",
    "test_max_workers_too_large": "is about Windows",
    "test_process_pool_executor_terminate_workers": "ends the processes of a ProcessPoolExecutor",
    "test_python_finalization_error": "looks at the threads of a ProcessPoolExecutor",
    "test_ressources_gced_in_workers": "gives multiprocessing's own objects to a worker: these go to its children only",
    "test_saturation": "gives multiprocessing's own objects to a worker: these go to its children only",
    "test_shutdown_deadlock_pickle": "looks at the threads of a ProcessPoolExecutor",
    "test_traceback": "wants the remote traceback as a cause: ours is a note, which is printed likewise",
    "test_traceback_when_child_process_terminates_abruptly": "wants a cause of multiprocessing",
}
"""Tests of theirs that are not about executors as such, and why."""

BETTER: dict[str, type[BaseException]] = {
    "test_error_at_task_unpickle": UnpicklingError,  # theirs is broken then
    "test_error_during_result_unpickle_in_result_handler": UnpicklingError,
    "test_exit_during_result_unpickle_in_result_handler": RemoteError,  # likewise
}
"""Tests for whose end BrokenProcessPool stands there, and what ours says instead; otherwise it is BrokenExecutor."""


def _modules() -> list[ModuleType]:
    """Theirs: one before Python 3.12, several since."""
    suite = importlib.import_module(SUITE)
    if hasattr(suite, "ExecutorTest"):
        return [suite]
    names = ("executor", "test_as_completed", "test_deadlock", "test_init", "test_process_pool", "test_shutdown")
    return [importlib.import_module(f"{SUITE}.{name}") for name in (*names, "test_wait", "util")]


def _theirs(name: str) -> Any:
    return next(getattr(module, name) for module in _modules() if hasattr(module, name))


def _plugged(tests: type) -> type:
    """A test case of theirs for our executor."""

    class Ours(_theirs("ExecutorMixin")):  # type: ignore[misc] # theirs has no types
        executor_type = Executor

        def setUp(self) -> None:
            """Have the first worker start: a call that waits for it can still be cancelled, which one test denies."""
            super().setUp()
            self.executor.submit(abs, -1).result()

    return type(tests.__name__, (tests, Ours, _theirs("BaseTestCase")), dict.fromkeys(LEFT_OUT))


if THERE:
    _python_ok = _theirs("assert_python_ok")

    def _our_python_ok(*arguments: str) -> Any:
        ours = f"from {Executor.__module__} import Executor"
        changed = [text.replace("from concurrent.futures import Executor", ours) for text in arguments]
        return _python_ok(*changed, PYTHONPATH=os.pathsep.join(sys.path))

    def _check_crash(self: Any, error: Any, func: Any, *args: Any, ignore_stderr: bool = False) -> None:
        del ignore_stderr
        if issubclass(error, BrokenExecutor):
            error = BETTER.get(self._testMethodName, BrokenExecutor)
        with Executor(max_workers=2) as executor:
            with pytest.raises(error):
                executor.submit(func, *args).result(timeout=self.TIMEOUT)
            assert executor.submit(abs, -1).result() == 1  # theirs is broken for ever

    @pytest.fixture(autouse=True)
    def _scripts_import_ours(monkeypatch: pytest.MonkeyPatch) -> None:
        for module in _modules():
            if hasattr(module, "assert_python_ok"):
                monkeypatch.setattr(module, "assert_python_ok", _our_python_ok)
            if hasattr(module, "BrokenProcessPool"):
                monkeypatch.setattr(module, "BrokenProcessPool", BrokenExecutor)

    class _Deadlock(_theirs("ExecutorDeadlockTest")):  # type: ignore[misc] # theirs has no types
        _check_crash = _check_crash

        def test_shutdown_deadlock(self) -> None:
            """Theirs, but for its context of multiprocessing."""
            with Executor(max_workers=2) as executor:
                future = executor.submit(_theirs("_crash"), delay=0.1)
                executor.shutdown(wait=True)
                with pytest.raises(BrokenExecutor):
                    future.result()

    TestPools = _plugged(_theirs("ProcessPoolExecutorTest"))
    TestWait = _plugged(_theirs("WaitTests"))
    TestAsCompleted = _plugged(_theirs("AsCompletedTests"))
    TestShutdown = _plugged(_theirs("ExecutorShutdownTest"))
    TestInitializer = _plugged(_theirs("InitializerMixin"))
    TestDeadlock = _plugged(_Deadlock)

else:

    def test_cpython_has_its_tests() -> None:
        pytest.fail(f"there is no {SUITE}")
