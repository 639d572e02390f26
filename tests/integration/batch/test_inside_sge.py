"""Inside a real job of Grid Engine: what we read is what it lends."""

import json
import sys
import time
from pathlib import Path

import pytest

from tests.clusters import GRID_ENGINE, GridEngine

JOB = Path(__file__).with_name("inside_job.py")

pytestmark = [*GRID_ENGINE]


@pytest.mark.parametrize(("options", "slots"), [("-pe smp 3 -l h_rt=0:10:0", 3), ("-l h_rt=600", 1)])
def test_a_job_has_its_slots_and_its_end(grid_engine: GridEngine, tmp_path: Path, options: str, slots: int) -> None:
    began, output = time.time(), tmp_path / "out"
    words = ["qsub", "-sync", "y", "-b", "y", "-o", str(output), "-j", "y", *options.split()]
    grid_engine.run(*words, sys.executable, "-P", str(JOB))
    allocation, node = [json.loads(line) for line in output.read_text().splitlines()]
    assert allocation["system"] == "sge"
    assert len(allocation["nodes"]) == 1
    assert began + 590 < allocation["ends_at"] < time.time() + 610
    assert (node["cores"], node["inside"]) == (slots, "told")
