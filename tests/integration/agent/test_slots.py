"""An attempt is told, and held to, what its slots say: cores, memory, GPUs; and a node knows what it has of them."""

import os

import pytest

from pilotfish.model.messages import Started
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Gpu, Request, Slots
from pilotfish.model.states import Outcome
from tests.integration.agent.agent_node import Node

MIB = 1024 * 1024
EAT = ("python3", "-c", "import time; x = bytearray(150 << 20); time.sleep(60)")


def test_the_memory_of_the_slots_is_the_limit(node: Node) -> None:
    node.up()
    spec = node.command(EAT, request=Request(memory=1024 * MIB))
    (attempt,) = node.run(spec, slots=Slots((0,), ONE, 100 * MIB))
    report = node.result(attempt)
    assert (report.outcome, "of 100 MiB" in report.reason) == (Outcome.out_of_memory, True)


def test_memory_that_has_grown_is_not_limited_by_what_was_asked_for(node: Node) -> None:
    node.up()
    spec = node.command(
        ("python3", "-c", "import time; x = bytearray(150 << 20); time.sleep(0.3)"), request=Request(memory=100 * MIB)
    )
    (attempt,) = node.run(spec, slots=Slots((0,), ONE, 300 * MIB))
    assert node.result(attempt).succeeded


def test_cores_are_those_that_were_given(node: Node) -> None:
    node.up()
    spec = node.command(
        "echo {cores} $PILOTFISH_CORES $OMP_NUM_THREADS $RAYON_NUM_THREADS", request=Request(most_cores=Amount(8 * ONE))
    )
    (attempt,) = node.run(spec, slots=Slots((1, 2, 5), Amount(3 * ONE), None))
    assert node.output(node.result(attempt)) == b"3 3 3 3\n"


def test_gpus_are_told_in_all_words(node: Node) -> None:
    node.env["CUDA_VISIBLE_DEVICES"] = "2,GPU-ab,3"
    assert [gpu.id for gpu in node.up().inventory.gpus] == ["2", "GPU-ab", "3"]
    names = ("PILOTFISH_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "CUDA_DEVICE_ORDER")
    spec = node.command(" ".join(["echo", *("$" + name for name in names)]))
    (attempt,) = node.run(spec, slots=Slots((0,), ONE, None, ("GPU-ab", "3"), Amount(2 * ONE)))
    assert node.output(node.result(attempt)) == b"GPU-ab,3 GPU-ab,3 GPU-ab,3 GPU-ab,3 PCI_BUS_ID\n"


def test_who_asked_for_no_gpu_sees_none(node: Node) -> None:
    node.env["CUDA_VISIBLE_DEVICES"] = "0,1"
    node.up()
    report = node.finish(node.command('echo "[$CUDA_VISIBLE_DEVICES]" "${CUDA_VISIBLE_DEVICES-unset}"'))
    assert node.output(report) == b"[] \n"


def test_variables_of_the_job_come_before_ours(node: Node) -> None:
    node.up()
    env = {"CUDA_VISIBLE_DEVICES": "7", "JULIA_NUM_THREADS": "auto", "TMPDIR": "/theirs", "PILOTFISH_TASK": "mine"}
    spec = node.command("echo $CUDA_VISIBLE_DEVICES $JULIA_NUM_THREADS $TMPDIR $PILOTFISH_TASK", env=env)
    assert node.output(node.finish(spec)) == b"7 auto /theirs mine\n"


def test_a_node_has_what_was_declared(node: Node) -> None:
    node.options |= {"gpus": 2, "resources": (("fpga", ONE),), "labels": ("fast",), "ends_at": 9e9}
    inventory = node.up().inventory
    assert inventory.gpus == (Gpu("0"), Gpu("1"))
    assert (inventory.resources, inventory.labels, inventory.ends_at) == ((("fpga", ONE),), ("fast",), 9e9)


def test_a_node_knows_its_memory_domains(node: Node) -> None:
    node.options = {}
    inventory = node.up().inventory
    assert sorted(core for domain in inventory.numa for core in domain) == list(inventory.cores)


@pytest.mark.needs("cores")
def test_domains_hold_what_was_claimed_alone(node: Node) -> None:
    node.options = {"at_most": 1}
    inventory = node.up().inventory
    assert inventory.numa == (inventory.cores,)
    assert len(inventory.cores) == 1 < len(os.sched_getaffinity(0))


def test_keepers_tell_a_new_agent_what_they_hold(node: Node) -> None:
    node.env["CUDA_VISIBLE_DEVICES"] = "4,5"
    first = node.up().inventory
    slots = Slots((0,), ONE, 512 * MIB, ("5",), Amount(5000), (("fpga", ONE),), exclusive=True)
    (attempt,) = node.run(node.command(node.waiting("held")), slots=slots)
    node.wait(lambda: node.heard(Started))
    node.kill_agent()
    node.start_agent()
    hello = node.wait_hello(2)
    assert hello.inventory == first
    assert [lane.slots for lane in hello.lanes] == [slots]
    node.go()
    assert node.result(attempt).succeeded
