"""A lane that has run empty goes on with its class where nobody else can use what it holds, and only there."""

from typing import Any

import msgspec
import pytest

from pilotfish.model.jobs import When
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Request
from tests.unit.scheduler.language import World, job


def rejoin(world: World, **smaller: object) -> None:
    """The agent connects again, and the node has less."""
    host = world.hosts["n"]
    host.inventory = msgspec.structs.replace(host.inventory, **smaller)
    world.reconnect("n")


def on(world: World, node: str) -> int:
    return sum(name == node for name, _, _ in world.running())


def test_a_node_that_comes_back_with_fewer_cores_runs_fewer() -> None:
    world = World(nodes=None)
    world.join("n", cpus=4)
    world.submit(job(1, 50))
    rejoin(world, cores=(0, 1))
    assert on(world, "n") == 4, "what runs goes on"
    for _ in range(3):
        world.end()
        assert on(world, "n") == 2


LICENCES = (("licence", Amount(2 * ONE)),)


@pytest.mark.parametrize(
    ("asks", "had", "has", "left"),
    [
        ({"gpus": ONE}, {"gpus": 1}, {"gpus": ()}, 0),
        ({"resources": (("licence", ONE),)}, {"resources": LICENCES}, {"resources": (("licence", ONE),)}, 1),
        ({"labels": ("x",)}, {"labels": ("x",)}, {"labels": ()}, 0),
    ],
    ids=["gpus", "resources", "labels"],
)
def test_so_does_one_that_comes_back_without_something_else(
    asks: dict[str, Any], had: dict[str, Any], has: dict[str, Any], left: int
) -> None:
    world = World(nodes=None)
    world.join("n", cpus=2, **had)
    world.join("m", cpus=1, **had)  # else nobody could run them any more
    world.submit(job(1, 50, asks=Request(ONE, **asks)))
    rejoin(world, **has)
    world.end()
    assert on(world, "n") == left


def test_before_the_end_of_an_allocation_what_was_learned_lets_others_start() -> None:
    world = World(nodes=None)
    world.join("n", ends_at=1050.0)
    world.submit(job(1, 1, priority=1, time=10.0))
    world.submit(job(2, 20, time=1000.0))
    world.now = 60.0
    world.end(world.attempt(1), took=60.0)
    assert world.jobs_running() == [2], "another one would not be known to end in time"
    world.now = 80.0
    world.end(world.attempt(2), took=20.0)
    assert world.jobs_running() == [2, 2]


def test_so_it_does_beside_a_reservation_on_another_node() -> None:
    world = World(nodes=None)
    world.join("m", cpus=4)
    world.submit(job(8, 1, cpus=4, priority=9, time=5000.0))
    world.join("n", ends_at=1050.0)
    world.submit(job(9, 1, cpus=4, priority=5, time=10.0), job(1, 1, priority=1, time=10.0), job(2, 20, time=1000.0))
    world.now = 60.0
    world.end(world.attempt(1), took=60.0)
    world.now = 80.0
    world.end(world.attempt(2), took=20.0)
    assert on(world, "n") == 2


def test_what_a_start_makes_ready_is_not_passed_over_in_the_same_pass() -> None:
    world = World(nodes=None)
    world.join("n", cpus=3)
    urgent = job(2, 1, cpus=2, priority=1, after=[(1, When.started)])
    world.submit(job(1, 4), job(3, 50, priority=-1), urgent)
    world.end()
    assert world.jobs_running() == [1, 2]
