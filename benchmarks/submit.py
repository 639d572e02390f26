"""100,000 jobs with random dependencies and 50 request classes: until they are queued, and what deciding costs.

Queued means read, checked, planned, durable in a store on a disk, and known to the scheduler. Deciding is processor
time of the scheduler, from the submission to the last end, with scripted agents on virtual time: on a large node and
on a small one, and beside it for one array of as many tasks. Nothing is compared with a peer here: the bars are times.
"""

import gc
import json
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.pairs import Figure, finish, options, workplace
from benchmarks.scripted import Agents
from pilotfish.formats.native import load
from pilotfish.manager.intake import plan
from pilotfish.manager.start import spare_collector
from pilotfish.model.changes import Submit
from pilotfish.model.events import NodeJoined, Submitted
from pilotfish.model.jobs import Job, JobSpec, RangeArray
from pilotfish.model.resources import Inventory
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.sqlite import SqliteStore

__all__ = ["figures"]

_JOBS, _CLASSES = 100_000, 50
_MOST_DEPENDENCIES = 3
_MEMORY = 256 * 2**30
_SECONDS = 10.0
"""Until it is queued."""
_NODES = (64, 2)
"""Their cores."""
_EACH, _EACH_OF_ARRAY = 50.0, 10.0
"""Microseconds per task."""
_TASK = 0.001
"""Seconds that a task takes: about what the shortest programs do."""
_TURN = 0.005
"""Seconds in which an agent collects reports: about what a commit takes, for which the manager lets them wait."""


def figures(rounds: int, *, jobs: int = _JOBS) -> Iterator[Figure]:
    """Seconds until it is queued; microseconds per task of both shapes on both nodes."""
    text = _job_file(jobs)
    taken = [_queue(text) for _ in range(rounds)]
    seconds = median(seconds for seconds, _ in taken)
    yield Figure(f"queue {jobs:,} jobs", seconds, "limit", _SECONDS, "s", seconds / _SECONDS, 1.0, at_most=True)
    shapes = {
        f"{jobs:,} jobs of {_CLASSES} classes": (taken[0][1], _EACH),
        f"an array of {jobs:,}": ((Submit(_array(jobs)),), _EACH_OF_ARRAY),
    }
    for shape, (submits, limit) in shapes.items():
        for cores in _NODES:
            cost = median(_microseconds(submits, cores) for _ in range(rounds))
            name = f"deciding about a task of {shape}, {cores} cores"
            yield Figure(name, cost, "limit", limit, "µs", cost / limit, 1.0, at_most=True)


def _job_file(jobs: int) -> str:
    """Each job comes after up to three earlier ones; a class is an amount of memory, cores being one or two."""
    chance = random.Random(1)
    entries = []
    for number in range(jobs):
        kind = chance.randrange(_CLASSES)
        after = chance.sample(range(number), min(number, chance.randint(0, _MOST_DEPENDENCIES)))
        entry = {
            "name": f"job{number}",
            "command": ["./work", str(number)],
            "cores": 1 + kind % 2,
            "memory": f"{100 + kind}MiB",
            "after": [f"job{earlier}" for earlier in after],
        }
        entries.append(entry)
    return json.dumps({"name": "many", "jobs": entries})


def _queue(text: str) -> tuple[float, tuple[Submit, ...]]:
    """How long it takes, and what was submitted."""
    with workplace() as folder:
        file = folder / "many.json"
        file.write_text(text)
        begin = time.perf_counter()
        with closing(SqliteStore(folder / "store")) as store:
            submits = _submit(file, store)
            return time.perf_counter() - begin, submits


def _submit(file: Path, store: SqliteStore) -> tuple[Submit, ...]:
    accepted = plan(load(file).jobs, store.load(), next_id=1, now=time.time())
    store.commit(accepted.changes)
    submits = tuple(change for change in accepted.changes if isinstance(change, Submit))
    Scheduler(Settings(), store.epoch).handle(Submitted(submits), time.time())
    store.flush()
    return submits


def _microseconds(submits: tuple[Submit, ...], cores: int) -> float:
    """What the scheduler needs for each task, until all have run."""
    agents = Agents(Scheduler(Settings(), 1), lambda _: _TASK, turn=_TURN)
    gc.disable()  # as a manager does
    agents.tell(NodeJoined("node", Inventory(tuple(range(cores)), _MEMORY)), Submitted(submits))
    spare_collector()
    agents.run()
    gc.unfreeze()
    tasks = sum(submit.job.spec.count for submit in submits)
    if agents.ended != tasks:
        raise RuntimeError(f"{tasks - agents.ended} of {tasks} tasks have not run")
    return agents.cpu_seconds / tasks * 1e6


def _array(tasks: int) -> Job:
    return Job(1, JobSpec(name="work", command="true", directory="/", cwd="/", array=RangeArray(0, tasks)))


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--jobs", type=int, default=_JOBS, metavar="N", help="default: 100000")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, jobs=chosen.jobs))
