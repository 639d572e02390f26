from pathlib import Path

import pytest

from pilotfish.agent.handle import KeeperHandle
from pilotfish.agent.journal import Past
from pilotfish.agent.orders import Work
from pilotfish.agent.processes import Identity
from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.jobs import JobSpec, RangeArray, TableArray
from pilotfish.model.messages import End, Reports, Start, Started, TakenBack
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome

SLOTS = Slots((3,), ONE, None)
SPEC = JobSpec(name="a", command="true", directory="/", cwd="/", array=RangeArray(0, 100))


@pytest.fixture
def handle() -> KeeperHandle:
    return KeeperHandle(3, 12345, Path("/node/k3.3039.journal"))


def attempt(position: int) -> AttemptId:
    return AttemptId(1, position, 1, 1)


def report(position: int, outcome: Outcome = Outcome.exited) -> Report:
    return Report(attempt(position), 3, outcome, 0, 1.0, 2.0, 0.1, 1000)


def give(handle: KeeperHandle, lo: int, hi: int, spec: JobSpec = SPEC, job: int = 1) -> Work:
    """Give tasks; what the keeper is told."""
    handle.start(Start(3, SLOTS, job, lo, hi, 1, 1), spec)
    work = handle.orders[-1]
    assert isinstance(work, Work)
    return work


def past(reports: tuple[Report, ...] = (), begun: tuple[AttemptId, ...] = ()) -> Past:
    return Past(3, Identity(7, 1, "boot"), 12345, reports, begun)


class TestStart:
    def test_sends_a_job_once(self, handle: KeeperHandle) -> None:
        assert give(handle, 0, 2).spec == SPEC
        assert give(handle, 2, 4).spec is None
        assert give(handle, 0, 1, job=2).spec == SPEC
        assert give(handle, 4, 5).spec == SPEC

    def test_sends_only_the_values_that_are_needed(self, handle: KeeperHandle) -> None:
        spec = JobSpec(
            name="a", command="true", directory="/", cwd="/", array=TableArray(("value",), (tuple("abcdef"),))
        )
        work = give(handle, 2, 4, spec)
        assert work.rows == (("c",), ("d",))
        assert work.spec is not None
        assert work.spec.array == TableArray(("value",), ((),))

    def test_remembers_in_order(self, handle: KeeperHandle) -> None:
        give(handle, 5, 7)
        give(handle, 1, 2)
        assert handle.state() == LaneState(3, SLOTS, (attempt(5), attempt(6), attempt(1)), None)


class TestNote:
    def test_of_a_start_and_an_end(self, handle: KeeperHandle) -> None:
        give(handle, 0, 2)
        handle.note(Started(attempt(0), 3, 17.0, 99))
        assert handle.state().started_at == 17.0
        handle.note(Reports((report(0),)))
        assert handle.state() == LaneState(3, SLOTS, (attempt(1),), None)
        assert handle.reports == [report(0)]

    def test_of_what_was_taken_back(self, handle: KeeperHandle) -> None:
        give(handle, 0, 3)
        handle.note(TakenBack(3, (attempt(1), attempt(2))))
        assert handle.state().attempts == (attempt(0),)

    def test_reports_stay_until_they_are_recorded(self, handle: KeeperHandle) -> None:
        give(handle, 0, 3)
        handle.note(Reports((report(0), report(1))))
        handle.note(Reports((report(2),)))
        handle.recorded(2)
        assert handle.reports == [report(2)]


class TestBury:
    def test_without_a_journal_nothing_began(self, handle: KeeperHandle) -> None:
        give(handle, 0, 2)
        assert handle.bury(None) == ((), (attempt(0), attempt(1)))

    def test_tells_ended_from_lost_from_untouched(self, handle: KeeperHandle) -> None:
        give(handle, 0, 4)
        handle.introduced = True
        handle.note(Reports((report(0),)))
        ended, untouched = handle.bury(past((report(0), report(1)), (attempt(2),)))
        assert [(r.attempt, r.outcome) for r in ended] == [(attempt(1), Outcome.exited), (attempt(2), Outcome.lost)]
        assert untouched == (attempt(3),)
        assert handle.reports == [report(0), *ended]
        assert not handle.held

    def test_does_not_repeat_what_was_recorded(self, handle: KeeperHandle) -> None:
        give(handle, 0, 1)
        handle.introduced = True
        handle.note(Reports((report(0),)))
        handle.recorded(1)
        assert handle.bury(past((report(0),))) == ((), ())

    def test_of_a_stranger_all_is_news(self, handle: KeeperHandle) -> None:
        ended, untouched = handle.bury(past((report(0), report(1)), (attempt(2),)))
        assert [r.attempt for r in ended] == [attempt(0), attempt(1), attempt(2)]
        assert untouched == ()

    def test_an_end_that_was_wanted_is_told_as_wanted(self, handle: KeeperHandle) -> None:
        give(handle, 0, 3)
        handle.introduced = True
        for position in (0, 1):
            handle.give(End(3, attempt(position), Outcome.cancelled, hard=False))
        ended, untouched = handle.bury(past(begun=(attempt(0),)))
        assert [(r.attempt, r.outcome) for r in ended] == [
            (attempt(0), Outcome.cancelled),
            (attempt(1), Outcome.cancelled),
        ]
        assert untouched == (attempt(2),)
