"""A run that gets its own job of Grid Engine, and one inside such a job."""

import json
import re
import signal

import pytest

from tests.acceptance.box import PILOTFISH, Box
from tests.clusters import GRID_ENGINE, GridEngine

pytestmark = [*GRID_ENGINE]

CAMPAIGN = """name: c
jobs:
  - name: a
    command: sh -c 'echo {index} $PILOTFISH_NODE >> began; until [ -e go ]; do sleep 0.1; done; echo {index} >> ended'
    array: 8
"""
WANTED = ("-t", "10m", "--cores", "4", "--pe", "smp")


@pytest.fixture
def away(grid_engine: GridEngine, box: Box) -> Box:  # noqa: ARG001 - it must be up before the environment is copied
    box.env["PILOTFISH_LEASE"] = "30"
    box.write("c.yaml", CAMPAIGN)
    return box


def is_idle(grid_engine: GridEngine) -> bool:
    return not grid_engine.run("qstat").strip()


def test_it_runs_and_an_interrupt_gives_the_job_back(grid_engine: GridEngine, away: Box) -> None:
    first = away.start("run", "c.yaml", "--on", "sge", *WANTED)
    away.wait_for(lambda: len(away.lines("began")) == 4, 60)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    grid_engine.wait_for(lambda: is_idle(grid_engine))
    away.write("go", "")
    done = away.run("run", "c.yaml", "--on", "sge", *WANTED)
    assert done.returncode == 0, done.stderr
    assert re.search(r"allocation (\d+) is in the queue\n(.*\n)*pilotfish: allocation \1 runs", done.stderr)
    assert sorted(away.lines("ended")) == list("01234567")
    grid_engine.wait_for(lambda: is_idle(grid_engine))


def test_a_server_gets_a_job(grid_engine: GridEngine, away: Box) -> None:
    server = away.start("serve", "--no-agent", "--store", "s")
    away.wait_for((away.folder / "s/server/access").exists)
    asked = away.run("alloc", "submit", "sge", *WANTED, "--store", "s")
    assert asked.returncode == 0, asked.stderr
    away.run("submit", "c.yaml", "--server", "s")
    away.wait_for(lambda: len(away.lines("began")) == 4, 60)
    (told,) = json.loads(away.run("alloc", "list", "--json", "--store", "s").stdout)
    assert (told["id"], told["state"]) == (asked.stdout.strip(), "running")
    away.run("alloc", "cancel", "--all", "--store", "s")
    grid_engine.wait_for(lambda: is_idle(grid_engine))
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pe", "nope", "--cores", "4"), "was refused: .*nope"),
        (("-p", "nope.q", "--pe", "smp", "--cores", "4"), "was refused: .*nope"),
    ],
)
def test_a_refusal_is_told(grid_engine: GridEngine, away: Box, words: tuple[str, ...], says: str) -> None:
    done = away.run("run", "c.yaml", "--on", "sge", "-t", "10m", *words)
    assert done.returncode == 1
    assert len(re.findall(says, done.stderr)) == 1, done.stderr
    assert is_idle(grid_engine)


def test_inside_a_job_it_uses_its_slots(grid_engine: GridEngine, away: Box) -> None:
    away.write("go", "")
    words = [
        "qsub",
        "-sync",
        "y",
        "-b",
        "y",
        "-V",
        "-wd",
        str(away.folder),
        "-o",
        "out",
        "-e",
        "said",
        "-pe",
        "smp",
        "2",
    ]
    exports = ["env", *(f"{name}={away.env[name]}" for name in ("PILOTFISH_RUNTIME", "PILOTFISH_LEASE"))]
    grid_engine.run(*words, *exports, PILOTFISH, "run", "c.yaml")
    assert sorted(away.lines("ended")) == list("01234567"), away.lines("said")
