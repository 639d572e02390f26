"""What calls of Python functions cost in memory: a session that does nothing, and a million futures; and their speed.

Each is measured in a process of its own. Nothing is compared with a peer: the bars are megabytes of all processes that
a session has started, kilobytes of a future beyond what one of the standard library takes, and that the last of many
calls cost no more than the first: processor time of this process, where all that grows is.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from benchmarks.pairs import Figure, finish, options
from pilotfish.client.executor import Executor
from pilotfish.client.session import Session

__all__ = ["figures"]

T = TypeVar("T")

_WORKERS = 2
_CALLS, _BLOCK = 1_000_000, 100_000
_MEGABYTES = 60.0
_KILOBYTES = 1.0
_SLOWER = 1.2
_NOTHING = callable
"""Takes no time, and its result takes no memory."""
_FEW = 100
"""Calls before a session is idle."""


class _Cost(NamedTuple):
    most: float
    """Bytes of a future while all were kept, at the worst moment."""
    resolved: float
    """Likewise, when all were resolved."""
    seconds: float
    """Of processor time, from the first call to the last result."""


def figures(rounds: int, *, calls: int = _CALLS) -> Iterator[Figure]:
    """Megabytes of an idle session; kilobytes of a future; times of calls."""
    idle = median(_alone(_idle) for _ in range(rounds))
    name = "processes of an idle session"
    yield Figure(name, idle, "limit", _MEGABYTES, "MB", idle / _MEGABYTES, 1.0, at_most=True)
    standard = _alone(_standard, calls)
    at_once = [_alone(_at_once, calls) for _ in range(rounds)]
    for name, values in (
        (f"a future of {calls:,}, at the most", [cost.most for cost in at_once]),
        ("likewise, resolved", [cost.resolved for cost in at_once]),
    ):
        more = (median(values) - standard) / 1_000
        yield Figure(name, more, "limit", _KILOBYTES, "kB", more / _KILOBYTES, 1.0, at_most=True)
    blocks = [_alone(_in_blocks, calls) for _ in range(rounds)]
    first, last = (median(times[place] for times in blocks) for place in (0, -1))
    for name, seconds in (
        (f"the last {_BLOCK:,} of {calls:,} calls", last),
        (f"{_BLOCK:,} of {calls:,} calls at once", median(cost.seconds for cost in at_once) * _BLOCK / calls),
    ):
        yield Figure(name, seconds, f"the first {_BLOCK:,}", first, "s", seconds / first, _SLOWER, at_most=True)


def _alone(step: Callable[..., T], *arguments: int) -> T:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(step, *arguments).result()


def _idle() -> float:
    """Megabytes of a session's processes; what several share counts in each for its part."""
    with Session(cores=_WORKERS) as session:
        session.gather(session.map(abs, range(_FEW)))
        time.sleep(1)  # a worker that has just worked is not idle yet
        return sum(_proportional(process) for process in _descendants()) / 1e6


def _standard(calls: int) -> float:
    """Bytes of a resolved future of the standard library."""
    before = _memory("VmRSS")
    futures = [Future[None]() for _ in range(calls)]
    for future in futures:
        future.set_result(None)
    return (_memory("VmRSS") - before) / calls


def _at_once(calls: int) -> _Cost:
    """All are submitted, then all results are awaited."""
    with Executor(_WORKERS) as executor:
        list(executor.map(_NOTHING, range(_FEW)))
        before, begin = _memory("VmRSS"), time.process_time()
        futures = [executor.submit(_NOTHING, number) for number in range(calls)]
        for future in futures:
            future.result()
        seconds = time.process_time() - begin
        return _Cost((_memory("VmHWM") - before) / calls, (_memory("VmRSS") - before) / calls, seconds)


def _in_blocks(calls: int) -> list[float]:
    """Seconds of processor time of each block, which is submitted and awaited; the futures are kept."""
    kept, times = [], []
    with Executor(_WORKERS) as executor:
        list(executor.map(_NOTHING, range(_FEW)))
        for start in range(0, calls, _BLOCK):
            begin = time.process_time()
            kept += [executor.submit(_NOTHING, number) for number in range(start, start + _BLOCK)]
            for future in kept[start:]:
                future.result()
            times.append(time.process_time() - begin)
    return times


def _memory(key: str) -> int:
    """Bytes of this process, from its status."""
    return int(Path("/proc/self/status").read_text().partition(f"{key}:")[2].split()[0]) * 1024


def _proportional(process: Path) -> int:
    return int((process / "smaps_rollup").read_text().partition("Pss:")[2].split()[0]) * 1024


def _descendants() -> list[Path]:
    """The processes of all that this one has started, as folders of ``/proc``."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[process.name] = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has ended meanwhile
    found, wanted = [], [Path("/proc/self").resolve().name]
    while wanted:
        parent = wanted.pop()
        children = [one for one, its in parents.items() if its == parent]
        wanted += children
        found += [Path("/proc", one) for one in children]
    return found


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--calls", type=int, default=_CALLS, metavar="N", help="default: 1000000")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, calls=chosen.calls))
