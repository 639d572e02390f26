"""What a keeper wrote is found again, up to where its death tore it."""

import os
from pathlib import Path

import pytest

from pilotfish.agent.journal import Journal, past_of, read_journal, remove_journal
from pilotfish.agent.processes import Identity
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.states import Outcome

KEEPER = Identity(4711, 99, "boot")


def attempt(position: int) -> AttemptId:
    return AttemptId(1, position, 1, 1)


def report(position: int) -> Report:
    out = OutputRef("segment-n-0-0", 17, 4)
    return Report(attempt(position), 5, Outcome.exited, 3, 1.0, 2.0, 0.5, 4096, out, None, "why")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k5.abc.journal"


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(path, 5, KEEPER, 0xABC)


@pytest.mark.usefixtures("journal")
def test_a_new_journal_tells_whose_it_is(path: Path) -> None:
    past = read_journal(path)
    assert past is not None
    assert (past.lane, past.keeper, past.mark, past.reports, past.open) == (5, KEEPER, 0xABC, (), ())


def test_intents_without_an_outcome_are_open(journal: Journal, path: Path) -> None:
    journal.intend(attempt(0))
    journal.note(report(0))
    journal.intend(attempt(1))
    journal.note(report(1))
    journal.flush()
    journal.intend(attempt(2))
    past = read_journal(path)
    assert past is not None
    assert (past.reports, past.open) == ((report(0), report(1)), (attempt(2),))


def test_an_outcome_is_written_with_the_next_intent(journal: Journal, path: Path) -> None:
    journal.intend(attempt(0))
    before = path.stat().st_size
    journal.note(report(0))
    assert path.stat().st_size == before
    journal.intend(attempt(1))
    past = read_journal(path)
    assert past is not None
    assert (past.reports, past.open) == ((report(0),), (attempt(1),))


def test_what_was_withdrawn_is_not_open(journal: Journal, path: Path) -> None:
    journal.intend(attempt(0))
    journal.withdraw(attempt(0))
    journal.withdraw(attempt(1))
    journal.flush()
    past = read_journal(path)
    assert past is not None
    assert past.open == ()


def test_a_torn_end_is_not_there(journal: Journal, path: Path) -> None:
    journal.intend(attempt(0))
    journal.note(report(0))
    journal.intend(attempt(1))
    content = path.read_bytes()
    known = []
    for length in range(len(content) + 1):
        past = past_of(content[:length])
        known.append(None if past is None else (len(past.reports), past.open))
    assert list(dict.fromkeys(known)) == [None, (0, ()), (0, (attempt(0),)), (1, ()), (1, (attempt(1),))]


def test_a_damaged_record_ends_what_is_believed(journal: Journal, path: Path) -> None:
    head = path.stat().st_size
    journal.intend(attempt(0))
    content = bytearray(path.read_bytes())
    content[head + 9] ^= 1
    past = past_of(bytes(content))
    assert past is not None
    assert past.open == ()


def test_garbage_is_no_journal(path: Path) -> None:
    assert read_journal(path) is None
    assert past_of(b"") is None
    assert past_of(os.urandom(100)) is None


def test_a_long_journal_is_trimmed_to_what_matters(journal: Journal, path: Path) -> None:
    journal.trim([])
    for position in range(3000):
        journal.intend(attempt(position))
        journal.note(report(position))
    journal.intend(attempt(3000))
    assert path.stat().st_size > 200_000
    journal.trim([report(2998), report(2999)])
    assert path.stat().st_size < 500
    past = read_journal(path)
    assert past is not None
    assert (past.lane, past.reports, past.open) == (5, (report(2998), report(2999)), (attempt(3000),))
    journal.note(report(3000))
    journal.intend(attempt(3001))
    past = read_journal(path)
    assert past is not None
    assert (past.reports, past.open) == ((report(2998), report(2999), report(3000)), (attempt(3001),))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_trimming_keeps_what_is_noted_and_not_written(journal: Journal, path: Path) -> None:
    for position in range(3000):
        journal.intend(attempt(position))
        journal.note(report(position))
    journal.trim([report(2999)])
    journal.flush()
    past = read_journal(path)
    assert past is not None
    assert (past.reports, past.open) == ((report(2999),), ())


@pytest.mark.usefixtures("journal")
def test_a_removed_journal_tells_nothing(path: Path) -> None:
    path.with_suffix(".draft").touch()
    remove_journal(path)
    assert read_journal(path) is None
    assert not list(path.parent.iterdir())
