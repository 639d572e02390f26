"""``pilotfish doctor`` in real allocations of Slurm: each node is asked once, by the launcher that starts agents."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.clusters import SLURM, SlurmCluster

PILOTFISH = Path(sys.executable).with_name("pilotfish")
NODES = ["n1", "n2", "n3"]

pytestmark = [*SLURM]


class Doctor:
    """A job that asks on three nodes, after a command of its own."""

    def __init__(self, slurm: SlurmCluster, output: Path, store: Path, *options: str, before: str = "true") -> None:
        self._slurm, self._output = slurm, output
        script = f"{before}; {PILOTFISH} doctor --json --store {store}"
        words = [
            "sbatch",
            "--nodelist=n[1-3]",
            "--time=10",
            "--output",
            str(output),
            "--parsable",
            *options,
            "--wrap",
            script,
        ]
        self._number = slurm.run(*words).strip()

    def says(self) -> dict[str, Any]:
        """Its findings by their subject."""
        self._slurm.wait_for(lambda: self._number not in self._slurm.run("squeue", "-h", "-o", "%A"))
        findings = json.loads("".join(line for line in self._output.read_text().splitlines() if line[:1] in "[]{"))
        return {finding["subject"]: finding for finding in findings}


def test_all_nodes_are_looked_at(slurm: SlurmCluster, tmp_path: Path) -> None:
    found = Doctor(slurm, tmp_path / "out", tmp_path / "store").says()
    assert found["allocation"]["nodes"] == NODES
    assert found["end"]["text"].startswith(("the allocation ends in 9m", "the allocation ends in 10m"))
    assert found["kernel"]["nodes"] == NODES
    subjects = ("srun", "versions", "network", "clocks", "shared folder", "locks", "appends")
    assert [found[subject]["level"] for subject in subjects] == ["ok"] * len(subjects)
    assert found["KillWait"]["level"] == "warning"  # this slurm kills 5 s after TERM
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "it leaves nothing behind"


def test_a_folder_that_is_not_shared_is_told(slurm: SlurmCluster, tmp_path: Path) -> None:
    found = Doctor(slurm, tmp_path / "out", slurm.folder / "local").says()
    assert (found["shared folder"]["level"], found["shared folder"]["nodes"]) == ("warning", ["n2", "n3"])


def test_a_node_that_has_failed_is_told(slurm: SlurmCluster, tmp_path: Path) -> None:
    gone = f"touch {tmp_path}/runs; until squeue -h -j $SLURM_JOB_ID -o %D | grep -q 2; do sleep 0.1; done"
    doctor = Doctor(slurm, tmp_path / "out", tmp_path / "store", "--no-kill", before=gone)
    slurm.wait_for((tmp_path / "runs").exists)
    slurm.control("kill-node", "n3")
    try:
        found = doctor.says()
    finally:
        slurm.control("resume-node", "n3")
    assert (found["allocation"]["level"], found["allocation"]["nodes"]) == ("warning", ["n3"])
    assert found["kernel"]["nodes"] == ["n1", "n2"]
