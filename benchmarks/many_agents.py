"""A hundred agents: what each task costs the manager, and how busy their nodes are.

The agents are scripts, twenty-five in each process; manager, store, gateway and the TLS between them are real.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from statistics import median

import psutil

from benchmarks.pairs import Figure, finish, options, workplace
from pilotfish.manager.start import Campaign
from pilotfish.model.changes import Change, Settle
from pilotfish.model.events import Event
from pilotfish.model.jobs import JobSpec, RangeArray
from pilotfish.settings import Settings

__all__ = ["figures"]

_AGENTS, _IN_EACH, _SLOTS, _SECONDS = 100, 25, 4, 1.0
_COST, _BUSY = 100.0, 0.95


class _Watch:
    """An observer that remembers when attempts began and ended."""

    def __init__(self) -> None:
        self.begin, self.end, self.busy = float("inf"), 0.0, 0.0

    def recorded(self, changes: Collection[Change]) -> None:
        for change in changes:
            if isinstance(change, Settle):
                report = change.report
                self.begin = min(self.begin, report.started_at)
                self.end = max(self.end, report.ended_at)
                self.busy += report.ended_at - report.started_at

    def note(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr)

    def tick(self, now: float) -> None:
        """Nothing is due."""


class _Agents:
    """Starts the scripts."""

    expected = _AGENTS

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def go(self, let_in: Callable[[], Path]) -> None:
        join = let_in()
        for first in range(0, _AGENTS, _IN_EACH):
            words = [join, first, _IN_EACH, _SLOTS, _SECONDS]
            command = [sys.executable, "-m", "benchmarks.scripted_nodes", *map(str, words)]
            self._processes.append(subprocess.Popen(command))

    def supervise(self, connected: Collection[str], now: float) -> Iterable[str | Event]:  # noqa: ARG002 - nobody dies
        return ()

    def end(self, patience: float) -> None:
        for process in self._processes:
            process.wait(patience)


def _gateway_cpu() -> float:
    """Seconds of processor time that the gateway beside us has used."""
    (gateway,) = [child for child in psutil.Process().children() if "gateway" in child.cmdline()]
    times = gateway.cpu_times()
    return times.user + times.system


def figures(rounds: int, *, waves: int = 30) -> Iterator[Figure]:
    """Microseconds of processor time per task, of the manager's process; busy node-seconds per node-second."""
    measured = [_measure(waves) for _ in range(rounds)]
    name = f"{_AGENTS} agents with {_SLOTS} slots, tasks of {_SECONDS:g} s"
    cost, gateway, busy = (median(values) for values in zip(*measured, strict=True))
    yield Figure(f"{name}: manager", cost, "limit", _COST, "us a task", cost / _COST, 1.0, at_most=True)
    print(f"  its gateway beside it: {gateway:.3g} us a task", file=sys.stderr)
    yield Figure(f"{name}: busy", busy, "limit", _BUSY, "of the time", busy / _BUSY, 1.0)


def _measure(waves: int) -> tuple[float, float, float]:
    tasks = _AGENTS * _SLOTS * waves
    with workplace() as root:
        campaign = Campaign(root / "c", Settings())
        try:
            spec = JobSpec(
                name="a", command=("true",), array=RangeArray(0, tasks, 1), directory=str(root), cwd=str(root)
            )
            campaign.accept(campaign.plan([spec]))
            watch = _Watch()
            before = time.process_time()
            campaign.run(watch, _Agents(), {})
            cpu, gateway = time.process_time() - before, _gateway_cpu()
        finally:
            campaign.close()
    busy = watch.busy / ((watch.end - watch.begin) * _AGENTS * _SLOTS)
    print(f"  {cpu / tasks * 1e6:.4g} us, gateway {gateway / tasks * 1e6:.4g} us, busy {busy:.4f}", file=sys.stderr)
    return cpu / tasks * 1e6, gateway / tasks * 1e6, busy


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--waves", type=int, default=30, metavar="N", help="tasks for each slot (default: 30)")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, waves=chosen.waves))
