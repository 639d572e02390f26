"""Short sleeps on many declared cores: the share of their time in which slots run a task.

*Busy* is the time that attempts ran, by their recorded starts and ends, divided by the slots' time from the first
start to the last end. Beside it *work*: what the tasks sleep, divided by the same; of `xargs`, which records nothing,
divided by the time of the whole command.
"""

import json
import subprocess
from collections.abc import Iterator
from statistics import median

from benchmarks.pairs import PILOTFISH, Figure, Run, finish, medians, options, workplace
from benchmarks.peers import xargs

__all__ = ["figures"]

_CORES, _TASKS, _SLEEP = 64, 5_000, 0.05
_BAR = 0.9


def figures(rounds: int) -> Iterator[Figure]:
    """Our share of busy slot time, which has the bar, and our share of work beside that of xargs."""
    ideal = _TASKS * _SLEEP / _CORES
    theirs = xargs("sleep", [str(_SLEEP)] * _TASKS, at_once=_CORES)
    shares: list[float] = []

    def ours() -> float:
        busy, makespan = _busy_and_makespan()
        shares.append(busy / makespan / _CORES)
        return makespan

    mine, other = medians(ours, theirs.seconds, rounds)
    busy = median(shares)
    yield Figure(f"{_CORES} slots busy", busy, "all the time", 1.0, "of the time", busy, _BAR)
    yield Figure(f"{_CORES} slots at work", ideal / mine, "xargs", ideal / other, "of the time", other / mine, 0.9)


def _busy_and_makespan() -> tuple[float, float]:
    """Seconds that attempts ran, added up; seconds from the first start to the last end."""
    jobs = f"name: busy\njobs:\n  - {{name: work, array: {_TASKS}, command: [sleep, '{_SLEEP}']}}\n"
    with workplace() as folder:
        Run((PILOTFISH, "run", "--cores", str(_CORES), "jobs.yaml"), files={"jobs.yaml": jobs}).seconds_in(folder)
        told = subprocess.run((PILOTFISH, "tasks", "--json"), cwd=folder, capture_output=True, check=True).stdout
    spans: list[tuple[float, float]] = [(task["started_at"], task["ended_at"]) for task in json.loads(told)]
    makespan = max(end for _, end in spans) - min(start for start, _ in spans)
    return sum(end - start for start, end in spans), makespan


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
