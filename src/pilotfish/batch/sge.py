"""Grid Engine: ``qsub``, ``qstat -xml``, ``qdel``. Words and behaviour as of Son of Grid Engine 8.1.9.

What Grid Engine calls a parallel environment spreads cores over nodes by a rule that each site writes; memory and GPUs
are asked for by names that each site invents: those go into `AllocationRequest.options`. An ended job is unknown at
once.

Before ``qdel`` kills a job, ``-notify`` sends it USR2, as long before as its queue says.

What belongs here: Grid Engine's words. What must not: those of other systems.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

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
    epoch,
    needs_cores,
    refused,
    said,
    script,
    unanswered,
)
from pilotfish.errors import UserError

__all__ = ["Sge"]

_AWAY = re.compile(
    r"unable to (contact|send message to) (qmaster|cell)|commlib error|got (send|select|read) (error|timeout)"
    r"|failed receiving gdi|can't resolve host|critical error|timed out",
    re.IGNORECASE,
)
_LOST = re.compile(r"failed receiving gdi|got read error|got read timeout|timed out", re.IGNORECASE)
_FULL = re.compile(r"jobs are allowed|current job count|may not submit more|too many", re.IGNORECASE)
_PREFIX = r"^(Unable to run job: (error: )?|qsub: |Exiting\.$)"
_DATE = "%Y-%m-%dT%H:%M:%S"


class Sge:
    """Grid Engine, as a `Dialect`."""

    name = "sge"
    chains = True

    def submit(self, wanted: AllocationRequest) -> Errand:
        """``qsub -terse``, its script on stdin."""
        return _qsub(wanted, "-terse")

    def submitted(self, output: Output) -> Submission:
        """``17``."""
        if away := unanswered(output, _AWAY, _LOST):
            return away
        last = output.out.strip().rpartition("\n")[2]
        if output.code == 0 and last.isdigit():
            return Taken(last)
        return refused(output, _PREFIX, _FULL)

    def rehearse(self, wanted: AllocationRequest) -> Errand:
        """``qsub -w v``: whether it could start if nothing else ran."""
        return _qsub(wanted, "-w", "v")

    def rehearsed(self, output: Output) -> str | Refused | Away:
        """``verification: found suitable queue(s)``."""
        words = said(output, _PREFIX)
        return unanswered(output, _AWAY) or (words if output.code == 0 else Refused(words))

    def look(self, ids: Sequence[str]) -> Errand:  # noqa: ARG002 - it can tell of all of a user's jobs only
        """``qstat -xml -r``, with times of no zone; ``-r`` tells what a job waits for."""
        return Errand(("qstat", "-xml", "-r"), environment=(("TZ", "UTC0"),))

    def seen(self, ids: Sequence[str], output: Output) -> Mapping[str, Seen] | Away:
        """Those that are left out are gone."""
        jobs = _jobs(output)
        if isinstance(jobs, Away):
            return jobs
        told = {job.findtext("JB_job_number", ""): _seen(job) for job in jobs}
        return {job: told.get(job, Seen(State.GONE)) for job in ids}

    def find(self, name: str) -> Errand:  # noqa: ARG002 - it can tell of all of a user's jobs only
        """The same question."""
        return self.look(())

    def found(self, name: str, output: Output) -> Taken | Away | None:
        """The id of the one with this name, if it is not over."""
        jobs = _jobs(output)
        if isinstance(jobs, Away):
            return jobs
        ids = [job.findtext("JB_job_number", "") for job in jobs if _name(job) == name]
        return Taken(ids[-1]) if ids else None

    def cancel(self, ids: Sequence[str]) -> Errand:
        """``qdel``: USR2, and KILL after the time that the queue gives."""
        return Errand(("qdel", *ids))

    def cancelled(self, output: Output) -> Away | None:
        """Those that have ended are errors of qdel, which the next look explains."""
        return unanswered(output, _AWAY)


def _qsub(wanted: AllocationRequest, *mode: str) -> Errand:
    if wanted.memory is not None or wanted.gpus:
        msg = (
            "Grid Engine has no word for memory or GPUs that all sites share: add your site's own, as in -l mem_free=4G"
        )
        raise UserError(msg)
    slots = needs_cores(wanted, "Grid Engine") * wanted.nodes
    if slots > 1 and wanted.pe is None:
        msg = f"{slots} cores of Grid Engine need the name of a parallel environment; qconf -spl lists them"
        raise UserError(msg)
    argv = ["qsub", *mode, "-N", wanted.name, "-S", "/bin/sh", "-j", "y", "-o", wanted.log, "-r", "n", "-notify"]
    argv += ["-pe", wanted.pe, str(slots)] if wanted.pe else []
    argv += ["-l", f"h_rt={round(wanted.seconds)}"]
    argv += ["-q", wanted.queue] if wanted.queue else []
    argv += ["-A", wanted.account] if wanted.account else []
    argv += ["-hold_jid", wanted.after] if wanted.after else []
    # A folder that is not there on a node would leave the job in an error state until somebody clears it.
    text = script(wanted, f"cd {shlex.quote(wanted.folder)} || exit")
    return Errand((*argv, "-wd", "/", *wanted.options), stdin=text)


def _jobs(output: Output) -> list[ET.Element] | Away:
    if output.code != 0:
        return unanswered(output, _AWAY) or Away(said(output, _PREFIX))
    try:
        return list(ET.fromstring(output.out).iter("job_list"))  # noqa: S314 - what the batch system writes is trusted
    except ET.ParseError as error:
        return Away(f"qstat -xml printed what is not XML: {error}")


def _name(job: ET.Element) -> str:
    return job.findtext("full_job_name") or job.findtext("JB_name") or ""


def _seen(job: ET.Element) -> Seen:
    word = job.findtext("state", "")
    after = job.findtext("predecessor_jobs")
    # Letters that come together: q(ueued) and w(aiting), h(eld), E(rror), r(unning), t(ransferred), d(eleted), …
    if "E" in word:
        return Seen(State.STUCK, f"it could not be started and is in an error state, {word}")
    if "qw" in word:
        held = "h" in word and not after
        return Seen(State.HELD if held else State.QUEUED, f"waits for {after}" if after else word)
    host = (job.findtext("queue_name") or "").partition("@")[2]
    return Seen(State.RUNNING, "", host, epoch((job.findtext("JAT_start_time") or "")[:19], _DATE))
