"""Who holds what on each node: taken when a lane opens, given back when it closes, never otherwise."""

from pilotfish.errors import InternalError
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Inventory, Request, Slots

__all__ = ["Node"]


class Node:
    """The free part of one node."""

    def __init__(self, name: str, inventory: Inventory) -> None:
        """Everything is free."""
        self.name = name
        self.inventory = inventory
        self.free: dict[int, int] = dict.fromkeys(inventory.cores, int(ONE))
        """By core id, in 1/10 000 cores."""
        self.free_memory = inventory.memory
        self.whole = set(inventory.cores)
        """Cores that nobody uses any part of."""
        self.free_cores = len(inventory.cores) * int(ONE)
        """The sum of `free`."""
        self.lanes = 0
        """How many are open, also those that hold neither cores nor memory."""

    def take(self, slots: Slots) -> None:
        """Hold slots. Raises InternalError where somebody else holds them."""
        self._change(slots, -1)
        self.check()

    def give(self, slots: Slots) -> None:
        """Let slots go."""
        self._change(slots, 1)
        self.check()

    def _change(self, slots: Slots, sign: int) -> None:
        each = min(int(slots.amount), int(ONE))
        for core in slots.cores:
            if core in self.free:  # an agent of an earlier run may have had more
                self.free[core] += sign * each
                self.free_cores += sign * each
                (self.whole.add if self.free[core] == ONE else self.whole.discard)(core)
                if not 0 <= self.free[core] <= ONE:
                    raise InternalError(f"core {core} of node {self.name} is held twice or given back twice")
        self.free_memory += sign * (slots.memory or 0)
        self.lanes -= sign

    def check(self) -> None:
        """Raise InternalError where the memory is given back twice; what an earlier agent gave may exceed ours."""
        if self.free_memory > self.inventory.memory:
            raise InternalError(f"memory of node {self.name} is given back twice")

    def could_hold(self, request: Request) -> bool:
        """Whether the whole node, empty, is enough."""
        enough = request.cores <= len(self.inventory.cores) * ONE
        return enough and (request.memory or 0) <= self.inventory.memory
