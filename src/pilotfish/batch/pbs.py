"""PBS: OpenPBS and PBS Professional; and Torque, whose commands have the same names and Slurm imitates.

Jobs are read in the text of ``qstat -f``, which all of them print; the JSON of PBS is not always JSON, because it does
not escape what users put into variables. An ended job is known to PBS for as long as a site keeps its history, which
many do not: here it is over when ``qstat`` says that it has finished, or does not know it.

There is no signal before the end: at its limit a job gets TERM, and KILL after the site's ``kill_delay``.

What belongs here: words of PBS and Torque. What must not: those of other systems.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from pilotfish.batch.dialect import (
    AllocationRequest,
    Away,
    Errand,
    Output,
    Seen,
    State,
    Submission,
    Taken,
    Unrehearsed,
    clock,
    epoch,
    mebibytes,
    needs_cores,
    refused,
    said,
    script,
    unanswered,
)
from pilotfish.batch.slurm import FOREIGN
from pilotfish.model.quantities import parse_seconds

__all__ = ["Pbs", "Torque"]

_AWAY = re.compile(
    r"cannot connect to|could not connect|connection (refused|reset|timed out)|communication failure|end of file"
    r"|pbs_iff|server shutting down|invalid credential|unable to (contact|communicate)|timed out|errno=1\d\d|munge"
    r"|try again",
    re.IGNORECASE,
)
_LOST = re.compile(r"end of file|communication failure|timed out|connection reset", re.IGNORECASE)
_FULL = re.compile(r"would exceed|maximum number of jobs", re.IGNORECASE)
"""Limits of all that a user has; one job alone that is over a limit is told ``Job exceeds queue and/or server``."""
_PREFIX = r"^(qsub|qstat|qdel|qselect): (error: )?"
_OVER = re.compile(r"(unknown job id|job has finished)", re.IGNORECASE)

_STATES = {
    "Q": State.QUEUED,  # queued
    "W": State.QUEUED,  # for its time
    "T": State.QUEUED,  # on its way to a queue
    "M": State.QUEUED,  # moved to another server
    "H": State.HELD,
    "F": State.ENDED,  # PBS
    "X": State.ENDED,  # one of an array
    "C": State.ENDED,  # Torque
}
"""All others hold nodes: running, exiting, suspended, …"""
_TERMINATED = 256 + 15
"""Exit status of what qdel or the limit of time has ended."""
_DATE = "%a %b %d %H:%M:%S %Y"


class Pbs(Unrehearsed):
    """OpenPBS and PBS Professional, as a `Dialect`."""

    name = "pbs"
    chains = True

    def submit(self, wanted: AllocationRequest) -> Errand:
        """``qsub -l select=…``, its script on stdin; one chunk on each node."""
        chunk = [str(wanted.nodes), f"ncpus={needs_cores(wanted, 'PBS')}"]
        chunk += [f"mem={mebibytes(wanted.memory)}mb"] if wanted.memory is not None else []
        chunk += [f"ngpus={wanted.gpus}"] if wanted.gpus else []
        ours = ("-l", f"select={':'.join(chunk)}", "-l", "place=scatter", "-l", f"walltime={clock(wanted.seconds)}")
        return _qsub(wanted, ours)

    def submitted(self, output: Output) -> Submission:
        """``1008.server``."""
        if away := unanswered(output, _AWAY, _LOST):
            return away
        last = output.out.strip().rpartition("\n")[2].strip()
        if output.code == 0 and re.fullmatch(r"\d+(\.\S+)?", last):
            return Taken(last)
        return refused(output, _PREFIX, _FULL)

    def look(self, ids: Sequence[str]) -> Errand:
        """``qstat -f``, with times of no zone."""
        return Errand(("qstat", "-f", *ids), environment=(("TZ", "UTC0"),))

    def seen(self, ids: Sequence[str], output: Output) -> Mapping[str, Seen] | Away:
        """One that is not known is a line on stderr, and all others are still told."""
        if away := unanswered(output, _AWAY):
            return away
        problems = [line for line in output.err.splitlines() if line.strip() and not _OVER.search(line)]
        if output.code and problems:
            return Away(said(output, _PREFIX))
        over = set(re.findall(r"(\d+)\S* Job has finished", output.err))
        jobs = {_number(job): facts for job, facts in _jobs(output.out)}
        told = {job: Seen(State.ENDED) for job in ids if _number(job) in over}
        told |= {job: _seen(jobs[_number(job)]) for job in ids if _number(job) in jobs}
        return {job: told.get(job, Seen(State.GONE)) for job in ids}

    def find(self, name: str) -> Errand:
        """``qselect -N``."""
        return Errand(("qselect", "-N", name))

    def found(self, name: str, output: Output) -> Taken | Away | None:  # noqa: ARG002 - qselect has chosen by it
        """The id, if there is one."""
        if output.code != 0:
            return unanswered(output, _AWAY) or Away(said(output, _PREFIX))
        words = output.out.split()
        return Taken(words[-1]) if words else None

    def cancel(self, ids: Sequence[str]) -> Errand:
        """``qdel``: TERM, and KILL after the site's ``kill_delay``."""
        return Errand(("qdel", *ids))

    def cancelled(self, output: Output) -> Away | None:
        """Those that have ended are errors of qdel, which the next look explains."""
        return unanswered(output, _AWAY)


class Torque(Pbs):
    """Torque, and the commands of its names that come with Slurm (Debian's ``slurm-wlm-torque``).

    ``mem`` is what all nodes have together; Slurm's commands take it for each node.
    """

    name = "torque"

    def submit(self, wanted: AllocationRequest) -> Errand:
        """``qsub -l nodes=…:ppn=…``; Slurm's qsub reads no script from stdin unless it is named."""
        nodes = f"nodes={wanted.nodes}:ppn={needs_cores(wanted, 'Torque')}"
        nodes += f":gpus={wanted.gpus}" if wanted.gpus else ""
        memory = f",mem={mebibytes(wanted.memory) * wanted.nodes}mb" if wanted.memory is not None else ""
        call = _qsub(wanted, ("-l", f"{nodes}{memory},walltime={clock(wanted.seconds)}"))
        return Errand((*call.argv, "/dev/stdin"), stdin=call.stdin, hidden=FOREIGN)

    def find(self, name: str) -> Errand:  # noqa: ARG002 - Slurm's commands know no other way
        """All jobs, because Slurm's commands have no ``qselect``."""
        return Errand(("qstat", "-f"))

    def found(self, name: str, output: Output) -> Taken | Away | None:
        """The id of the one that has the name, if it is not over."""
        if output.code != 0:
            return unanswered(output, _AWAY) or Away(said(output, _PREFIX))
        named = [job for job, facts in _jobs(output.out) if facts.get("Job_Name") == name]
        return Taken(named[-1]) if named else None


def _qsub(wanted: AllocationRequest, asks: Sequence[str]) -> Errand:
    argv = ["qsub", "-N", wanted.name, *asks, "-j", "oe", "-o", "/dev/null", "-r", "n"]
    argv += ["-q", wanted.queue] if wanted.queue else []
    argv += ["-A", wanted.account] if wanted.account else []
    argv += ["-W", f"depend=afterany:{wanted.after}"] if wanted.after else []
    # What a job prints is brought to its place when it has ended, unless it writes there itself.
    text = script(wanted, f"exec >>{shlex.quote(wanted.log)} 2>&1", f"cd {shlex.quote(wanted.folder)} || exit")
    return Errand((*argv, *wanted.options), stdin=text)


def _jobs(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Id and attributes of each job in the text of ``qstat -f``; long values go on after a line break and a tab."""
    for block in re.split(r"^Job Id:", text, flags=re.MULTILINE)[1:]:
        first, _, rest = block.partition("\n")
        # Attributes are indented too: by four blanks in PBS, by a tab in Slurm's qstat, where no value goes on.
        lines = re.sub(r"\n\t(?![\w.]+ = )", "", rest).splitlines()
        facts = (line.strip().partition(" = ") for line in lines if " = " in line)
        yield first.strip(), {name: value for name, _, value in facts}


def _number(job: str) -> str:
    """An id without its server, which commands spell in more than one way."""
    return job.partition(".")[0]


def _seen(facts: Mapping[str, str]) -> Seen:
    state = _STATES.get(facts.get("job_state", ""), State.RUNNING)
    reason = facts.get("comment", "")
    if state is State.HELD and "depend" in facts:
        state = State.QUEUED
    if state is State.QUEUED and "can never run" in reason.lower():
        state = State.STUCK
    starts_at = epoch(facts.get("stime") or facts.get("start_time") or facts.get("estimated.start_time", ""), _DATE)
    ends_at = None
    if state is State.ENDED:
        status = facts.get("Exit_status", facts.get("exit_status", "0"))
        state = State.ENDED if status in {"0", str(_TERMINATED)} else State.FAILED
        reason = reason or f"exit status {status}"
        ends_at = _later(starts_at, facts.get("resources_used.walltime", ""))
    elif state is State.RUNNING:
        ends_at = _later(starts_at, facts.get("Resource_List.walltime", ""))
    return Seen(state, reason if state is not State.RUNNING else "", _nodes(facts), starts_at, ends_at)


def _later(start: float | None, time: str) -> float | None:
    """So long after that; None where either is not told, or without bound."""
    try:
        return None if start is None else start + parse_seconds(time)
    except ValueError:
        return None


def _nodes(facts: Mapping[str, str]) -> str:
    """Each node once, of ``n1/0*4+n2/0*4``."""
    words = facts.get("exec_host", "").split("+")
    return ",".join(dict.fromkeys(word.partition("/")[0] for word in words if word))
