"""Changes in few words."""

from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.changes import Cancel, Grant, Grow, Hold, Part, Release, Settle, Submit
from pilotfish.model.jobs import CallArray, Function, Job, JobSpec, RangeArray
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome, TaskState

BESIDE = (
    Part("n2", 7, Slots((4, 5), Amount(20_000), 2**30, gpus=("0",), gpu_amount=Amount(10_000))),
    Part("n3", 0, Slots((), Amount(2_500), None, resources=(("fpga", Amount(10_000)),), exclusive=True)),
)
"""What an attempt holds on two further nodes."""
FUNCTION = Function(values="/values", spill="/spill", limit=2**30, python=(3, 12), path=("/lib", ""), most_calls=9)


def submit(job: int = 1, *, tasks: int | None = 10, replaces: int | None = None, name: str = "sim") -> Submit:
    array = None if tasks is None else RangeArray(0, tasks)
    spec = JobSpec(name=name, command="true", directory="/", cwd="/", array=array)
    return Submit(Job(job, spec, submitted_at=1e9 + 0.1), replaces=replaces)


def submit_calls(job: int = 1, *, calls: int = 0, name: str = "calls", replaces: int | None = None) -> Submit:
    """A job that calls functions, which has so many calls when it is read."""
    spec = JobSpec(name=name, command="", function=FUNCTION, directory="/", cwd="/", array=CallArray(calls))
    return Submit(Job(job, spec, submitted_at=1e9 + 0.1), replaces=replaces)


def grow(lo: int, *calls: bytes, job: int = 1) -> Grow:
    return Grow(job, lo, calls)


def grant(lo: int, hi: int, *, job: int = 1, number: int = 1, epoch: int = 1) -> Grant:
    return Grant("node", 3, Slots((0, 1), ONE, 2**30), job, lo, hi, number, epoch)


def release(lo: int, hi: int, *, job: int = 1, number: int = 1, epoch: int = 1) -> Release:
    return Release(job, lo, hi, number, epoch)


def hold(lo: int, hi: int, reason: str = "by the user", *, job: int = 1) -> Hold:
    return Hold(job, lo, hi, reason=reason)


def unhold(lo: int, hi: int, *, job: int = 1) -> Hold:
    return Hold(job, lo, hi, held=False)


def cancel(lo: int, hi: int, reason: str = "by the user", *, job: int = 1) -> Cancel:
    return Cancel(job, lo, hi, reason)


def settle(
    position: int,
    state: TaskState = TaskState.succeeded,
    *,
    job: int = 1,
    number: int = 1,
    epoch: int = 1,
    charged: bool = True,
    outcome: Outcome = Outcome.exited,
    took: float = 1e-6,
    result: bytes = b"",
) -> Settle:
    report = Report(
        attempt=AttemptId(job, position, number, epoch),
        lane=3,
        outcome=outcome,
        code=0 if state is TaskState.succeeded else 1,
        started_at=1e9 + position / 3,
        ended_at=1e9 + position / 3 + took,
        cpu_seconds=1 / 3,
        peak_rss=2**33 + position,
        stdout=OutputRef("node/0.out", 10 * position, 10),
        result=result,
    )
    return Settle(report, "node", state, charged)
