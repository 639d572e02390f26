"""The allocation that a command finds itself in, and what of this node is ours there.

What belongs here: that finding. What must not: batch systems, whose words are `batch`'s.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from pilotfish.agent.inventory import Declared

if TYPE_CHECKING:
    from pilotfish.batch.allocation import Allocation

__all__ = ["found_allocation", "in_allocation"]

_SIGNS = frozenset({"SLURM_JOB_ID", "PBS_JOBID", "SGE_ROOT", "_CONDOR_MACHINE_AD"})
"""Variables of which one is there inside an allocation: nobody else waits for what could tell more."""


def found_allocation(environ: Mapping[str, str], *, ask: bool = True) -> "Allocation | None":
    """The allocation that a process with this environment is in. Raises UserError where that contradicts itself.

    Without `ask`, what the environment tells is enough: then not each node asks the batch system.
    """
    if _SIGNS.isdisjoint(environ):
        return None
    from pilotfish.batch.allocation import allocation_here

    return allocation_here(environ, None if ask else lambda _words, _environ: None)


def in_allocation(declared: Declared, allocation: "Allocation | None", environ: Mapping[str, str]) -> Declared:
    """What is declared of this node, and where nothing is, what the allocation lends of it."""
    if allocation is None:
        return declared
    from pilotfish.batch.allocation_share import share_here

    share = share_here(environ, len(os.sched_getaffinity(0)), present=os.cpu_count())
    gpus = share.gpus if declared.gpus is None else None
    return msgspec.structs.replace(
        declared,
        cores=share.cores if declared.cores is None else declared.cores,
        memory=share.memory if declared.memory is None else declared.memory,
        pinned=share.whole,
        gpus=declared.gpus if gpus is None else len(gpus),
        gpu_names=gpus or (),
        ends_at=allocation.ends_at,
    )
