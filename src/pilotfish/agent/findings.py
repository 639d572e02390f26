"""What the facts of nodes mean: what is well, what may go wrong, what will, and the way out.

What belongs here: these judgements, as pure functions. What must not: finding out (`checkup`).
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from pilotfish.agent.checkup import Facts, Folder, Met
from pilotfish.model.quantities import format_bytes, format_seconds
from pilotfish.transport.local import PATH_LIMIT

__all__ = ["Finding", "gathered", "judge_allocation", "judge_end", "judge_node", "judge_slurm", "judge_together"]

_FILES, _FILES_PER_CORE = 64, 16
"""Open files of an agent, and of a keeper and its task for each core."""
_PROCESSES_PER_CORE = 8
"""A keeper, a shell, a program and its helpers."""
_CLOCK = 2.0
"""Seconds by which clocks may differ: less than what a run plans to keep before the end of an allocation."""
_DELAY = 1.0
"""Seconds in which a new file should be seen by the other nodes."""
_SOCKET, _FAR_SOCKET = "/s1234567-012345/manager.sock", "/0123456789-{}/door-values"
"""The longest in the runtime folder: of a run or a session; of an agent on another node, named ``{}``."""
_GIB, _MIB = 2**30, 2**20
_NETWORK = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "fuse", "cifs", "smb", "9p", "afs", "panfs", "pvfs", "wekafs")
"""Beginnings of the kernel's names of file systems whose files lie on another machine, mostly."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "problem"]
    subject: str
    text: str
    """What was found, and what it means."""
    way_out: str = ""
    """What to do about it; empty where all is well."""
    nodes: tuple[str, ...] = ()
    """Of which this is true; none: of all together."""


def judge_node(facts: Facts, *, several: bool = False) -> list[Finding]:
    """What one node's facts mean.

    Args:
        facts: of the node.
        several: it is one of several nodes.

    """
    findings = [judge(facts) for judge in _JUDGES]
    if several:
        findings.append(_engine(facts))
    return [msgspec.structs.replace(finding, nodes=(facts.host,)) for finding in findings]


def _version(facts: Facts) -> Finding:
    return _ok("pilotfish", f"{facts.version}, Python {facts.python}")


def _kernel(facts: Facts) -> Finding:
    if facts.handles:
        return _ok("kernel", f"Linux {facts.kernel}")
    return Finding(
        level="problem",
        subject="kernel",
        text=f"Linux {facts.kernel} has no handles of processes: agents cannot watch what they start",
        way_out="use nodes with Linux 5.3 or newer, or allow pidfd_open where a container forbids it",
    )


def _open_files(facts: Facts) -> Finding:
    wanted = _FILES + _FILES_PER_CORE * facts.cores
    if facts.open_files >= wanted:
        return _ok("open files", f"{_number(facts.open_files)} for {facts.cores} cores")
    raise_it = f"`ulimit -n {min(wanted, facts.open_files_most)}` before you start"
    return Finding(
        level="warning",
        subject="open files",
        text=f"{facts.open_files} are few for {facts.cores} cores: about {wanted} are needed when all of them are busy",
        way_out=raise_it if facts.open_files_most > facts.open_files else "ask the site to raise the limit (nofile)",
    )


def _processes(facts: Facts) -> Finding:
    wanted = _FILES + _PROCESSES_PER_CORE * facts.cores
    if facts.processes is None or facts.processes >= wanted:
        most = "no limit" if facts.processes is None else f"{_number(facts.processes)} for {facts.cores} cores"
        return _ok("processes", most)
    return Finding(
        level="warning",
        subject="processes",
        text=f"{facts.processes} are few for {facts.cores} cores: starting tasks fails when there are so many",
        way_out="raise `ulimit -u`, or ask the site to raise the limit (pids.max)",
    )


def _memory(facts: Facts) -> Finding:
    could = "could be made here" if facts.memory_cgroup else "cannot be made here"
    return _ok("memory", f"watched by sampling; a cgroup for each task {could}")


def _store(facts: Facts) -> Finding:
    store = facts.store
    if not store.problem and not store.locks:
        return Finding(
            level="problem",
            subject="store",
            text=f"{store.path} ({store.kind}) has no locks: two runs could write one campaign",
            way_out="put the store on another file system with --store, or have it mounted with locks (flock)",
        )
    return _room("store", store, _GIB, "outputs of tasks are lost when it is full", "free some, or choose --store")


def _temporary(facts: Facts) -> Finding:
    return _room("temporary files", facts.temporary, _GIB, "tasks may need more", "set TMPDIR to a larger folder")


def _shared_memory(facts: Facts) -> Finding:
    meaning = "large values of functions go to a disk instead"
    way_out = "run the container with more shared memory (--shm-size)"
    found = _room("shared memory", facts.shared_memory, 256 * _MIB, meaning, way_out)
    return msgspec.structs.replace(found, level="warning") if found.level == "problem" else found


def _runtime(facts: Facts) -> Finding:
    folder = facts.runtime
    if not folder.problem and folder.kind.startswith(_NETWORK):
        return Finding(
            level="problem",
            subject="runtime folder",
            text=f"{folder.path} lies on {folder.kind}: sockets and locks of this node must lie on a disk of its own",
            way_out="set PILOTFISH_RUNTIME to a folder on a local disk",
        )
    size, most = len(os.fsencode(folder.path)), PATH_LIMIT - len(_SOCKET)
    far = PATH_LIMIT - len(_FAR_SOCKET.format(facts.host))
    if not folder.problem and size > min(most, far):
        return Finding(
            level="problem" if size > most else "warning",
            subject="runtime folder",
            text=f"{folder.path} has {size} bytes: sockets of runs leave it {most}, of agents on other nodes {far}",
            way_out=f"set PILOTFISH_RUNTIME to a folder whose path has at most {min(most, far)} bytes",
        )
    meaning = "sockets, journals and short outputs lie there"
    return _room("runtime folder", folder, 100 * _MIB, meaning, "free some, or set PILOTFISH_RUNTIME to another folder")


def _engine(facts: Facts) -> Finding:
    if facts.engine:
        return _ok("engine", "what carries messages between nodes is installed")
    return Finding(
        level="problem",
        subject="engine",
        text="what carries messages between nodes is not installed",
        way_out="`pip install 'pilotfish[dask]'` where these nodes see it",
    )


def _room(subject: str, folder: Folder, least: int, meaning: str, way_out: str) -> Finding:
    if folder.problem:
        text = f"{folder.path} cannot be written to ({folder.problem}): {meaning}"
        return Finding(level="problem", subject=subject, text=text, way_out=way_out)
    text = f"{format_bytes(folder.free)} free in {folder.path} ({folder.kind})"
    if folder.free < least:
        return Finding(level="warning", subject=subject, text=f"only {text}: {meaning}", way_out=way_out)
    return _ok(subject, text)


_JUDGES: Sequence[Callable[[Facts], Finding]] = (
    _version, _kernel, _open_files, _processes, _memory, _store, _temporary, _shared_memory, _runtime,
)  # fmt: skip


def judge_together(
    head: Facts, met: Mapping[str, Met], *, ahead: Mapping[str, float], delays: Mapping[str, float], torn: int
) -> list[Finding]:
    """What the nodes of an allocation have found out about each other means.

    Args:
        head: of the node that has asked.
        met: what each node has found, by its name.
        ahead: seconds by which each node's clock is ahead of the head's, as far as that can be told.
        delays: seconds after which the head saw a file that each node had made.
        torn: lines that were appended to one file by all at once, and are missing or damaged.

    """
    shared = tuple([name for name, one in met.items() if one.shared])
    findings = [_versions(head, met), *_reach(head, met), _clocks(ahead), *_sharing(head, met)]
    if shared:
        findings += [_locks(met, shared), _appends(torn, len(shared)), _delays(delays)]
    return findings


def _versions(head: Facts, met: Mapping[str, Met]) -> Finding:
    ours = (head.version, head.python.rpartition(".")[0])
    others = tuple(
        [name for name, one in met.items() if (one.facts.version, one.facts.python.rpartition(".")[0]) != ours]
    )
    if not others:
        return _ok("versions", "the same pilotfish and Python on all nodes")
    return Finding(
        level="problem",
        subject="versions",
        text=f"another pilotfish or Python than {head.version} and {head.python} of {head.host}",
        way_out="start from an environment that all nodes see: a virtual environment on a shared file system",
        nodes=others,
    )


def _reach(head: Facts, met: Mapping[str, Met]) -> Iterable[Finding]:
    unreached = tuple([name for name, one in met.items() if not one.reached])
    common = [address for address in head.interfaces.values() if all(address in one.reached for one in met.values())]
    if unreached:
        tried = ", ".join(f"{address} ({name})" for name, address in head.interfaces.items()) or "nothing: it has none"
        yield Finding(
            level="problem",
            subject="network",
            text=f"cannot reach {head.host}, where the manager runs; tried {tried}",
            way_out="ask the site which ports are open between nodes, or start on a compute node",
            nodes=unreached,
        )
    elif common or len(met) == 1:
        yield _ok("network", f"all nodes reach {head.host} at {', '.join(common) or 'an address of its own'}")
    else:
        yield _ok("network", f"each node reaches {head.host}, but not all at the same address")


def _clocks(ahead: Mapping[str, float]) -> Finding:
    wrong = tuple([name for name, seconds in ahead.items() if abs(seconds) > _CLOCK])
    if not wrong:
        most = max((abs(seconds) for seconds in ahead.values()), default=0.0)
        return _ok("clocks", f"differ by {format_seconds(math.ceil(10 * most) / 10)} at most")
    most = max(abs(ahead[name]) for name in wrong)
    return Finding(
        level="warning",
        subject="clocks",
        text=f"up to {format_seconds(most)} away: the end of the allocation, and times in reports, are off by that",
        way_out="ask the site to keep clocks together (NTP)",
        nodes=wrong,
    )


def _sharing(head: Facts, met: Mapping[str, Met]) -> Iterable[Finding]:
    apart = tuple([name for name, one in met.items() if not one.shared])
    if not apart:
        yield _ok("shared folder", f"all nodes see {head.store.path} ({head.store.kind})")
        return
    yield Finding(
        level="warning",
        subject="shared folder",
        text=f"{head.store.path} of {head.host} is not seen: tasks there find neither their folder nor their files",
        way_out="start from a folder on a file system that all nodes share",
        nodes=apart,
    )


def _locks(met: Mapping[str, Met], shared: Sequence[str]) -> Finding:
    free = tuple([name for name in shared if not met[name].kept_out])
    if not free:
        return _ok("locks", "a lock on one node keeps the others out")
    return Finding(
        level="warning",
        subject="locks",
        text="not kept out by a lock of another node: two runs on two nodes could write one campaign",
        way_out="start runs of one campaign on one node only, or have the file system mounted with locks (flock)",
        nodes=free,
    )


def _appends(torn: int, nodes: int) -> Finding:
    if not torn:
        return _ok("appends", f"{nodes} nodes write to the end of one file at once, and nothing is lost")
    return Finding(
        level="warning",
        subject="appends",
        text=f"{torn} lines were lost when {nodes} nodes wrote to the end of one file at once",
        way_out="let no two tasks write to one file of their own choice; pilotfish itself never does",
    )


def _delays(delays: Mapping[str, float]) -> Finding:
    late = tuple([name for name, seconds in delays.items() if seconds > _DELAY])
    most = max(delays.values(), default=0.0)
    if not late:
        return _ok("file delay", f"new files are seen by the others within {format_seconds(math.ceil(10 * most) / 10)}")
    return Finding(
        level="warning",
        subject="file delay",
        text=f"new files are seen by other nodes only after up to {format_seconds(most)}: tasks may miss them",
        way_out="retry such tasks, or have the file system mounted with a shorter delay of attributes (actimeo)",
        nodes=late,
    )


def judge_slurm(
    version: str | None, listed: str, needed: Sequence[str], kill_wait: float | None, grace: float
) -> list[Finding]:
    """What Slurm's launcher and its settings mean.

    Args:
        version: what ``srun --version`` says; None: it is not there.
        listed: what ``srun --help`` says.
        needed: the options that start agents.
        kill_wait: seconds between TERM and KILL at the end of a job; None: not known.
        grace: seconds that we leave to tasks between the two.

    """
    if version is None:
        way_out = "load Slurm's module, or add its folder to PATH"
        return [
            Finding(level="problem", subject="srun", text="it is not found: nothing starts agents", way_out=way_out)
        ]
    missing = [option for option in needed if option not in listed]
    if missing:
        text = f"{version} has no {', '.join(missing)}: agents cannot be started"
        findings = [Finding(level="problem", subject="srun", text=text, way_out="Slurm 20.11 or newer is needed")]
    else:
        findings = [_ok("srun", f"{version} has all options that start agents")]
    if kill_wait is not None and kill_wait < grace:
        text = (
            f"Slurm kills {format_seconds(kill_wait)} after it has told a job to end: when that is cancelled or "
            f"preempted, tasks have less than their grace of {format_seconds(grace)}"
        )
        way_out = f"set PILOTFISH_GRACE to less than {kill_wait:g}"
        findings.append(Finding(level="warning", subject="KillWait", text=text, way_out=way_out))
    return findings


def judge_allocation(name: str, nodes: Sequence[str], lent: Sequence[str]) -> Finding:
    """What is left of its nodes means.

    Args:
        name: of the allocation.
        nodes: that it has now.
        lent: that it began with.

    """
    lost = tuple([node for node in lent if node not in nodes])
    if not lost:
        return msgspec.structs.replace(_ok("allocation", name), nodes=tuple(nodes))
    return Finding(
        level="warning",
        subject="allocation",
        text=f"{name} has lost nodes since it began; {len(nodes)} are left",
        way_out="run on those that are left, or ask for another allocation",
        nodes=lost,
    )


def judge_end(left: float | None) -> Finding:
    """What is left of an allocation means.

    Args:
        left: seconds; None: nobody tells.

    """
    if left is not None:
        return _ok("end", f"the allocation ends in {format_seconds(max(0.0, left))}")
    return Finding(
        level="warning",
        subject="end",
        text="nobody tells when the allocation ends: tasks start that cannot end in time",
        way_out="ask for a time limit when you submit the job",
    )


def gathered(findings: Iterable[Finding]) -> list[Finding]:
    """What several nodes have in common as one finding; where all is well, whatever its words: those of the first."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        words = () if one.level == "ok" else (one.text, one.way_out)
        groups.setdefault((one.level, one.subject, *words), []).append(one)
    return [_merged(group) for group in groups.values()]


def _merged(group: Sequence[Finding]) -> Finding:
    first, nodes = group[0], tuple([node for one in group for node in one.nodes])
    text = first.text
    if any(one.text != text for one in group):
        text = f"{text} on {first.nodes[0]}, and enough on the others"
    return msgspec.structs.replace(first, text=text, nodes=nodes)


def _ok(subject: str, text: str) -> Finding:
    return Finding(level="ok", subject=subject, text=text)


def _number(count: int) -> str:
    return "no limit" if count > 10**12 else str(count)
