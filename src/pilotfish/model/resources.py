"""What a task asks for, what a node has, what an attempt was given."""

import msgspec

from pilotfish.model.quantities import ONE, Amount, format_amount, format_bytes

__all__ = ["Inventory", "Request", "Slots"]


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The resources that a task asks for. Equal requests are one *request class* of the scheduler."""

    cores: Amount = ONE
    """In 1/10 000 cores. Below one: that share of one core. Above: whole cores only."""
    memory: int | None = None
    """Bytes; None is neither counted nor limited."""

    def __str__(self) -> str:
        """For people: ``2 cores, 1 GiB``."""
        cores = f"{format_amount(self.cores)} core{'s' * (self.cores != ONE)}"
        return cores if self.memory is None else f"{cores}, {format_bytes(self.memory)}"


class Inventory(msgspec.Struct, frozen=True):
    """What a node has for tasks."""

    cores: tuple[int, ...]
    """Ids of the logical CPUs that tasks may use, ascending."""
    memory: int
    """Bytes that tasks may use together."""
    pinned: bool = True
    """False where more cores were declared than exist: then the ids are only names and nothing is bound."""


class Slots(msgspec.Struct, frozen=True, array_like=True):
    """What one lane of a node holds, and so the attempt that runs in it."""

    cores: tuple[int, ...]
    """Core ids; a fraction lies on exactly one core, an amount of zero on none."""
    amount: Amount
    """In 1/10 000 cores: whole cores count ``len(cores) * ONE``, a fraction less than ONE."""
    memory: int | None
    """Bytes, None where not counted."""
