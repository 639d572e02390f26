"""How many processes one task is: what `launcher`, `ranks` and `threads` say together with what it asks for.

What belongs here: these keys, and the cores that follow from them. What must not: how processes are started.
"""

from collections.abc import Mapping
from typing import Any

from pilotfish.formats.entries import EntryError
from pilotfish.model.jobs import JobSpec, Launcher
from pilotfish.model.quantities import ONE, Amount, format_amount
from pilotfish.model.resources import Request

__all__ = ["check_ranks", "cores_for"]


def cores_for(read: Mapping[str, Any], nodes: int) -> Amount:
    """The cores of one node that ranks and threads need: what a task asks for that does not say it."""
    if read.get("launcher", Launcher.default).has_ranks:
        return Amount(-(-read.get("ranks", nodes) // nodes) * read.get("threads", 1) * ONE)
    return Amount(read.get("threads", 1) * ONE)


def check_ranks(spec: JobSpec) -> None:
    """Raise EntryError where these keys contradict each other, or a request cannot hold what they want."""
    if not spec.launcher.has_ranks:
        if spec.ranks is not None:
            msg = f"{spec.ranks} needs a launcher that starts processes: write launcher: openmpi, intelmpi or srun"
            raise EntryError(msg, "ranks")
        if spec.threads is not None and spec.launcher is Launcher.default:
            msg = f"{spec.threads} needs launcher: threads, openmpi, intelmpi or srun; without one, write cores"
            raise EntryError(msg, "threads")
    if spec.launcher is not Launcher.default:
        for request in spec.requests:
            _check_request(spec, request)


def _check_request(spec: JobSpec, request: Request) -> None:
    """That one of the alternatives of what a task asks for holds its ranks."""
    cores, threads, nodes = request.cores, spec.threads or 1, request.nodes
    if cores < ONE:
        msg = f"{spec.launcher} needs whole cores, and cores is {format_amount(cores)}: write cores: 1 or more"
        raise EntryError(msg, "launcher")
    whole = cores // ONE
    if not spec.launcher.has_ranks:
        if threads > whole:
            msg = f"{threads} is more than cores, {whole}: write cores: {threads}, or leave it out"
            raise EntryError(msg, "threads")
        return
    if spec.ranks is None:
        if whole % threads and request.most_cores is None and not request.exclusive:
            msg = f"cores, {whole}, is no multiple of threads, {threads}: write ranks, or leave one of the two out"
            raise EntryError(msg, "threads")
        return
    if spec.ranks < nodes:
        msg = f"{spec.ranks} is less than nodes, {nodes}: each node needs a rank"
        raise EntryError(msg, "ranks")
    here = -(-spec.ranks // nodes)
    if here * threads > whole:
        each = f" of {threads} threads" if threads > 1 else ""
        where = f" on {nodes} nodes need {here * threads} on each" if nodes > 1 else f" need {here * threads}"
        msg = f"{spec.ranks} ranks{each}{where}, and cores is {whole}: change one of them, or leave cores out"
        raise EntryError(msg, "ranks")
