"""Does a request fit on a node now? Whether, with which slots, and if not, why.

What belongs here: one request and one node. What must not: time, order, other requests.
"""

from collections.abc import Iterator

from pilotfish.model.quantities import ONE, Amount, format_amount, format_bytes
from pilotfish.model.resources import Request, Slots
from pilotfish.scheduler.occupancy import Node

__all__ = ["Need", "fits", "refusal", "slots_for"]

_MOST_LANES = 1000
"""On one node: each has a process, and tasks of no or hardly any cores could open as many as there are tasks."""


class Need:
    """A request as a pass looks at it very many times: in whole numbers, with the rare parts aside."""

    __slots__ = ("core_part", "exclusive", "gpu_part", "gpus", "home", "labels", "memory", "most_cores", "nodes",
                 "plain", "request", "resources", "spread", "whole")  # fmt: skip

    def __init__(self, request: Request, home: str | None = None) -> None:
        """Of this request; with `home`, on the node of that name alone."""
        self.request = request
        self.home = home
        self.whole, self.core_part = _split(request.cores)
        self.most_cores = self.whole if request.most_cores is None else request.most_cores // ONE
        """Whole cores that it takes where they are free."""
        self.gpus, self.gpu_part = _split(request.gpus)
        self.memory = request.memory or 0
        self.nodes = request.nodes
        self.exclusive = request.exclusive
        self.spread = request.spread
        self.resources = request.resources
        self.labels = frozenset(request.labels)
        rare = request.gpus or request.exclusive or request.resources or request.labels or self.core_part
        self.plain = not rare and home is None


def _split(amount: int) -> tuple[int, int]:
    """Whole ones, or the part of one."""
    return (0, amount) if amount < ONE else (-(-amount // ONE), 0)


def fits(need: Need, node: Node) -> bool:
    """Whether there is room on the node now."""
    if need.whole > node.cores.whole or need.memory > node.free_memory or node.closed or node.stops:
        return False
    if node.lanes >= _MOST_LANES:
        return False
    if need.plain:
        return True
    return (
        (need.home is None or need.home == node.name)
        and need.core_part <= node.cores.most_of_one()
        and need.gpus <= node.gpus.whole
        and need.gpu_part <= node.gpus.most_of_one()
        and need.labels <= node.labels
        and not (need.exclusive and (node.lanes or node.inventory.lacks(need.request)))
        and all(amount <= node.resources.get(name, 0) for name, amount in need.resources)
    )


def slots_for(need: Need, node: Node, *, most_cores: int | None = None) -> Slots:
    """The slots that a request which fits gets: cores close together, and near its GPUs.

    `most_cores` bounds the cores of one that takes as many as are free.
    """
    memory = need.request.memory
    if need.exclusive:
        cores, gpus = node.cores.choose(len(node.cores)), node.gpus.choose(len(node.gpus))
        whole_node = (Amount(len(cores) * ONE), memory, gpus, Amount(len(gpus) * ONE), need.resources)
        return Slots(cores, *whole_node, exclusive=True)
    gpus = _chosen_gpus(need, node)
    if need.core_part:
        core = node.cores.choose_part(need.core_part)
        cores, amount = (() if core is None else (core,)), Amount(need.core_part)
    else:
        most = need.most_cores if most_cores is None else min(most_cores, need.most_cores)
        wanted = max(need.whole, min(most, node.cores.whole))
        cores = node.cores.choose(wanted, node.near(gpus[0]) if gpus else None)
        amount = Amount(wanted * ONE)
    return Slots(cores, amount, memory, gpus, need.request.gpus if gpus else Amount(0), need.resources)


def _chosen_gpus(need: Need, node: Node) -> tuple[str, ...]:
    if need.gpu_part:
        gpu = node.gpus.choose_part(need.gpu_part)
        return () if gpu is None else (gpu,)
    return node.gpus.choose(need.gpus) if need.gpus else ()


def refusal(need: Need, node: Node) -> str:
    """Why a request does not fit on the node now, for people; empty where it does."""
    if (lacks := node.inventory.lacks(need.request)) is not None:
        return f"needs {lacks} ({node.name})"
    return next(filter(None, (*_refusals_of_all(need, node), *_shortages(need, node))), "")


def _refusals_of_all(need: Need, node: Node) -> Iterator[str]:
    """Why hardly anything may start on the node."""
    name = node.name
    yield from (why.format(name) for why in sorted(node.stops))
    if node.closed:
        yield f"{name} belongs to one task alone for now"
    if need.exclusive and node.lanes:
        yield f"needs all of {name}, and {node.lanes} task{'s' * (node.lanes > 1)} run there"
    if node.lanes >= _MOST_LANES:
        yield f"{name} has {node.lanes} tasks at once, and more would not do it good"


def _shortages(need: Need, node: Node) -> Iterator[str]:
    """Of what too little is free."""
    request, name, cores, gpus = need.request, node.name, node.cores, node.gpus
    if need.memory > node.free_memory:
        yield f"needs {format_bytes(need.memory)}, and {name} has {format_bytes(max(0, node.free_memory))} free"
    if need.whole > cores.whole:
        s = "s" * (need.whole != 1)
        yield f"needs {need.whole} core{s}, and {name} has {cores.whole} of {len(cores)} cores free"
    if need.core_part > cores.most_of_one():
        yield f"needs {format_amount(need.core_part)} of one core, and no core of {name} has so much free"
    if need.gpus > gpus.whole or need.gpu_part > gpus.most_of_one():
        s = "s" * (request.gpus > ONE)
        yield f"needs {format_amount(request.gpus)} GPU{s}, and {name} has {gpus.whole} of {len(gpus)} free"
    for what, amount in need.resources:
        free = node.resources.get(what, 0)
        if amount > free:
            yield f"needs {format_amount(amount)} {what}, and {name} has {format_amount(free)} free"
