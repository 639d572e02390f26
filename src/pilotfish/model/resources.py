"""What a task asks for, what a node has, what an attempt was given."""

import msgspec

from pilotfish.model.quantities import ONE, Amount, format_amount, format_bytes

__all__ = ["Gpu", "Inventory", "Quantities", "Request", "Slots"]

Quantities = tuple[tuple[str, Amount], ...]
"""Amounts of named things in 1/10 000, by ascending name, each more than zero."""


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The resources that a task asks for; where it asks for several nodes, on each of them.

    Equal requests are one *request class* of the scheduler.
    """

    cores: Amount = ONE
    """In 1/10 000 cores. Below one: that share of one core. Above: whole cores only."""
    memory: int | None = None
    """Bytes; None is neither counted nor limited."""
    gpus: Amount = Amount(0)
    """In 1/10 000 GPUs. Below one: that share of one GPU. Above: whole GPUs only."""
    most_cores: Amount | None = None
    """With it a task takes as many whole cores as are free, from `cores` up to so many."""
    nodes: int = 1
    exclusive: bool = False
    """Nobody else may use the node; all its cores and GPUs are the task's."""
    resources: Quantities = ()
    """Custom ones, as nodes declare them."""
    labels: tuple[str, ...] = ()
    """That the node must carry; ascending."""
    spread: bool = False
    """Rather on the emptiest nodes than on the fullest."""

    def __str__(self) -> str:
        """For people: ``2 cores, 1 GiB, 1 GPU``."""
        cores = _cores(self.cores)
        if self.most_cores is not None:
            cores = f"{format_amount(self.cores)} to {format_amount(self.most_cores)} cores"
        parts = ["a whole node" if self.exclusive else cores]
        if self.memory is not None:
            parts.append(format_bytes(self.memory))
        if self.gpus:
            parts.append(_gpus(self.gpus))
        parts += [f"{format_amount(amount)} {name}" for name, amount in self.resources]
        if self.labels:
            parts.append(f"label{'s' * (len(self.labels) > 1)} {', '.join(self.labels)}")
        each = ", ".join(parts)
        return each if self.nodes == 1 else f"{self.nodes} nodes, each with {each}"


def _cores(amount: Amount) -> str:
    return f"{format_amount(amount)} core{'s' * (amount != ONE)}"


def _gpus(amount: Amount) -> str:
    return f"{format_amount(amount)} GPU{'s' * (amount > ONE)}"


class Gpu(msgspec.Struct, frozen=True, array_like=True):
    """One GPU of a node."""

    id: str
    """As ``CUDA_VISIBLE_DEVICES`` names it: an index or a UUID."""
    numa: int | None = None
    """Place in :attr:`Inventory.numa` of the cores that are near it; None: not known."""


class Inventory(msgspec.Struct, frozen=True):
    """What a node has for tasks."""

    cores: tuple[int, ...]
    """Ids of the logical CPUs that tasks may use, ascending."""
    memory: int
    """Bytes that tasks may use together."""
    pinned: bool = True
    """False where more cores were declared than exist: then the ids are only names and nothing is bound."""
    numa: tuple[tuple[int, ...], ...] = ()
    """Core ids by memory domain, in each the threads of one core beside each other; empty: not known."""
    gpus: tuple[Gpu, ...] = ()
    resources: Quantities = ()
    """Custom ones that were declared."""
    labels: tuple[str, ...] = ()
    ends_at: float | None = None
    """When the allocation that it belongs to ends, in seconds since 1970; None: never."""

    def lacks(self, request: Request) -> str | None:
        """What the node, if nothing ran on it, would lack for the request, for people; None: nothing."""
        if request.cores > len(self.cores) * ONE:
            return f"{_cores(request.cores)}, and it has {len(self.cores)}"
        if (request.memory or 0) > self.memory:
            return f"{format_bytes(request.memory or 0)} of memory, and it has {format_bytes(self.memory)}"
        if request.gpus > len(self.gpus) * ONE:
            return f"{_gpus(request.gpus)}, and it has {len(self.gpus) or 'none'}"
        declared = dict(self.resources)
        for name, amount in request.resources:
            if amount > declared.get(name, 0):
                return f"{format_amount(amount)} {name}, and it has {format_amount(declared.get(name, 0))}"
        missing = [label for label in request.labels if label not in self.labels]
        return f"the label {missing[0]}, which it does not carry" if missing else None


class Slots(msgspec.Struct, frozen=True, array_like=True):
    """What one lane of a node holds, and so the attempt that runs in it."""

    cores: tuple[int, ...]
    """Core ids; a fraction lies on exactly one core, an amount of zero on none."""
    amount: Amount
    """In 1/10 000 cores: whole cores count ``len(cores) * ONE``, a fraction less than ONE."""
    memory: int | None
    """Bytes, None where not counted."""
    gpus: tuple[str, ...] = ()
    """GPU ids; a fraction lies on exactly one GPU."""
    gpu_amount: Amount = Amount(0)
    """In 1/10 000 GPUs, as `amount` is in cores."""
    resources: Quantities = ()
    exclusive: bool = False
    """Nobody else holds anything on the node."""
