"""Where a session's agents are if not on this machine: on the nodes of its allocation, beside a Dask cluster's workers.

What belongs here: that choice. What must not: what agents do there.
"""

import os
from collections.abc import Callable

from pilotfish.errors import UserError
from pilotfish.manager.start import Agents

__all__ = ["agents_on"]

_ALLOCATION, _DASK = "allocation", "dask://"


def agents_on(place: str) -> Callable[[], Agents]:
    """Makes those who start a session's agents at a place. Raises UserError where there is no such place."""
    if place.startswith(_DASK):
        from pilotfish.agent.beside_dask import DaskAgents

        DaskAgents(place)  # a wrong address is told now
        return lambda: DaskAgents(place)
    if place != _ALLOCATION:
        raise UserError(f'on: expected "{_ALLOCATION}" or "dask://HOST:PORT", got {place!r}')
    from pilotfish.agent.fleet import Fleet
    from pilotfish.batch.allocation import allocation_here

    allocation = allocation_here(os.environ)
    if allocation is None:
        raise UserError(f'on="{_ALLOCATION}": this program is in none; sbatch, salloc or qsub give it one')
    return lambda: Fleet(allocation)
