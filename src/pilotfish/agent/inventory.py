"""What this machine has for tasks: cores that we may use, memory that we may fill, GPUs, and what is declared.

Cores are those of our affinity mask, which the kernel keeps within our cpuset, and no more than the cgroups' quota
of processor time pays for; memory is what the machine has, or the tightest cgroup above us allows. Custom resources and
labels are what somebody says.

What belongs here: reading that, as pure functions on texts of the kernel and thin readers. What must not: who uses it.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pilotfish.agent.gpus import FoundGpu, read_gpus
from pilotfish.model.resources import Gpu, Inventory, Quantities

__all__ = [
    "Declared",
    "Machine",
    "cgroup_folders",
    "core_ids",
    "domain_order",
    "inventory_of",
    "memory_total",
    "quota_cores",
    "read_inventory",
    "read_machine",
]

_NODES = "/sys/devices/system/node"
_CORES = "/sys/devices/system/cpu"
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
    numa: Mapping[int, tuple[int, ...]] = {}
    """Those cores by the kernel's number of their memory node, the threads of one core beside each other."""
    gpus: tuple[FoundGpu, ...] = ()


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says that a node has, whatever its machine has."""

    cores: int | None = None
    """More than there are become names without a core behind them. None: all that we may use."""
    memory: int | None = None
    """Bytes. None: all that we may use."""
    pinned: bool = True
    """False: cores are names anyway, and nothing is bound to any."""
    gpus: int | None = None
    """More than there are become names without a GPU behind them. None: all that we may use."""
    gpu_names: tuple[str, ...] = ()
    """What such names are; none: numbers from 0."""
    resources: Quantities = ()
    """Custom ones."""
    labels: tuple[str, ...] = ()
    """Ascending."""
    ends_at: float | None = None
    """When the allocation that it belongs to ends, in seconds since 1970; None: never."""


def inventory_of(
    machine: Machine, declared: Declared, cores: Collection[int] | None = None, gpus: Collection[str] | None = None
) -> Inventory:
    """What a machine, and the one who declares, say together that a node has.

    Args:
        machine: what there is.
        declared: what somebody says.
        cores: ids of those that are ours; None: the first ones, as many as are declared. Names have no owner.
        gpus: ids likewise.

    """
    wanted = machine.at_most if declared.cores is None else declared.cores
    named = wanted > machine.at_most or not declared.pinned
    if named:
        cores = range(wanted)
    elif cores is None:
        cores = machine.cores[:wanted]
    domains = {} if named else _domains(machine.numa, frozenset(cores))
    return Inventory(
        cores=tuple(sorted(cores)),
        memory=machine.memory if declared.memory is None else declared.memory,
        pinned=not named,
        numa=tuple(domains.values()),
        gpus=_gpus(machine.gpus, declared, gpus, list(domains)),
        resources=declared.resources,
        labels=declared.labels,
        ends_at=declared.ends_at,
    )


def _domains(numa: Mapping[int, Sequence[int]], cores: Collection[int]) -> dict[int, tuple[int, ...]]:
    """The memory nodes that have some of the cores, with these."""
    ours = {number: tuple([core for core in domain if core in cores]) for number, domain in sorted(numa.items())}
    return {number: domain for number, domain in ours.items() if domain}


def _gpus(
    found: Sequence[FoundGpu], declared: Declared, wanted: Collection[str] | None, nodes: Sequence[int]
) -> tuple[Gpu, ...]:
    if declared.gpus is not None and declared.gpus > len(found):
        return tuple(Gpu(name) for name in declared.gpu_names or map(str, range(declared.gpus)))
    ours = found[: declared.gpus] if wanted is None else [gpu for gpu in found if gpu.id in wanted]
    return tuple(Gpu(gpu.id, nodes.index(gpu.node) if gpu.node in nodes else None) for gpu in ours)


def read_inventory(declared: Declared) -> Inventory:
    """The inventory of this machine, as `inventory_of` tells."""
    return inventory_of(read_machine(), declared)


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
        _read_numa(cores),
        read_gpus(os.environ),
    )


def _read_numa(cores: Sequence[int]) -> dict[int, tuple[int, ...]]:
    numbers = core_ids(_text(f"{_NODES}/has_cpu"))
    siblings: dict[int, tuple[int, ...]] = {}
    for core in cores:
        if core not in siblings:
            threads = core_ids(_text(f"{_CORES}/cpu{core}/topology/thread_siblings_list"))
            siblings.update(dict.fromkeys(threads, threads))
    ours = frozenset(cores)
    return {
        number: domain_order(core_ids(_text(f"{_NODES}/node{number}/cpulist")), siblings, ours) for number in numbers
    }


def core_ids(text: str) -> tuple[int, ...]:
    """The numbers in a list of the kernel, such as ``0-3,8``."""
    spans = [part.partition("-") for part in text.strip().split(",") if part]
    return tuple(number for first, _, last in spans for number in range(int(first), int(last or first) + 1))


def domain_order(
    domain: Sequence[int], siblings: Mapping[int, Sequence[int]], ours: Collection[int]
) -> tuple[int, ...]:
    """The logical CPUs of a memory node that are ours, the threads of one core beside each other."""
    order = dict.fromkeys(thread for core in domain for thread in siblings.get(core, (core,)))
    return tuple([thread for thread in order if thread in ours])


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
