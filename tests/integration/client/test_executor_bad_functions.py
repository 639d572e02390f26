"""Functions that misbehave: only their own call fails, with the true reason, and the next one finds a clean worker."""

import faulthandler
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Never

import pytest

from pilotfish.client.executor import Executor
from pilotfish.client.futures import BrokenWorkerError
from pilotfish.errors import RemoteError, TaskMemoryError, TaskTimeoutError, UnpicklableError

LONG = 600
PATIENCE = 30.0


class Locked(Exception):  # noqa: N818 - it is its content that matters
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class EndsWhenUnpickled:
    def __reduce__(self) -> tuple[Callable[[int], Never], tuple[int]]:
        return sys.exit, (3,)


class CrashesWhenUnpickled:
    def __reduce__(self) -> tuple[Callable[[int], Never], tuple[int]]:
        return os._exit, (7,)


class RaisesWhenUnpickled:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return int, ("no number",)


class CrashesWhenPickled:
    def __reduce__(self) -> Never:
        os._exit(8)


def kill_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(3)


def leave_well() -> None:
    os._exit(0)


def ask_to_leave() -> None:
    sys.exit(4)


def crash() -> None:
    faulthandler.disable()
    faulthandler._sigsegv()  # type: ignore[attr-defined] # noqa: SLF001 - made for tests


def recurse() -> None:
    sys.setrecursionlimit(2**30)
    data: list[Any] = []
    for _ in range(10**6):
        data = [data]
    repr(data)


def eat_memory() -> int:
    eaten = []
    while True:
        eaten.append(b"x" * 2**24)


def never_end() -> None:
    time.sleep(LONG)


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(LONG)


def return_lock() -> object:
    return threading.Lock()


def return_ends() -> object:
    return EndsWhenUnpickled()


def return_crashes() -> object:
    return CrashesWhenPickled()


def raise_locked() -> None:
    raise Locked("it is shut")


def take(value: object) -> object:
    return value


def fork() -> str:
    if os.fork() == 0:
        time.sleep(LONG)
    return "forked"


def fork_and_go_on() -> str:
    os.fork()
    return "forked"


def start_process() -> str:
    subprocess.Popen(["sleep", str(LONG)])
    return "started"


def start_thread() -> str:
    threading.Thread(target=time.sleep, args=(LONG,), daemon=True).start()
    return "started"


def close_streams() -> str:
    for number in range(3):
        os.close(number)
    return "closed"


def replace_streams() -> str:
    sys.stdout = sys.stderr = None
    return "replaced"


def close_python_stream() -> str:
    sys.stdout.close()
    return "closed"


def change_everything() -> str:
    os.chdir("/")
    os.environ["JUNK"] = "1"
    del os.environ["PATH"]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.umask(0o777)
    Path(os.environ["TMPDIR"], "junk").touch()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    sys.setrecursionlimit(200)
    sys.path.clear()
    return "changed"


def look() -> dict[str, object]:
    """What a call finds."""
    mask = os.umask(0o22)
    os.umask(mask)
    return {
        "cwd": str(Path.cwd()),
        "environment": dict(os.environ),
        "cores": os.sched_getaffinity(0),
        "umask": mask,
        "temporary": os.listdir(os.environ["TMPDIR"]),  # noqa: PTH208 - names only
        "handlers": [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM)],
        "alarm": signal.getitimer(signal.ITIMER_REAL),
        "threads": threading.active_count(),
        "streams": [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "files": [os.fstat(number) is None for number in range(3)],
        "recursion": sys.getrecursionlimit(),
        "path": list(sys.path),
    }


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(max_workers=1) as made:
        yield made


FAILS = {
    "killed": (kill_worker, (), BrokenWorkerError, "its worker died .signal 9."),
    "leaves": (leave, (), BrokenWorkerError, "ended the worker, with exit code 3"),
    "leaves well": (leave_well, (), BrokenWorkerError, "ended the worker, with exit code 0"),
    "asks to leave": (ask_to_leave, (), SystemExit, "4"),
    "crashes": (crash, (), BrokenWorkerError, "signal 11"),
    "recurses": (recurse, (), BrokenWorkerError, "signal 11"),
    "returns a lock": (return_lock, (), UnpicklableError, "the result of return_lock cannot be sent"),
    "raises a lock": (raise_locked, (), RemoteError, "Locked: it is shut"),
    "argument is a lock": (take, (threading.Lock(),), UnpicklableError, "argument 1"),
    "argument ends": (take, (EndsWhenUnpickled(),), BrokenWorkerError, "exit code"),
    "argument crashes": (take, (CrashesWhenUnpickled(),), BrokenWorkerError, "exit code 7"),
    "argument raises": (take, (RaisesWhenUnpickled(),), ValueError, "no number"),
    "result crashes": (return_crashes, (), BrokenWorkerError, "exit code 8"),
    "result ends": (return_ends, (), RemoteError, r"cannot be unpickled here: it raised SystemExit\(3"),
    "is nothing to call": (5, (), TypeError, "not callable"),
}

SUCCEEDS = {
    "forks": (fork, "forked"),
    "forks and goes on": (fork_and_go_on, "forked"),
    "starts a process": (start_process, "started"),
    "starts a thread": (start_thread, "started"),
    "closes descriptors": (close_streams, "closed"),
    "replaces streams": (replace_streams, "replaced"),
    "closes a stream": (close_python_stream, "closed"),
    "changes everything": (change_everything, "changed"),
}


@pytest.mark.parametrize("name", FAILS)
def test_only_its_own_call_fails_and_says_why(executor: Executor, name: str) -> None:
    function: Any
    function, args, kind, text = FAILS[name]
    before = executor.submit(look).result(PATIENCE)
    behind: list[Any] = []
    future = executor.submit(function, *args)
    behind.extend(executor.submit(abs, -number) for number in range(5))
    with pytest.raises(kind, match=text):
        future.result(PATIENCE)
    assert [one.result(PATIENCE) for one in behind] == list(range(5))
    assert executor.submit(look).result(PATIENCE) == before


@pytest.mark.parametrize("name", SUCCEEDS)
def test_what_it_leaves_is_gone_when_the_next_begins(executor: Executor, name: str) -> None:
    function, expected = SUCCEEDS[name]
    before = executor.submit(look).result(PATIENCE)
    future = executor.submit(function)
    behind = [executor.submit(abs, -number) for number in range(5)]
    assert future.result(PATIENCE) == expected
    assert [one.result(PATIENCE) for one in behind] == list(range(5))
    assert executor.submit(look).result(PATIENCE) == before


@pytest.mark.parametrize(
    ("function", "options", "kind", "text"),
    [
        (never_end, {"time": "0.2s"}, TaskTimeoutError, "ran longer than its limit of 0.2s"),
        (ignore_term, {"time": "0.2s", "grace": "0.2s"}, TaskTimeoutError, "ran longer"),
        (eat_memory, {"memory": "200MiB"}, TaskMemoryError, "ran out of memory"),
    ],
)
def test_who_exceeds_a_limit_is_ended(
    executor: Executor, function: Callable[[], None], options: dict[str, str], kind: type[Exception], text: str
) -> None:
    future = executor.options(**options).submit(function)
    behind = executor.submit(abs, -1)
    with pytest.raises(kind, match=text):
        future.result(PATIENCE)
    assert behind.result(PATIENCE) == 1


def test_much_output_is_no_reason_to_fail(executor: Executor, capfd: pytest.CaptureFixture[str]) -> None:
    size = 20 * 2**20

    def shout() -> int:
        for _ in range(20):
            sys.stdout.write("x" * 2**20)
        return size

    future, behind = executor.submit(shout), executor.submit(abs, -1)
    assert (future.result(PATIENCE), behind.result(PATIENCE)) == (size, 1)
    assert len(capfd.readouterr().out) == size


def test_an_error_brings_its_traceback(executor: Executor) -> None:
    def divide() -> float:
        return 1 / 0

    error = executor.submit(divide).exception(PATIENCE)
    assert isinstance(error, ZeroDivisionError)
    assert "return 1 / 0" in error.__notes__[0]
    assert pickle.loads(pickle.dumps(error)).args == error.args
