"""Tasks on several nodes at once, and alternatives."""

from pilotfish.model.changes import Grant
from pilotfish.model.events import Kill
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.model.states import Outcome
from tests.unit.scheduler.language import LONG, World, cores, granted, job, of_type

PAIR = Request(cores(2), nodes=2)


def places(world: World, number: int) -> set[str]:
    grants = [grant for grant in of_type(world.said, Grant) if grant.job == number]
    return {grants[-1].node, *(part.node for part in grants[-1].beside)}


def test_a_task_on_several_nodes_starts_when_all_have_room() -> None:
    world = World(job(1, 3), job(2, asks=PAIR, priority=-1), nodes=2)
    world.join("a", cpus=3)
    assert world.jobs_running() == [1, 1, 1]
    world.join("b", cpus=3)
    assert world.jobs_running() == [1, 1, 1]
    world.end(*(attempt for _, _, attempt in world.running()[:2]))
    assert 2 in world.jobs_running()
    assert places(world, 2) == {"a", "b"}


def test_small_tasks_fill_in_around_it() -> None:
    world = World(job(1, asks=PAIR, priority=1), job(2, 9), nodes=2)
    for name in "ab":
        world.join(name, cpus=3)
    world.end(*(attempt for _, _, attempt in world.running()))
    assert world.states(1) in ("s", "R")
    world.run()
    assert world.scheduler.unfinished == 0


def test_what_it_holds_is_free_when_it_has_ended() -> None:
    world = World(job(1, 4, asks=PAIR), nodes=2)
    for name in "ab":
        world.join(name, cpus=2)
    world.run()
    assert world.states(1) == "ssss"
    assert world.now == 4 * LONG


def test_when_one_of_its_nodes_is_lost_it_is_ended_and_runs_again() -> None:
    world = World(job(1, asks=PAIR), nodes=3)
    for name in "abc":
        world.join(name, cpus=2)
    (main,) = {node for node, _, _ in world.running()}
    (other,) = places(world, 1) - {main}
    assert [kill.outcome for kill in of_type(world.lose(other), Kill)] == [Outcome.lost]
    world.answer()
    assert world.states(1) == "R"
    assert places(world, 1).isdisjoint({other})


def test_it_goes_on_when_the_manager_comes_back_whichever_node_is_first() -> None:
    for first, second in ("ab", "ba"):
        world = World(nodes=2)
        for name in "ab":
            world.join(name, cpus=2)
        world.submit(job(1, asks=PAIR), job(2, 9))
        world.restart()
        world.reconnect(first)
        world.reconnect(second)
        assert world.jobs_running() == [1]
        world.run()
        assert world.scheduler.unfinished == 0


def test_more_nodes_than_there_are_is_impossible() -> None:
    world = World()
    world.join("a")
    world.submit(job(1, asks=PAIR))
    assert world.states(1) == "f"


def test_the_best_alternative_that_is_free_is_taken() -> None:
    gpu, many = Request(ONE, gpus=ONE), Request(cores(4))
    world = World(job(1, 3, asks=gpu, variants=(many,)))
    world.join(cpus=6, gpus=1)
    slots = [grant.slots for grant in of_type(world.said, Grant)]
    assert [(len(one.cores), one.gpus) for one in slots] == [(1, ("0",)), (4, ())]
    world.end(world.attempt(1, 1))
    assert granted(world.said)[-1] == (1, 2)
    assert not of_type(world.said, Grant)[-1].slots.gpus


def test_an_alternative_is_enough_to_be_possible() -> None:
    world = World(job(1, asks=Request(ONE, gpus=ONE), variants=(Request(cores(2)),)))
    world.join(cpus=2)
    assert world.states(1) == "R"
