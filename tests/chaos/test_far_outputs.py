"""Outputs of a node that does not see the campaign's folder: no byte is lost, and no task settled without them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.chaos.chaos import PILOTFISH, read, wait_for
from tests.chaos.network import BY_WORD, FarCampaign, Network

pytestmark = pytest.mark.needs("root")

WORK = f"""case {{index}} in 1) echo small;; 2) seq 700000;; 3) echo wrong >&2;; esac; {BY_WORD}"""
LARGE = "".join(f"{number}\n" for number in range(1, 700_001)).encode()
OUTPUTS = {"a:0": (b"", b""), "a:1": (b"small\n", b""), "a:2": (LARGE, b""), "a:3": (b"", b"wrong\n")}


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[FarCampaign]:
    """Four tasks, two of which run on a machine with a disk of its own that sees nothing of the store."""
    with Network("a") as network, FarCampaign(tmp_path, network, tasks=4, work=WORK) as campaign:
        outputs = campaign.join.with_name("outputs")
        outputs.mkdir(parents=True)
        mount(campaign, "manager", outputs)
        campaign.start()
        mount(campaign, "a", tmp_path / ".pilotfish")
        mount(campaign, "a", campaign.runtime("a"))
        campaign.agent("a")
        campaign.wait_for_tasks("a")
        yield campaign


def mount(campaign: FarCampaign, name: str, place: Path) -> None:
    """A disk of one machine's own."""
    campaign.network.machines[name].do("mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "none", str(place))


def fill(campaign: FarCampaign, name: str, place: Path) -> None:
    campaign.network.machines[name].do("sh", "-c", f"head -c 64m /dev/zero > {place}/filler 2>/dev/null || true")


def make_room(campaign: FarCampaign, name: str, place: Path) -> None:
    campaign.network.machines[name].do("rm", f"{place}/filler")


def finish_with_all_outputs(campaign: FarCampaign, *, ended_with_their_agent: frozenset[str] = frozenset()) -> None:
    campaign.let_go()
    campaign.finish()
    assert campaign.ran_again() <= ended_with_their_agent
    for task, streams in OUTPUTS.items():
        for options, bytes_there in zip(([], ["--stderr"]), streams, strict=True):
            assert ask(campaign, "logs", *options, task) == bytes_there, (task, options)


def ask(campaign: FarCampaign, *words: str) -> bytes:
    """What a command says on the manager's machine."""
    there = campaign.network.machines["manager"].words(PILOTFISH, *words)
    return subprocess.run(
        there, cwd=campaign.folder, env=campaign.env, check=True, stdout=subprocess.PIPE, timeout=30
    ).stdout


def settled(campaign: FarCampaign) -> set[str]:
    tasks = msgspec.json.decode(ask(campaign, "tasks", "--state", "succeeded", "--json"))
    return {task["name"].partition(":")[2] for task in tasks}


def test_processes_between_them_are_killed(campaign: FarCampaign) -> None:
    (dialer,) = campaign.processes("dialer")
    os.kill(dialer, signal.SIGKILL)
    wait_for(lambda: set(campaign.processes("dialer")) - {dialer})
    campaign.let_go("0")
    wait_for(lambda: settled(campaign) == {"0"})
    campaign.wait_for_tasks("a")
    (gateway,) = campaign.processes("gateway")
    os.kill(gateway, signal.SIGKILL)
    campaign.wait_until_said("the gateway for agents of other machines ended with -9; it is started again")
    finish_with_all_outputs(campaign)


def test_an_agent_is_killed_when_outputs_have_come_and_nothing_is_recorded(campaign: FarCampaign) -> None:
    campaign.let_go("0", "1")
    wait_for(lambda: campaign.running("a") == {"2", "3"} and settled(campaign) == {"0", "1"})
    assert campaign.manager is not None
    os.kill(campaign.manager.pid, signal.SIGSTOP)
    campaign.let_go("2", "3")
    outputs = campaign.join.with_name("outputs")
    manager = campaign.network.machines["manager"]
    wait_for(lambda: str(len(LARGE)) in manager.do("stat", "--format=%s", "--", str(outputs), *there(campaign)).split())
    campaign.agents[0].kill()
    os.kill(campaign.manager.pid, signal.SIGCONT)
    campaign.agent("a")
    finish_with_all_outputs(campaign)


def there(campaign: FarCampaign) -> list[str]:
    """Files of outputs on the manager's machine."""
    outputs = campaign.join.with_name("outputs")
    return [f"{outputs}/{name}" for name in campaign.network.machines["manager"].do("ls", str(outputs)).split()]


def test_a_node_comes_back_with_an_empty_disk(campaign: FarCampaign) -> None:
    """What it brings then is not written over what it has brought before."""
    campaign.let_go("0", "1")
    wait_for(lambda: campaign.running("a") == {"2", "3"} and settled(campaign) == {"0", "1"})
    runtime = campaign.runtime("a")
    for pid in campaign.processes():
        if f"PILOTFISH_RUNTIME={runtime}\0".encode() in read(pid, "environ"):
            os.kill(pid, signal.SIGKILL)
    campaign.agents[0].wait(30)
    campaign.network.machines["a"].do("umount", "-l", str(runtime))
    mount(campaign, "a", runtime)
    campaign.agent("a")
    finish_with_all_outputs(campaign, ended_with_their_agent=frozenset({"2", "3"}))


def test_the_disk_of_the_manager_is_full(campaign: FarCampaign) -> None:
    outputs = campaign.join.with_name("outputs")
    campaign.let_go("0")
    wait_for(lambda: settled(campaign) == {"0"})
    fill(campaign, "manager", outputs)
    campaign.let_go("1", "2", "3")
    campaign.wait_until_said(f"a: outputs cannot be brought to {outputs}: No space left on device; tried again")
    wait_for(lambda: {"1", "2"} <= set(campaign.lines("ended")))
    assert settled(campaign) == {"0"}
    make_room(campaign, "manager", outputs)
    finish_with_all_outputs(campaign)


def test_an_agent_that_is_told_to_end_brings_its_outputs_first(campaign: FarCampaign) -> None:
    outputs = campaign.join.with_name("outputs")
    fill(campaign, "manager", outputs)
    campaign.let_go("0", "1")
    campaign.wait_until_said(f"a: outputs cannot be brought to {outputs}: No space left on device; tried again")
    wait_for(lambda: {"0", "1"} <= set(campaign.lines("ended")))
    agent = min(campaign.processes("agent", "--join"))
    os.kill(agent, signal.SIGTERM)
    wait_for(lambda: campaign.processes("agent", "--join") == [agent])
    make_room(campaign, "manager", outputs)
    wait_for(lambda: settled(campaign) == {"0", "1"})
    campaign.wait_until_said("its agent was ended by SIGTERM")
    wait_for(lambda: not campaign.processes("agent", "--join"))
    left = campaign.network.machines["a"].do("ls", "-AR", str(campaign.runtime("a"))).split()
    assert not {"join", "outputs"} & set(left), "a key, or outputs that are elsewhere, stay for ever"
    campaign.agent("a")
    # What printed nothing may have been settled at once, and the next task have begun.
    finish_with_all_outputs(campaign, ended_with_their_agent=frozenset({"2", "3"}))


def test_the_disk_of_the_node_is_full(campaign: FarCampaign) -> None:
    fill(campaign, "a", campaign.runtime("a"))
    # For a second keepers trust that there is room where there was some.
    wait_for(lambda: time.time() > (campaign.folder / "began").stat().st_mtime + 1.0)
    campaign.let_go("0", "1")
    campaign.wait_until_said("a: lane", "No space left on device; tried again each second")
    wait_for(lambda: campaign.running("a") == set())
    make_room(campaign, "a", campaign.runtime("a"))
    finish_with_all_outputs(campaign)
