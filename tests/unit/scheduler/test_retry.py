"""What the end of an attempt makes of its task."""

import pytest

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.jobs import OnLost, Retries
from pilotfish.model.states import Outcome, Trigger
from pilotfish.scheduler.retry import Consequence, History, consequence

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
    (_O.deferred, 0, 9, 9, 0, T.give_back, False),
]


@pytest.mark.parametrize(("outcome", "code", "tries", "losses", "retries", "trigger", "charged"), CASES)
def test_consequence(
    *, outcome: Outcome, code: int, tries: int, losses: int, retries: int, trigger: Trigger, charged: bool
) -> None:
    assert after(outcome, code, History(tries, losses), Retries(retries))[:3] == (trigger, charged, "")


def test_a_task_that_is_given_up_for_its_losses_is_told_to_be() -> None:
    found = after(_O.lost, 0, History(losses=2), Retries())
    assert found == Consequence(T.fail, reason="lost 3 times, 1 of them alone on its node")


def after(outcome: Outcome, code: int, past: History, retries: Retries, on_lost: OnLost = OnLost.rerun) -> Consequence:
    report = Report(AttemptId(1, 0, 1, 1), 0, outcome, code, 1.0, 2.0, 0.0, 0)
    return consequence(report, past, retries=retries, on_lost=on_lost, crash_limit=1)


def test_every_outcome_has_a_consequence() -> None:
    assert {case[0] for case in CASES} == set(Outcome)


@pytest.mark.parametrize(
    ("outcome", "code", "again"),
    [(_O.exited, 75, True), (_O.exited, 1, False), (_O.out_of_memory, 0, True), (_O.timed_out, 0, False)],
)
def test_only_chosen_ends_are_tried_again(*, outcome: Outcome, code: int, again: bool) -> None:
    found = after(outcome, code, History(), Retries(3, retry_on=(75, "out_of_memory")))
    assert found.trigger is (T.give_back if again else T.fail)


def test_a_delay_postpones() -> None:
    assert after(_O.exited, 1, History(), Retries(1, delay=5.0)) == Consequence(T.postpone, charged=True, after=5.0)


def test_a_task_may_defer_itself_and_is_charged_nothing() -> None:
    report = Report(AttemptId(1, 0, 1, 1), 0, _O.deferred, 0, 1.0, 2.0, 0.0, 0, defer=30.0)
    found = consequence(report, History(tries=9), retries=Retries(), on_lost=OnLost.fail, crash_limit=1)
    assert found == Consequence(T.postpone, after=30.0)


def test_delays_grow_up_to_their_limit() -> None:
    retries = Retries(9999, delay=10.0, backoff=2.0, max_delay=50.0)
    delays = [after(_O.exited, 1, History(tries), retries).after for tries in (0, 1, 2, 3, 999)]
    assert delays == [10.0, 20.0, 40.0, 50.0, 50.0]


@pytest.mark.parametrize(
    ("on_lost", "trigger", "held"),
    [(OnLost.rerun, T.give_back, False), (OnLost.fail, T.fail, False), (OnLost.hold, T.give_back, True)],
)
def test_what_the_user_wants_after_a_loss(*, on_lost: OnLost, trigger: Trigger, held: bool) -> None:
    found = after(_O.lost, 0, History(), Retries(), on_lost)
    assert (found.trigger, bool(found.held), found.charged) == (trigger, held, False)


@pytest.mark.parametrize(("before", "held"), [(0, False), (1, True), (2, False), (3, True)])
def test_each_second_preemption_holds(*, before: int, held: bool) -> None:
    assert bool(after(_O.preempted, 0, History(preemptions=before), Retries()).held) is held
