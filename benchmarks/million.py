"""A million waiting tasks: submitted, and loaded again by the next manager, each in a process of its own.

Nothing is compared with a peer here: the bars are seconds, and megabytes of the process.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.pairs import Figure, finish, options, workplace
from pilotfish.formats.document import Format
from pilotfish.formats.native import load_text
from pilotfish.manager.intake import plan
from pilotfish.model.changes import Submit
from pilotfish.model.events import Restored, Submitted
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.sqlite import SqliteStore

__all__ = ["figures"]

_TASKS = 1_000_000
_SECONDS, _MEGABYTES = 1.0, 150.0
_JOBS = f"""
jobs:
  - {{name: gate, command: "true"}}
  - {{name: held, array: {_TASKS}, after: gate, command: [echo, x]}}
"""


class _Cost(NamedTuple):
    seconds: float
    megabytes: float
    """The most memory that the process ever had."""


def figures(rounds: int) -> Iterator[Figure]:
    """Seconds and megabytes of both steps; each ratio is a share of its bar."""
    for step, costs in _measured(rounds).items():
        seconds, megabytes = (median(values) for values in zip(*costs, strict=True))
        yield Figure(f"{step} {_TASKS:,} tasks", seconds, "limit", _SECONDS, "s", seconds / _SECONDS, 1.0, at_most=True)
        share = megabytes / _MEGABYTES
        yield Figure("memory of the manager", megabytes, "limit", _MEGABYTES, "MB", share, 1.0, at_most=True)


def _measured(rounds: int) -> dict[str, list[_Cost]]:
    costs: dict[str, list[_Cost]] = {"submit": [], "load": []}
    for _ in range(rounds):
        with workplace() as folder:
            costs["submit"].append(_alone(_submit, folder))
            costs["load"].append(_alone(_load, folder))
    return costs


def _alone(step: Callable[[Path], _Cost], folder: Path) -> _Cost:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(step, folder).result()


def _submit(folder: Path) -> _Cost:
    """From the text of a job file to a durable queue whose scheduler knows the tasks."""
    begin = time.perf_counter()
    store = SqliteStore(folder)
    jobs = load_text(_JOBS, name="jobs.yaml", format=Format.yaml).jobs
    accepted = plan(jobs, store.load(), next_id=1, now=time.time())
    store.commit(accepted.changes)
    submits = tuple(change for change in accepted.changes if isinstance(change, Submit))
    Scheduler(Settings(), store.epoch).handle(Submitted(submits), time.time())
    store.flush()
    return _cost(begin, store)


def _load(folder: Path) -> _Cost:
    """From opening the store to a scheduler that knows the tasks."""
    begin = time.perf_counter()
    store = SqliteStore(folder)
    Scheduler(Settings(), store.epoch).handle(Restored(store.load()), time.time())
    return _cost(begin, store)


def _cost(begin: float, store: SqliteStore) -> _Cost:
    seconds = time.perf_counter() - begin
    store.close()
    status = Path("/proc/self/status").read_text()
    kibibytes = int(status.partition("VmHWM:")[2].split()[0])
    return _Cost(seconds, kibibytes / 1_000 * 1.024)


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
