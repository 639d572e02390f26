import signal

import pytest

from pilotfish.model.states import TaskState
from pilotfish.ui.words import (
    ending_words,
    moment,
    nearest,
    outcome_words,
    plural,
    shortened,
    start_words,
    state_counts,
)


@pytest.mark.parametrize(("count", "words"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (12_000, "12,000 tasks")])
def test_a_noun_follows_its_count(count: int, words: str) -> None:
    assert plural(count, "task") == words


def test_counts_leave_out_states_that_nothing_is_in() -> None:
    assert state_counts({"waiting": 3, "failed": 0, "succeeded": 1_000}) == "1,000 succeeded, 3 waiting"


def test_every_state_can_be_counted() -> None:
    assert state_counts({state.name: 1 for state in TaskState}).count(",") == len(TaskState) - 1


def test_an_expected_start_is_told_with_the_day_where_that_is_another() -> None:
    now = 1_700_000_000.0
    at = moment(now + 130).split()
    assert start_words(now + 130, now) == f"at {at[1]}, in 2m10s"
    assert start_words(now + 86_400, now) == f"at {moment(now + 86_400)}, in 1d00h"
    assert start_words(now - 5, now).endswith(", in 0s")
    assert start_words(None, now) == ""


def test_a_long_text_is_cut_and_put_on_one_line() -> None:
    assert shortened("a\n b") == "a b"
    assert shortened("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("outcome", "code", "reason", "words"),
    [
        (None, None, "sim did not succeed", "sim did not succeed"),
        ("exited", 3, "", "exit code 3"),
        ("lost", 0, "its node died", "lost (its node died)"),
        ("cancelled", 0, "cancelled by the user", "cancelled by the user"),
        ("out_of_memory", 0, "ran out of memory: used 2 GiB of 1 GiB", "ran out of memory: used 2 GiB of 1 GiB"),
    ],
)
def test_an_ending_tells_the_reason_where_there_is_one(
    outcome: str | None, code: int | None, reason: str, words: str
) -> None:
    assert ending_words(outcome, code, reason) == words


@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        ("exited", 0, "exit code 0"),
        ("exited", 3, "exit code 3"),
        ("signalled", signal.SIGKILL, "signal 9 (KILL)"),
        ("signalled", 40, "signal 40"),
        ("timed_out", 0, "timed out"),
        ("out_of_memory", 0, "out of memory"),
        ("start_failed", 0, "could not start"),
        ("lost", 0, "lost"),
    ],
)
def test_an_outcome_reads_as_words(outcome: str, code: int, words: str) -> None:
    assert outcome_words(outcome, code) == words


def test_a_moment_that_never_came_is_empty() -> None:
    assert moment(None) == ""
    assert moment(0.0) == ""


def test_a_moment_is_a_local_time_that_sorts() -> None:
    assert moment(1e9) < moment(1e9 + 1)
    assert len(moment(1e9)) == len("2001-09-09 01:46:40")


def test_a_slip_of_the_finger_is_recognised_and_nonsense_is_not() -> None:
    assert nearest("prepar", ["prepare", "reduce"]) == "; did you mean `prepare`?"
    assert nearest("xyz", ["prepare", "reduce"]) == ""
