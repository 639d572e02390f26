"""Changes in few words."""

from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.changes import Grant, Release, Settle, Submit
from pilotfish.model.jobs import Job, JobSpec, RangeArray
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome, TaskState


def submit(job: int = 1, *, tasks: int = 10, replaces: int | None = None) -> Submit:
    spec = JobSpec(name="sim", command="true", directory="/", cwd="/", array=RangeArray(0, tasks))
    return Submit(Job(job, spec, submitted_at=1e9 + 0.1), replaces=replaces)


def grant(lo: int, hi: int, *, job: int = 1, number: int = 1, epoch: int = 1) -> Grant:
    return Grant("node", 3, Slots((0, 1), ONE, 2**30), job, lo, hi, number, epoch)


def release(lo: int, hi: int, *, job: int = 1, number: int = 1, epoch: int = 1) -> Release:
    return Release(job, lo, hi, number, epoch)


def settle(
    position: int,
    state: TaskState = TaskState.succeeded,
    *,
    job: int = 1,
    number: int = 1,
    epoch: int = 1,
    charged: bool = True,
    outcome: Outcome = Outcome.exited,
) -> Settle:
    report = Report(
        attempt=AttemptId(job, position, number, epoch),
        lane=3,
        outcome=outcome,
        code=0 if state is TaskState.succeeded else 1,
        started_at=1e9 + position / 3,
        ended_at=1e9 + position / 3 + 1e-6,
        cpu_seconds=1 / 3,
        peak_rss=2**33 + position,
        stdout=OutputRef("node/0.out", 10 * position, 10),
    )
    return Settle(report, "node", state, charged)
