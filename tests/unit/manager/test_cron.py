"""The times that cron's text names, also where the clock is changed."""

import time
from collections.abc import Iterator
from itertools import accumulate, repeat

import pytest

from pilotfish.errors import UserError
from pilotfish.manager.cron import next_time

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"  # as Europe/Berlin, where no names of zones are known


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", BERLIN)
        time.tzset()
        yield
    time.tzset()


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


def named(text: str, after: float, count: int) -> list[str]:
    """The next so many times, as the clock and what it is ahead of UTC."""
    times = list(accumulate(repeat(text, count), lambda last, text: next_time(text, last), initial=after))
    return [time.strftime("%d %H:%M%z", time.localtime(one)) for one in times[1:]]


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("*/20 * * * *", "2026-07-01 10:05", ["01 10:20+0200", "01 10:40+0200", "01 11:00+0200"]),
        ("0 9 * * mon-fri", "2026-11-20 09:00", ["23 09:00+0100", "24 09:00+0100"]),
        ("15 0 1,l 2 *", "2027-02-01 00:15", ["28 00:15+0100", "01 00:15+0100", "29 00:15+0100"]),
        # The clock jumps from 2 to 3.
        ("30 2 * * *", "2026-03-28 12:00", ["29 03:00+0200", "30 02:30+0200"]),
        ("0 3 * * *", "2026-03-28 12:00", ["29 03:00+0200", "30 03:00+0200"]),
        ("*/30 * * * *", "2026-03-29 01:00", ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]),
        # The hour from 2 to 3 comes twice.
        ("30 2 * * *", "2026-10-24 12:00", ["25 02:30+0200", "26 02:30+0100"]),
        (
            "*/30 * * * *",
            "2026-10-25 01:45",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"],
        ),
    ],
)
def test_times_are_those_of_debians_cron(text: str, after: str, expected: list[str]) -> None:
    assert named(text, at(after), len(expected)) == expected


def test_in_the_second_of_two_equal_hours_nothing_of_the_first_comes_again() -> None:
    second = at("2026-10-25 01:10") + 2 * 3600
    assert time.strftime("%H:%M%z", time.localtime(second)) == "02:10+0100"
    assert named("30 2 * * *", second, 1) == ["26 02:30+0100"]


def test_a_time_is_after_the_moment_that_it_is_asked_for() -> None:
    noon = at("2026-07-01 12:00")
    assert next_time("0 12 * * *", noon - 0.001) == noon
    assert next_time("0 12 * * *", noon) == noon + 24 * 3600
    assert next_time("0 12 * * *", noon + 0.001) == noon + 24 * 3600


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "wrong number of fields"),
        ("* * * *", "wrong number of fields"),
        ("0 * * * * *", "wrong number of fields"),
        ("@hourly", "wrong number of fields"),
        ("60 * * * *", "bad minute"),
        ("* * 30 2 *", "bad day-of-month"),
        ("* * * * someday", "bad day-of-week"),
        ("9" * 5000 + " * * * *", "exceeds the limit"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=rf"expected cron's five fields .*: .*{problem}") as raised:
        next_time(text, 0.0)
    assert len(str(raised.value)) < 300


def test_what_never_comes_is_refused() -> None:
    with pytest.raises(UserError, match="names no time"):
        next_time("0 0 */31 * MON#2", at("2026-01-01 00:00"))  # a second Monday that is the first of its month
