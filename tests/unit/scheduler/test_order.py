"""Who comes first: priority, then the longest chain behind a job, then age; and how many of a job at once."""

import pytest

from pilotfish.model.jobs import Job
from tests.unit.scheduler.language import LONG, SHORT, World, granted, job

ORDERS = {
    "age": ([job(1), job(2), job(3)], [1, 2, 3]),
    "priority before age": ([job(1), job(2, priority=1), job(3, priority=-1)], [2, 1, 3]),
    "rank before age": ([job(1), job(2), job(3, after=[2])], [2, 1, 3]),
    "priority before rank": ([job(1, priority=1), job(2), job(3, after=[2])], [1, 2, 3]),
    "over classes": ([job(1, cpus=0.5), job(2, priority=2, gib=1), job(3, priority=1)], [2, 3, 1]),
    "over classes by rank": ([job(1, gib=1), job(2, gib=2), job(3, gib=3, after=[2])], [2, 1, 3]),
}


@pytest.mark.parametrize(("jobs", "order"), ORDERS.values(), ids=ORDERS)
def test_order(jobs: list[Job], order: list[int]) -> None:
    world = World(*jobs)
    world.join(cpus=1)
    world.run()
    assert [number for number, _ in granted(world.said)] == order


def test_a_class_whose_first_job_was_cancelled_stands_where_its_next_one_does() -> None:
    world = World(job(1, gib=1, priority=5), job(2, priority=1), job(3, gib=1))
    world.cancel(1)
    world.join(cpus=1)
    assert world.jobs_running() == [2]


@pytest.mark.parametrize("took", [SHORT, LONG])
def test_every_lane_that_runs_empty_goes_to_the_more_urgent_class(took: float) -> None:
    world = World(job(1, 500))
    world.join(cpus=4)
    world.submit(job(2, 4, priority=1, gib=1))
    for lane in range(4):
        world.end(next(attempt for _, number, attempt in world.running() if number == lane), took=took)
        assert world.jobs_running() == [1] * (3 - lane) + [2] * (lane + 1)


def test_the_later_jobs_of_a_class_do_not_ride_on_its_first_one() -> None:
    world = World(job(1, 8), job(2, priority=2), job(3, priority=1, gib=1))
    world.join(cpus=2)
    assert world.jobs_running() == [2, 3]


def test_nothing_is_made_to_wait_in_a_lane_that_a_more_urgent_class_could_use() -> None:
    world = World(job(1, 500))
    world.join(cpus=2)
    world.submit(job(2, 500, priority=1, gib=1))
    assert granted(world.end(world.attempt(1), took=SHORT)) == [(2, 0)]


def test_a_job_that_others_come_to_wait_for_moves_forward() -> None:
    world = World(job(1, gib=1), job(2), job(3, gib=1))
    world.submit(job(4, after=[3]))
    world.join(cpus=1)
    assert world.jobs_running() == [3]


def test_an_array_starts_in_the_order_of_its_positions() -> None:
    world = World(job(1, 50))
    world.seconds = lambda _: SHORT
    world.join(cpus=3)
    world.run()
    assert granted(world.said) == [(1, position) for position in range(50)]


def test_what_is_given_back_comes_before_what_was_behind_it() -> None:
    world = World(job(1, 5, retries=1))
    world.join(cpus=1)
    assert granted(world.end(code=1, took=LONG)) == [(1, 0)]


def test_never_more_than_max_parallel_at_once() -> None:
    world = World(job(1, 6, most=2), job(2, 6))
    world.join(cpus=4)
    seen = []
    while world.running():
        seen.append(world.jobs_running())
        world.end()
    assert seen[:3] == [[1, 1, 2, 2]] * 3


def test_short_tasks_that_wait_in_a_lane_never_use_up_max_parallel() -> None:
    world = World(job(1, 60, most=3), job(2, 2, priority=1))
    world.join(cpus=3)
    world.end(world.attempt(1), took=SHORT)
    world.end(world.attempt(2, 0), world.attempt(2, 1), took=LONG)
    assert world.jobs_running() == [1, 1, 1]


def test_the_room_that_a_cancelled_task_leaves_before_its_start_is_used() -> None:
    world = World(job(1, 3, most=1))
    world.join(cpus=2)
    world.lose_orders = True
    world.cancel(1, 0, 1)
    world.hosts["n"].lanes.clear()
    world.lose_orders = False
    world.reconnect()
    assert world.states(1) == "cRr"


def test_the_room_that_a_lost_node_leaves_is_used() -> None:
    world = World(job(1, 2, most=1))
    world.join("a")
    world.join("b")
    world.lose("a")
    assert world.states(1) == "Rr"
    assert world.running()[0][0] == "b"
