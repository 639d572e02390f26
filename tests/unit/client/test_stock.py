"""What is taken is there no more, and what is given back is there again, exactly."""

import copy
import pickle
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.client.resources import (
    Capacity,
    Cores,
    GPUs,
    Memory,
    Resource,
    ResourceError,
    Token,
    WallTime,
    as_request,
    node,
)
from pilotfish.client.stock import InsufficientError, MissingKindError, Stock
from pilotfish.model.quantities import ONE
from tests.unit.client.kinds import resources

cloudpickle = pytest.importorskip("cloudpickle")


@given(resources(), st.lists(resources(), max_size=8), st.randoms(use_true_random=False))
def test_what_is_taken_and_given_back_in_any_order_restores_all(
    whole: Resource, requests: list[Resource], random: Random
) -> None:
    stock = Stock(whole)
    before, taken = str(stock.free), []
    for request in requests:
        free, out = str(stock.free), stock.taken
        if stock.free >= request:
            taken.append(stock.take(request))
            assert taken[-1] >= request
        else:
            with pytest.raises(ResourceError):
                stock.take(request)
            assert (str(stock.free), stock.taken) == (free, out)
    assert stock.taken == tuple(taken)
    held = [core for piece in taken if (cores := piece.get(Cores)) for core, share in cores.shares if share == ONE]
    assert len(held) == len(set(held))
    random.shuffle(taken)
    for piece in taken:
        stock.give(piece)
    assert str(stock.free) == before
    assert stock.free == whole
    assert stock.taken == ()


@given(resources())
def test_all_can_be_taken_at_once_and_travels(whole: Resource) -> None:
    taken = Stock(whole).take(whole)
    assert taken == whole
    for there in (pickle.loads(pickle.dumps(taken)), cloudpickle.loads(cloudpickle.dumps(taken)), copy.deepcopy(taken)):
        assert (there, str(there), hash(there)) == (taken, str(taken), hash(taken))


def test_the_very_cores_are_taken() -> None:
    stock = Stock(node([3, 5, 7, 10], "2GiB", gpus=2))
    first = stock.take(Cores(2) & GPUs(1) & Memory("500MiB"))
    assert str(first) == "Cores([3, 5]) & GPUs([0]) & Memory(500 MiB)"
    assert (first.cores, first.gpus, first.memory) == ((3, 5), ("0",), 500 * 2**20)
    half = stock.take(Cores(0.5))
    assert (str(half), half.cores) == ("Cores([7: 0.5])", (7,))
    assert stock.take(Cores(0.25)).cores == (7,)
    assert str(stock.free.get(Cores)) == "Cores([10, 7: 0.25])"
    assert stock.take(Cores(1, most=8)).cores == (10,)


def test_as_many_as_are_free_are_taken_up_to_the_most() -> None:
    assert Stock(Cores(12)).take(Cores(2, most=8)).cores == tuple(range(8))
    assert Stock(Cores(6)).take(Cores(2, most=8)).cores == tuple(range(6))
    assert not Cores(1) >= Cores(2, most=8)


def test_halves_of_two_cores_are_no_core() -> None:
    stock = Stock(Cores(2))
    halves = [stock.take(Cores(0.6)), stock.take(Cores(0.6))]
    assert [half.cores for half in halves] == [(0,), (1,)]
    with pytest.raises(InsufficientError, match=r"Cores\(1\) cannot be taken: free is Cores\(\[0: 0.4, 1: 0.4\]\) of"):
        stock.take(Cores(1))
    with pytest.raises(ResourceError, match="write a whole number, or a part of one"):
        as_request(stock.free)


def test_nothing_is_taken_where_one_kind_is_short() -> None:
    stock = Stock(node(4, "1GiB"))
    with pytest.raises(InsufficientError, match=re.escape("Memory(2 GiB) cannot be taken: free is Memory(1 GiB) of")):
        stock.take(Cores(2) & Memory("2GiB"))
    with pytest.raises(MissingKindError, match=re.escape("GPUs(1) cannot be taken from Cores([0-3]) & Memory(1 GiB),")):
        stock.take(Cores(2) & GPUs(1))
    assert issubclass(MissingKindError, LookupError)
    assert stock.free == node(4, "1GiB")
    assert stock.taken == ()


def test_only_what_was_taken_is_given_back_once_and_to_its_own_stock() -> None:
    mine, other = Stock(Cores(4)), Stock(Cores(4))
    taken, theirs = mine.take(Cores([3])), other.take(Cores(1))
    for wrong in (Cores([3]), Cores([0]), theirs, Resource()):
        with pytest.raises(ValueError, match=re.escape(f"{wrong} is not taken from this stock")):
            mine.give(wrong)
    mine.give(taken)
    with pytest.raises(ValueError, match=re.escape("Cores([0]) is not taken from this stock: give back what take")):
        mine.give(taken)
    assert mine.free.cores == (0, 1, 2, 3)


def test_labels_and_time_are_not_used_up_and_a_capacity_gives_one() -> None:
    stock = Stock(WallTime("1h") & Token("fast") & Capacity(2, of="seats"))
    first = stock.take(WallTime("2h", soft="30m") & Token("fast") & Capacity(5, of="seats"))
    assert str(first) == "WallTime(2h00m, soft=30m00s) & Token('fast') & Capacity(1, of='seats')"
    stock.take(Capacity(of="seats"))
    with pytest.raises(InsufficientError):
        stock.take(Capacity(of="seats"))
    stock.give(first)
    assert str(stock.free) == "WallTime(1h00m) & Token('fast') & Capacity(1, of='seats')"
    with pytest.raises(MissingKindError, match=re.escape("which has no Token('slow')")):
        stock.take(Token("slow"))


@pytest.mark.parametrize("wrong", [Cores(2, most=8), WallTime(group="fit")])
def test_what_can_only_be_asked_for_is_no_stock(wrong: Resource) -> None:
    with pytest.raises(ResourceError, match=r"write how many|give it a limit"):
        Stock(wrong)
