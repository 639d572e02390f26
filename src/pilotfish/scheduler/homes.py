"""Tasks that follow others to the nodes where these have run, because their data lie there (`same_node`).

What belongs here: who follows whom, and to which node. What must not: whether there is room.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pilotfish.model.resources import Request
from pilotfish.model.states import TaskState
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.occupancy import Node
from pilotfish.scheduler.reach import Reach
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["HOMECOMING", "Homes"]

HOMECOMING = 10.0
"""Seconds after a restart that tasks wait for nodes which are not there yet: agents come back in less."""


class Homes:
    """The nodes at which tasks are at home.

    A task that has a home asks for what its job asks for, but there alone: it is in a pool of a class of its own. The
    home is left when its node is lost, could not hold the task, or does not come.

    Args:
        nodes: those that are here, by name; looked at, never changed.
        reach: whether others may come.

    """

    def __init__(self, nodes: Mapping[str, Node], reach: Reach) -> None:
        """Nobody follows anybody."""
        self._nodes, self._reach = nodes, reach
        self.followed: dict[int, list[JobTasks]] = {}
        """By job id: those whose tasks follow its own."""
        self._awaited: set[str] = set()
        """Nodes that were home before a restart and are not here yet."""

    def add(self, tasks: JobTasks) -> None:
        """A job is there; the one that it follows may come later."""
        place = tasks.job.spec.followed
        if place is not None:
            self.followed.setdefault(tasks.job.depends_on[place], []).append(tasks)

    def follow(self, job: int, lo: int, hi: int, node: str) -> Iterator[tuple[JobTasks, int]]:
        """Tasks of a job are given to a node: those that are to ask for it now."""
        for later in self.followed.get(job, ()):
            for position in range(lo, min(hi, later.count)):
                if later.states[position] == TaskState.waiting and later.homes.get(position) != node:
                    later.homes[position] = node
                    yield later, position

    def of(self, tasks: JobTasks, position: int, requests: Sequence[Request]) -> str | None:
        """The node that a task is to ask for with these requests; None: any."""
        home = tasks.homes.get(position)
        if home is None or home not in self._nodes:
            return home
        has = self._nodes[home].inventory
        return home if any(has.lacks(request) is None for request in requests) else None

    def left(self, classes: Iterable[RequestClass]) -> Iterator[tuple[JobTasks, int]]:
        """Let go of homes that can hold nothing any more; tasks that are to ask for any node now."""
        homes = {cls.home for cls in classes if cls.home is not None and not cls.reached}
        gone = {home for home in homes if home not in self._awaited or not self._reach.to_come}
        for followers in self.followed.values() if gone else ():
            for tasks in followers:
                for position in [position for position, home in tasks.homes.items() if home in gone]:
                    del tasks.homes[position]
                    yield tasks, position

    # Nodes that are not here yet

    def await_node(self, name: str) -> None:
        """A node was home before a restart."""
        if name not in self._nodes:
            self._awaited.add(name)

    def arrived(self, name: str) -> None:
        """It is here, or known not to come."""
        self._awaited.discard(name)

    def await_none(self) -> None:
        """They have had their time."""
        self._awaited.clear()
