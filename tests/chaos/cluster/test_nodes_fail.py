"""Nodes of an allocation die or never come, slurmctld is away, allocations end: nothing is lost, what lives goes on."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.chaos import wait_for
from tests.chaos.cluster.allocated import Allocated
from tests.clusters import SLURM, SlurmCluster

pytestmark = [*SLURM]


@pytest.fixture(autouse=True)
def _nodes_come_back(slurm: SlurmCluster) -> Iterator[None]:
    yield
    slurm.run("scancel", "--user=root")
    for line in slurm.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines():
        node, state = line.split()
        if "down" in state:
            slurm.control("resume-node", node)


def is_down(slurm: SlurmCluster, node: str) -> bool:
    return "down" in slurm.run("sinfo", "--noheader", f"--nodes={node}", "--format=%T")


def test_a_node_dies(slurm: SlurmCluster, tmp_path: Path) -> None:
    campaign = Allocated(slurm, tmp_path, tasks=16)
    campaign.submit()
    campaign.wait_for_tasks("n1", "n2", "n3", "n4")
    lost = campaign.running("n3")
    slurm.control("kill-node", "n3")
    campaign.let_go(*campaign.running("n1"))
    slurm.wait_for(lambda: is_down(slurm, "n3"))
    proven = time.monotonic()
    wait_for(lambda: "node n3 is lost" in campaign.said)
    known = time.monotonic()
    wait_for(lambda: campaign.running("n1") == lost)
    sys.stdout.write(
        f"known {known - proven:.2f} s, started elsewhere {time.monotonic() - proven:.2f} s after the proof\n"
    )
    campaign.finish()
    assert campaign.ran_again() == lost
    assert "node n3 is lost: slurm says that it is down" in campaign.said


@pytest.mark.soak
def test_a_node_dies_while_slurmctld_is_away(slurm: SlurmCluster, tmp_path: Path) -> None:
    campaign = Allocated(slurm, tmp_path, tasks=16)
    campaign.submit()
    campaign.wait_for_tasks("n1", "n2", "n3", "n4")
    lost, tasks = campaign.running("n4"), campaign.running("n2")
    slurm.control("stop-ctld")
    slurm.control("kill-node", "n4")
    campaign.let_go(*tasks)
    wait_for(lambda: tasks <= set(campaign.lines("ended")))  # what lives goes on
    slurm.control("start-ctld")
    wait_for(lambda: campaign.running("n2") == lost, 60)
    campaign.finish()
    assert campaign.ran_again() == lost
    assert "node n4 is lost: slurm says that it is down" in campaign.said


@pytest.mark.soak
def test_a_node_dies_and_comes_back_at_once_and_dies_again(slurm: SlurmCluster, tmp_path: Path) -> None:
    campaign = Allocated(slurm, tmp_path, tasks=16)
    campaign.submit()
    campaign.wait_for_tasks("n1", "n2", "n3", "n4")
    lost = campaign.running("n3")
    slurm.control("kill-node", "n3")
    slurm.control("resume-node", "n3")
    campaign.let_go(*campaign.running("n1"))
    wait_for(lambda: not lost & campaign.running("n3") or len(campaign.ran_again()) == len(lost), 100)
    slurm.control("kill-node", "n3")
    campaign.let_go(*campaign.running("n2"))
    wait_for(lambda: campaign.running("n1") | campaign.running("n2") >= lost, 100)
    campaign.finish()
    assert campaign.ran_again() == lost


@pytest.mark.soak
def test_a_node_whose_agent_cannot_start_is_told(slurm: SlurmCluster, tmp_path: Path) -> None:
    folder = f"pf-{tmp_path.name[-6:]}"
    campaign = Allocated(slurm, tmp_path, tasks=12)
    (slurm.folder / "spool" / "n2.local" / folder).touch()
    campaign.submit(PILOTFISH_RUNTIME=f"{slurm.folder}/local/{folder}")
    campaign.wait_for_tasks("n1", "n3", "n4")
    campaign.wait_until_said("node n2 did not come: ")
    assert f"node n2: {slurm.folder}/local/{folder}: File exists" in campaign.said
    campaign.finish()
    assert campaign.ran_again() == set()


@pytest.mark.parametrize("signal", ["USR1", "TERM"])
def test_the_next_allocation_goes_on(slurm: SlurmCluster, tmp_path: Path, signal: str) -> None:
    """The end of the first is announced, as `sbatch --signal=B:USR1@60` does; TERM is its very end."""
    campaign = Allocated(slurm, tmp_path, tasks=16)
    campaign.submit(nodes=2)
    campaign.wait_for_tasks("n1", "n2")
    done = campaign.running("n1")
    campaign.let_go(*done)
    wait_for(lambda: done <= set(campaign.lines("ended")) and len(campaign.running("n1")) == 4)
    running = campaign.running("n1") | campaign.running("n2")
    if signal == "USR1":
        slurm.run("scancel", "--signal=USR1", "--batch", campaign.number)
        campaign.wait_until_said("stopping: what runs may end")
        campaign.let_go(*running)
    else:
        slurm.run("scancel", campaign.number)
    wait_for(lambda: campaign.over, 60)
    succeeded = set(campaign.lines("ended"))
    assert succeeded == (done | running if signal == "USR1" else done)
    assert [campaign.ends(task) for task in running - succeeded] == [[]] * len(running - succeeded), "nobody has failed"
    campaign.submit(nodes=2)
    campaign.let_go()
    campaign.finish()
    again = campaign.ran_again()
    assert not again & succeeded
    if signal == "USR1":
        assert not again
    else:  # in the place of one that TERM has ended, another may have begun for a moment
        assert running <= again


def test_a_term_to_the_step_of_the_agents_fails_no_task(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Agents, keepers and tasks get TERM; the run lives, and starts agents again."""
    campaign = Allocated(slurm, tmp_path, tasks=8)
    campaign.submit(nodes=2)
    campaign.wait_for_tasks("n1", "n2")
    slurm.run("scancel", "--signal=TERM", f"{campaign.number}.0")
    campaign.wait_until_said("node n1 is lost: its agent was ended by SIGTERM", "node n2 is lost")
    campaign.finish()
    assert campaign.ran_again() == set(campaign.last())
    assert [campaign.ends(task) for task in campaign.last()] == [["exited"]] * 8
    assert "failed" not in campaign.said
