"""Why a task is where it is, for people."""

import pytest

from pilotfish.model.jobs import When
from tests.unit.scheduler.language import SHORT, World, job


def test_waiting() -> None:
    world = World(job(1, 4), job(2), job(3, after=[1, (2, When.failed)]), job(4, 4, after=[(1, When.finished, True)]))
    world.join(cpus=1)
    world.end(world.attempt(1, 0))
    assert world.explain(3) == "waits for j1 to succeed (1 of 4 tasks have ended); waits for j2 to fail"
    assert world.explain(4, 2) == "waits for j1:2 to end"


def test_no_node() -> None:
    assert World(job(1)).explain(1) == "could start, but no node has joined yet"


def test_draining() -> None:
    world = World(job(1))
    world.drain()
    assert world.explain(1) == "could start, but the manager is stopping and starts nothing"


def test_no_room() -> None:
    world = World(job(1, 3))
    world.join("a", cpus=1)
    assert world.explain(1, 1) == "needs 1 core, and a has 0 of 1 cores free; a is kept for it"
    assert world.explain(1, 2) == "needs 1 core, and a has 0 of 1 cores free; j1:1 comes first"
    world.join("b", cpus=1)
    assert (
        world.explain(1, 2) == "needs 1 core, and a has 0 of 1 cores free; so it is on 1 other node; a is kept for it"
    )


def test_max_parallel() -> None:
    world = World(job(1, 3, most=1))
    world.join()
    assert world.explain(1, 1) == "max_parallel 1 of job j1 is used up"


def test_room_that_is_kept_for_another() -> None:
    world = World(job(1, cpus=2))
    world.join(cpus=3)
    world.submit(job(2, cpus=3), job(3))
    assert world.explain(3) == "fits, but n keeps room for 3 cores: tasks of j2 come first"


def test_running() -> None:
    world = World(job(1))
    world.join()
    assert world.explain(1) == "runs on node n in lane 0"
    world.cancel(1)
    assert world.explain(1) == "is told to end on node n in lane 0"


def test_next_in_a_lane() -> None:
    world = World(job(1, 100))
    world.join(cpus=1)
    world.end(took=SHORT)
    assert world.explain(1, 2) == "is next on node n, behind 1 short task in lane 0"
    assert world.explain(1, 3) == "is next on node n, behind 2 short tasks in lane 0"


def test_running_on_a_node_that_is_away() -> None:
    world = World(job(1))
    world.join()
    world.restart()
    assert world.explain(1) == "was given to node n, which is not connected: its agent is waited for"


@pytest.mark.parametrize(
    ("number", "text"), [(1, "has succeeded"), (2, "has failed"), (3, "was skipped"), (4, "was cancelled")]
)
def test_final(*, number: int, text: str) -> None:
    world = World(job(1), job(2), job(3, after=[2]), job(4))
    world.cancel(4)
    world.code = lambda attempt: int(attempt.job == 2)
    world.join()
    world.run()
    assert world.explain(number) == text
