"""When the end of a lone call is awaited awake."""

import pytest

from pilotfish.manager import vigil
from pilotfish.manager.vigil import Vigil

SHORT, LONG = 0.0005, 0.002


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "_CORES", 2)


def after(*durations: float) -> list[bool]:
    """Which of calls that take so long are awaited awake."""
    one = Vigil()
    awake = []
    for place, seconds in enumerate(durations):
        one.started(float(place))
        awake.append(one.awake() > 0.0)
        assert one.awake() == 0.0, "once for each call"
        one.ended(place + seconds)
    return awake


def test_where_the_one_before_was_short() -> None:
    assert after(LONG, SHORT, SHORT, LONG, LONG, SHORT) == [False, False, True, True, False, False]


def test_not_where_the_workers_need_the_only_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "_CORES", 1)
    assert after(SHORT, SHORT) == [False, False]


def test_what_else_ends_tells_nothing_of_calls() -> None:
    one = Vigil()
    one.ended(0.0)
    one.started(1.0)
    assert one.awake() == 0.0
