"""What the end of an attempt makes of its task."""

import pytest

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.states import Outcome, Trigger
from pilotfish.scheduler.retry import consequence

_O, T = Outcome, Trigger

CASES = [
    # outcome, code, tries, losses, retries → trigger, charged
    (_O.exited, 0, 0, 0, 0, T.succeed, True),
    (_O.exited, 0, 9, 9, 0, T.succeed, True),
    (_O.exited, 1, 0, 0, 0, T.fail, True),
    (_O.exited, 1, 0, 0, 2, T.give_back, True),
    (_O.exited, 1, 1, 0, 2, T.give_back, True),
    (_O.exited, 1, 2, 0, 2, T.fail, True),
    (_O.signalled, 11, 0, 0, 1, T.give_back, True),
    (_O.signalled, 11, 1, 0, 1, T.fail, True),
    (_O.timed_out, 0, 0, 0, 0, T.fail, True),
    (_O.timed_out, 0, 0, 0, 1, T.give_back, True),
    (_O.out_of_memory, 0, 0, 0, 0, T.fail, True),
    (_O.start_failed, 0, 0, 0, 1, T.give_back, True),
    (_O.start_failed, 0, 1, 0, 1, T.fail, True),
    (_O.preempted, 0, 0, 0, 0, T.give_back, False),
    (_O.interrupted, 0, 0, 0, 0, T.give_back, False),
    (_O.preempted, 0, 5, 5, 0, T.give_back, False),
    (_O.cancelled, 0, 0, 0, 3, T.cancel, False),
    (_O.lost, 0, 0, 0, 0, T.give_back, False),
    (_O.lost, 0, 3, 0, 0, T.give_back, False),
    (_O.lost, 0, 0, 1, 9, T.give_back, False),
    (_O.lost, 0, 0, 2, 9, T.fail, False),
]


@pytest.mark.parametrize(("outcome", "code", "tries", "losses", "retries", "trigger", "charged"), CASES)
def test_consequence(
    *, outcome: Outcome, code: int, tries: int, losses: int, retries: int, trigger: Trigger, charged: bool
) -> None:
    report = Report(AttemptId(1, 0, 1, 1), 0, outcome, code, 1.0, 2.0, 0.0, 0)
    found = consequence(report, tries=tries, losses=losses, retries=retries, crash_limit=3)
    assert found == (trigger, charged)


def test_every_outcome_has_a_consequence() -> None:
    assert {case[0] for case in CASES} == set(Outcome)
