"""What allocation of a batch system we are inside, if any: its id, its nodes, its end.

Read from the environment that the batch system gives its jobs and, for what that does not tell, from one command of it.
Times are asked for in a form that needs no time zone.

What belongs here: reading that. What must not: what of a node is ours (`allocation_share`), starting anything there
(`launch`).
"""

import calendar
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from pilotfish.batch.hostlist import expand_hosts
from pilotfish.errors import UserError
from pilotfish.model.quantities import parse_seconds

__all__ = ["Allocation", "Run", "allocation_here", "ask", "classad", "pe_hosts"]

Run: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], str | None]
"""Runs a command in an environment; answers what it printed, or None where it could not tell."""

_PATIENCE = 30.0
"""Seconds for a batch system to answer: a busy controller takes ten."""


class Allocation(msgspec.Struct, frozen=True):
    """Nodes, or parts of nodes, that a batch system has lent to the job that we are in."""

    system: Literal["slurm", "pbs", "sge", "htcondor"]
    id: str
    """As the batch system's own commands take it."""
    nodes: tuple[str, ...]
    """Names as its launcher takes them, each once, the one where the job's script runs first."""
    ends_at: float | None = None
    """When all that runs in it is ended, in seconds since 1970. None: never, or nobody tells."""
    cores: Mapping[str, int] = {}
    """How many each node lends, where its own environment would not tell."""
    gpus: Mapping[str, int] = {}
    """How many each node lends, where the launcher must be told; nodes that lend none are left out."""


def allocation_here(environ: Mapping[str, str], run: Run | None = None) -> Allocation | None:
    """The allocation that a process with this environment is in; None where it is in none.

    A task of pilotfish inherits the variables of the allocation that its agent is in, but may use its own slots only:
    for it, this is none. Raises UserError where the variables contradict each other, or the allocation has ended.

    Args:
        environ: of the process.
        run: what runs a command of the batch system; None: `ask`.

    """
    if "PILOTFISH_TASK" in environ:
        return None
    for name, read in _READERS.items():
        # SGE's JOB_ID is anybody's word; its cell is not.
        if environ.get(name) and (name != "JOB_ID" or "SGE_ROOT" in environ):
            return read(environ, run or ask)
    return None


def ask(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Run a short command and answer its standard output; None where it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(
            words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _slurm(environ: Mapping[str, str], run: Run) -> Allocation:
    number = environ["SLURM_JOB_ID"]
    listed = environ.get("SLURM_JOB_NODELIST")
    if not listed:
        raise _half("SLURM_JOB_ID", number, "SLURM_JOB_NODELIST")
    answer = run(["scontrol", "show", "job", "-d", "-o", number], {**environ, "SLURM_TIME_FORMAT": "%s"}) or ""
    # By the number of a whole array or heterogeneous job all its parts are told, each on a line of its own.
    own = re.search(rf"^JobId={number} .*? UserId=(.*)$", answer, re.MULTILINE)
    text = "" if own is None else own[1]
    # People may write anything into the job's name, which was left out, and into comments and paths, which come later.
    told = dict(reversed(re.findall(r"(\w+)=(\S*)", text)))
    if told.get("JobState", "RUNNING") not in {"RUNNING", "SUSPENDED", "CONFIGURING"}:
        msg = f"SLURM_JOB_ID says {number}, but Slurm says that this job is {told['JobState']}: unset SLURM_JOB_ID"
        raise UserError(msg)
    ends = told.get("EndTime", "")
    if not ends.isdecimal():
        ends = environ.get("SLURM_JOB_END_TIME", "")
    gpus = {
        name: count
        for hosts, gres in re.findall(r"\bNodes=(\S+) CPU_IDs=\S* Mem=\S* GRES=(\S*)", text)
        if (count := _gpus_of(gres))
        for name in expand_hosts(hosts)
    }
    # A job that was submitted with --no-kill has fewer nodes now than its environment says, when some have failed.
    left = told.get("NodeList", "")
    nodes = expand_hosts(listed if left in {"", "(null)"} else left)
    if own is None and (here := environ.get("SLURM_GPUS_ON_NODE", "")).isdecimal():
        gpus = dict.fromkeys(nodes, int(here))  # the others mostly have as many as this one
    return Allocation("slurm", number, nodes, float(ends) if ends.isdecimal() else None, gpus=gpus)


def _gpus_of(gres: str) -> int:
    """The GPUs in ``gpu:a100:2(IDX:0-1),shard:4(…)``."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", gres))


def _pbs(environ: Mapping[str, str], run: Run) -> Allocation:
    number, file = environ["PBS_JOBID"], environ.get("PBS_NODEFILE")
    if not file:
        raise _half("PBS_JOBID", number, "PBS_NODEFILE")
    nodes = tuple(dict.fromkeys(_lines("PBS_NODEFILE", file)))
    # qstat prints local times without a zone: it is asked in UTC.
    text = (run(["qstat", "-f", number], {**environ, "TZ": "UTC0"}) or "").replace("\n\t", "")
    told = dict(re.findall(r"^\s*([\w.]+) = (.*)$", text, re.MULTILINE))
    began = next((told[key] for key in ("stime", "start_time") if key in told), None)
    limit = told.get("Resource_List.walltime")
    ends_at = None if began is None or limit is None else _in_utc(began) + _seconds(limit)
    return Allocation("pbs", number, nodes, ends_at, _pbs_cores(told.get("exec_host", ""), nodes))


def _pbs_cores(text: str, nodes: Sequence[str]) -> dict[str, int]:
    """Cores on each node: PBS tells ``a1/0*4+a2/0*4``, Torque ``a1/0-3+a2/0-3`` or ``a1/0+a1/1``."""
    cores: dict[str, int] = {}
    for host, first, last, times in re.findall(r"([^+/]+)/(\d+)(?:-(\d+))?(?:\*(\d+))?", text):
        cores[_short(host)] = cores.get(_short(host), 0) + (
            int(times) if times else int(last or first) - int(first) + 1
        )
    return {node: cores[_short(node)] for node in nodes if _short(node) in cores}


def _short(host: str) -> str:
    """A name without its domain, which some commands print and others do not."""
    return host.partition(".")[0]


def _in_utc(text: str) -> float:
    return calendar.timegm(time.strptime(text.strip(), "%a %b %d %H:%M:%S %Y"))


def _seconds(text: str) -> float:
    """A limit as PBS and SGE write it, whose ``10:30`` is minutes and seconds."""
    return parse_seconds(f"0:{text}" if text.count(":") == 1 else text)


def _sge(environ: Mapping[str, str], run: Run) -> Allocation:
    number, file = environ["JOB_ID"], environ.get("PE_HOSTFILE")
    if file:
        cores = pe_hosts("\n".join(_lines("PE_HOSTFILE", file)))
    elif environ.get("NHOSTS", "1") == "1" and environ.get("HOSTNAME"):
        cores = {environ["HOSTNAME"]: int(environ.get("NSLOTS", "1"))}
    else:
        raise _half("JOB_ID", number, "PE_HOSTFILE")
    limits = re.findall(r"\bh_rt=([\d:]+)", run(["qstat", "-j", number], environ) or "")
    # Nothing says in which zone the start is printed; the execution daemon wrote this file then.
    began = _written(f"{environ.get('SGE_JOB_SPOOL_DIR', '')}/environment")
    ends_at = began + _seconds(limits[0]) if limits and began else None
    return Allocation("sge", number, tuple(cores), ends_at, cores)


def pe_hosts(text: str) -> dict[str, int]:
    """Slots on each host, of the text of SGE's ``$PE_HOSTFILE``, which has a line for each host and queue."""
    slots: dict[str, int] = {}
    for line in filter(str.strip, text.splitlines()):
        host, count, *_ = line.split()
        slots[host] = slots.get(host, 0) + int(count)
    return slots


def _htcondor(environ: Mapping[str, str], _run: Run) -> Allocation:
    file = environ["_CONDOR_JOB_AD"]
    if not environ.get("_CONDOR_MACHINE_AD"):
        raise _half("_CONDOR_JOB_AD", file, "_CONDOR_MACHINE_AD")
    job = classad("\n".join(_lines("_CONDOR_JOB_AD", file)))
    machine = classad("\n".join(_lines("_CONDOR_MACHINE_AD", environ["_CONDOR_MACHINE_AD"])))
    # How long it may run from now on; a glidein's slot may end before.
    began = float(job.get("JobCurrentStartDate", "0")) or _written(file)
    limits = [job[key] for key in ("AllowedJobDuration", "AllowedExecuteDuration") if job.get(key, "").isdecimal()]
    ends = [began + float(limit) for limit in limits if began]
    ends += [float(machine[key]) for key in ("GLIDEIN_ToDie",) if machine.get(key, "").isdecimal()]
    number = f"{job.get('ClusterId', '?')}.{job.get('ProcId', '?')}"
    return Allocation("htcondor", number, (machine.get("Machine", "localhost"),), min(ends, default=None))


def classad(text: str) -> dict[str, str]:
    """Attributes of one of HTCondor's ClassAds, as text; strings without their quotes."""
    pairs = [line.partition(" = ") for line in text.splitlines()]
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs if value}


def _lines(name: str, file: str) -> list[str]:
    """Those of a file that a variable names. Raises UserError where there are none."""
    try:
        lines = [line.strip() for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError as error:
        msg = f"{name} names {file}, which cannot be read ({error.strerror}): start pilotfish on the node of the script"
        raise UserError(msg) from error
    if not any(lines):
        msg = f"{name} names {file}, which is empty"
        raise UserError(msg)
    return [line for line in lines if line]


def _written(file: str) -> float | None:
    """When a file was written, in seconds since 1970; None where it is not there."""
    try:
        return os.stat(file).st_mtime  # noqa: PTH116 - one look-up
    except OSError:
        return None


def _half(name: str, value: str, missing: str) -> UserError:
    return UserError(
        f"{name} is {value}, but {missing} is not set: half an allocation; unset {name}, or start inside the job"
    )


_READERS: Mapping[str, Callable[[Mapping[str, str], Run], Allocation]] = {
    "SLURM_JOB_ID": _slurm,
    "PBS_JOBID": _pbs,
    "_CONDOR_JOB_AD": _htcondor,
    "JOB_ID": _sge,
}
"""By the variable that says that we are inside."""
