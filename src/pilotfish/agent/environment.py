"""The environment of the attempts in a lane: what it holds, said in the words of the libraries that must know.

What belongs here: these variables. What must not: those of one job or attempt; finding out what there is.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots

__all__ = ["NODES_OWN", "encoded", "gpu_variables", "lane_environment", "thread_counts"]

_THREAD_COUNTS = (
    b"OMP_NUM_THREADS",
    b"MKL_NUM_THREADS",
    b"OPENBLAS_NUM_THREADS",
    b"BLIS_NUM_THREADS",
    b"VECLIB_MAXIMUM_THREADS",
    b"NUMEXPR_NUM_THREADS",
    b"NUMEXPR_MAX_THREADS",
    b"RAYON_NUM_THREADS",
    b"JULIA_NUM_THREADS",
    b"LOKY_MAX_CPU_COUNT",
)

NODES_OWN = (
    "PILOTFISH_NODE",
    "PILOTFISH_CORES",
    "PILOTFISH_CORE_IDS",
    "PILOTFISH_MEMORY",
    "PILOTFISH_RUNTIME",
    "TMPDIR",
    "PILOTFISH_GPUS",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "HOSTNAME",
)
"""What differs from node to node: of an attempt on several, each has its own."""


def lane_environment(
    base: Mapping[bytes, bytes], node: str, slots: Slots, scratch: Path, *, renumbered: bool = False
) -> dict[bytes, bytes]:
    """The environment of all attempts in a lane, before what their job adds.

    Args:
        base: the agent's own environment; thread counts in it are the user's, and stay.
        node: where the lane is.
        slots: what it holds.
        scratch: its folder for temporary files.
        renumbered: whether HIP counts GPUs anew within those that ``ROCR_VISIBLE_DEVICES`` leaves, as AMD's own does.

    """
    threads = max(1, slots.amount // ONE)
    ours = {
        "PILOTFISH_NODE": node,
        "PILOTFISH_CORES": str(len(slots.cores)),
        "PILOTFISH_CORE_IDS": ",".join(map(str, slots.cores)),
        "PILOTFISH_MEMORY": "" if slots.memory is None else str(slots.memory),
        "TMPDIR": str(scratch),
        # A pilotfish that a task runs shares out the task's cores, and waits for nobody who has the others.
        "PILOTFISH_RUNTIME": f"{scratch}/pilotfish",
        **gpu_variables(slots.gpus, renumbered=renumbered),
    }
    return thread_counts(threads) | dict(base) | encoded(ours)


def thread_counts(threads: int) -> dict[bytes, bytes]:
    """How many threads the libraries are to start."""
    return dict.fromkeys(_THREAD_COUNTS, b"%d" % threads)


def gpu_variables(ids: Sequence[str], *, renumbered: bool) -> dict[str, str]:
    """These GPUs and no others, in the words of all vendors; `renumbered` as above."""
    all_of_them = ",".join(ids)
    seen_by_hip = ",".join(map(str, range(len(ids)))) if renumbered else all_of_them
    return {
        "PILOTFISH_GPUS": all_of_them,
        "CUDA_VISIBLE_DEVICES": seen_by_hip,  # HIP reads it too
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # in which the ids count
        "ROCR_VISIBLE_DEVICES": all_of_them,
        "HIP_VISIBLE_DEVICES": seen_by_hip,
        "ZE_AFFINITY_MASK": all_of_them,
    }


def encoded(texts: Mapping[str, str]) -> dict[bytes, bytes]:
    """Variables as the kernel takes them."""
    return {os.fsencode(name): os.fsencode(text) for name, text in texts.items()}
