"""``pilotfish doctor`` on this machine; inside an allocation: ``tests/integration/batch``."""

import json
import re
import tempfile

import pytest

from tests.acceptance.box import Box


def test_each_finding_is_a_line(box: Box) -> None:
    done = box.run("doctor")
    assert done.returncode == 0, done.stdout
    assert "ok" in done.stdout
    assert f"free in {box.folder}" in done.stdout
    assert "allocation" not in done.stdout
    assert list(box.folder.iterdir()) == [], "it leaves nothing behind"


def test_a_problem_has_a_way_out_and_is_the_exit_code(box: Box) -> None:
    done = box.run("doctor", TMPDIR="/none")
    assert done.returncode == 1
    assert "1 problem" in done.stderr
    assert "temporary files" in done.stdout
    assert "/none cannot be written to (No such file or directory)" in done.stdout
    assert "→ set TMPDIR to a larger folder" in done.stdout


def test_a_store_cannot_be_a_file(box: Box) -> None:
    done = box.run("doctor", "--store", str(box.write("file", "")))
    assert done.returncode == 1
    assert "file cannot be written to (Not a directory)" in done.stdout


def test_scripts_read_json(box: Box) -> None:
    findings = json.loads(box.run("doctor", "--json").stdout)
    assert {"level", "subject", "text", "way_out", "nodes"} == set(findings[0])
    assert {"pilotfish", "kernel", "open files", "store", "memory"} < {finding["subject"] for finding in findings}


def test_a_runtime_folder_in_which_nothing_runs_is_a_problem(box: Box) -> None:
    with tempfile.TemporaryDirectory(prefix="x" * 80, dir="/tmp") as folder:
        assert box.run("run", "--", "true", PILOTFISH_RUNTIME=folder).returncode == 2
        done = box.run("doctor", PILOTFISH_RUNTIME=folder)
    assert done.returncode == 1
    assert f"{folder} has {len(folder)} bytes" in done.stdout
    assert "→ set PILOTFISH_RUNTIME to a folder whose path has at most" in done.stdout


@pytest.mark.parametrize(
    ("store", "why"),
    [("file", ".*/file/.*: Not a directory"), ("store", "srun: No such file or directory")],
    ids=["no room to meet", "no launcher"],
)
def test_nodes_that_cannot_be_asked_are_one_finding_of_many(box: Box, store: str, why: str) -> None:
    box.write("file", "")
    done = box.run("doctor", "--json", "--store", store, SLURM_JOB_ID="14", SLURM_JOB_NODELIST="n[1-2]", PATH="/none")
    assert done.returncode == 1, done.stderr
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert re.fullmatch(f"nodes cannot be asked: {why}", findings["launch"]["text"])
    assert findings["launch"]["nodes"] == ["n1", "n2"]
    assert findings["store"]["level"] == ("problem" if store == "file" else "ok")
    assert {"allocation", "end", "srun", "kernel", "engine"} < set(findings)


def test_half_an_allocation_is_a_problem(box: Box) -> None:
    done = box.run("doctor", SLURM_JOB_ID="14")
    assert done.returncode == 1
    assert "SLURM_JOB_ID is 14, but SLURM_JOB_NODELIST is not set: half an allocation" in done.stdout
