"""What the end of an attempt makes of its task: small functions, no state."""

from typing import NamedTuple

from pilotfish.model.attempts import Report
from pilotfish.model.jobs import OnLost, Retries
from pilotfish.model.states import Outcome, Trigger

__all__ = ["LOSSES_IN_COMPANY", "Consequence", "History", "consequence"]

_TWICE = "the end of an allocation has ended it twice: it may need a longer one"
_MOST_GROWTHS = 100
"""Of a delay; by then it is longer than anybody waits, and not yet more than a number can be."""

LOSSES_IN_COMPANY = 2
"""Losses of a task that may be its neighbours' fault; it runs alone from then on."""


class History(NamedTuple):
    """What has happened to a task before the attempt that has just ended."""

    tries: int = 0
    """Charged attempts since it was submitted or revived."""
    losses: int = 0
    """Attempts since then whose end nobody witnessed."""
    preemptions: int = 0
    """Attempts that the end of an allocation has ended."""


class Consequence(NamedTuple):
    """What becomes of the task."""

    trigger: Trigger
    charged: bool = False
    """It uses up one of the task's tries."""
    held: str = ""
    """Why it is held from now on; empty: it is not."""
    reason: str = ""
    """What its past has to do with that, for people."""
    after: float = 0.0
    """Seconds before it runs again, where it is postponed."""


def consequence(report: Report, past: History, *, retries: Retries, on_lost: OnLost, crash_limit: int) -> Consequence:
    """What the end of an attempt makes of its task.

    Args:
        report: how the attempt ended.
        past: of the task, before.
        retries: when the user wants it tried again.
        on_lost: what the user wants after an end that nobody witnessed.
        crash_limit: losses alone on a node after which a task has failed: it is probably what kills its keeper.

    """
    if report.succeeded:
        return Consequence(Trigger.succeed, charged=True)
    match report.outcome:
        case Outcome.cancelled:
            found = Consequence(Trigger.cancel)
        case Outcome.lost:
            found = _after_loss(past.losses + 1, on_lost, crash_limit)
        case Outcome.preempted:
            found = Consequence(Trigger.give_back, held=_TWICE if past.preemptions % 2 else "")
        case Outcome.interrupted:
            found = Consequence(Trigger.give_back)
        case Outcome.deferred:
            found = _later(report.defer)
        case _:
            found = _after_failure(report, past, retries)
    return found


def _after_failure(report: Report, past: History, retries: Retries) -> Consequence:
    ending = report.code if report.outcome is Outcome.exited else report.outcome.value
    again = past.tries < retries.count and (not retries.retry_on or ending in retries.retry_on)
    if not again:
        return Consequence(Trigger.fail, charged=True)
    return _later(_delay(retries, past.tries + 1), charged=True)


def _after_loss(losses: int, on_lost: OnLost, crash_limit: int) -> Consequence:
    if on_lost is OnLost.fail:
        return Consequence(Trigger.fail)
    if losses >= LOSSES_IN_COMPANY + crash_limit:
        return Consequence(Trigger.fail, reason=f"lost {losses} times, {crash_limit} of them alone on its node")
    held = "nobody witnessed the end of its last attempt" if on_lost is OnLost.hold else ""
    return Consequence(Trigger.give_back, held=held)


def _later(after: float, *, charged: bool = False) -> Consequence:
    return Consequence(Trigger.postpone if after else Trigger.give_back, charged=charged, after=after)


def _delay(retries: Retries, tries: int) -> float:
    """Seconds before the next try of a task that has used up so many."""
    grown = retries.delay * retries.backoff ** min(tries - 1, _MOST_GROWTHS)
    return grown if retries.max_delay is None else min(grown, retries.max_delay)
