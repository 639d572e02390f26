"""Slurm: ``sbatch``, ``squeue``, ``scancel``. Words and behaviour as of 22.05; options that 20.11 knows as well.

An ended job stays in ``squeue --states=all`` for ``MinJobAge`` (300 s unless a site says otherwise), longer than we
look away; neither accounting nor its database is needed. What asks for more than its partition gives is taken by sbatch
all the same (``EnforcePartLimits=NO`` is the default) and then waits for ever: that is `State.STUCK`.

What belongs here: Slurm's words. What must not: those of other systems.
"""

import re
from collections.abc import Mapping, Sequence

from pilotfish.batch.dialect import (
    AllocationRequest,
    Away,
    Errand,
    Output,
    Refused,
    Seen,
    State,
    Submission,
    Taken,
    clock,
    mebibytes,
    refused,
    said,
    script,
    unanswered,
)
from pilotfish.errors import UserError

__all__ = ["FOREIGN", "Slurm"]

_AWAY = re.compile(
    r"unable to contact slurm controller|socket timed out|connection (refused|reset|timed out)|zero bytes"
    r"|unexpected message received|transport endpoint|communication (connection|shutdown) failure|standby mode"
    r"|munge|authentication (error|credential|failure)|unable to establish con|unable to process configuration"
    r"|temporarily unable to accept|resource temporarily unavailable|could not establish a configuration source",
    re.IGNORECASE,
)
"""slurm_errno.h's words for a controller that is down, changing over, or too busy, and for munge without its daemon."""
_LOST = re.compile(r"socket timed out|zero bytes|connection (reset|timed out)|message receive failure", re.IGNORECASE)
_FULL = re.compile(r"Submit(Job|Jobs)\w*Limit")
"""``QOSMaxSubmitJobPerUserLimit``, ``AssocGrpSubmitJobsLimit``, …: stands before what all refusals say."""
_PREFIX = r"^(sbatch|squeue|scancel|slurm_load_jobs|allocation failure)(: error|: fatal| error)?: "

FOREIGN = (
    r"SLURM_(?!CONF$|CLUSTERS$|CONF_SERVER$|JWT$|SACK_).*|PILOTFISH_(TASK|JOB|NODE|CORES|CORE_IDS|MEMORY|GPUS).*"
    r"|(SQUEUE|SCANCEL)_.*|SBATCH_(ARRAY_INX|CLUSTERS|TEST_ONLY|WAIT)"
)
"""Variables that Slurm's commands must not see, as a regular expression: what a job that submits another would hand on
to it as if it were its own, and a user's filters, with which our own jobs would look as if they were gone."""
_UNFOLLOWED = re.compile(r"-[aJM]|--(array|job-name|clusters?|wait|test-only)(=|$)|:$")
"""Options with which nobody could tell any more what has become of an allocation."""

_ROW = "%i|%T|%N|%S|%e|%r"
_EPOCH = (("SLURM_TIME_FORMAT", "%s"),)

_STATES = {
    "PENDING": State.QUEUED,
    "CONFIGURING": State.QUEUED,  # its nodes boot, which may take longer than agents have
    "REQUEUED": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "REQUEUE_HOLD": State.HELD,
    "SPECIAL_EXIT": State.HELD,
    "RESV_DEL_HOLD": State.HELD,
    "COMPLETED": State.ENDED,
    "CANCELLED": State.ENDED,
    "TIMEOUT": State.ENDED,
    "DEADLINE": State.ENDED,
    "PREEMPTED": State.ENDED,
    "REVOKED": State.ENDED,
    "FAILED": State.FAILED,
    "NODE_FAIL": State.FAILED,
    "BOOT_FAIL": State.FAILED,
    "LAUNCH_FAILED": State.FAILED,
    "RECONFIG_FAIL": State.FAILED,
    "OUT_OF_MEMORY": State.FAILED,
}
"""All others hold nodes: running, completing, suspended, …"""
_HELD = re.compile(r"JobHeld|launch_failed_requeued_held|JobHoldMaxRequeue|RequeuedHeld")
_STUCK = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|PartitionConfig|BadConstraints|DependencyNeverSatisfied|Max\w+Per(Job|Node)"
    r"|InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed|DeadLine|QOSMin\w+"
)


class Slurm:
    """Slurm, as a `Dialect`."""

    name = "slurm"
    chains = True

    def submit(self, wanted: AllocationRequest) -> Errand:
        """``sbatch --parsable``, its script on stdin; whole nodes where no number of cores is told."""
        return self._sbatch(wanted, "--parsable")

    def submitted(self, output: Output) -> Submission:
        """``17`` or ``17;cluster``, maybe after lines of a site's own filter."""
        if away := unanswered(output, _AWAY, _LOST):
            return away
        last = output.out.strip().rpartition("\n")[2].partition(";")[0]
        if output.code == 0 and last.isdigit():
            return Taken(last)
        return refused(output, _PREFIX, _FULL)

    def rehearse(self, wanted: AllocationRequest) -> Errand:
        """``sbatch --test-only``."""
        return self._sbatch(wanted, "--test-only")

    def rehearsed(self, output: Output) -> str | Refused | Away:
        """It tells on stderr in both cases: ``Job 10 to start at …``."""
        words = said(output, _PREFIX)
        return unanswered(output, _AWAY) or (words if output.code == 0 else Refused(words))

    def look(self, ids: Sequence[str]) -> Errand:
        """One ``squeue``, ended ones included."""
        return self._squeue(_ROW, f"--jobs={','.join(ids)}")

    def seen(self, ids: Sequence[str], output: Output) -> Mapping[str, Seen] | Away:
        """An id alone that is not known is an error of squeue, one of several is left out."""
        if away := unanswered(output, _AWAY):
            return away
        if output.code and "Invalid job id" not in output.err:
            return Away(said(output, _PREFIX))
        rows = [line.split("|", 5) for line in output.out.splitlines()]
        told = {row[0]: _seen(*row[1:]) for row in rows if len(row) == 6}
        return {job: told.get(job, Seen(State.GONE)) for job in ids}

    def find(self, name: str) -> Errand:
        """``squeue --name``."""
        return self._squeue("%i", "--me", f"--name={name}")

    def found(self, name: str, output: Output) -> Taken | Away | None:  # noqa: ARG002 - squeue has chosen by it
        """The id, if there is one."""
        if output.code != 0:
            return unanswered(output, _AWAY) or Away(said(output, _PREFIX))
        words = output.out.split()
        return Taken(words[-1]) if words else None

    def cancel(self, ids: Sequence[str]) -> Errand:
        """``scancel``: TERM to all steps, and KILL after the site's ``KillWait``."""
        return Errand(("scancel", *ids), hidden=FOREIGN)

    def cancelled(self, output: Output) -> Away | None:
        """It is silent about those that it does not know."""
        return unanswered(output, _AWAY)

    def _squeue(self, row: str, *options: str) -> Errand:
        argv = ("squeue", "--noheader", "--all", "--states=all", f"--format={row}", *options)
        return Errand(argv, environment=_EPOCH, hidden=FOREIGN)

    def _sbatch(self, wanted: AllocationRequest, mode: str) -> Errand:
        for option in filter(_UNFOLLOWED.match, wanted.options):
            msg = f"{option}: an allocation is one job, of our name; SLURM_CLUSTERS in the environment names a cluster"
            raise UserError(msg)
        argv = [
            "sbatch",
            mode,
            f"--job-name={wanted.name}",
            f"--nodes={wanted.nodes}",
            "--ntasks-per-node=1",
            f"--time={clock(wanted.seconds)}",
            f"--chdir={wanted.folder}",
            f"--output={wanted.log.replace('%', '%%')}",
            "--open-mode=append",
            "--no-requeue",  # a number of its own for each allocation
            "--no-kill",  # a node that dies takes no other with it
        ]
        if wanted.cores is None:
            argv += ["--exclusive", f"--mem={'0' if wanted.memory is None else f'{mebibytes(wanted.memory)}M'}"]
        else:
            argv.append(f"--cpus-per-task={wanted.cores}")
            argv += [f"--mem={mebibytes(wanted.memory)}M"] if wanted.memory is not None else []
        argv += [f"--gpus-per-node={wanted.gpus}"] if wanted.gpus else []
        argv += [f"--partition={wanted.queue}"] if wanted.queue else []
        argv += [f"--account={wanted.account}"] if wanted.account else []
        argv += [f"--dependency=afterany:{wanted.after}"] if wanted.after else []
        return Errand((*argv, *wanted.options), stdin=script(wanted), hidden=FOREIGN)


def _seen(word: str, nodes: str, starts: str, ends: str, reason: str) -> Seen:
    state = _STATES.get(word, State.RUNNING)
    if state is State.QUEUED:
        state = State.HELD if _HELD.search(reason) else State.STUCK if _STUCK.search(reason) else state
    told = reason if reason not in {"None", ""} else word if state.final or word == "CONFIGURING" else ""
    return Seen(state, told, nodes, _epoch(starts), _epoch(ends))


def _epoch(text: str) -> float | None:
    """``N/A``, ``NONE`` and ``Unknown`` are not known."""
    return float(text) if text.isdigit() else None
