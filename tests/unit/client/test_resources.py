"""Resources are values with laws: of joining, of order, of equality; and what is wrong is refused."""

import copy
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given

from pilotfish.client.resources import (
    Asked,
    Capacity,
    Cores,
    GPUs,
    Kind,
    Memory,
    Resource,
    ResourceError,
    Token,
    WallTime,
    as_request,
    node,
)
from pilotfish.client.stock import Stock
from pilotfish.errors import UserError
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Request
from tests.unit.client.kinds import CORES, Disk, Licence, resources

cloudpickle = pytest.importorskip("cloudpickle")

GIB = 2**30


def disjoint(*parts: Resource) -> bool:
    keys = [key for part in parts for key in part.kinds]
    return len(keys) == len(set(keys))


@given(resources())
def test_each_is_at_least_itself(a: Resource) -> None:
    same = copy.copy(a)
    assert a >= same
    assert a <= same
    assert not a > same
    assert a >= Resource()


@given(resources(), resources())
def test_two_that_can_be_taken_from_each_other_are_equal(a: Resource, b: Resource) -> None:
    assert (a >= b >= a) == (a == b)
    assert (a > b) == (b < a) == (a >= b and a != b)
    if a == b:
        assert hash(a) == hash(b)


@given(resources(), resources(), resources())
def test_what_affords_something_affords_what_that_affords(a: Resource, b: Resource, c: Resource) -> None:
    for x, y, z in ((a, b, c), (b, c, a), (c, a, b)):
        if x >= y >= z:
            assert x >= z


@given(CORES, CORES, CORES)
def test_cores_are_ordered_as_all(a: Cores, b: Cores, c: Cores) -> None:
    assert not (a >= b >= c) or a >= c
    assert (a >= b >= a) == (a == b)


@given(resources(), resources(), resources())
def test_joining_is_commutative_and_associative(a: Resource, b: Resource, c: Resource) -> None:
    if not disjoint(a, b, c):
        return
    assert a & b == b & a
    assert hash(a & b) == hash(b & a)
    assert (a & b) & c == a & (b & c)
    assert a & Resource() == a
    assert a & b >= a


def test_unrelated_kinds_are_neither_more_nor_less() -> None:
    cores, memory = Cores(4), Memory("1GiB")
    assert not cores > memory
    assert not cores < memory
    assert not cores >= memory
    assert not cores <= memory
    assert cores != memory
    assert cores & memory > cores
    assert cores & memory > Cores(2)
    assert cores < cores & memory
    assert Cores(2) <= cores & memory
    with pytest.raises(TypeError):
        assert cores >= 4  # type: ignore[operator]
    with pytest.raises(TypeError):
        assert cores & 4  # type: ignore[operator]


def test_which_cores_they_are_counts_for_nothing_and_what_they_want_does() -> None:
    assert Cores(4) == Cores([7, 8, 9, 10])
    assert len({Cores(2), Cores([3, 5]), Cores(2, most=2), Resource(Cores(2)), Cores(2, most=8)}) == 2
    assert Cores(2) <= Cores(2, most=8) <= Cores(2)
    assert Capacity(1) != Capacity(2)
    assert Capacity(2) <= Capacity(1)


@pytest.mark.parametrize(
    ("join", "message"),
    [
        (lambda: Cores(1) & Cores(2), "Cores is asked for twice: Cores(1) and Cores(2); write one of them"),
        (lambda: Cores(1) & Memory("1GiB") & Cores(1), "Cores is asked for twice"),
        (lambda: Token("a") & Token("a"), "Token('a') is asked for twice"),
        (lambda: Capacity(of="Licence") & Licence(2), "Licence is asked for twice"),
    ],
)
def test_the_same_kind_twice_is_refused(join: Callable[[], Resource], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        join()


def test_resources_do_not_change() -> None:
    both = Cores(4) & Memory("1GiB")
    stock = Stock(both)
    stock.take(Cores(4))
    assert str(both) == "Cores(4) & Memory(1 GiB)"
    with pytest.raises(AttributeError, match="Memory does not change: give size to a new one"):
        Memory("1GiB").size = 3
    with pytest.raises(AttributeError):
        del Memory("1GiB").size
    with pytest.raises(TypeError):
        both.kinds["Cores"] = Cores(1)  # type: ignore[index]


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        (Resource(), "Resource()"),
        (Cores(4) & Memory("2GiB"), "Cores(4) & Memory(2 GiB)"),
        (Cores("0.5"), "Cores(0.5)"),
        (Cores([]), "Cores(0)"),
        (Cores(2, most=8), "Cores(2, most=8)"),
        (Cores([5, 2, 1, 0, 8, 9]), "Cores([0-2, 5, 8, 9])"),
        (GPUs(["10", 9, "GPU-4f1b"]), "GPUs([9, 10, GPU-4f1b])"),
        (Memory(GIB + 1), "Memory(1073741825 B)"),
        (WallTime(0.5, group="fit"), "WallTime(0.5s, group='fit')"),
        (WallTime(3_601), "WallTime(3601.0 s)"),
        (Licence(2) & Disk(3), "Licence(2) & Disk(3 GB)"),
    ],
)
def test_resources_are_told_as_they_are_written(resource: Resource, text: str) -> None:
    assert repr(resource) == str(resource) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cores(-1), "Cores: expected a number between 0 and 1000000000, got -1"),
        (lambda: Cores(math.nan), "Cores: expected a number between"),
        (lambda: Cores(True), "Cores: expected a number such as 4 or 0.5, got True"),  # noqa: FBT003 - what is refused
        (lambda: Cores("yes"), "Cores: expected a number such as 4 or 0.5, got 'yes'"),
        (lambda: Cores(1.5), "Cores: more than one must be whole: write 1 or 2, not 1.5"),
        (lambda: Cores([1, 3, 1]), "Cores: 1 is named twice"),
        (lambda: Cores([1, -3]), "Cores: expected ids of cores such as [3, 5], got -3 among them"),
        (lambda: Cores(4, most=2), "Cores: most=2 with 4: write two whole numbers, the lesser first"),
        (lambda: Cores(0.5, most=2), "Cores: most=2 with 0.5: write two whole numbers"),
        (lambda: Cores([1], most=2), "Cores: most=2 with [1]: write two whole numbers"),
        (lambda: GPUs([""]), "GPUs: expected ids of GPUs such as [0, 1], got '' among them"),
        (lambda: GPUs(0.00001), "GPUs: 1e-05 is finer than 1/10000"),
        (lambda: Memory("2 parsec"), "Memory: expected memory such as 2GiB, 500MB or 2G, got '2 parsec'"),
        (lambda: Memory(2), "Memory: 2 B is too little for any program: did you mean 2GiB?"),
        (lambda: Memory(0), "Memory: must be more than 0: leave it out"),
        (WallTime, 'WallTime: says nothing: write WallTime("10m")'),
        (lambda: WallTime("10:30"), "WallTime: '10:30' is ambiguous"),
        (lambda: WallTime(0), "WallTime: must be more than 0"),
        (lambda: WallTime("10m", soft="20m"), "WallTime: soft, 20m, is more than the limit, 10m"),
        (lambda: WallTime(group=""), "WallTime: expected the name of a group"),
        (lambda: Token("a b"), "Token: 'a b' is no name"),
        (lambda: Token(3), "Token: expected a name"),  # type: ignore[arg-type]
        (lambda: Capacity(0), "Capacity: expected a whole number from 1, got 0"),
        (lambda: Capacity(of="cores"), "Capacity: cores is no custom resource: write Cores, Memory or GPUs"),
        (lambda: Licence(0), "Licence: must be more than 0: leave it out"),
        (lambda: type("Memory", (Kind,), {}), "Memory is a kind of pilotfish's own"),
        (lambda: type("Wärme", (Kind,), {}), "Wärme: 'Wärme' is no name"),
    ],
)
def test_wrong_values_are_refused_with_the_way_out(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        make()
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)


def test_a_request_is_what_the_scheduler_understands() -> None:
    resource = (
        node(2, "1GiB", gpus=0.5)
        & WallTime("10m", soft="5m", group="fit")
        & Token("near")
        & Token("fast")
        & Capacity(7, of="seats")
        & Licence(2)
        & Disk(30)
    )
    request = Request(
        cores=Amount(2 * ONE),
        memory=GIB,
        gpus=Amount(ONE // 2),
        resources=(("Disk", Amount(30 * ONE)), ("Licence", Amount(2 * ONE)), ("seats", ONE)),
        labels=("fast", "near"),
    )
    assert as_request(resource) == Asked(request, time=600.0, estimate=300.0, group="fit")


def test_what_is_not_said_is_as_for_any_job() -> None:
    assert as_request(Resource()) == Asked(Request())
    assert as_request(Cores(0)).request.cores == 0
    assert as_request(Cores(2, most=8)).request == Request(cores=Amount(2 * ONE), most_cores=Amount(8 * ONE))
    assert as_request(Cores([3, 5])) == as_request(Cores(2))


def test_what_no_task_can_be_given_is_not_asked_for() -> None:
    stock = Stock(node(1, "1GiB"))
    stock.take(Memory("1GiB"))
    with pytest.raises(ResourceError, match="no task does without memory"):
        as_request(stock.free)
    with pytest.raises(ResourceError, match=re.escape("the amount of Disk(0 GB), in 1/10000: expected a whole number")):
        as_request(Disk(0))


def test_kinds_of_main_travel_by_value() -> None:
    made = {"__name__": "__main__", "Kind": Kind}
    exec("class Seat(Kind): ...\nseat = Seat(3)", made)
    code = cloudpickle.dumps((made["Seat"], made["seat"]))
    seat_kind, seat = cloudpickle.loads(code)
    assert seat >= seat_kind(2)
    assert as_request(seat).request.resources == (("Seat", Amount(3 * ONE)),)
