"""The nodes by how many whole cores are free on each, so that a pass looks only at those where something may fit.

What belongs here: finding nodes. What must not: whether a request fits.
"""

from collections.abc import Iterator
from operator import attrgetter

from pilotfish.scheduler.fit import Need
from pilotfish.scheduler.occupancy import Node

__all__ = ["Rooms"]

_lanes = attrgetter("lanes")


class Rooms:
    """All joined nodes."""

    def __init__(self) -> None:
        """No nodes."""
        self._levels: tuple[list[dict[Node, None]], list[dict[Node, None]]] = ([], [])
        """By whole free cores: nodes without anything rare, and those with GPUs or custom resources."""
        self._place: dict[Node, tuple[int, int]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._place)

    def __iter__(self) -> Iterator[Node]:
        """All of them, as they joined."""
        return iter(self._place)

    def update(self, node: Node) -> None:
        """What is free on a node has changed, or it is new."""
        whole = node.cores.whole
        before = self._place.get(node)
        if before is None:
            kind = int(bool(node.inventory.gpus or node.inventory.resources))
            levels = self._levels[kind]
        else:
            kind, level = before
            if level == whole:
                return
            levels = self._levels[kind]
            del levels[level][node]
        while len(levels) <= whole:
            levels.append({})
        levels[whole][node] = None
        self._place[node] = (kind, whole)

    def remove(self, node: Node) -> None:
        """A node is gone."""
        kind, whole = self._place.pop(node)
        del self._levels[kind][whole][node]

    def tightest_first(self, need: Need) -> Iterator[Node]:
        """Nodes that have enough whole cores: the fullest first, so that large rooms stay; rare things last.

        Lasts as long as nothing changes.
        """
        for levels in self._levels:
            for level in levels[need.whole :]:
                yield from level

    def emptiest_first(self, need: Need) -> Iterator[Node]:
        """The same nodes, those with the most whole free cores first, of equal ones those with the fewest lanes."""
        for levels in self._levels:
            for level in reversed(levels[need.whole :]):
                yield from sorted(level, key=_lanes)

    def widest_first(self) -> Iterator[Node]:
        """All nodes, those with the most whole free cores first."""
        highest = max(map(len, self._levels))
        for whole in range(highest - 1, -1, -1):
            for levels in self._levels:
                if whole < len(levels):
                    yield from levels[whole]
