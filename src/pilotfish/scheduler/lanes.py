"""Lanes: slots of a node with the attempts that use them one after another; how many may wait in one, and for how long.

A lane whose attempts are short gets more of them than it can run at once, so that the next one starts without
asking the manager: about `queue_seconds` of work waits. The longer the tasks, the fewer wait; long ones never do.
"""

import math
from collections import deque

from pilotfish.model.attempts import AttemptId
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.fit import fits
from pilotfish.scheduler.occupancy import Node
from pilotfish.settings import Settings

__all__ = ["Lane", "could_use", "depth", "patience"]

_LONG = 0.5
"""Seconds from which on a task hides the round trip by itself."""
_LEAST_PATIENCE = 0.1
"""Seconds: attempts that wait for less are never asked back."""


class Lane:
    """One lane of a node."""

    __slots__ = (
        "attempts", "cls", "due", "holds", "node", "number", "part_of", "recalled", "since", "slots", "strangers",
        "told",
    )  # fmt: skip

    def __init__(self, node: Node, number: int, slots: Slots, cls: RequestClass | None) -> None:
        """An empty lane; `cls` is None for one that is only part of an attempt, or holds what nobody granted to it."""
        self.node = node
        self.number = number
        self.slots = slots
        self.cls = cls
        self.attempts: deque[AttemptId] = deque()
        """Granted ones in their order; the first runs."""
        self.strangers: set[AttemptId] = set()
        """Attempts that the node holds and nobody granted to this lane. They hold the slots until they have ended.

        What is part of an attempt that runs may go on until that has ended; all others are told to end.
        """
        self.since = 0.0
        """When the first attempt began, as far as we know."""
        self.due = math.inf
        """When what it holds will probably have ended."""
        self.holds = True
        """Whether its slots are held: not while a pass decides whether it goes on."""
        self.recalled = False
        """Those that wait were asked back and nothing has ended since."""
        self.told = False
        """Whether its node has told of it as it joined: it may hold what the node has no more."""
        self.part_of: AttemptId | None = None
        """The attempt on several nodes, led by another one, that holds the slots as long as it runs."""

    @property
    def empty(self) -> bool:
        """Whether nothing holds the slots."""
        return not self.attempts and not self.strangers and self.part_of is None

    @property
    def waiting(self) -> tuple[AttemptId, ...]:
        """Attempts behind the one that runs."""
        return tuple(self.attempts)[1:]


def could_use(cls: RequestClass, lane: Lane) -> bool:
    """Whether a task of the class would fit on the lane's node, were the lane closed."""
    node, slots = lane.node, lane.slots
    if cls.home is not None and cls.home != node.name:
        return False
    if not lane.holds:
        return any(fits(need, node) for need in cls.needs)
    if slots.amount >= ONE and cls.plain:  # the usual case: counting is enough
        whole, memory = node.cores.whole + len(slots.cores), node.free_memory + (slots.memory or 0)
        for need in cls.needs:  # noqa: SIM110 - asked for each task; a generator would take as long again
            if need.whole <= whole and need.memory <= memory:
                return True
        return False
    node.give(slots)
    try:
        return any(fits(need, node) for need in cls.needs)
    finally:
        node.take(slots)


def depth(typical_seconds: float | None, settings: Settings) -> int:
    """How many attempts of this duration may wait behind the running one; 0 before any was measured."""
    if typical_seconds is None or typical_seconds > _LONG:
        return 0
    return min(settings.queue_limit, math.ceil(settings.queue_seconds / max(typical_seconds, 1e-6)))


def patience(typical_seconds: float | None) -> float:
    """How long the first attempt of a lane may run before those that wait behind it are asked back, in seconds.

    Never longer than for those that let any wait: durations may have grown since they were granted.
    """
    return max(_LEAST_PATIENCE, 2 * min(typical_seconds or 0.0, _LONG))
