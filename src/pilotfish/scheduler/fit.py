"""Does a request fit on a node now? The slots that it would get, or the reason why not."""

from pilotfish.model.quantities import ONE, Amount, format_amount, format_bytes
from pilotfish.model.resources import Request, Slots
from pilotfish.scheduler.occupancy import Node

__all__ = ["fit"]

_MOST_LANES = 1000
"""On one node: each has a process, and tasks of no or hardly any cores could open as many as there are tasks."""


def fit(request: Request, node: Node) -> Slots | str:
    """Slots for the request, or why it does not fit now, for people.

    Whole cores are the free ones of lowest id, so that what remains stays together; a fraction goes to the
    fullest core that still has room for it, so that whole cores stay whole.
    """
    if node.lanes >= _MOST_LANES:
        return f"{node.name} has {node.lanes} tasks at once, and more would not do it good"
    if request.memory is not None and request.memory > node.free_memory:
        return f"needs {format_bytes(request.memory)}, and {node.name} has {format_bytes(node.free_memory)} free"
    if request.cores < ONE:
        return _part_of_a_core(request, node)
    wanted = -(-request.cores // ONE)
    if wanted > len(node.whole):
        free = f"{len(node.whole)} of {len(node.free)} cores free"
        return f"needs {wanted} core{'s' * (wanted != 1)}, and {node.name} has {free}"
    return Slots(tuple(sorted(node.whole)[:wanted]), Amount(wanted * ONE), request.memory)


def _part_of_a_core(request: Request, node: Node) -> Slots | str:
    if request.cores == 0:
        return Slots((), request.cores, request.memory)
    rooms = [(free, core) for core, free in node.free.items() if free >= request.cores]
    if not rooms:
        return f"needs {format_amount(request.cores)} of one core, and no core of {node.name} has so much free"
    return Slots((min(rooms)[1],), request.cores, request.memory)
