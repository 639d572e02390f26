"""Real workflows as sleeps, from the start of the command to its end, against a greedy list schedule without overhead.

Each workflow has its run times as estimates, scaled so that the list schedule takes a minute, on 2 declared cores as on
8. With ``--virtual`` the scheduler alone runs them, on virtual time: what is lost
there is lost by its decisions, the rest by processes.
"""

import csv
import gzip
import heapq
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.pairs import PILOTFISH, Figure, Run, finish, options
from benchmarks.scripted import Agents
from pilotfish.manager.intake import dependencies_first
from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Submit
from pilotfish.model.events import NodeJoined, Submitted
from pilotfish.model.jobs import Dependency, Job, JobSpec
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Inventory, Request
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings

__all__ = ["figures"]

_HERE = Path(__file__).parent
_TABLES = {
    "montage": _HERE.parent / "examples" / "montage" / "montage-chameleon-2mass-005d-001.tsv.gz",
    "1000genome": _HERE / "data" / "1000genome-chameleon-22ch-250k-001.2core.tsv.gz",
    "epigenomics": _HERE / "data" / "epigenomics-chameleon-ilmn-6seq-50k-001.tsv.gz",
}
_CORES = (2, 8)
_SECONDS = 60.0
"""Of each list schedule: so long that the start of a command, which no real workflow would notice, hardly counts."""
_BAR = 1.05


class _Task(NamedTuple):
    """A row of a table."""

    seconds: float
    cores: int
    parents: tuple[str, ...]


_Workflow = Mapping[str, _Task]


def figures(rounds: int, *, seconds: float = _SECONDS, virtual: bool = False) -> Iterator[Figure]:
    """Seconds of each workflow on each number of cores."""
    makespan = _virtual if virtual else _real
    for name, table in _TABLES.items():
        for cores in _CORES:
            workflow = _read(table, seconds / _list_schedule(_read(table, 1.0), cores))
            ours = median(makespan(workflow, cores) for _ in range(rounds))
            ideal = _list_schedule(workflow, cores)
            title = f"{name} on {cores} cores"
            yield Figure(title, ours, "list schedule", ideal, "s", ours / ideal, _BAR, at_most=True)


def _read(table: Path, factor: float) -> _Workflow:
    with gzip.open(table, "rt", encoding="utf-8", newline="") as text:
        rows = [row for row in csv.reader(text, delimiter="\t") if not row[0].startswith("#")]
    return {
        name: _Task(round(float(seconds) * factor, 4), int(cores), tuple(parents.split(",")) if parents else ())
        for name, seconds, cores, _memory, parents in rows
    }


def _list_schedule(workflow: _Workflow, cores: int) -> float:
    """The makespan when whatever fits starts at once, the longest remaining path first."""
    paths = _longest_paths(workflow)
    children = _children(workflow)
    missing = {name: len(task.parents) for name, task in workflow.items()}
    ready = sorted((name for name, parents in missing.items() if not parents), key=paths.__getitem__, reverse=True)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        for name in list(ready):
            if workflow[name].cores <= cores:
                cores -= workflow[name].cores
                ready.remove(name)
                heapq.heappush(running, (now + workflow[name].seconds, name))
        now, ended = heapq.heappop(running)
        cores += workflow[ended].cores
        for child in children[ended]:
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
        ready.sort(key=paths.__getitem__, reverse=True)
    return now


def _longest_paths(workflow: _Workflow) -> dict[str, float]:
    """By task, the seconds of the longest chain that begins with it."""
    children = _children(workflow)
    paths: dict[str, float] = {}
    stack = list(workflow)
    while stack:
        name = stack[-1]
        unknown = [child for child in children[name] if child not in paths]
        stack.extend(unknown)
        if not unknown:
            stack.pop()
            paths[name] = workflow[name].seconds + max((paths[child] for child in children[name]), default=0.0)
    return paths


def _children(workflow: _Workflow) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {name: [] for name in workflow}
    for name, task in workflow.items():
        for parent in task.parents:
            children[parent].append(name)
    return children


def _real(workflow: _Workflow, cores: int) -> float:
    """Of the whole command."""
    jobs = [
        {
            "name": name,
            "command": ["sleep", f"{task.seconds:.4f}"],
            "estimate": task.seconds,
            "cores": task.cores,
            "after": list(task.parents),
        }
        for name, task in workflow.items()
    ]
    files = {"workflow.json": json.dumps({"name": "workflow", "jobs": jobs})}
    return Run((PILOTFISH, "run", "--cores", str(cores), "workflow.json"), files=files).seconds()


def _virtual(workflow: _Workflow, cores: int) -> float:
    """Of the scheduler's decisions alone, without a process or a message."""
    jobs = _jobs(workflow)
    by_id = {job.id: job for job in jobs}
    agents = Agents(Scheduler(Settings(), 1), partial(_seconds, by_id))
    agents.tell(NodeJoined("node", Inventory(tuple(range(cores)), 2**40)))
    agents.tell(Submitted(tuple(map(Submit, jobs))))
    agents.run()
    if agents.ended != len(jobs):
        raise RuntimeError(f"{len(jobs) - agents.ended} of {len(jobs)} tasks have not run")
    return agents.now


def _seconds(jobs: Mapping[int, Job], attempt: AttemptId) -> float:
    return jobs[attempt.job].spec.estimate or 0.0


def _jobs(workflow: _Workflow) -> list[Job]:
    specs = [
        JobSpec(
            name=name,
            command="true",
            directory="/",
            cwd="/",
            after=tuple(map(Dependency, task.parents)),
            request=Request(Amount(task.cores * ONE)),
            estimate=task.seconds,
        )
        for name, task in workflow.items()
    ]
    ids = {spec.name: number for number, spec in enumerate(dependencies_first(specs), start=1)}
    return [Job(ids[spec.name], spec, tuple(ids[dependency.on] for dependency in spec.after)) for spec in specs]


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each list schedule (default: 60)")
    parser.add_argument("--virtual", action="store_true", help="without processes, on virtual time")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, seconds=chosen.seconds, virtual=chosen.virtual))
