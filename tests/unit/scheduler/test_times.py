"""What waits for a time, and what ends with an allocation."""

import pytest

from pilotfish.model.changes import Grant, Settle
from pilotfish.model.events import Kill
from pilotfish.model.jobs import Retries, When
from pilotfish.model.states import Outcome, TaskState
from tests.unit.scheduler.language import LONG, World, job, of_type

DAY = 86_400.0


def test_nothing_starts_before_its_time() -> None:
    world = World(job(1, 3, start_after=100.0), job(2, start_delay=50.0), job(3))
    world.join(cpus=8)
    assert world.jobs_running() == [3]
    assert world.explain(1) == "waits for its start time, in 1m40s"
    assert world.scheduler.explain(1, 0, 0.0).starts_at == 100.0
    world.run()
    assert world.now == 100.0 + LONG
    assert world.scheduler.unfinished == 0


def test_a_start_time_and_a_dependency_must_both_be_there() -> None:
    world = World(job(1), job(2, after=[1], start_after=3 * LONG), job(3, after=[1], start_after=0.5 * LONG))
    world.join()
    world.now = LONG
    world.wake()
    world.end(took=LONG)
    assert world.jobs_running() == [3]
    world.run()
    assert world.now == 4 * LONG


def test_each_task_waits_for_the_start_time_too() -> None:
    world = World(job(1, 2), job(2, 2, after=[(1, When.succeeded, True)], start_after=5 * LONG))
    world.join()
    world.run()
    assert world.now == 6 * LONG


def test_start_times_survive_the_manager() -> None:
    world = World(job(1, start_after=100.0))
    world.join()
    world.restart()
    world.reconnect()
    world.run()
    assert world.now == 100.0 + LONG


def test_a_failed_task_waits_before_its_next_try() -> None:
    world = World(job(1, retries=Retries(3, delay=2.0, backoff=3.0)))
    world.code = lambda attempt: int(attempt.number < 4)
    world.seconds = lambda _: 1.0
    world.join()
    world.now = 1.0
    world.end(code=1, took=1.0)
    assert world.states(1) == "w"
    assert world.explain(1) == "is tried again in 2s"
    world.run()
    assert world.now == 1 + 2 + 1 + 6 + 1 + 18 + 1
    assert world.states(1) == "s"


def test_a_task_that_defers_itself_waits_and_says_why() -> None:
    world = World(job(1))
    world.join()
    world.end(outcome=Outcome.deferred, defer=30.0, reason="the disk is full")
    (settled,) = of_type(world.said, Settle)
    assert (settled.state, settled.charged, world.states(1)) == (TaskState.ready, False, "w")
    world.now = 10.0
    assert world.explain(1) == "has deferred itself, for another 20s: the disk is full"
    world.run()
    assert world.states(1) == "s"
    assert [grant.number for grant in of_type(world.said, Grant)] == [1, 2]
    assert world.now == 30.0 + LONG


def test_a_task_that_defers_itself_while_it_is_cancelled_is_cancelled() -> None:
    world = World(job(1))
    world.join()
    world.cancel(1)
    world.end(outcome=Outcome.deferred, defer=30.0)
    assert world.states(1) == "c"


def test_a_delayed_task_can_be_cancelled() -> None:
    world = World(job(1, retries=Retries(1, delay=5.0)))
    world.join()
    world.end(code=1)
    world.cancel(1)
    world.run()
    assert world.states(1) == "c"


@pytest.mark.parametrize(("estimate", "starts"), [(50.0, True), (150.0, False), (None, True)])
def test_nothing_starts_that_is_known_to_outlast_the_allocation(*, estimate: float | None, starts: bool) -> None:
    world = World(job(1, estimate=estimate))
    world.join(ends_at=100.0)
    assert bool(world.running()) is starts
    assert starts or "may not end before its allocation does, in 1m40s" in world.explain(1)


def test_what_nobody_knows_the_duration_of_starts_until_the_drain() -> None:
    world = World(job(1, 2), drain=30.0)
    world.seconds = lambda _: 60.0
    world.join(cpus=1, ends_at=100.0)
    world.now = 75.0
    world.end(took=75.0, code=0)
    assert not world.running()


def test_a_shorter_one_goes_before_one_that_would_not_end_in_time() -> None:
    world = World(job(1, estimate=200.0, priority=1), job(2, estimate=20.0))
    world.join(cpus=1, ends_at=100.0)
    assert world.jobs_running() == [2]


def test_one_that_does_not_end_in_time_does_not_keep_room_there() -> None:
    world = World(job(1, cpus=2, estimate=200.0, priority=1), job(2, 5, estimate=20.0), job(3))
    world.join(cpus=2, ends_at=100.0)
    assert world.jobs_running() == [2, 3]


def test_before_the_end_of_the_allocation_what_runs_is_ended_and_nothing_starts() -> None:
    world = World(job(1, 4), grace=10.0)
    world.seconds = lambda _: DAY
    world.join(cpus=2, ends_at=1000.0)
    assert world.woken_at == 980.0
    world.now = 980.0
    kills = of_type(world.wake(), Kill)
    assert [kill.outcome for kill in kills] == [Outcome.preempted] * 2
    world.answer()
    assert world.states(1) == "rrrr"
    assert world.explain(1) == "the allocation of n is about to end"


def test_a_task_that_the_end_of_an_allocation_ends_twice_is_held() -> None:
    world = World(job(1))
    for held in (False, True):
        world.join()
        assert world.running()
        world.end(outcome=Outcome.preempted)
        assert world.scheduler.is_held(1, 0) is held
        world.lose()
        world.restart()
    world.join()
    assert not world.running()
    assert "ended it twice" in world.explain(1)
    world.hold(1, held=False)
    assert world.running()
