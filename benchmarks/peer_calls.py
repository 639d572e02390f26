"""Calls of a Python function through one pool of two workers, ours or a peer's. Run by whichever Python has it.

Usage: peer_calls.py POOL FIGURE NUMBER

It prints one number. Figures: `rate`, calls per second of NUMBER that are submitted, then gathered; `trip`, the median
of NUMBER single calls in seconds; `first`, seconds from the pool's start to the result of its first call, of which it
makes NUMBER; `array`, seconds for 100 calls that read one array of NUMBER bytes, from when it is handed over until all
results are there. The start of the pool counts only in `first`, and imports never do.
"""

import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

_WORKERS = 2
_READERS = 100
_WARM_UP = 100
"""Calls before anything is measured, so that all workers have started."""


class _Pool(NamedTuple):
    submit: Callable[..., Any]
    gather: Callable[[Sequence[Any]], Sequence[Any]]
    put: Callable[[Any], Any] | None = None
    """Hands a large value over once, for many calls."""


def nothing(value: object) -> object:
    """Take no time."""
    return value


def ends(array: Any) -> float:  # noqa: ANN401 - of numpy, which not every pool's Python has
    """Read an array without taking the time to read all of it: the figure is about how it comes."""
    return float(array[0] + array[-1])


async def _nothing(value: object) -> object:
    """Likewise, as Grain takes it."""
    return value


def _results(futures: Sequence[Any]) -> list[Any]:
    return [future.result() for future in futures]


@contextlib.contextmanager
def _pilotfish() -> Iterator[_Pool]:
    from pilotfish.client.executor import Executor

    with Executor(_WORKERS) as pool:
        yield _Pool(pool.submit, _results)


@contextlib.contextmanager
def _session() -> Iterator[_Pool]:
    from pilotfish.client.session import Session

    with Session(cores=_WORKERS) as session:
        yield _Pool(session.submit, _results, session.put)


@contextlib.contextmanager
def _standard() -> Iterator[_Pool]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(_WORKERS) as pool:
        yield _Pool(pool.submit, _results)


@contextlib.contextmanager
def _loky() -> Iterator[_Pool]:
    from loky import ProcessPoolExecutor  # type: ignore[import-not-found]  # peers live in an environment of their own

    with ProcessPoolExecutor(_WORKERS) as pool:
        yield _Pool(pool.submit, _results)


@contextlib.contextmanager
def _dask() -> Iterator[_Pool]:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=_WORKERS, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield _Pool(partial(client.submit, pure=False), client.gather, partial(client.scatter, broadcast=True))


@contextlib.contextmanager
def _ray() -> Iterator[_Pool]:
    import ray  # type: ignore[import-not-found]  # likewise

    ray.init(num_cpus=_WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")
    remote = {function: ray.remote(function) for function in (nothing, ends)}
    try:
        yield _Pool(lambda function, *args: remote[function].remote(*args), ray.get, ray.put)
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _parsl() -> Iterator[_Pool]:
    import parsl  # type: ignore[import-not-found]  # likewise
    from parsl.providers import LocalProvider  # type: ignore[import-not-found]  # likewise

    block = LocalProvider(init_blocks=1, max_blocks=1)
    pool = parsl.HighThroughputExecutor(max_workers_per_node=_WORKERS, provider=block, address="127.0.0.1")
    with parsl.load(parsl.Config(executors=[pool], strategy="none", initialize_logging=False)):
        app = parsl.python_app(nothing)
        yield _Pool(lambda _, value: app(value), _results)


@contextlib.contextmanager
def _grain() -> Iterator[_Pool]:
    """Its head in a thread, and two worker processes of one core; what is submitted leaves when it is gathered."""
    import trio  # type: ignore[import-not-found]  # likewise
    from grain import combine  # type: ignore[import-not-found]  # likewise
    from grain.resource import Cores  # type: ignore[import-not-found]  # likewise

    folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
    address = f"tcp://127.0.0.1:{20_000 + os.getpid() % 20_000}"
    config = folder / "grain.toml"
    config.write_text(f'address = "{address}"\n[head]\ngnaw.enabled = false\n')
    token, over = [], trio.Event()
    begun = threading.Event()

    async def stay() -> None:
        token.append(trio.lowlevel.current_trio_token())
        begun.set()
        await over.wait()

    async def run(calls: Sequence[tuple[object, ...]]) -> Sequence[Any]:
        async with combine.open_waitgroup() as group:
            for call in calls:
                group.submit(Cores(1), _nothing, *call)
        return list(group.results)

    thread = threading.Thread(target=partial(combine.run, stay, config_file=str(config), nolocal=True), daemon=True)
    thread.start()
    begun.wait()
    command = [sys.executable, "-m", "grain.worker", "--url", address, "--res", json.dumps({"Node": {"N": 1, "M": 1}})]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(_WORKERS)]
    try:
        yield _Pool(lambda _, *args: args, lambda calls: trio.from_thread.run(run, calls, trio_token=token[0]))
    finally:
        trio.from_thread.run_sync(over.set, trio_token=token[0])
        thread.join(10)
        for worker in workers:
            worker.kill()
            worker.wait()


_POOLS = {
    "pilotfish": (_pilotfish, "pilotfish.client.executor"),
    "session": (_session, "pilotfish.client.session"),
    "ProcessPoolExecutor": (_standard, "concurrent.futures.process"),
    "loky": (_loky, "loky"),
    "dask": (_dask, "distributed"),
    "ray": (_ray, "ray"),
    "parsl": (_parsl, "parsl"),
    "grain": (_grain, "grain.combine"),
}
"""Each with what it needs to be imported."""


def _warm(pool: _Pool) -> None:
    pool.gather([pool.submit(nothing, number) for number in range(_WARM_UP)])


def _rate(pool: _Pool, calls: int) -> float:
    _warm(pool)
    begin = time.perf_counter()
    pool.gather([pool.submit(nothing, number) for number in range(calls)])
    return calls / (time.perf_counter() - begin)


def _trip(pool: _Pool, calls: int) -> float:
    _warm(pool)
    taken = []
    for number in range(calls):
        begin = time.perf_counter()
        pool.gather([pool.submit(nothing, number)])
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def _array(pool: _Pool, size: int) -> float:
    import numpy as np  # only this figure needs it

    _warm(pool)
    if pool.put is None:
        raise SystemExit("this pool has no way to hand over a value once")
    array = np.arange(size // 8, dtype=np.float64)
    begin = time.perf_counter()
    there = pool.put(array)
    pool.gather([pool.submit(ends, there) for _ in range(_READERS)])
    return time.perf_counter() - begin


def _measured(name: str, figure: str, number: int) -> float:
    start, module = _POOLS[name]
    importlib.import_module(module)
    begin = time.perf_counter()
    with start() as pool:
        if figure == "first":
            pool.gather([pool.submit(nothing, one) for one in range(number)])
            return time.perf_counter() - begin
        return {"rate": _rate, "trip": _trip, "array": _array}[figure](pool, number)


if __name__ == "__main__":
    print(_measured(sys.argv[1], sys.argv[2], int(sys.argv[3])))
