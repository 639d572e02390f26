"""What a TERM to this process makes of the report of an attempt."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from pilotfish.agent.signals import Signals
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.states import Outcome

_HEARD = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM)


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in _HEARD}
    yield Signals()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def report(outcome: Outcome, code: int = 0, *, seconds: float = 1.0, ago: float = 0.0) -> Report:
    """Of an attempt that ran for so long and ended so long ago."""
    end = time.time() - ago
    return Report(AttemptId(1, 0, 1, 1), 0, outcome, code, end - seconds, end, 0.0, 0, reason="own", result=b"x")


def term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.exited, 1), (Outcome.exited, 143), (Outcome.signalled, 15), (Outcome.signalled, 11)]
)
def test_failures_are_excused(signals: Signals, outcome: Outcome, code: int) -> None:
    term()
    excused = signals.excuse(report(outcome, code))
    assert (excused.outcome, excused.code, excused.result) == (Outcome.interrupted, 0, b"")
    assert excused.reason == "TERM was sent to all that ran on its node"


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.signalled])
def test_other_ends_are_what_they_are(signals: Signals, outcome: Outcome) -> None:
    term()
    other = report(outcome)
    assert signals.excuse(other) is other


@pytest.mark.parametrize(("seconds", "ago"), [(1.0, 10.0), (1.0, -10.0)], ids=["before", "after"])
def test_what_did_not_run_as_it_came_is_not_excused(signals: Signals, seconds: float, ago: float) -> None:
    term()
    failed = report(Outcome.signalled, 15, seconds=seconds, ago=ago)
    assert signals.excuse(failed) is failed


def test_without_it_nothing_is_excused(signals: Signals) -> None:
    failed = report(Outcome.signalled, 15)
    assert signals.excuse(failed) is failed


def test_it_may_come_a_moment_after_the_end_of_the_attempt(signals: Signals) -> None:
    signal.signal(signal.SIGALRM, lambda *_: term())
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert signals.excuse(report(Outcome.signalled, 15)).outcome is Outcome.interrupted
