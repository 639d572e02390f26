"""Cores close together and near their GPUs, parts of GPUs, custom resources, whole nodes."""

from typing import Any

import pytest

from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Gpu, Inventory, Request, Slots
from pilotfish.scheduler.fit import Need, fits, refusal, slots_for
from pilotfish.scheduler.occupancy import Node
from tests.unit.scheduler.language import GIB, cores

# Two memory domains of two cores with two threads each; the first GPU is near the second domain.
DOMAINS = ((0, 4, 1, 5), (2, 6, 3, 7))
GPUS = (Gpu("a", 1), Gpu("b", 0), Gpu("c", 0))


def node(*held: Slots, **more: Any) -> Node:
    made = Node("n", Inventory(tuple(range(8)), 8 * GIB, numa=DOMAINS, gpus=GPUS, **more))
    for slots in held:
        made.take(slots)
    return made


def held(*ids: int) -> Slots:
    return Slots(ids, cores(len(ids)), None)


def given(on: Node, **asked: Any) -> Slots:
    need = Need(Request(**asked))
    assert fits(need, on), refusal(need, on)
    return slots_for(need, on)


@pytest.mark.parametrize(
    ("taken", "wanted", "expected"),
    [
        ((), 2, (0, 4)),  # the threads of one core
        ((0,), 2, (4, 1)),  # the fuller domain that has enough, so that the other one stays whole
        ((0, 4, 1), 2, (2, 6)),  # not one here and one there
        ((0, 4, 1), 1, (5,)),
        ((0, 2), 4, (4, 1, 5, 6)),  # no domain has enough: as few as possible
        ((), 8, (0, 4, 1, 5, 2, 6, 3, 7)),
    ],
)
def test_cores_lie_close_together(taken: tuple[int, ...], wanted: int, expected: tuple[int, ...]) -> None:
    assert given(node(held(*taken)), cores=cores(wanted)).cores == expected


def test_cores_lie_near_the_gpu() -> None:
    slots = given(node(), cores=cores(2), gpus=ONE)
    near = {"a": (2, 6), "b": (0, 4)}
    assert slots.cores == near[slots.gpus[0]]


def test_gpus_lie_close_together() -> None:
    assert given(node(), gpus=cores(2)).gpus == ("b", "c")


def test_parts_of_gpus_share_one_and_whole_ones_stay_whole() -> None:
    on = node()
    shares = [given(on, gpus=Amount(4000))]
    on.take(shares[0])
    shares.append(given(on, gpus=Amount(6000)))
    on.take(shares[1])
    assert shares[0].gpus == shares[1].gpus
    assert len({*given(on, gpus=cores(2)).gpus, *shares[0].gpus}) == 3
    assert not fits(Need(Request(gpus=cores(3))), on)
    assert refusal(Need(Request(gpus=cores(3))), on) == "needs 3 GPUs, and n has 2 of 3 free"


def test_as_many_cores_as_are_free_up_to_the_most() -> None:
    assert len(given(node(), cores=cores(2), most_cores=cores(6)).cores) == 6
    assert len(given(node(held(0, 1, 2, 3, 4)), cores=cores(2), most_cores=cores(6)).cores) == 3
    assert not fits(Need(Request(cores(2), most_cores=cores(6))), node(held(0, 1, 2, 3, 4, 5, 6)))


def test_custom_resources_are_counted() -> None:
    on = node(resources=(("fpga", Amount(20_000)),))
    one = given(on, resources=(("fpga", Amount(15_000)),))
    on.take(one)
    need = Need(Request(resources=(("fpga", ONE),)))
    assert not fits(need, on)
    assert refusal(need, on) == "needs 1 fpga, and n has 0.5 free"
    on.give(one)
    assert fits(need, on)


def test_labels_must_be_carried() -> None:
    need = Need(Request(labels=("fast",)))
    assert fits(need, node(labels=("fast", "new")))
    assert not fits(need, node(labels=("new",)))
    assert "the label fast" in refusal(need, node())


def test_a_whole_node_is_empty_before_and_closed_meanwhile() -> None:
    whole, nothing = Need(Request(exclusive=True)), Need(Request(cores=Amount(0)))
    assert not fits(whole, node(held(3)))
    on = node()
    slots = given(on, exclusive=True, memory=GIB)
    assert (len(slots.cores), len(slots.gpus), slots.memory) == (8, 3, GIB)
    on.take(slots)
    assert not fits(nothing, on)
    assert refusal(nothing, on) == "n belongs to one task alone for now"
    on.give(slots)
    assert fits(whole, on)
