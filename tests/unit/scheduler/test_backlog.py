"""What is left to do, as whoever could bring more nodes is told it."""

from typing import Any

from pilotfish.model.jobs import When
from pilotfish.model.resources import Request
from pilotfish.model.states import Outcome
from tests.unit.scheduler.language import World, cores, job, request


def work(world: World) -> list[tuple[int, int]]:
    """Of each kind of work, how many are ready, and how many may come later."""
    return [(one.ready, one.later) for one in world.scheduler.backlog().work]


def only(world: World) -> Any:
    (one,) = world.scheduler.backlog().work
    return one


def test_nothing_is_left_of_nothing() -> None:
    world = World()
    assert work(world) == []
    assert world.scheduler.backlog().busy == {}


def test_what_runs_is_no_work_and_keeps_its_node_busy() -> None:
    world = World(job(1, 5))
    assert work(world) == [(5, 0)]
    world.join("n", cpus=2)
    world.join("m", cpus=1, gib=1)
    assert work(world) == [(2, 0)]
    assert world.scheduler.backlog().busy == {"n": 2, "m": 1}
    world.run()
    assert work(world) == []
    assert world.scheduler.backlog().busy == {"n": 0, "m": 0}


def test_a_task_on_several_nodes_keeps_all_of_them_busy() -> None:
    world = World(job(1, asks=Request(cores(2), nodes=2)), nodes=3)
    for name in ("a", "b", "c"):
        world.join(name)
    assert sorted(world.scheduler.backlog().busy.values()) == [0, 1, 1]


def test_what_waits_for_others_comes_later() -> None:
    world = World(job(1, 2), job(2, 3, after=[1]), job(3, 4, after=[(1, When.failed)]))
    assert work(world) == [(2, 0), (0, 3), (0, 4)]


def test_held_tasks_are_no_work() -> None:
    world = World(job(1, 4), job(2, 3, after=[1]))
    world.hold(1, 1, 3)
    world.hold(2, 0, 1)
    assert work(world) == [(2, 0), (0, 2)]
    world.hold(1)
    world.hold(2)
    assert work(world) == []
    world.hold(1, held=False)
    assert work(world) == [(4, 0)]


def test_no_more_are_ready_than_their_job_lets_run() -> None:
    world = World(job(1, 10, most=3))
    assert work(world) == [(3, 7)]
    world.join("n", cpus=2)
    assert work(world) == [(1, 7)]


def test_no_more_are_ready_than_a_named_limit_lets_run() -> None:
    world = World(job(1, 10, uses={"licences": 2}))
    assert work(world) == [(10, 0)]
    world.limit(licences=5)
    assert work(world) == [(2, 8)]
    world.join("n", cpus=1)
    assert work(world) == [(1, 8)]


def test_what_one_takes_is_the_estimate_else_the_limit_else_unknown() -> None:
    assert only(World(job(1))).seconds is None
    assert only(World(job(1))).path is None
    assert only(World(job(1, time=60.0))).seconds == 60.0
    assert only(World(job(1, time=60.0, estimate=20.0))).seconds == 20.0


def test_it_is_what_was_learned_once_some_have_ended() -> None:
    world = World(job(1, 4, time=1000.0))
    world.join("n", cpus=1)
    assert only(world).seconds == 1000.0
    world.now = 10.0
    world.end(took=7.0)
    assert only(world).seconds == 7.0


def test_the_path_is_the_longest_chain_of_those_that_follow() -> None:
    world = World(job(1, estimate=10.0), job(2, after=[1], estimate=20.0), job(3, after=[2], estimate=30.0))
    world.expect(1)
    assert [one.path for one in world.scheduler.backlog().work] == [60.0, 50.0, 30.0]


def test_tasks_that_ask_for_something_else_are_work_of_their_own() -> None:
    world = World(job(1, 3, gib=1, retries=1, memory_growth=2.0))
    world.join("n", cpus=1)
    world.end(outcome=Outcome.out_of_memory)
    asked = {one.requests[0].memory: one.ready for one in world.scheduler.backlog().work}
    assert asked == {2**30: 1, 2**31: 1}


def test_all_variants_are_told() -> None:
    gpu = request(1)
    world = World(job(1, asks=request(8), variants=(gpu,)))
    assert only(world).requests == (request(8), gpu)
