"""The examples run, and find what they are known to find."""

import json
import shutil
from pathlib import Path

from tests.acceptance.box import Box

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_primes_below_five_million_are_counted(box: Box) -> None:
    shutil.copytree(EXAMPLES / "primes", box.folder / "primes")
    done = box.run("run", "primes/primes.yaml")
    assert done.returncode == 0, done.stderr
    assert box.run("logs", "reduce").stdout == "348513\n"


def test_a_real_workflow_runs_with_its_dependencies(box: Box) -> None:
    shutil.copytree(EXAMPLES / "montage", box.folder / "montage")
    table = "montage-chameleon-2mass-005d-001.tsv.gz"
    made = box.run("run", "--", "./montage/convert.py", f"montage/{table}", "0.01")
    box.write("montage.json", made.stdout)
    done = box.run("run", "montage.json")
    assert done.returncode == 0, done.stderr
    tasks = {task["name"]: task for task in json.loads(box.run("tasks", "--json").stdout)}
    jobs = json.loads(made.stdout)["jobs"]
    assert len(tasks) == len(jobs) == 58
    for job in jobs:
        for parent in job["after"]:
            assert tasks[parent]["ended_at"] <= tasks[job["name"]]["started_at"]
