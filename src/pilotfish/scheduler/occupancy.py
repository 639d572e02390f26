"""Who holds what on each node: taken when a lane opens, given back when it closes, never otherwise."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from pilotfish.errors import InternalError
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Inventory, Slots

__all__ = ["LEAVING", "SILENT", "Node", "Units"]

LEAVING = "the allocation of {} is about to end"
"""Why nothing starts on a node of that name any more."""
SILENT = "nothing has been heard of {} for a while"
"""Likewise, until it is heard again."""

_Id = TypeVar("_Id", bound=Hashable)


class Units(Generic[_Id]):
    """Things of one kind that are held whole, or in parts of one of them: the cores, or the GPUs, of a node.

    Args:
        domains: ids by memory domain, in each in the order in which they are given out.

    """

    def __init__(self, domains: Sequence[Sequence[_Id]]) -> None:
        """Everything is free."""
        self._ids = [unit for domain in domains for unit in domain]
        self._rank = {unit: rank for rank, unit in enumerate(self._ids)}
        self._domain = [n for n, domain in enumerate(domains) for _ in domain]
        """By rank."""
        self._left = [int(ONE)] * len(self._ids)
        """By rank: what is free of each, in 1/10 000."""
        self._free = [[self._rank[unit] for unit in domain] for domain in domains]
        """By domain, ascending: the ranks of those that nobody uses any part of."""
        self.whole = len(self._ids)
        """How many those are."""
        self.parts: dict[_Id, int] = {}
        """Of those that are used in part: what is free of each, in 1/10 000."""

    def __len__(self) -> int:
        """How many there are, free or not."""
        return len(self._ids)

    def most_of_one(self) -> int:
        """The largest part that is free of any one, in 1/10 000."""
        return int(ONE) if self.whole else max(self.parts.values(), default=0)

    def choose(self, wanted: int, near: int | None = None) -> tuple[_Id, ...]:
        """So many whole ones that lie close together, from domain `near` where that has enough.

        The domain with the least room that is enough, so that large rooms stay; else as few domains as possible.
        There must be enough.
        """
        if len(self._free) == 1:
            return self._named(self._free[0][:wanted])
        enough = [n for n, free in enumerate(self._free) if len(free) >= wanted]
        if near in enough:
            return self._named(self._free[near or 0][:wanted])
        if enough:
            return self._named(min((self._free[n] for n in enough), key=len)[:wanted])
        chosen: list[int] = []
        for _, free in sorted(enumerate(self._free), key=lambda one: (one[0] != near, -len(one[1]))):
            chosen += free[: wanted - len(chosen)]
        return self._named(chosen)

    def _named(self, ranks: Iterable[int]) -> tuple[_Id, ...]:
        return tuple([self._ids[rank] for rank in ranks])

    def choose_part(self, part: int) -> _Id | None:
        """The fullest one of which so much is free, so that whole ones stay whole; None: there is none."""
        rooms = [(free, self._rank[unit]) for unit, free in self.parts.items() if free >= part]
        if rooms:
            return self._ids[min(rooms)[1]]
        return self._ids[min(filter(None, self._free), key=len)[0]] if self.whole else None

    def domain(self, unit: _Id) -> int:
        """The number of the domain that it lies in."""
        return self._domain[self._rank[unit]]

    def take(self, units: Iterable[_Id], amount: int) -> None:
        """Hold all of each; or of one the `amount`, where that is less. Raises InternalError where somebody has it.

        Here and in :meth:`give`, unknown ones are passed over: an agent of an earlier run may have had more.
        """
        each, held = min(amount, int(ONE)), self._left
        for unit in units:
            rank = self._rank.get(unit)
            if rank is None:
                continue
            left = held[rank] = held[rank] - each
            if left < 0:
                raise InternalError(f"{unit} is held twice")
            if each < ONE:
                self._note(rank, left)
            if left + each == ONE:
                self.whole -= 1
                free = self._free[self._domain[rank]]
                del free[bisect_left(free, rank)]

    def give(self, units: Iterable[_Id], amount: int) -> None:
        """Let them go. Raises InternalError where nobody had them."""
        each, held, whole = min(amount, int(ONE)), self._left, []
        for unit in units:
            rank = self._rank.get(unit)
            if rank is None:
                continue
            left = held[rank] = held[rank] + each
            if left > ONE:
                raise InternalError(f"{unit} is given back twice")
            if each < ONE:
                self._note(rank, left)
            if left == ONE:
                whole.append(rank)
        self.whole += len(whole)
        if len(self._free) == 1:
            self._free[0] += whole
            self._free[0].sort()  # two ascending runs: it takes a moment
        else:
            for rank in whole:
                insort(self._free[self._domain[rank]], rank)

    def _note(self, rank: int, left: int) -> None:
        """Remember, or forget, what is free in part."""
        if 0 < left < ONE:
            self.parts[self._ids[rank]] = left
        elif self.parts:
            self.parts.pop(self._ids[rank], None)

    def free(self) -> Mapping[_Id, int]:
        """What is free of each of which anything is, in 1/10 000."""
        return {**self.parts, **{unit: int(ONE) for domain in self._free for unit in self._named(domain)}}


class Node:
    """The free part of one node."""

    def __init__(self, name: str, inventory: Inventory) -> None:
        """Everything is free."""
        self.name = name
        self.inventory = inventory
        self.labels = frozenset(inventory.labels)
        self.cores = Units(_domains(inventory))
        gpus: dict[int, list[str]] = {}
        for gpu in inventory.gpus:
            gpus.setdefault(-1 if gpu.numa is None else gpu.numa, []).append(gpu.id)
        self.gpus = Units(list(gpus.values()) or [[]])
        self._near = list(gpus)
        self.free_memory = inventory.memory
        """Bytes."""
        self.resources = {name: int(amount) for name, amount in inventory.resources}
        """What is free of custom ones."""
        self.lanes = 0
        """How many are open, also those that hold nothing."""
        self.closed = False
        """Whether somebody has the node for itself."""
        self.stops: set[str] = set()
        """Why nothing starts there, of :data:`LEAVING` and :data:`SILENT`; mostly nothing."""

    def near(self, gpu: str) -> int | None:
        """The memory domain of a GPU, as cores count them; None: not known."""
        domain = self._near[self.gpus.domain(gpu)]
        return None if domain < 0 else domain

    def take(self, slots: Slots) -> None:
        """Hold slots. Raises InternalError where somebody else holds them."""
        self.cores.take(slots.cores, slots.amount)
        if slots.gpus:
            self.gpus.take(slots.gpus, slots.gpu_amount)
        self._change(slots, -1)

    def give(self, slots: Slots) -> None:
        """Let slots go. Raises InternalError where nobody held them."""
        self.cores.give(slots.cores, slots.amount)
        if slots.gpus:
            self.gpus.give(slots.gpus, slots.gpu_amount)
        self._change(slots, 1)

    def _change(self, slots: Slots, sign: int) -> None:
        for name, amount in slots.resources:
            if name in self.resources:
                self.resources[name] += sign * amount
        self.free_memory += sign * (slots.memory or 0)
        self.lanes -= sign
        if slots.exclusive:
            self.closed = sign < 0
        if self.free_memory > self.inventory.memory:  # less than nothing is no error: an earlier agent had more
            raise InternalError(f"memory of node {self.name} is given back twice")


def _domains(inventory: Inventory) -> Sequence[Sequence[int]]:
    """The cores by memory domain; those of no domain together."""
    known = set(inventory.cores)
    domains = [[core for core in domain if core in known] for domain in inventory.numa]
    rest = known.difference(*domains)
    return [*domains, sorted(rest)] if rest or not domains else domains
