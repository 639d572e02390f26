"""What this machine has for tasks: cores that we may use, memory that we may fill.

Cores are those of our affinity mask, which the kernel keeps within our cpuset, and no more than the cgroups' quota
of processor time pays for; memory is what the machine has, or the tightest cgroup above us allows.

What belongs here: reading that, as pure functions on texts of the kernel and thin readers. What must not: who uses it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pilotfish.model.resources import Inventory

__all__ = ["Machine", "cgroup_folders", "inventory_of", "memory_total", "quota_cores", "read_inventory", "read_machine"]

_UNIFIED = ""
"""How the kernel names the hierarchy of cgroup version 2."""


class Machine(msgspec.Struct, frozen=True):
    """What we may use of this machine."""

    cores: tuple[int, ...]
    """Ids of logical CPUs, ascending."""
    at_most: int
    """How many of them at the same time; fewer than all where there is a quota."""
    memory: int
    """Bytes."""


def inventory_of(machine: Machine, cores: int | None = None, memory: int | None = None) -> Inventory:
    """The inventory, as far as only the machine decides.

    Args:
        machine: what there is.
        cores: declared; more than there are become names without a core behind them. None: all.
        memory: bytes, declared. None: all.

    """
    memory = machine.memory if memory is None else memory
    if cores is not None and cores > machine.at_most:
        return Inventory(tuple(range(cores)), memory, pinned=False)
    return Inventory(machine.cores[: machine.at_most if cores is None else cores], memory)


def read_inventory(cores: int | None = None, memory: int | None = None) -> Inventory:
    """The inventory of this machine, with what was declared, as `inventory_of` tells."""
    return inventory_of(read_machine(), cores, memory)


def read_machine() -> Machine:
    """Ask the kernel what we may use."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    folders = cgroup_folders(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    quotas = [quota_cores(_text(f"{folder}/cpu.max")) for folder in folders.get(_UNIFIED, ())]
    quotas += [
        quota_cores(f"{_text(f'{folder}/cpu.cfs_quota_us')} {_text(f'{folder}/cpu.cfs_period_us')}")
        for folder in folders.get("cpu", ())
    ]
    limits = [_text(f"{folder}/memory.max") for folder in folders.get(_UNIFIED, ())]
    limits += [_text(f"{folder}/memory.limit_in_bytes") for folder in folders.get("memory", ())]
    return Machine(
        cores,
        min([len(cores), *(quota for quota in quotas if quota is not None)]),
        min([memory_total(_text("/proc/meminfo")), *(int(limit) for limit in limits if limit.isdigit())]),
    )


def cgroup_folders(membership: str, mounts: str) -> dict[str, tuple[str, ...]]:
    """The cgroups that we are in, by controller, from our own up to the topmost that can be seen.

    Args:
        membership: the text of ``/proc/self/cgroup``.
        mounts: the text of ``/proc/self/mountinfo``.

    """
    paths = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.removeprefix("name=").split(","), path))
    found = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(None, 2)
        for controller in {"cgroup2": [_UNIFIED], "cgroup": options.split(",")}.get(kind, []):
            if controller in paths:
                found[controller] = tuple(_upwards(point, paths[controller], root))
    return found


def _upwards(point: str, path: str, root: str) -> Iterator[str]:
    """Folders under a mount point, of whose hierarchy only `root` and below is mounted there."""
    root = root.rstrip("/")
    inside = path.removeprefix(root) if path.startswith(f"{root}/") else ""
    parts = inside.strip("/").split("/") if inside.strip("/") else []
    for depth in range(len(parts), -1, -1):
        yield "/".join([point, *parts[:depth]])


def quota_cores(text: str) -> int | None:
    """Whole cores that a quota of processor time pays for, at least one; None where there is none.

    Args:
        text: quota and period in microseconds, as in ``cpu.max``; the quota is ``max`` or -1 where there is none.

    """
    quota, _, period = text.strip().partition(" ")
    return max(1, int(quota) // int(period)) if quota.isdigit() and period.strip().isdigit() else None


def memory_total(text: str) -> int:
    """Bytes of memory that ``/proc/meminfo`` tells of."""
    line = next(line for line in text.splitlines() if line.startswith("MemTotal:"))
    return int(line.split()[1]) * 1024


def _text(path: str) -> str:
    """The content of a file of the kernel, empty where it has none."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
