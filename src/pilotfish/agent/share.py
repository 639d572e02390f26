"""What of a machine is one node's: what is declared, what keepers of an earlier agent use, what else can be claimed.

What belongs here: that choice. What must not: reading the machine; how claims are held.
"""

import os
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pilotfish.agent.claims import FIRST_GPU, Claims
from pilotfish.agent.config import AgentConfig
from pilotfish.agent.inventory import Machine, inventory_of
from pilotfish.model.resources import Inventory

__all__ = ["holders_text", "share_of"]

_NOTHING = Inventory((), 0)


class _Wish(msgspec.Struct, frozen=True):
    """Cores, or GPUs, wanted beside those that are ours already."""

    word: str
    names: Mapping[int, str]
    """Of all that others may hold, by their records in the file of claims."""
    at_least: int
    at_most: int


def share_of(machine: Machine, config: AgentConfig, claims: Claims, adopted: Inventory | None) -> Inventory | str:
    """The inventory of the node, now claimed; or, for people, what it waits for: then no more is claimed than before.

    Args:
        machine: what there is.
        config: of the agent.
        claims: that keepers of an earlier agent hold, or none.
        adopted: what these have; None where there are none.

    """
    held = adopted or _NOTHING
    if not held.pinned:
        config = msgspec.structs.replace(config, cores=max(len(held.cores), config.cores or 0))
    got: list[int] = []
    for wish in _wishes(machine, config, held):
        claimed = claims.claim(wish.names, wish.at_least, wish.at_most, f"pid {os.getpid()} ({config.campaign})")
        if len(claimed) < wish.at_least:
            claims.release(got)
            holders = claims.holders(wish.names)
            return f"waiting for {wish.word}: {holders_text(wish.names, holders)}"
        got += claimed
    cores = [record for record in got if record < FIRST_GPU]
    gpus = [gpu.id for gpu in machine.gpus if FIRST_GPU + gpu.place in got]
    return inventory_of(machine, config, (*held.cores, *cores), (*(gpu.id for gpu in held.gpus), *gpus))


def _wishes(machine: Machine, config: AgentConfig, held: Inventory) -> Iterator[_Wish]:
    """What is to be claimed, the scarcer first; names without a core or a GPU behind them are nobody's."""
    whole = inventory_of(machine, config)
    if len(whole.gpus) <= len(machine.gpus):
        ours = {gpu.id for gpu in held.gpus}
        names = {FIRST_GPU + gpu.place: gpu.id for gpu in machine.gpus if gpu.id not in ours}
        most = _most(len(whole.gpus), config.gpus_at_most, len(ours))
        yield _Wish("GPUs", names, min(config.gpus_at_least, most) - len(ours), most - len(ours))
    if whole.pinned:
        names = {core: str(core) for core in machine.cores if core not in held.cores}
        most = _most(len(whole.cores), config.at_most, len(held.cores))
        yield _Wish("cores", names, min(max(config.at_least, 1), most) - len(held.cores), most - len(held.cores))


def _most(available: int, useful: int | None, held: int) -> int:
    return max(held, available if useful is None else min(useful, available))


def holders_text(names: Mapping[int, str], holders: Mapping[str, Iterable[int]]) -> str:
    """For people: ``0, 1 held by pid 17 (/home/me/.pilotfish/sim)``.

    Args:
        names: of records.
        holders: the records that each holds.

    """
    return "; ".join(f"{', '.join(map(names.__getitem__, records))} held by {who}" for who, records in holders.items())
