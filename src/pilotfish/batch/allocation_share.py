"""What of this node is ours, in the words of the batch system: read by an agent on each node of an allocation.

Batch systems lend cores in one of two ways: confined, when our affinity mask is exactly what was lent, or by number
only. In the first they are ours and tasks may be bound to them; in the second nobody knows which, and they are counted.

What belongs here: reading that from the environment of a step. What must not: what the machine has (`agent.inventory`).
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pilotfish.batch.allocation import classad, pe_hosts
from pilotfish.batch.hostlist import expand_hosts

__all__ = ["NodeShare", "share_here"]

_DRIVERS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_MIB = 2**20
"""What Slurm and HTCondor mean by a megabyte of memory."""


class NodeShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch system lends of one node."""

    cores: int
    """Logical CPUs, as the batch system counts them."""
    memory: int | None = None
    """Bytes. None: it was not asked to look after memory, so all that the kernel leaves us."""
    gpus: tuple[str, ...] | None = None
    """As ``CUDA_VISIBLE_DEVICES`` names them in the step. None: the batch system does not look after GPUs here."""
    whole: bool
    """The cores that we may run on are exactly those that were lent: tasks may be bound to them."""


def share_here(
    environ: Mapping[str, str], machine_cores: int, *, present: int | None = None, host: str | None = None
) -> NodeShare:
    """What of this node is ours; all of it where the environment tells nothing.

    Args:
        environ: of a process that the batch system's launcher has started here.
        machine_cores: how many our affinity mask leaves us.
        present: how many the machine has; None: as many.
        host: this node's name; None: as the kernel says. Launchers may carry another node's ``HOSTNAME`` here.

    """
    read = next((reader for name, reader in _READERS.items() if environ.get(name)), None)
    told = _Told() if read is None else read(environ, _short(host or os.uname().nodename))
    lent = told.cores or machine_cores
    if machine_cores < lent and machine_cores < (present or machine_cores):
        # Confined to less than was lent to the job: our step is smaller than it.
        lent = machine_cores
    memory = told.memory
    if told.memory_per_core is not None:
        memory = told.memory_per_core * lent
    if told.memory_per_gpu is not None:
        memory = told.memory_per_gpu * len(told.gpus or ())
    return NodeShare(cores=lent, memory=memory or None, gpus=told.gpus, whole=lent == machine_cores)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the variables say, before it is held against the machine."""

    cores: int | None = None
    memory: int | None = None
    memory_per_core: int | None = None
    memory_per_gpu: int | None = None
    gpus: tuple[str, ...] | None = None


def _slurm(environ: Mapping[str, str], _host: str) -> _Told:
    return _Told(
        cores=_slurm_cores(environ),
        memory=_megabytes(environ.get("SLURM_MEM_PER_NODE")),
        memory_per_core=_megabytes(environ.get("SLURM_MEM_PER_CPU")),
        memory_per_gpu=_megabytes(environ.get("SLURM_MEM_PER_GPU")),
        # A step that was given none sees no variable; SLURM_JOB_GPUS is what the script on the first node saw.
        gpus=_gpus(environ, "SLURM_STEP_GPUS") or ()
        if "SLURM_STEP_ID" in environ
        else _gpus(environ, "SLURM_JOB_GPUS"),
    )


def _slurm_cores(environ: Mapping[str, str]) -> int | None:
    """Those of this node: its place in the list of nodes is that in the list of cores."""
    node, nodes = environ.get("SLURMD_NODENAME"), environ.get("SLURM_JOB_NODELIST")
    counts = list(_repeated(environ.get("SLURM_JOB_CPUS_PER_NODE", "")))
    if node and nodes and node in (names := expand_hosts(nodes)) and len(counts) == len(names):
        return counts[names.index(node)]
    return _count(environ.get("SLURM_CPUS_ON_NODE"))


def _repeated(text: str) -> Iterator[int]:
    """Slurm's ``4(x2),8``: 4, 4, 8."""
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        yield from [int(count)] * int(times or 1)


def _pbs(environ: Mapping[str, str], host: str) -> _Told:
    names = _read(environ.get("PBS_GPUFILE")).split()
    gpus = _gpus(environ, "CUDA_VISIBLE_DEVICES")
    if gpus is None and names:
        # Torque's lines are HOST-gpuN, of all nodes.
        gpus = tuple([name.rpartition("-gpu")[2] for name in names if _short(name.rpartition("-gpu")[0]) == host])
    return _Told(cores=_count(environ.get("NCPUS")) or _count(environ.get("PBS_NUM_PPN")), gpus=gpus)


def _sge(environ: Mapping[str, str], host: str) -> _Told:
    slots = pe_hosts(_read(environ.get("PE_HOSTFILE")))
    cores = next((count for name, count in slots.items() if _short(name) == host), None)
    if cores is None and environ.get("NHOSTS", "1") == "1":
        cores = _count(environ.get("NSLOTS"))
    return _Told(cores=cores, gpus=_gpus(environ, "SGE_HGR_gpu"))


def _htcondor(environ: Mapping[str, str], _host: str) -> _Told:
    machine = classad(_read(environ["_CONDOR_MACHINE_AD"]))
    assigned = machine.get("AssignedGPUs", "").replace("CUDA", "")
    return _Told(
        cores=_count(machine.get("Cpus")),
        memory=_megabytes(machine.get("Memory")),
        gpus=_gpus({**environ, "AssignedGPUs": assigned} if assigned else environ, "AssignedGPUs"),
    )


def _gpus(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    """Ids of GPUs: the drivers' own variables first, since their numbers are those that count inside the step."""
    text = next((environ[key] for key in (*_DRIVERS, name) if key in environ), None)
    if text is None:
        return None
    return tuple([part for part in re.split(r"[,\s]+", text) if part and part not in {"NoDevFiles", "-1"}])


def _megabytes(text: str | None) -> int | None:
    count = _count(text)
    return None if count is None else count * _MIB


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) else None


def _short(host: str) -> str:
    return host.partition(".")[0]


def _read(file: str | None) -> str:
    """The text of a file, empty where this node has none: some are on the first node only."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace") if file else ""
    except OSError:
        return ""


_READERS = {"SLURM_JOB_ID": _slurm, "PBS_JOBID": _pbs, "_CONDOR_MACHINE_AD": _htcondor, "JOB_ID": _sge}
"""By the variable that says that we are inside."""
