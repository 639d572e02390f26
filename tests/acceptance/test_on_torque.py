"""A run that gets its own job through Torque's commands, as Slurm imitates them."""

import json
import re
import signal

import pytest

from tests.acceptance.box import Box
from tests.clusters import SLURM, SlurmCluster, torque_commands

pytestmark = [*SLURM, pytest.mark.needs("torque")]

CAMPAIGN = """name: c
jobs:
  - name: a
    command: sh -c 'echo {index} $PILOTFISH_NODE >> began; until [ -e go ]; do sleep 0.1; done; echo {index} >> ended'
    array: 8
"""
WANTED = ("-N", "2", "-t", "10m", "--cores", "4")


@pytest.fixture
def away(slurm: SlurmCluster, box: Box) -> Box:  # noqa: ARG001 - it must be up before the environment is copied
    box.env |= {"PILOTFISH_LEASE": "30", **torque_commands()}
    box.write("c.yaml", CAMPAIGN)
    return box


def is_idle(slurm: SlurmCluster) -> bool:
    return not slurm.run("squeue", "--noheader", "--all").strip()


def test_it_runs_on_all_nodes_and_gives_them_back(slurm: SlurmCluster, away: Box) -> None:
    first = away.start("run", "c.yaml", "--on", "torque", *WANTED)
    away.wait_for(lambda: len(away.lines("began")) == 8, 60)
    away.write("go", "")
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert re.search(r"allocation (\d+) is in the queue\n(.*\n)*pilotfish: allocation \1 runs", said)
    assert sorted(away.lines("ended")) == list("01234567")
    assert {re.sub("-.*", "", line.split()[1]) for line in away.lines("began")} == {"n1", "n2"}
    slurm.wait_for(lambda: is_idle(slurm))


def test_a_server_gets_a_job_and_gives_it_back(slurm: SlurmCluster, away: Box) -> None:
    server = away.start("serve", "--no-agent", "--store", "s")
    away.wait_for((away.folder / "s/server/access").exists)
    asked = away.run("alloc", "submit", "torque", *WANTED, "--store", "s")
    assert asked.returncode == 0, asked.stderr
    away.run("submit", "c.yaml", "--server", "s")
    away.wait_for(lambda: len(away.lines("began")) == 8, 60)
    (told,) = json.loads(away.run("alloc", "list", "--json", "--store", "s").stdout)
    assert (told["id"], told["state"], told["nodes"]) == (asked.stdout.strip(), "running", 2)
    cancelled = away.run("alloc", "cancel", told["id"], "--store", "s")
    assert cancelled.returncode == 0, cancelled.stderr
    slurm.wait_for(lambda: is_idle(slurm))
    refused = away.run("alloc", "submit", "torque", *WANTED, "-p", "nope", "--store", "s")
    assert refused.returncode == 1
    assert re.search(r"was refused: .*nope", refused.stderr), refused.stderr
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)
