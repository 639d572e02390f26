"""Tasks that are treated unlike the others of their job: held, poisonous, short of memory; jobs that are given up."""

import pytest

from pilotfish.model.changes import Cancel, Hold, Release, Settle
from pilotfish.model.jobs import OnLost, When
from pilotfish.model.states import Outcome
from tests.unit.scheduler.language import GIB, LONG, World, job, of_type, request


def test_what_is_held_does_not_start_and_what_runs_goes_on() -> None:
    world = World(job(1, 6))
    world.join(cpus=2)
    held = of_type(world.hold(1, 0, 4), Hold)
    assert [(one.lo, one.hi) for one in held] == [(0, 2), (2, 4)]  # of those that run, and of those that do not
    world.end()
    assert [attempt.position for _, _, attempt in world.running()] == [4, 5]
    world.end()
    assert world.states(1) == "ssrrss"
    assert world.explain(1, 2) == "is held: held by the user; `pilotfish release j1` lets it go"
    world.hold(1, held=False)
    assert world.states(1) == "ssRRss"


def test_a_hold_survives_the_manager() -> None:
    world = World(job(1, 2), job(2, after=[1]))
    world.hold(1, 1, 2)
    world.hold(2)
    world.restart()
    world.join()
    world.run()
    assert (world.states(1), world.states(2)) == ("sr", "w")
    world.hold(1, held=False)
    world.run()
    assert (world.states(1), world.states(2)) == ("ss", "r")


def test_a_task_that_runs_is_cancelled_even_if_the_manager_dies_first() -> None:
    world = World(job(1, 2))
    world.join()
    assert of_type(world.cancel(1, 0, 1), Cancel)
    world.restart()
    world.lose()
    world.join()
    assert world.states(1) == "cR"


@pytest.mark.parametrize("on_lost", OnLost)
def test_what_a_node_was_given_as_it_left_never_began(on_lost: OnLost) -> None:
    world = World(job(1, 6, on_lost=on_lost))
    world.join()
    left = world.leave()
    assert world.states(1) == "r" * 6
    assert [command.lo for command in of_type(left, Release)] == [0, 1]
    assert not of_type(left, Settle)
    world.join()
    world.run()
    assert world.states(1) == "s" * 6


def test_a_task_that_is_lost_twice_runs_alone() -> None:
    world = World(job(1), job(2, 9, priority=-1))
    world.join(cpus=4)
    for _ in range(2):
        assert world.jobs_running() == [1, 2, 2, 2]
        world.end(world.attempt(1), outcome=Outcome.lost, took=LONG)
    assert world.explain(1) == "needs all of n, and 3 tasks run there; n is kept for it"
    world.end(*(attempt for _, _, attempt in world.running()), took=LONG)
    assert world.jobs_running() == [1]
    world.run()
    assert world.scheduler.unfinished == 0


def test_only_deaths_alone_count_towards_the_limit() -> None:
    world = World(job(1), crash_limit=2)
    world.join(cpus=4)
    for state in "RRRf":
        world.end(outcome=Outcome.lost)
        assert world.states(1) == state


@pytest.mark.parametrize(("on_lost", "state"), [(OnLost.rerun, "R"), (OnLost.fail, "f"), (OnLost.hold, "r")])
def test_what_follows_a_loss_is_the_users_choice(on_lost: OnLost, state: str) -> None:
    world = World(job(1, on_lost=on_lost))
    world.join()
    world.end(outcome=Outcome.lost)
    assert world.states(1) == state


def test_after_running_out_of_memory_a_task_asks_for_more() -> None:
    world = World(job(1, asks=request(1, 2), retries=9, memory_growth=1.5))
    world.join(gib=8)
    sizes = []
    for _ in range(5):
        held = world.hosts["n"].slots[world.lane(1)]
        sizes.append((held.memory or 0) / GIB)
        world.end(world.attempt(1), outcome=Outcome.out_of_memory)
        world.restart()
        world.reconnect()
    assert sizes == [2.0, 3.0, 4.5, pytest.approx(6.75), 8.0]  # never more than the largest node has


def test_after_a_restart_too_nobody_asks_for_more_than_any_node_has() -> None:
    world = World(job(1, asks=request(1, 5), retries=1, memory_growth=2))
    world.join(gib=8)
    world.end(outcome=Outcome.out_of_memory)
    world.hosts.clear()
    world.restart()
    world.lose()
    world.join(gib=8)
    assert [slots.memory for slots in world.hosts["n"].slots.values()] == [8 * GIB]
    world.run()
    assert world.states(1) == "s"


def test_tasks_ask_for_what_the_largest_node_has_whenever_that_is_another() -> None:
    world = World(job(1, asks=request(1, 6), retries=1, memory_growth=2, priority=1))
    world.join("first", gib=10)
    world.end(outcome=Outcome.out_of_memory)
    world.lose("first")
    world.hold(1)
    world.join("small", gib=7)
    assert not world.running()
    world.hold(1, held=False)
    assert world.hosts["small"].slots[world.lane(1)].memory == 7 * GIB
    world.lose("small")
    world.join("smaller", gib=6)
    assert world.hosts["smaller"].slots[world.lane(1)].memory == 6 * GIB


def test_when_too_many_have_failed_the_rest_is_cancelled() -> None:
    world = World(job(1, 10, max_fails=2), job(2, after=[(1, When.finished)]))
    world.join(cpus=3)
    first, second, third = (attempt for _, _, attempt in world.running())
    world.end(first, code=1, took=LONG)
    assert world.states(1).count("R") == 3
    world.end(second, code=1, took=LONG)
    assert world.states(1).count("S") == 2
    world.answer()
    assert world.states(1) == "ffcccccccc"
    assert world.states(2) == "R"
    assert third.position == 2


def test_named_limits_count_across_jobs() -> None:
    world = World(job(1, 4, uses={"licence": 1}), job(2, 2, uses={"licence": 2}), job(3))
    world.limit(licence=3)
    world.join(cpus=8)
    assert world.jobs_running() == [1, 1, 1, 3]
    assert world.explain(2) == "needs 2 of the limit licence, of which 0 of 3 is free"
    most = 0
    while world.running():
        taken = sum({1: 1, 2: 2}.get(number, 0) for number in world.jobs_running())
        most = max(most, taken)
        world.end(world.running()[0][2])
    assert most == 3
    assert world.scheduler.unfinished == 0


def test_a_limit_stops_nobody_who_does_not_use_it() -> None:
    world = World(*(job(number, uses={"db": 1}, priority=1) for number in range(1, 40)), job(40, 5))
    world.limit(db=1)
    world.join(cpus=4)
    assert world.jobs_running() == [1, 40, 40, 40]
    world.run()
    assert world.scheduler.unfinished == 0


def test_what_its_own_limit_stops_too_keeps_nobody_from_a_named_limit() -> None:
    world = World(job(1, uses={"db": 1}, priority=2), job(2, 3, uses={"db": 1}, most=1, priority=1))
    world.limit(db=2)
    world.join(cpus=4)
    world.submit(job(3, uses={"db": 1}))
    assert world.jobs_running() == [1, 2]
    world.end(world.attempt(1))
    assert world.jobs_running() == [2, 3]
    world.run()
    assert world.scheduler.unfinished == 0


def test_what_a_limit_stops_comes_earlier_where_more_waits_for_it() -> None:
    world = World(job(1, uses={"db": 1}, priority=1), job(2, uses={"db": 1}), job(3, uses={"db": 1}))
    world.limit(db=1)
    world.join(cpus=4)
    world.submit(job(4, after=[3]))
    world.end(world.attempt(1))
    assert world.jobs_running() == [3]


def test_other_limits_let_start_what_waited() -> None:
    world = World(job(1, 4, uses={"db": 1}))
    world.limit(db=1)
    world.join(cpus=4)
    assert len(world.running()) == 1
    world.limit(db=3)
    assert len(world.running()) == 3


@pytest.mark.parametrize("each", [False, True])
def test_after_the_start_of_a_job(*, each: bool) -> None:
    world = World(job(1, 2), job(2, 2, after=[(1, When.started, each)]))
    world.join(cpus=1)
    assert world.states(2) == ("rw" if each else "ww")
    world.end()
    assert world.states(1) == "sR"
    assert world.states(2) == "rr"


def test_what_never_started_cannot_be_started_after() -> None:
    world = World(job(1, 2), job(2, after=[(1, When.started)]))
    world.cancel(1, 0, 1)
    world.join()
    world.run()
    assert (world.states(1), world.states(2)) == ("cs", "k")
