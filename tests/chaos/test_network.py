"""Agents on machines that are stopped or cut off from their manager, and managers that come and go.

The clock of a lease is all that both sides share then: never do two copies of a task run at once, each of which would
hold the task's lock; and while the lease lasts, nothing is repeated.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.errors import UnavailableError
from tests.chaos.chaos import wait_for
from tests.chaos.network import BY_WORD, LEASE, FarCampaign, Network

pytestmark = pytest.mark.needs("root")

OCCUPY = """
import socket, sys, time
while True:
    try:
        door = socket.create_server(("0.0.0.0", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.01)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[FarCampaign]:
    """Eight tasks that only KILL ends, two on each of two machines by now."""
    work = f"trap '' TERM; {BY_WORD}"
    with Network("a", "b") as network, FarCampaign(tmp_path, network, tasks=8, work=work, grace="60s") as campaign:
        campaign.start()
        campaign.agent("a")
        campaign.agent("b")
        campaign.wait_for_tasks("a", "b")
        yield campaign


def finish_without_repeating(campaign: FarCampaign) -> None:
    campaign.let_go()
    campaign.finish()
    assert campaign.ran_again() == set()


def finish_after_loss(campaign: FarCampaign, lost: set[str]) -> None:
    """What node a has lost runs on b while nothing of it runs on a; its agent ends, and the next one works there."""
    campaign.let_go(*campaign.running("b"))
    wait_for(lambda: campaign.running("b") == lost)
    campaign.network.mend("a")
    campaign.agents[0].wait(30)
    campaign.agent("a")
    campaign.wait_for_tasks("a")
    campaign.let_go()
    campaign.finish()
    assert campaign.ran_again() == lost


def test_a_short_cut_repeats_nothing(campaign: FarCampaign) -> None:
    campaign.network.cut("a")
    campaign.wait_until_said("node a has been silent")
    tasks = campaign.running("a")
    campaign.let_go(*tasks)
    wait_for(lambda: tasks <= set(campaign.lines("ended")))  # they have ended on a node that was cut off
    campaign.network.mend("a")
    campaign.wait_until_said("node a is back")
    finish_without_repeating(campaign)


def test_after_a_long_cut_both_sides_agree(campaign: FarCampaign) -> None:
    campaign.network.cut("a")
    lost = campaign.running("a")
    campaign.wait_until_said("node a is lost: no word from its agent for 4 s")
    finish_after_loss(campaign, lost)


def test_a_stopped_agent_repeats_nothing(campaign: FarCampaign) -> None:
    os.kill(campaign.agents[0].pid, signal.SIGSTOP)
    campaign.wait_until_said("node a has been silent")
    tasks = campaign.running("a")
    campaign.let_go(*tasks)
    wait_for(lambda: tasks <= set(campaign.lines("ended")))
    os.kill(campaign.agents[0].pid, signal.SIGCONT)
    campaign.wait_until_said("node a is back")
    finish_without_repeating(campaign)


@pytest.mark.soak
def test_keepers_end_their_tasks_when_their_agent_is_stopped_for_long(campaign: FarCampaign) -> None:
    os.kill(campaign.agents[0].pid, signal.SIGSTOP)
    lost = campaign.running("a")
    campaign.wait_until_said("node a is lost")
    os.kill(campaign.agents[0].pid, signal.SIGCONT)
    finish_after_loss(campaign, lost)


@pytest.mark.soak
def test_what_an_agent_hears_late_does_not_lengthen_its_lease(campaign: FarCampaign) -> None:
    """It is stopped, and reads when the lease is nearly over what the manager had said before the network was cut."""
    lost = campaign.running("a")
    os.kill(campaign.agents[0].pid, signal.SIGSTOP)
    campaign.wait_until_said("node a has been silent")
    campaign.network.cut("a")
    time.sleep(0.8 * LEASE - 0.6)
    os.kill(campaign.agents[0].pid, signal.SIGCONT)
    campaign.wait_until_said("node a is lost")
    finish_after_loss(campaign, lost)


def test_a_successor_is_found_at_another_port(tmp_path: Path) -> None:
    """By the campaign's file, or where a node does not see that, by what the next launch leaves there."""
    # A lease that lasts while two processes start on a busy machine.
    with Network("a", "b") as network, FarCampaign(tmp_path, network, tasks=8, lease=60.0) as campaign:
        campaign.start()
        network.machines["b"].do("mount", "-t", "tmpfs", "none", str(tmp_path / ".pilotfish"))
        campaign.agent("a")
        campaign.agent("b")
        campaign.wait_for_tasks("a", "b")
        with replace_manager(campaign):
            campaign.let_go(*campaign.running("a"))
            campaign.wait_for_tasks("a")
            tasks = campaign.running("b")
            campaign.let_go(*tasks)
            wait_for(lambda: tasks <= set(campaign.lines("ended")))
            assert not campaign.running("b"), "nobody can have told it of the successor"
            assert campaign.agent("b").wait(30) == UnavailableError.exit_code, "the agent before lives"
            campaign.wait_for_tasks("b")
            finish_without_repeating(campaign)


def replace_manager(campaign: FarCampaign) -> subprocess.Popen[bytes]:
    """Kill the manager, let another program have its port, start the next manager; that program."""
    port = campaign.join.read_text().partition("tls://")[2].split('"')[0].rpartition(":")[2]
    assert campaign.manager is not None
    campaign.manager.kill()
    campaign.manager.wait()
    words = campaign.network.machines["manager"].words(sys.executable, "-c", OCCUPY, port)
    occupied = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert occupied.stdout is not None
    occupied.stdout.readline()
    campaign.start()
    assert f":{port}" not in campaign.join.read_text()
    return occupied
