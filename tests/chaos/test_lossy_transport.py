"""A campaign over a transport that drops, repeats and delays frames between manager and agent."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
TASKS = 1_500


@pytest.mark.parametrize("seed", range(3))
def test_every_task_runs_once(tmp_path: Path, seed: int) -> None:
    job = {"name": "a", "array": TASKS, "command": "echo {index} >> ran"}
    (tmp_path / "c.json").write_bytes(msgspec.json.encode({"name": "lossy", "jobs": [job]}))
    env = os.environ | {"PYTHONPATH": str(ROOT), "PILOTFISH_RESEND_AFTER": "0.05", "PILOTFISH_GRACE": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.lossy", str(seed), "run", "c.json"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["delay", "drop", "repeat", "send"], "the manager's half was not tried"
    assert Counter((tmp_path / "ran").read_text().split()) == Counter(str(index) for index in range(TASKS))
