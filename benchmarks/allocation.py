"""Tasks a second on four nodes of a real Slurm on this machine, against one ``srun`` for each task, eight at a time."""

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pairs import PILOTFISH, Figure, finish, medians, options, workplace
from tests.clusters import SlurmCluster

__all__ = ["figures"]

_NODES, _CORES = 4, 4
_STEPS = 160
"""By srun: they take seconds as it is."""
_BAR = 10.0


def figures(rounds: int, *, tasks: int = 10_000) -> Iterator[Figure]:
    """Of ``/bin/true``, from the start of the job's script to the end of the last task, agents included."""
    with SlurmCluster(nodes=_NODES, cpus=_CORES) as cluster:
        ours = f"{PILOTFISH} run --fresh --json tasks.yaml >/dev/null"
        steps = f"seq {_STEPS} | xargs -P8 -I{{}} srun --overlap --ntasks=1 --nodes=1 --mem=0 /bin/true"
        mine, theirs = medians(
            lambda: tasks / _seconds(cluster, ours, f"jobs: [{{name: a, array: {tasks}, command: [/bin/true]}}]"),
            lambda: _STEPS / _seconds(cluster, steps, ""),
            rounds,
        )
    yield Figure(f"{tasks:,} tasks on 4 nodes of Slurm", mine, "srun", theirs, "a second", mine / theirs, _BAR)


def _seconds(cluster: SlurmCluster, command: str, jobs: str) -> float:
    """How long a command takes inside an allocation of all nodes."""
    with workplace() as folder:
        (folder / "tasks.yaml").write_text(jobs)
        timed = f"#!/bin/bash\ncd {folder}\nbegin=$(date +%s.%N)\n{command} || exit\nend=$(date +%s.%N)\n"
        (folder / "job.sh").write_text(f"{timed}echo $begin $end >seconds\n")
        where = (f"--nodes={_NODES}", "--exclusive", "--wait", f"--output={folder}/log", str(folder / "job.sh"))
        cluster.run("sbatch", *where)
        told = Path(folder, "seconds")
        if not told.exists():
            sys.exit((folder / "log").read_text())
        begin, end = map(float, told.read_text().split())
    return end - begin


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--tasks", type=int, default=10_000, metavar="N", help="default: 10000")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, tasks=chosen.tasks))
