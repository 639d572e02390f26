"""``pilotfish doctor`` on this machine; inside an allocation: ``tests/integration/batch``."""

import json

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


def test_scripts_read_json(box: Box) -> None:
    findings = json.loads(box.run("doctor", "--json").stdout)
    assert {"level", "subject", "text", "way_out", "nodes"} == set(findings[0])
    assert {"pilotfish", "kernel", "open files", "store", "memory"} < {finding["subject"] for finding in findings}


def test_half_an_allocation_is_a_problem(box: Box) -> None:
    done = box.run("doctor", SLURM_JOB_ID="14")
    assert done.returncode == 1
    assert "SLURM_JOB_ID is 14, but SLURM_JOB_NODELIST is not set: half an allocation" in done.stdout
