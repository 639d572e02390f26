"""HTCondor: ``condor_submit``, ``condor_q``, ``condor_rm``; without its Python bindings.

An allocation of N nodes is one cluster of N jobs in the vanilla universe: HTCondor starts each when it has room for it,
not all at once, and on each runs what an allocation of another system runs on its first node. There are no queues and
no limit of time; ours is a condition on which HTCondor, which looks once a minute, removes the job. It tells a job to
end by TERM, and sends no signal before.

What belongs here: HTCondor's words. What must not: those of other systems.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

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
    mebibytes,
    needs_cores,
    refused,
    said,
    unanswered,
)
from pilotfish.errors import UserError

__all__ = ["HTCondor"]

_AWAY = re.compile(
    r"failed to connect|can't connect|unable to connect|can't find address|can't locate|failed to fetch ads|secman"
    r"|authentication (error|fail)|failed to (send|receive|end)|connection (refused|reset)|timed out|timeout",
    re.IGNORECASE,
)
_LOST = re.compile(r"failed to (commit|receive|end)|timed out|connection reset", re.IGNORECASE)
_FULL = re.compile(r"MAX_JOBS_(SUBMITTED|PER_OWNER)|number of submitted jobs would exceed", re.IGNORECASE)
_PREFIX = r"^(ERROR: |ERROR on Line \d+ of submit file: )"
_ASKED = ("ClusterId", "JobStatus", "RemoteHost", "JobCurrentStartDate", "HoldReason", "HoldReasonCode")
_IDLE, _RUNNING, _HELD, _SENDING, _SUSPENDED = 1, 2, 5, 6, 7
"""Of JobStatus, those that are not over."""
_BY_USER = 1
"""HoldReasonCode of ``condor_hold``; all others are the system's own."""


class HTCondor(Unrehearsed):
    """HTCondor, as a `Dialect`."""

    name = "htcondor"
    chains = False

    def submit(self, wanted: AllocationRequest) -> Errand:
        """``condor_submit -terse``, with a submit description on stdin."""
        if wanted.after is not None or wanted.queue is not None:
            msg = "HTCondor has no queues, and no order of jobs: choose machines by the option -append requirements=…"
            raise UserError(msg)
        return Errand(("condor_submit", "-terse", *wanted.options, "-"), stdin=_description(wanted))

    def submitted(self, output: Output) -> Submission:
        """``17.0 - 17.3``: the first and the last job of the cluster."""
        if away := unanswered(output, _AWAY, _LOST):
            return away
        if output.code == 0 and (first := re.search(r"^(\d+)\.\d+ - ", output.out, re.MULTILINE)):
            return Taken(first[1])
        return refused(output, _PREFIX, _FULL)

    def look(self, ids: Sequence[str]) -> Errand:
        """``condor_q -json``; it tells of ended jobs no more."""
        return Errand(("condor_q", "-json", "-attributes", ",".join(_ASKED), *ids))

    def seen(self, ids: Sequence[str], output: Output) -> Mapping[str, Seen] | Away:
        """One answer for all jobs of a cluster; nothing at all is printed where there are none."""
        jobs = _jobs(output)
        if isinstance(jobs, Away):
            return jobs
        told = {job: [one for one in jobs if str(one.get("ClusterId")) == job] for job in ids}
        return {job: _seen(found) for job, found in told.items()}

    def find(self, name: str) -> Errand:
        """By the name that we gave it."""
        return Errand(("condor_q", "-json", "-attributes", "ClusterId", "-constraint", f'JobBatchName == "{name}"'))

    def found(self, name: str, output: Output) -> Taken | Away | None:  # noqa: ARG002 - condor_q has chosen by it
        """The id, if it is not over."""
        jobs = _jobs(output)
        if isinstance(jobs, Away):
            return jobs
        return Taken(str(jobs[-1]["ClusterId"])) if jobs else None

    def cancel(self, ids: Sequence[str]) -> Errand:
        """``condor_rm``: TERM, and KILL after the time that the machine gives."""
        return Errand(("condor_rm", *ids))

    def cancelled(self, output: Output) -> Away | None:
        """Those that have ended are errors of condor_rm, which the next look explains."""
        return unanswered(output, _AWAY)


def _description(wanted: AllocationRequest) -> str:
    log = wanted.log if wanted.nodes == 1 else f"{wanted.log}.$(Process)"
    ends = f"JobStatus == {_RUNNING} && time() >= JobCurrentStartDate + {round(wanted.seconds)}"
    lines = {
        "universe": "vanilla",
        "executable": wanted.argv[0],
        "transfer_executable": "false",
        "arguments": _words(wanted.argv[1:]),
        "environment": _words([f"{name}={text}" for name, text in wanted.environment]),
        "initialdir": wanted.folder,
        "output": log,
        "error": log,
        "should_transfer_files": "if_needed",
        "request_cpus": str(needs_cores(wanted, "HTCondor")),
        "batch_name": wanted.name,
        "kill_sig": "SIGTERM",
        "notification": "never",
        "periodic_remove": ends,
    }
    lines |= {"request_memory": f"{mebibytes(wanted.memory)}MB"} if wanted.memory is not None else {}
    lines |= {"request_gpus": str(wanted.gpus)} if wanted.gpus else {}
    lines |= {"accounting_group": wanted.account} if wanted.account else {}
    return "".join(f"{name} = {text}\n" for name, text in lines.items()) + f"queue {wanted.nodes}\n"


def _words(words: Sequence[str]) -> str:
    """In the "new syntax" of condor_submit: double quotes around all, single ones around each, both doubled inside."""
    if any("\n" in word for word in words):
        msg = f"HTCondor takes no line breaks in arguments and variables: {' '.join(words)!r}"
        raise UserError(msg)
    each = ["'" + word.replace("'", "''").replace('"', '""') + "'" for word in words]
    return '"' + " ".join(each).replace("$", "$(DOLLAR)") + '"'


def _jobs(output: Output) -> list[dict[str, Any]] | Away:
    if output.code != 0:
        return unanswered(output, _AWAY) or Away(said(output, _PREFIX))
    try:
        return msgspec.json.decode(output.out.strip() or "[]", type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        return Away(f"condor_q -json printed what is not JSON: {error}")


def _seen(jobs: Sequence[Mapping[str, Any]]) -> Seen:
    """Of a cluster: it runs when any of its jobs does."""
    running = [job for job in jobs if job.get("JobStatus") in {_RUNNING, _SENDING, _SUSPENDED}]
    if running:
        hosts = {str(job.get("RemoteHost", "")).rpartition("@")[2] for job in running}
        starts = [float(job["JobCurrentStartDate"]) for job in running if "JobCurrentStartDate" in job]
        return Seen(State.RUNNING, "", ",".join(sorted(filter(None, hosts))), min(starts, default=None))
    for job in jobs:
        if job.get("JobStatus") == _HELD:
            by_user = job.get("HoldReasonCode") == _BY_USER
            return Seen(State.HELD if by_user else State.STUCK, str(job.get("HoldReason", "")))
    if any(job.get("JobStatus") == _IDLE for job in jobs):
        return Seen(State.QUEUED)
    return Seen(State.ENDED if jobs else State.GONE)
