"""Inside real allocations of Slurm: what we read is what it lends, and one node's end is not another's."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.clusters import SLURM, SlurmCluster

JOB = Path(__file__).with_name("inside_job.py")
MIB = 2**20

pytestmark = [*SLURM]


def told(slurm: SlurmCluster, folder: Path, *options: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What a job with these options says: its allocation, and the share of each of its nodes."""
    output = folder / "out"
    words = ["sbatch", "--wait", "--time=10", "--output", str(output), *options, "--wrap", f"{sys.executable} -P {JOB}"]
    slurm.run(*words)
    lines = [json.loads(line) for line in output.read_text().splitlines() if line.startswith("{")]
    assert lines, output.read_text()
    return lines[0], {line["node"]: line for line in lines[1:]}


def test_each_node_lends_what_slurm_says(slurm: SlurmCluster, tmp_path: Path) -> None:
    began = time.time()
    allocation, nodes = told(slurm, tmp_path, "--ntasks=9", "--mem-per-cpu=300")
    assert allocation["system"] == "slurm"
    assert allocation["nodes"] == ["n1", "n2", "n3"]
    assert began + 590 < allocation["ends_at"] < time.time() + 610
    assert [nodes[name]["cores"] for name in ("n1", "n2", "n3")] == [4, 4, 1]
    assert [nodes[name]["memory"] for name in ("n1", "n2", "n3")] == [1200 * MIB, 1200 * MIB, 300 * MIB]
    assert all(node["gpus"] == [] for node in nodes.values())
    assert all(node["inside"] == "told" for node in nodes.values()), "the environment travels"
    _, nodes = told(slurm, tmp_path, "--nodes=2", "--cpus-per-task=2", "--mem=1500")
    assert [(nodes[name]["cores"], nodes[name]["memory"]) for name in ("n1", "n2")] == [(2, 1500 * MIB)] * 2


def test_every_gpu_of_the_job_is_seen(slurm: SlurmCluster, tmp_path: Path) -> None:
    lent = {
        "--nodes=2 --gres=gpu:1": [["0"], ["0"]],
        "--nodes=2 --exclusive": [["0", "1"], ["0", "1"]],
        "--nodes=2 --ntasks=4 --gpus=3": [["0", "1"], ["0"]],
        "--nodes=2 --ntasks-per-node=2 --gpus-per-task=1": [["0", "1"], ["0", "1"]],
        "--nodes=2 --ntasks=4 --ntasks-per-gpu=1": [["0", "1"], ["0", "1"]],
        "--nodes=2 --gpus=2 --cpus-per-task=1 --mem-per-gpu=100": [["0"], ["0"]],
    }
    for options, gpus in lent.items():
        _, nodes = told(slurm, tmp_path, *options.split())
        assert [nodes[name]["gpus"] for name in ("n1", "n2")] == gpus, options


def test_each_task_of_an_array_is_an_allocation_of_its_own(slurm: SlurmCluster, tmp_path: Path) -> None:
    """The number of the last one is that of them all."""
    words = ["--wait", "--array=1-3", "--exclusive", "--time=10", "--comment=NodeList=n9", f"--output={tmp_path}/%a"]
    slurm.run("sbatch", *words, "--wrap", f"{sys.executable} -P {JOB}")
    for task in "123":
        found, node = (json.loads(line) for line in (tmp_path / task).read_text().splitlines() if line[0] == "{")
        assert found["nodes"] == list(found["gpus"]) == [node["node"]]


def test_the_end_of_one_node_is_not_the_end_of_others(slurm: SlurmCluster, tmp_path: Path) -> None:
    words = f"{sys.executable} -P {JOB} --stay {tmp_path} --failing n3"
    options = ["--nodes=3", "--exclusive", "--no-kill", "--time=10", "--output", str(tmp_path / "out")]
    number = slurm.run("sbatch", "--parsable", *options, "--wrap", words).strip()
    try:
        slurm.wait_for(lambda: (tmp_path / "n1").exists() and (tmp_path / "n2").exists())
        slurm.wait_for(lambda: "n3" in (tmp_path / "out").read_text())  # srun says that its agent has failed
        slurm.control("kill-node", "n2")
        slurm.wait_for(lambda: "down" in slurm.run("sinfo", "-h", "-n", "n2", "-o", "%T"))
        before = int((tmp_path / "n1").read_text())
        slurm.wait_for(lambda: int((tmp_path / "n1").read_text()) > before + 10)
    finally:
        slurm.run("scancel", number)
        slurm.control("resume-node", "n2")
