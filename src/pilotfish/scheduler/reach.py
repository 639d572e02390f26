"""Which nodes there are, which may still come, which are gone; and so what could ever be held.

What belongs here: requests against whole nodes, as if nothing ran on them. What must not: what is free now, tasks.
"""

import math
from collections import Counter
from collections.abc import Mapping

from pilotfish.model.resources import Inventory
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.fit import Need

__all__ = ["Reach"]


class Reach:
    """What nodes could hold."""

    def __init__(self) -> None:
        """Nobody is here; one node is expected."""
        self.expected: int | None = 1
        """How many there will be together at most; None: nobody can tell."""
        self._here: dict[str, Inventory] = {}
        """By name."""
        self._gone: dict[str, Inventory] = {}
        """By name, of those that were here and are no more."""
        self._kinds: Counter[Inventory] = Counter()
        """How many of those that are here have the same: mostly all."""

    @property
    def to_come(self) -> float:
        """How many may come beside those that are here; infinite: nobody can tell."""
        return math.inf if self.expected is None else max(0, self.expected - len(self._here))

    def joined(self, name: str, inventory: Inventory) -> None:
        """A node is here, for the first time or anew."""
        self._leave(name)
        self._gone.pop(name, None)
        self._here[name] = inventory
        self._kinds[inventory] += 1

    def lost(self, name: str) -> None:
        """A node is gone."""
        inventory = self._leave(name)
        if inventory is not None:
            self._gone[name] = inventory

    def _leave(self, name: str) -> Inventory | None:
        inventory = self._here.pop(name, None)
        if inventory is not None:
            self._kinds[inventory] -= 1
            self._kinds += Counter()  # none of a kind is no kind
        return inventory

    def now(self, cls: RequestClass) -> bool:
        """Whether those that are here could hold a task of the class."""
        return any(self._able(need) >= need.nodes for need in cls.needs)

    def still(self, cls: RequestClass) -> bool:
        """Whether they could, with those that may come; of what these have nobody knows anything."""
        return any(self._able(need) + self.to_come >= need.nodes for need in cls.needs)

    def ever(self, cls: RequestClass) -> bool:
        """Whether they could, with those that are gone too: a later run may have as many again."""
        gone = Counter(self._gone.values())
        return any(self._able(need) + self.to_come + _able(need, gone) >= need.nodes for need in cls.needs)

    def _able(self, need: Need) -> int:
        if need.home is None:
            return _able(need, self._kinds)
        return need.home in self._here and self._here[need.home].lacks(need.request) is None

    def lack(self, cls: RequestClass) -> str:
        """Why those that are here could not hold a task of the class, for people."""
        asked = " or ".join(str(need.request) for need in cls.needs)
        if all(need.nodes == 1 for need in cls.needs):
            return f"asks for {asked}, more than any node has"
        able = max(self._able(need) for need in cls.needs)
        here = f"there is {able or 'none'}" if able < 2 else f"there are {able}"
        return f"asks for {asked}, of which {here}"


def _able(need: Need, kinds: Mapping[Inventory, int]) -> int:
    """How many of these nodes could hold the request, or its part on one of several."""
    return sum(count for inventory, count in kinds.items() if inventory.lacks(need.request) is None)
