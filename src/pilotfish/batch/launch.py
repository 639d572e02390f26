"""The commands that start one program once on each node of an allocation.

| launcher | used | its standard input | its environment |
|---|---|---|---|
| ``srun`` | Slurm | reaches every node | travels whole |
| ``qrsh -inherit -V`` | SGE | does not travel | travels whole |
| ``pbsdsh -n`` | PBS, Torque | does not travel | the job's; ours is told as ``env`` words |
| ``mpiexec -n 1`` | PBS without ``pbsdsh`` | reaches its node | told as ``env`` words |
| ``ssh`` | PBS with neither | reaches its node | told as ``env`` words |
| none | this very node, HTCondor | inherited | inherited |

A command line can be read by everybody on the machine: a secret goes into a file of mode 0600 whose path is told.

What belongs here: words. What must not: running them, what the program is.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from pilotfish.batch.allocation import Allocation
from pilotfish.batch.hostlist import expand_hosts

__all__ = ["SRUN_OPTIONS", "launch_commands"]

_SRUN = (
    "srun",
    "--overlap",  # beside steps of the user's, on the same cores and GPUs
    "--ntasks-per-node=1",
    "--cpu-bind=none",  # pilotfish binds its tasks itself
    "--mem=0",  # all that the job has there
    "--export=ALL",
    "--kill-on-bad-exit=0",
    "--no-kill",
    "--wait=0",
    "--mpi=none",  # agents are no ranks: PMIx would end all of them with one
)  # fmt: skip
"""A step in which no node's end is another's: an agent may fail and a node may die, the others go on (Slurm 22.05)."""

SRUN_OPTIONS = tuple(
    word.partition("=")[0]
    for word in (*_SRUN[1:], "--nodes", "--ntasks", "--nodelist", "--gres")
    if word != "--cpu-bind=none"
)
"""What `srun` must know. Of binding it does not speak where cores are not bound, and takes the option all the same."""

_SRUN_VARIABLES = (
    "SLURM_CPUS_PER_TASK", "SLURM_DISTRIBUTION", "SLURM_EXACT", "SLURM_EXCLUSIVE", "SLURM_GPUS", "SLURM_GPUS_PER_NODE",
    "SLURM_GPUS_PER_SOCKET", "SLURM_GPUS_PER_TASK", "SLURM_GRES", "SLURM_HINT", "SLURM_NTASKS_PER_CORE",
    "SLURM_NTASKS_PER_GPU", "SLURM_NTASKS_PER_SOCKET", "SLURM_NTASKS_PER_TRES", "SLURM_THREADS_PER_CORE",
    "SLURM_TIMELIMIT", "SLURM_TRES_PER_TASK", "SRUN_CPUS_PER_TASK",
)  # fmt: skip
"""What `srun` takes for options: meant for the tasks of the job; some it refuses together with ours."""

_TRAVEL = ("LANG", "LD_LIBRARY_PATH", "NCPUS", "PATH", "PYTHONPATH", "VIRTUAL_ENV")
"""What a program needs to be found and to start, and what tells of this allocation; with all of `_TRAVEL_FROM`."""
_TRAVEL_FROM = ("PBS_", "PILOTFISH_")
_SECRET = ("KEY", "PASSWORD", "SECRET", "TOKEN")


def launch_commands(
    allocation: Allocation,
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    host: str | None = None,
    which: Callable[[str], str | None] | None = None,
) -> list[list[str]]:
    """The commands that together start `words` once on each node of an allocation; run them all, beside each other.

    Each lives as long as what it has started, and what ends on one node, or with it, ends nothing elsewhere. Where a
    job of Slurm was not submitted with ``--no-kill``, Slurm itself ends all of it when one of its nodes fails.

    Args:
        allocation: it may name fewer nodes than we are in: only those.
        words: a program and its arguments.
        environ: of the process that will run the commands, inside the allocation.
        host: this node's name; None: as the kernel says.
        which: finds a program; None: on the path of `environ`.

    """
    if allocation.system == "slurm":
        return _srun(allocation, words, environ)
    here = _short(host or os.uname().nodename)
    find = which or (lambda name: shutil.which(name, path=environ.get("PATH")))
    wrap = _wrapper(allocation, environ, find)
    commands = []
    for node in allocation.nodes:
        whole = [*_lent(allocation, node), *words]
        commands.append(whole if _is_here(node, here, allocation) else wrap(node, whole))
    return commands


def _is_here(node: str, here: str, allocation: Allocation) -> bool:
    return allocation.system == "htcondor" or _short(node) == here


def _lent(allocation: Allocation, node: str) -> list[str]:
    """Words that tell how many cores a node lends: the variables of the job are those of its first node, or of all."""
    cores = allocation.cores.get(node)
    if cores is None:
        return []
    if allocation.system == "sge":
        return ["env", "-u", "PE_HOSTFILE", "NHOSTS=1", f"NSLOTS={cores}"]
    return ["env", f"NCPUS={cores}"]


def _srun(allocation: Allocation, words: Sequence[str], environ: Mapping[str, str]) -> list[list[str]]:
    """One step for all nodes; one for each where they lend different numbers of GPUs.

    A step gets no GPU that it does not ask for. Asked as a number for each node, Slurm refuses it in uneven jobs; asked
    as a total, it does not give all of them on several nodes (22.05).
    """
    everywhere = expand_hosts(environ.get("SLURM_JOB_NODELIST") or ",".join(allocation.nodes))
    counts = {allocation.gpus.get(node, 0) for node in everywhere}
    unset = [word for name in _SRUN_VARIABLES if name in environ for word in ("-u", name)]
    # Newer versions tell it by themselves; so no node has to ask the controller.
    end = [] if allocation.ends_at is None else [f"SLURM_JOB_END_TIME={int(allocation.ends_at)}"]
    start = [*(["env", *unset, *end] if unset or end else []), *_SRUN]
    if len(counts) == 1:
        (each,) = counts
        asked = [f"--gres=gpu:{each}"] if each else []
        return [[*start, *_on(allocation.nodes, everywhere), *asked, *words]]
    with_gpus = [(node, allocation.gpus[node]) for node in allocation.nodes if node in allocation.gpus]
    without = [node for node in allocation.nodes if node not in allocation.gpus]
    commands = [[*start, *_on([node], everywhere), f"--gpus={count}", *words] for node, count in with_gpus]
    return commands + ([[*start, *_on(without, everywhere), "--gres=none", *words]] if without else [])


def _on(nodes: Sequence[str], everywhere: Sequence[str]) -> list[str]:
    named = [f"--nodelist={','.join(nodes)}"] if len(nodes) < len(everywhere) else []
    return [f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}", *named]


_Wrapper: TypeAlias = Callable[[str, Sequence[str]], list[str]]
"""Makes of a node's name, and of words, the words that run these there."""


def _wrapper(allocation: Allocation, environ: Mapping[str, str], find: Callable[[str], str | None]) -> _Wrapper:
    if allocation.system == "sge":
        return lambda node, words: ["qrsh", "-inherit", "-V", node, *words]
    told = _told(environ)
    if find("pbsdsh"):
        places = _places(environ)
        return lambda node, words: ["pbsdsh", "-n", str(places[node]), "--", *told, *words]
    if find("mpiexec"):
        # One for each node: an mpiexec ends all that it has started when one of them ends badly.
        return lambda node, words: ["mpiexec", "-n", "1", "-host", node, *told, *words]
    return lambda node, words: ["ssh", "-o", "BatchMode=yes", node, shlex.join([*told, *words])]


def _places(environ: Mapping[str, str]) -> dict[str, int]:
    """The number by which `pbsdsh` knows each node: its first line in the job's node file."""
    lines = Path(environ["PBS_NODEFILE"]).read_text(encoding="utf-8").split()
    return {node: lines.index(node) for node in dict.fromkeys(lines)}


def _told(environ: Mapping[str, str]) -> list[str]:
    names = [name for name in environ if name in _TRAVEL or name.startswith(_TRAVEL_FROM)]
    return ["env", *(f"{name}={environ[name]}" for name in sorted(names) if not name.endswith(_SECRET))]


def _short(host: str) -> str:
    return host.partition(".")[0]
