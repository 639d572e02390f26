"""The nodes that are here, their lanes, and which attempts are held where.

What belongs here: opening and closing lanes, nodes that come and go. What must not: what starts, and why.
"""

from collections.abc import Iterable, Iterator

from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Part
from pilotfish.model.resources import Slots
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.lanes import Lane
from pilotfish.scheduler.occupancy import Node
from pilotfish.scheduler.rooms import Rooms

__all__ = ["Holdings"]


class Holdings:
    """Nodes and their lanes."""

    def __init__(self) -> None:
        """Begin without nodes."""
        self.nodes: dict[str, Node] = {}
        self.rooms = Rooms()
        self.lanes: dict[str, dict[int, Lane]] = {}
        """By node and number: the open ones."""
        self.held: dict[AttemptId, tuple[str, int]] = {}
        """By granted attempt: the name of the node, which may be absent, and the number of the lane."""
        self.absent: dict[str, list[AttemptId]] = {}
        """By nodes that have not introduced themselves to this manager: what earlier ones have granted them."""
        self.beside: dict[AttemptId, tuple[Part, ...]] = {}
        """Of attempts on several nodes: what they hold on the others."""
        self.parts: dict[AttemptId, dict[str, Lane]] = {}
        """Those parts that are on nodes which are here, by the name of the node."""
        self.by_class: dict[RequestClass, dict[Lane, None]] = {}
        self.grown: dict[Node, None] = {}
        """Nodes on which room has appeared that not everybody has been offered yet."""
        self.hungry: dict[RequestClass, dict[Lane, None]] = {}
        """Lanes that would have taken more, had anything of their class been ready."""
        self.idle = False
        """Whether room has appeared that nobody has used."""

    def held_on(self, name: str) -> list[AttemptId]:
        """The attempts that a node was granted and that have not ended, as far as anybody knows."""
        lanes = self.lanes.get(name, {}).values()
        granted = [*self.absent.get(name, ()), *(attempt for lane in lanes for attempt in lane.attempts)]
        return [attempt for attempt in granted if attempt in self.held]

    def join(self, node: Node) -> None:
        """Take in a node, in the place of what was known under its name."""
        self.drop(node.name)
        self.nodes[node.name], self.lanes[node.name] = node, {}
        self.offer(node)
        self.idle = True

    def open(self, node: Node, slots: Slots, cls: RequestClass | None, number: int | None = None) -> Lane:
        """Open a lane; by default under the lowest number that is free on the node."""
        by_number = self.lanes[node.name]
        if number is None:
            number = len(by_number)
            if number in by_number:
                number = next(n for n in range(number) if n not in by_number)
        lane = by_number[number] = Lane(node, number, slots, cls)
        if cls is not None:
            self.by_class.setdefault(cls, {})[lane] = None
        node.take(slots)
        self.rooms.update(node)
        return lane

    def offer(self, node: Node) -> None:
        """Room has appeared on a node."""
        self.grown[node] = None
        self.rooms.update(node)

    def drop(self, name: str) -> None:
        """Forget a node and its lanes; what they held is the caller's to settle."""
        for lane in list(self.lanes.get(name, {}).values()):
            self.forget(lane)
        for parts in self.parts.values():
            parts.pop(name, None)
        self.lanes.pop(name, None)
        self.absent.pop(name, None)
        node = self.nodes.pop(name, None)
        if node is not None:
            self.rooms.remove(node)
            self.grown.pop(node, None)

    def hold_part(self, attempt: AttemptId, lane: Lane) -> None:
        """A lane holds slots for an attempt that another node leads."""
        lane.part_of = attempt
        self.parts.setdefault(attempt, {})[lane.node.name] = lane

    def let_go(self, attempt: AttemptId) -> Iterable[Lane]:
        """An attempt on several nodes is over; the lanes that only what is left of it on the others still holds."""
        self.beside.pop(attempt, None)
        lanes = self.parts.pop(attempt, {}).values()
        for lane in lanes:
            lane.part_of, lane.due = None, 0.0  # what is left ends at any moment
        return lanes

    def forget(self, lane: Lane) -> None:
        """A lane is closed; what it held was given back, or is gone with its node."""
        self.lanes.get(lane.node.name, {}).pop(lane.number, None)
        if lane.cls is not None:
            of_class = self.by_class[lane.cls]
            del of_class[lane]
            if not of_class:
                del self.by_class[lane.cls]
            self.hungry.get(lane.cls, {}).pop(lane, None)

    def all_lanes(self) -> Iterator[Lane]:
        """The open lanes of all nodes."""
        for by_number in self.lanes.values():
            yield from by_number.values()
