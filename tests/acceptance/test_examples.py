"""The examples run, and find what they are known to find."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.acceptance.box import Box

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_primes_below_five_million_are_counted(box: Box) -> None:
    shutil.copytree(EXAMPLES / "primes", box.folder / "primes")
    done = box.run("run", "primes/primes.yaml")
    assert done.returncode == 0, done.stderr
    assert box.run("logs", "reduce").stdout == "348513\n"


def test_a_sweep_takes_its_cases_from_a_product_and_a_table(box: Box) -> None:
    shutil.copytree(EXAMPLES / "sweep", box.folder / "sweep", ignore=shutil.ignore_patterns("out"))
    done = box.run("run", "sweep/sweep.yaml")
    assert done.returncode == 0, done.stderr
    table = box.run("logs", "table").stdout.splitlines()
    assert len(table) == 14
    assert (table[0], table[1]) == ("0.9 0.3 0.0000", "2.8 0.1 0.6429")
    assert (box.folder / "sweep" / "out" / "settles, slowly.txt").exists()


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


def test_delayed_calls_sum_up(box: Box) -> None:
    program = [sys.executable, str(EXAMPLES / "delayed" / "sum_up.py")]
    assert subprocess.check_output(program, cwd=box.folder, env=box.env, text=True, timeout=60) == "15\n"
