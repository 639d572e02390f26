"""Lanes: how much waits in them, who gets how much, and what is asked back."""

import pytest

from pilotfish.model.changes import Grant
from pilotfish.model.events import CloseLane, Retract, WakeAt, Woken
from pilotfish.scheduler.lanes import depth, patience
from pilotfish.settings import Settings
from tests.unit.scheduler.language import LONG, SHORT, World, granted, job, of_type


@pytest.mark.parametrize(
    ("seconds", "attempts"),
    [(None, 0), (0.0, 64), (1e-6, 64), (0.001, 50), (0.01, 5), (0.05, 1), (0.2, 1), (0.5, 1), (0.51, 0), (3600, 0)],
)
def test_depth(seconds: float | None, attempts: int) -> None:
    assert depth(seconds, Settings()) == attempts


@pytest.mark.parametrize(("seconds", "patient_for"), [(None, 0.1), (0.001, 0.1), (0.2, 0.4), (0.5, 1.0), (3600, 1.0)])
def test_patience(seconds: float | None, patient_for: float) -> None:
    assert patience(seconds) == patient_for


def short(*jobs_: object, cpus: int = 1, **options: float) -> World:
    """A world in which the first task of job 1 has just taken a millisecond."""
    world = World(*jobs_, **options)  # type: ignore[arg-type]
    world.join(cpus=cpus)
    world.end(took=SHORT)
    return world


def test_nothing_waits_before_a_duration_is_known() -> None:
    world = World(job(1, 100))
    world.join(cpus=2)
    assert world.states(1).count("R") == 2


def test_nothing_waits_behind_long_tasks() -> None:
    world = World(job(1, 100))
    world.join(cpus=2)
    world.end(took=LONG)
    assert world.states(1).count("R") == 2


def test_a_lane_of_short_tasks_is_filled() -> None:
    assert short(job(1, 1000)).states(1).count("R") == 1 + 50


def test_a_lane_is_filled_again_when_half_is_gone() -> None:
    world = short(job(1, 1000))
    for _ in range(25):
        assert not granted(world.end())
    assert len(granted(world.end())) == 26


def test_the_last_tasks_are_shared_among_lanes() -> None:
    world = short(job(1, 24), cpus=4)
    assert sorted(len(queue) for queue in world.hosts["n"].lanes.values()) == [5, 5, 5, 5]


def test_neighbours_are_granted_as_one() -> None:
    world = World(job(1, 1000))
    world.join(cpus=1)
    assert [len(range(grant.lo, grant.hi)) for grant in of_type(world.end(took=SHORT), Grant)] == [51]


def test_the_room_of_a_lane_that_has_nothing_to_do_is_shared_with_what_waits_in_another() -> None:
    world = World(job(1, 4))
    world.join(cpus=2)
    first, second = world.attempt(1, 0), world.attempt(1, 1)
    world.end(first, took=0.4)
    assert granted(world.said)[2:] == [(1, 2), (1, 3)]
    world.end(second, took=0.4)
    world.answer()
    assert world.jobs_running() == [1, 1]


def test_a_few_milliseconds_of_work_stay_where_they_are() -> None:
    world = short(job(1, 12), cpus=2)
    lane = world.running()[1][1]
    while len(world.running()) > 1:
        world.end(*(attempt for _, number, attempt in world.running() if number == lane))
    assert not of_type(world.said, Retract)


def test_lanes_that_had_nothing_to_take_are_filled_when_something_comes() -> None:
    world = short(job(1, 2), cpus=1)
    assert not granted(world.said)[2:]
    world.submit(job(2, 10))
    assert world.states(2) == "r" * 10
    world.end(took=SHORT)
    world.end(took=SHORT)
    assert world.states(2).startswith("sR")
    assert world.states(2).count("R") == 9


def test_short_tasks_do_not_wait_behind_a_long_one() -> None:
    world = World(job(1, 100), job(2))
    world.join(cpus=2)
    world.end(took=SHORT)
    world.submit(job(3, priority=1))
    while 3 not in world.jobs_running():
        world.end()
    lane = next(lane for _, lane, attempt in world.running() if attempt.job == 3)
    assert len(world.hosts["n"].lanes[lane]) >= 1
    world.answer()
    before = list(world.hosts["n"].lanes[lane])
    world.end(*(attempt for _, other, attempt in world.running() if other != lane))
    assert world.hosts["n"].lanes[lane] == before


def test_what_waits_behind_a_stuck_task_is_asked_back_and_runs_elsewhere() -> None:
    world = short(job(1, 60), cpus=2)
    stuck = world.running()[0][2]
    world.seconds = lambda attempt: LONG if attempt == stuck else SHORT
    world.run()
    assert of_type(world.said, Retract)
    assert world.states(1) == "s" * 60
    others = [settled.report.ended_at for position in range(60) for settled in world.store.attempts(1, position)]
    assert sorted(others)[-2] < 1.0


def test_it_is_woken_while_something_waits_and_not_otherwise() -> None:
    world = World(job(1, 30))
    world.join()
    assert not of_type(world.said, WakeAt)
    world.end(took=SHORT)
    assert of_type(world.said, WakeAt) == [WakeAt(0.1)]
    world.now = 0.05
    assert not of_type(world.end(), WakeAt)
    world.now = 0.1
    assert of_type(world.tell(Woken()), WakeAt) == [WakeAt(0.2)]


def test_a_lane_that_was_asked_gets_nothing_before_its_first_task_ends() -> None:
    world = short(job(1, 1000))
    world.now = 5.0
    commands = world.tell(Woken())
    assert len(of_type(commands, Retract)) == 1
    world.answer()
    assert world.states(1).count("R") == 1
    assert not of_type(world.tell(Woken()), Retract)
    assert granted(world.end())


def test_an_answer_that_comes_after_the_next_task_has_begun_takes_back_the_rest() -> None:
    world = short(job(1, 1000))
    world.now = 5.0
    world.tell(Woken())
    world.end()
    world.answer()
    assert world.states(1).startswith("ssR")
    world.run()
    assert world.states(1) == "s" * 1000


def test_more_urgent_work_makes_lanes_give_back_what_waits() -> None:
    world = short(job(1, 1000))
    assert len(of_type(world.submit(job(2, priority=1)), Retract)) == 1
    world.answer()
    assert granted(world.end()) == [(2, 0)]


def test_work_of_the_same_priority_takes_nothing_back() -> None:
    world = short(job(1, 1000, priority=3))
    assert not of_type(world.submit(job(2, priority=3), job(3, priority=2)), Retract)


def test_an_empty_lane_is_closed_and_its_slots_serve_another_class() -> None:
    world = World(job(1), job(2, cpus=2))
    world.join(cpus=2)
    assert world.jobs_running() == [1]
    assert len(of_type(world.end(), CloseLane)) == 1
    assert world.jobs_running() == [2]


def test_lanes_have_the_lowest_free_numbers() -> None:
    world = World(job(1), job(2), job(3))
    world.join(cpus=3)
    world.end(world.attempt(2))
    world.submit(job(4))
    assert world.attempt(4) == world.hosts["n"].lanes[1][0]
