"""How many starts a second the scheduler decides with 1,000 nodes of 64 cores before a queue of a million tasks.

Agents are scripted and time is virtual; what is divided by is processor time of the scheduler alone. Nothing is
compared with a peer here, but a queue ten times as long with this one.
"""

import random
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.pairs import Figure, finish, options
from benchmarks.scripted import Agents
from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Submit
from pilotfish.model.events import NodeJoined, Submitted
from pilotfish.model.jobs import Job, JobSpec, RangeArray
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Inventory, Request
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings

__all__ = ["figures"]

_NODES, _CORES, _MEMORY = 1_000, 64, 256 * 2**30
_TASKS, _CLASSES = 1_000_000, 20
_LONGER = 10
"""How many times as long the other queue is."""
_DECISIONS = 200_000
"""After the first fill, until which is measured."""
_SHORTEST, _LONGEST = 10.0, 100.0
"""Seconds that tasks take."""
_BAR, _LONGER_BAR = 20_000.0, 0.9


class _Rates(NamedTuple):
    """Decisions per second of processor time."""

    fill: float
    """From knowing neither nodes nor jobs to all cores in use."""
    steady: float
    """Afterwards, as tasks end one at a time."""


def figures(rounds: int, *, tasks: int = _TASKS, decisions: int = _DECISIONS) -> Iterator[Figure]:
    """Decisions per second with one array of each class, then with a thousand arrays, whose classes all run at once."""
    for arrays, longer_arrays in ((_CLASSES, _CLASSES), (50 * _CLASSES, 50 * _CLASSES * _LONGER)):
        pairs = [
            (_rates(tasks, arrays, decisions), _rates(_LONGER * tasks, longer_arrays, decisions)) for _ in range(rounds)
        ]
        fill = median(rates.fill for rates, _ in pairs)
        steady = median(rates.steady for rates, _ in pairs)
        longer = median(rates.steady for _, rates in pairs)
        queue = f"{tasks:,} tasks in {arrays:,} arrays"
        yield Figure(f"{queue}: first fill", fill, "limit", _BAR, "decisions/s", fill / _BAR, 1.0)
        yield Figure(f"{queue}: afterwards", steady, "limit", _BAR, "decisions/s", steady / _BAR, 1.0)
        name = f"{_LONGER} times that queue"
        yield Figure(name, longer, "the shorter one", steady, "decisions/s", longer / steady, _LONGER_BAR)


def _rates(tasks: int, arrays: int, decisions: int) -> _Rates:
    agents = Agents(Scheduler(Settings(), 1), _seconds)
    inventory = Inventory(tuple(range(_CORES)), _MEMORY)
    agents.tell(*(NodeJoined(f"n{number}", inventory) for number in range(_NODES)))
    agents.tell(Submitted(tuple(Submit(_array(number, tasks // arrays)) for number in range(arrays))))
    filled, spent = agents.granted, agents.cpu_seconds
    agents.run(grants=filled + decisions)
    return _Rates(filled / spent, (agents.granted - filled) / (agents.cpu_seconds - spent))


def _array(number: int, tasks: int) -> Job:
    """The classes take turns; half of them say what their tasks probably take, and half ask for memory."""
    kind = number % _CLASSES
    chance = random.Random(kind)
    request = Request(
        cores=Amount(chance.randint(1, 16) * ONE),
        memory=chance.randint(1, 32) * 2**30 + kind if kind % 2 else None,
    )
    estimate = (_SHORTEST + _LONGEST) / 2 + kind if kind % 4 < 2 else None
    spec = JobSpec(
        name=f"j{number}",
        command="true",
        directory="/",
        cwd="/",
        array=RangeArray(0, tasks),
        request=request,
        estimate=estimate,
    )
    return Job(number, spec)


def _seconds(attempt: AttemptId) -> float:
    """Random, and the same in each run."""
    share = (104_729 * attempt.job + attempt.position) * 2_654_435_761 % 2**32 / 2**32
    return _SHORTEST + (_LONGEST - _SHORTEST) * share


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument(
        "--tasks", type=int, default=_TASKS, metavar="N", help="of the shorter queue (default: 1000000)"
    )
    parser.add_argument("--decisions", type=int, default=_DECISIONS, metavar="N", help="measured (default: 200000)")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, tasks=chosen.tasks, decisions=chosen.decisions))
