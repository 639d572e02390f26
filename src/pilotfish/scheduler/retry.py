"""What the end of an attempt makes of its task: one small function, no state."""

from pilotfish.model.attempts import Report
from pilotfish.model.states import Outcome, Trigger

__all__ = ["consequence"]

_NOT_THE_TASKS_FAULT = frozenset({Outcome.lost, Outcome.preempted, Outcome.interrupted, Outcome.cancelled})


def consequence(report: Report, *, tries: int, losses: int, retries: int, crash_limit: int) -> tuple[Trigger, bool]:
    """The trigger for the task, and whether the attempt uses up one of its tries.

    Args:
        report: how the attempt ended.
        tries: charged attempts before this one.
        losses: attempts before this one whose end nobody witnessed.
        retries: tries that the user allows after the first.
        crash_limit: losses after which a task has failed, so that one which kills its keeper does not do so for ever.

    """
    if report.succeeded:
        return Trigger.succeed, True
    if report.outcome is Outcome.cancelled:
        return Trigger.cancel, False
    if report.outcome is Outcome.lost and losses + 1 >= crash_limit:
        return Trigger.fail, False
    if report.outcome in _NOT_THE_TASKS_FAULT:
        return Trigger.give_back, False
    return (Trigger.fail if tries >= retries else Trigger.give_back), True
