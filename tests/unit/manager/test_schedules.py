"""Which schedules are due: each time once, whatever happens in between."""

import time

import pytest

from pilotfish.errors import UserError
from pilotfish.manager.schedules import SCHEDULE, Schedules
from pilotfish.model.changes import Put
from pilotfish.store.memory import MemoryStore

NOON = time.mktime((2026, 7, 1, 12, 0, 0, 0, 0, -1))
MINUTE = 60.0
KEY = SCHEDULE + "ab"


class Clerk:
    """Schedules, and the store that they are in."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.writes = 0
        self.restart()

    def restart(self) -> None:
        self.schedules = Schedules(self.store, self.write)

    def write(self, key: str, value: bytes | None) -> None:
        self.writes += 1
        self.store.commit([Put(key, value, self.writes)])

    def due(self, now: float) -> list[tuple[str, int, bytes]]:
        return [(key, one.job, one.call) for key, one in self.schedules.due(now)]


@pytest.fixture
def clerk() -> Clerk:
    made = Clerk()
    assert made.schedules.keep(KEY, 7, "*/5 * * * *", b"call", NOON) == NOON + 5 * MINUTE
    return made


def test_each_time_comes_once(clerk: Clerk) -> None:
    assert clerk.due(NOON + 5 * MINUTE - 0.001) == []
    assert clerk.due(NOON + 5 * MINUTE) == [(KEY, 7, b"call")]
    assert clerk.due(NOON + 5 * MINUTE) == []
    clerk.restart()
    assert clerk.due(NOON + 5 * MINUTE + 1) == []
    assert clerk.due(NOON + 10 * MINUTE) == [(KEY, 7, b"call")]


def test_of_times_that_were_missed_one_is_caught_up(clerk: Clerk) -> None:
    clerk.restart()
    assert clerk.due(NOON + 99 * MINUTE) == [(KEY, 7, b"call")]
    assert clerk.due(NOON + 99 * MINUTE + 1) == []
    assert clerk.due(NOON + 100 * MINUTE) == [(KEY, 7, b"call")]


def test_a_clock_that_is_set_back_brings_no_time_again(clerk: Clerk) -> None:
    assert clerk.due(NOON + 10 * MINUTE)
    assert clerk.due(NOON + 5 * MINUTE) == []
    clerk.restart()
    assert clerk.due(NOON + 5 * MINUTE) == []
    assert clerk.due(NOON + 15 * MINUTE)


def test_the_same_again_changes_nothing(clerk: Clerk) -> None:
    late = NOON + 6 * MINUTE
    writes = clerk.writes
    assert clerk.schedules.keep(KEY, 7, "*/5 * * * *", b"call", late) == NOON + 5 * MINUTE
    assert clerk.writes == writes
    assert len(clerk.due(late)) == 1


def test_other_times_count_from_now(clerk: Clerk) -> None:
    late = NOON + 6 * MINUTE
    assert clerk.schedules.keep(KEY, 7, "0 * * * *", b"call", late) == NOON + 60 * MINUTE
    assert clerk.due(late) == []
    clerk.restart()
    assert len(clerk.due(NOON + 60 * MINUTE)) == 1


def test_what_was_replaced_comes_no_more(clerk: Clerk) -> None:
    clerk.schedules.keep(KEY, 8, "*/5 * * * *", b"new", NOON)
    assert clerk.due(NOON + 5 * MINUTE) == [(KEY, 8, b"new")]
    assert clerk.schedules.of(7) is None
    assert clerk.schedules.of(8) == ("*/5 * * * *", NOON + 10 * MINUTE)


def test_what_was_taken_back_comes_no_more(clerk: Clerk) -> None:
    clerk.schedules.keep(SCHEDULE + "cd", 8, "*/5 * * * *", b"other", NOON)
    assert clerk.schedules.take_back({7, 9}) == 1
    assert clerk.schedules.take_back({7}) == 0
    assert clerk.due(NOON + 5 * MINUTE) == [(SCHEDULE + "cd", 8, b"other")]
    clerk.restart()
    assert clerk.schedules.of(7) is None
    assert clerk.schedules.take_back({8}) == 1
    assert clerk.due(NOON + 99 * MINUTE) == []


def test_what_was_refused_leaves_everything_as_it_was(clerk: Clerk) -> None:
    with pytest.raises(UserError):
        clerk.schedules.keep(KEY, 7, "*/0 * * * *", b"call", NOON)
    assert clerk.schedules.of(7) == ("*/5 * * * *", NOON + 5 * MINUTE)


def test_who_only_looks_is_told_no_time(clerk: Clerk) -> None:
    clerk.restart()
    assert clerk.schedules.of(7) == ("*/5 * * * *", None)
