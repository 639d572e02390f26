"""Kinds of a user's own, and strategies that draw any resource."""

from dataclasses import dataclass
from typing import Self

from hypothesis import strategies as st

from pilotfish.client.resources import Capacity, Cores, GPUs, Kind, Memory, Resource, Token, WallTime
from pilotfish.model.quantities import ONE, Amount

__all__ = ["CORES", "Disk", "Licence", "resources"]


class Licence(Kind):
    """Seats of a solver: counted."""


@dataclass(frozen=True, eq=False, repr=False)
class Disk(Kind):
    """Scratch space of which each node declares `Disk` in GB: a kind with a field of its own."""

    gigabytes: int

    @property
    def amount(self) -> Amount:
        return Amount(self.gigabytes * ONE)

    def affords(self, wanted: Self) -> bool:
        return self.gigabytes >= wanted.gigabytes

    def take(self, wanted: Self) -> tuple[Self, Self]:
        return wanted, type(self)(self.gigabytes - wanted.gigabytes)

    def give(self, taken: Self) -> Self:
        return type(self)(self.gigabytes + taken.gigabytes)

    def text(self) -> str:
        return f"Disk({self.gigabytes} GB)"


COUNTS = st.one_of(st.integers(0, 6), st.integers(1, 10_000).map(lambda amount: amount / 10_000))
CORES = st.one_of(COUNTS.map(Cores), st.sets(st.integers(0, 8)).map(Cores))
KINDS: list[st.SearchStrategy[Kind]] = [
    CORES,
    COUNTS.map(GPUs),
    st.integers(2**16, 2**20).map(Memory),
    st.integers(1, 5).map(WallTime),
    st.just(Capacity(of="seats")),
    st.integers(1, 5).map(Licence),
    st.integers(1, 5).map(Disk),
    st.just(Token("fast")),
    st.just(Token("near")),
]


@st.composite
def resources(draw: st.DrawFn, least: int = 0) -> Resource:
    """Any, in the form of a request: of each pair that can be taken from each other, the one."""
    chosen = draw(st.lists(st.sampled_from(range(len(KINDS))), unique=True, min_size=least))
    return Resource(*(draw(KINDS[at]) for at in chosen))
