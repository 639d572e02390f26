"""Requests and nodes: the slots that they get, or why not."""

import pytest

from pilotfish.errors import InternalError
from pilotfish.model.resources import Request, Slots
from pilotfish.scheduler.fit import Need, fits, refusal, slots_for
from pilotfish.scheduler.occupancy import Node
from tests.unit.scheduler.language import GIB, cores, inventory, request


def node(*taken: Slots, cpus: int = 4, gib: int = 8) -> Node:
    made = Node("n", inventory(cpus, gib))
    for slots in taken:
        made.take(slots)
    return made


def slots(*ids: int, amount: float | None = None, gib: int | None = None) -> Slots:
    return Slots(ids, cores(len(ids) if amount is None else amount), None if gib is None else gib * GIB)


FITS = {
    "the lowest core": ((), request(), slots(0)),
    "the lowest free cores": ((slots(1),), request(2), slots(0, 2)),
    "all cores": ((), request(4), slots(0, 1, 2, 3)),
    "memory is counted": ((slots(0, gib=4),), request(1, 4), slots(1, gib=4)),
    "without memory none is counted": ((slots(0, gib=8),), request(), slots(1)),
    "a fraction opens a core": ((), request(0.5), slots(0, amount=0.5)),
    "a fraction fills the fullest core": (
        (slots(0, amount=0.2), slots(1, amount=0.5)),
        request(0.5),
        slots(1, amount=0.5),
    ),
    "a fraction that does not fit the fullest": ((slots(0, amount=0.7),), request(0.5), slots(1, amount=0.5)),
    "a whole core is one that nobody uses": ((slots(0, amount=0.1),), request(), slots(1)),
    "no core": ((slots(0, 1, 2, 3),), request(0), slots(amount=0)),
}


@pytest.mark.parametrize(("taken", "wanted", "expected"), FITS.values(), ids=FITS)
def test_slots_that_a_request_gets(taken: tuple[Slots, ...], wanted: Request, expected: Slots) -> None:
    assert fits(Need(wanted), node(*taken))
    assert slots_for(Need(wanted), node(*taken)) == expected


REFUSED = {
    "cores": ((slots(0, 1, 2),), request(2), "needs 2 cores, and n has 1 of 4 cores free"),
    "memory": ((slots(0, gib=7),), request(1, 2), "needs 2 GiB, and n has 1 GiB free"),
    "fraction": (
        (slots(0, 1, 2), slots(3, amount=0.6)),
        request(0.5),
        "needs 0.5 of one core, and no core of n has so much free",
    ),
    "fractions use up whole cores": (
        tuple(slots(core, amount=0.1) for core in range(4)),
        request(1),
        "needs 1 core, and n has 0 of 4 cores free",
    ),
}


@pytest.mark.parametrize(("taken", "wanted", "reason"), REFUSED.values(), ids=REFUSED)
def test_reasons_why_a_request_does_not_fit(taken: tuple[Slots, ...], wanted: Request, reason: str) -> None:
    assert not fits(Need(wanted), node(*taken))
    assert refusal(Need(wanted), node(*taken)) == reason


def test_tasks_of_no_cores_do_not_start_without_end() -> None:
    full = node()
    nothing = Need(request(0))
    while fits(nothing, full):
        full.take(slots_for(nothing, full))
    assert refusal(nothing, full) == "n has 1000 tasks at once, and more would not do it good"


def test_what_is_given_back_is_free_again() -> None:
    one = node()
    taken = [slots_for(Need(request(0.3, 1)), one), slots(2, 3)]
    for held in taken:
        one.take(held)
    for held in taken:
        one.give(held)
    assert slots_for(Need(request(4, 8)), one) == slots(0, 1, 2, 3, gib=8)


@pytest.mark.parametrize("twice", [slots(0), slots(0, amount=0.6)])
def test_nothing_is_held_twice(twice: Slots) -> None:
    with pytest.raises(InternalError, match="twice"):
        node(twice, twice)


@pytest.mark.parametrize("given", [slots(0), slots(gib=1)])
def test_nothing_is_given_back_twice(given: Slots) -> None:
    with pytest.raises(InternalError, match="twice"):
        node().give(given)


@pytest.mark.parametrize(
    ("wanted", "possible"),
    [(request(4, 8), True), (request(5), False), (request(1, 9), False), (request(0.5), True), (request(0), True)],
)
def test_what_an_empty_node_could_hold(*, wanted: Request, possible: bool) -> None:
    assert (inventory(4).lacks(wanted) is None) is possible
