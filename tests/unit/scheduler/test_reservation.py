"""A wide task is not starved by narrow ones, and what can go on beside it does."""

import pytest

from pilotfish.model.changes import Grant
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from tests.unit.scheduler.language import LONG, SHORT, World, job, of_type


def turns_until_started(world: World, number: int, *, most: int = 40) -> int:
    """End one task after another, the one that runs longest first, until a job runs."""
    for turn in range(most):
        if number in world.jobs_running():
            return turn
        world.now += SHORT
        world.end(min(world.running(), key=lambda one: world.hosts[one[0]].since[one[1]])[2])
    raise AssertionError(f"job {number} was starved")


@pytest.mark.parametrize("cpus", [2, 3, 4])
@pytest.mark.parametrize("took", [SHORT, 10.0])
def test_a_wide_task_starts_among_a_stream_of_narrow_ones(*, cpus: int, took: float) -> None:
    world = World(job(1, 1000))
    world.join(cpus=4)
    world.end(took=took)
    world.submit(job(2, cpus=cpus, priority=1))
    world.answer()
    assert turns_until_started(world, 2) <= 4


def test_whatever_ends_first_makes_room() -> None:
    world = World(job(1, 1000))
    world.join(cpus=4)
    world.submit(job(2, cpus=3, priority=1))
    for lane in (2, 0, 3):
        assert 2 not in world.jobs_running()
        world.now += 2 * LONG
        world.end(*(attempt for _, other, attempt in world.running() if other == lane), took=LONG)
    assert world.jobs_running() == [1, 2]


def test_what_runs_beside_a_wide_task_may_be_another_class() -> None:
    world = World(job(1, cpus=2))
    world.join(cpus=4)
    world.submit(job(2, cpus=3, priority=1), job(3, 5), job(4, 5, gib=1))
    assert world.jobs_running() == [1, 3]
    world.end(world.attempt(1))
    assert world.jobs_running() == [2, 3]


def test_halves_on_two_cores_do_not_keep_a_wide_task_waiting_for_ever() -> None:
    world = World(job(1, 4, cpus=0.5))
    world.join(cpus=2)
    world.end(world.attempt(1, 1), world.attempt(1, 3))  # a half is held on each core
    world.submit(job(2, cpus=1, priority=1), job(3, 1000, cpus=0.5))
    assert turns_until_started(world, 2) <= 3


def test_memory_is_kept_too() -> None:
    world = World(job(1, 1000, gib=2))
    world.join(cpus=8, gib=8)
    world.submit(job(2, gib=7, priority=1))
    assert turns_until_started(world, 2) <= 4


def test_the_reservation_stays_on_its_node() -> None:
    world = World(job(1, 1000, cpus=2), job(9, 1000))
    world.join("a", cpus=4)
    world.join("b", cpus=4)
    world.submit(job(2, cpus=4, priority=1))
    kept = world.scheduler._book.placement.reservation  # noqa: SLF001 - seen elsewhere only after many turns
    assert kept is not None
    (mine,) = (node.name for node in kept.nodes)
    other = "b" if mine == "a" else "a"
    world.end(*(attempt for node, _, attempt in world.running() if node == other))
    assert world.running()
    world.end(*(attempt for node, _, attempt in world.running() if node == mine))
    assert 2 in world.jobs_running()


def test_other_nodes_are_not_kept_free() -> None:
    world = World(job(1, 1000))
    world.join("small", cpus=1)
    world.join("large", cpus=2)
    world.submit(job(2, cpus=2, priority=1))
    ended = next(attempt for node, _, attempt in world.running() if node == "small")
    assert [grant.node for grant in of_type(world.end(ended), Grant)] == ["small"]


def test_the_end_of_what_runs_on_the_kept_node_beside_another_tells_when_it_is_free() -> None:
    world = World(job(1, asks=Request(ONE, nodes=2)), job(2, cpus=2, estimate=100.0), nodes=2)
    world.join("large", cpus=4)
    world.join("small", cpus=1)
    assert [(node, attempt.job) for node, _, attempt in world.running()] == [("large", 2), ("small", 1)]
    world.submit(job(3, cpus=4, priority=1), job(4, cpus=2, estimate=LONG))
    assert world.jobs_running() == [1, 2]
    world.end(world.attempt(1))
    assert world.jobs_running() == [2, 4], "what ends before the first can start may go on"
