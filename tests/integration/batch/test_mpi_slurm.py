"""MPI programs on several nodes of a real Slurm: side by side, started by each launcher."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import SLURM, SlurmCluster

PILOTFISH = str(Path(sys.executable).with_name("pilotfish"))
LAUNCHERS = ("openmpi", "srun")
"""Hydra looks up names of hosts, which these virtual nodes do not have."""
TASKS = 4

pytestmark = [*SLURM, pytest.mark.needs("mpi")]

_WHERE = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    int rank, ranks, sum;
    char line[999];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    fwrite(line, 1, sprintf(line, "%d/%d %s %d\n", rank, ranks, getenv("PILOTFISH_NODE"), sum), stdout);
    MPI_Finalize();
    return 0;
}
"""


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ranks_on_two_nodes_side_by_side(slurm: SlurmCluster, tmp_path: Path, launcher: str) -> None:
    (tmp_path / "where.c").write_text(_WHERE)
    subprocess.run(["mpicc.openmpi", "-o", "where", "where.c"], cwd=tmp_path, check=True)
    # Each asks for half of two nodes: of four nodes all run at the same time, or none gets further than its setup.
    together = f"touch began.$PILOTFISH_INDEX; until [ $(ls began.* | wc -l) = {TASKS} ]; do sleep 0.1; done"
    job = {"name": "mpi", "array": TASKS, "launcher": launcher, "ranks": 4, "nodes": 2, "command": f"{tmp_path}/where",
           "env": {"SLURM_MPI_TYPE": "pmix"}, "setup": together}  # fmt: skip
    if launcher == "srun":
        # Slurm 22.05's PMIx plugin lets a fence end too early, or never, where nodes are busy and begin the step apart:
        # ranks crash or hang, as they do where only Slurm starts them.
        job |= {"retries": 4, "time": "20s"}
    (tmp_path / "c.json").write_text(json.dumps({"name": "mpi", "jobs": [job]}))
    output = tmp_path / "log"
    wrap = f"cd {tmp_path} && {PILOTFISH} run c.json"
    words = ["--nodes=4", "--exclusive", "--no-kill", "--time=10", "--output", str(output), "--wrap", wrap]
    slurm.run("sbatch", *words)  # which would itself wait in larger and larger steps
    slurm.wait_for(lambda: not slurm.run("squeue", "--noheader").strip(), 200)
    store = ("--store", f"{tmp_path}/.pilotfish")
    tasks: list[dict[str, Any]] = json.loads(slurm.run(PILOTFISH, "tasks", *store, "--json"))
    assert [task["state"] for task in tasks] == ["succeeded"] * TASKS, output.read_text()
    for task in tasks:
        said = slurm.run(PILOTFISH, "logs", *store, task["name"])
        lines = [line.split() for line in said.splitlines()]
        assert sorted(line[0] for line in lines) == ["0/4", "1/4", "2/4", "3/4"]
        assert sorted(Counter(line[1] for line in lines).values()) == [2, 2]
        assert {line[2] for line in lines} == {"6"}
