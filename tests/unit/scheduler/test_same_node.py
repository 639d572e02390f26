"""Tasks that follow others to their nodes, and tasks that are spread over nodes."""

from typing import Any

from pilotfish.model.changes import Grant, Kept, Submit
from pilotfish.model.events import Submitted
from pilotfish.model.jobs import Job, OnSilence, Span, When
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.scheduler.homes import HOMECOMING
from tests.unit.scheduler.language import LONG, SHORT, World, cores, job, of_type

EACH = [(1, When.succeeded, True)]


def follower(number: int = 2, tasks: int = 4, **spec: Any) -> Job:
    return job(number, tasks, same_node=True, **{"after": EACH, **spec})


def nodes_of(world: World, number: int) -> dict[int, str]:
    """Where each task was granted last."""
    grants = [grant for grant in of_type(world.said, Grant) if grant.job == number]
    return {position: grant.node for grant in grants for position in range(grant.lo, grant.hi)}


def halves(*jobs: Job, **settings: Any) -> World:
    """Nodes a and b with two cores each, which run j1:0, j1:1 and j1:2, j1:3."""
    world = World(job(1, 4), *jobs, nodes=2, **settings)
    world.join("a", cpus=2)
    world.join("b", cpus=2)
    assert nodes_of(world, 1) == {0: "a", 1: "a", 2: "b", 3: "b"}
    return world


def test_tasks_run_where_those_ran_that_they_follow() -> None:
    world = halves(follower())
    world.run()
    assert nodes_of(world, 2) == nodes_of(world, 1)


def test_many_short_ones_do_too() -> None:
    world = World(job(1, 300), follower(tasks=300), follower(3, tasks=300, after=[(2, When.succeeded, True)]), nodes=3)
    world.seconds = lambda attempt: SHORT * (1 + attempt.position % 3)
    for name in "abc":
        world.join(name, cpus=2)
    world.run()
    assert world.scheduler.unfinished == 0
    assert nodes_of(world, 1) == nodes_of(world, 2) == nodes_of(world, 3)


def test_it_waits_while_its_node_has_no_room_and_says_so() -> None:
    world = halves(follower(), job(3, 2, priority=1, after=[(1, When.started)]))
    world.end(world.attempt(1, 0), world.attempt(1, 1))
    assert world.states(2) == "rrww"
    assert world.explain(2, 0) == "needs 1 core, and a has 0 of 2 cores free, where j1:0 ran; a is kept for it"
    world.end(world.attempt(1, 2))
    assert world.states(2) == "rrRw"


def test_it_follows_the_last_attempt() -> None:
    world = World(job(1, retries=1), follower(tasks=1), nodes=2)
    world.join("a", cpus=1)
    world.join("b", cpus=1)
    world.submit(job(3, priority=1))
    assert nodes_of(world, 1) | nodes_of(world, 3) == {0: "b"}
    world.end(world.attempt(3))
    world.submit(job(4, priority=1))
    world.end(world.attempt(1), code=1)
    world.run()
    assert nodes_of(world, 2) == nodes_of(world, 1)


def test_one_task_may_follow_another_job_of_one() -> None:
    world = World(job(1, asks=Request(labels=("x",))), follower(tasks=1, after=[1]), nodes=2)
    world.join("a", cpus=2)
    world.join("b", cpus=2, labels=("x",))
    world.run()
    assert nodes_of(world, 2) == {0: "b"}


def test_it_runs_anywhere_once_its_node_is_gone() -> None:
    world = halves(follower())
    world.end()
    world.join("c", cpus=2)
    assert nodes_of(world, 2) == nodes_of(world, 1)
    world.lose("a")
    assert {nodes_of(world, 2)[position] for position in (0, 1)} == {"c"}


def test_those_that_still_wait_run_anywhere_too() -> None:
    world = halves(follower(), job(3, 2, cpus=2, priority=1, after=[(1, When.started)]))
    world.end()
    world.lose("a")
    world.run()
    assert world.states(2) == "ssss"
    assert set(nodes_of(world, 2).values()) == {"b"}


def test_it_waits_for_a_silent_node() -> None:
    world = halves(follower())
    world.end(world.attempt(1, 0))
    world.silence("a")
    world.end(world.attempt(1, 2), world.attempt(1, 3))
    world.lose("b")
    assert world.states(2)[0] == "R"


def test_rerun_on_silence_goes_elsewhere() -> None:
    world = halves(follower(on_silence=OnSilence.rerun))
    world.end()
    world.join("c", cpus=2)
    world.silence("a")
    assert {nodes_of(world, 2)[position] for position in (0, 1)} == {"c"}


def test_a_node_that_lacks_what_it_needs_is_no_home() -> None:
    world = World(job(1, asks=Request(labels=("x",))), follower(tasks=1, asks=Request(cores(2)), after=[1]), nodes=2)
    world.join("a", cpus=1, labels=("x",))
    world.join("b", cpus=2)
    world.run()
    assert nodes_of(world, 2) == {0: "b"}


def test_it_follows_a_task_on_several_nodes_to_the_first() -> None:
    world = World(job(1, asks=Request(ONE, nodes=2)), follower(tasks=1), nodes=2)
    world.join("a", cpus=1)
    world.join("b", cpus=1)
    world.run()
    assert nodes_of(world, 2) == nodes_of(world, 1)


def restarted() -> World:
    """A new manager finds j1 done, and nothing of j2 granted."""
    world = halves(follower())
    world.drain()
    world.end()
    world.restart()
    return world


def test_a_restart_remembers() -> None:
    world = restarted()
    world.reconnect("b")
    assert {position for position, state in enumerate(world.states(2)) if state == "R"} == {2, 3}
    assert world.explain(2, 0) == "waits for node a to come back, because j1:0 ran there"
    world.reconnect("a")
    assert world.states(2) == "RRRR"
    assert nodes_of(world, 2) == nodes_of(world, 1)


def test_after_a_restart_it_follows_what_runs() -> None:
    world = halves(follower())
    world.restart()
    world.reconnect("b")
    world.reconnect("a")
    world.run()
    assert nodes_of(world, 2) == nodes_of(world, 1)


def test_after_a_restart_it_waits_only_for_a_while() -> None:
    world = restarted()
    world.reconnect("b")
    world.now += HOMECOMING
    world.wake()
    world.end()
    assert nodes_of(world, 2) == dict.fromkeys(range(4), "b")


def test_where_no_more_nodes_come_it_does_not_wait() -> None:
    world = restarted()
    world.reconnect("b")
    world.expect(1)
    world.end()
    assert nodes_of(world, 2) == dict.fromkeys(range(4), "b")


def test_it_follows_tasks_that_were_kept() -> None:
    world = halves()
    world.run()
    again = Submit(job(5, 4), (Kept(Span(0, 4), 1, 0),), replaces=1)
    submits = (again, Submit(follower(6, after=[(5, When.succeeded, True)])))
    world.store.commit(submits)
    world.tell(Submitted(submits, {5: world.store.nodes(5)}))
    assert nodes_of(world, 6) == nodes_of(world, 1)


def test_it_follows_a_job_of_an_earlier_submission() -> None:
    world = halves()
    world.run()
    world.submit(follower(3))
    assert nodes_of(world, 3) == nodes_of(world, 1)


def test_without_spread_the_fullest_nodes_are_taken_and_with_it_the_emptiest() -> None:
    for spread, expected in ((False, {0: "a", 1: "a", 2: "b", 3: "b"}), (True, {0: "a", 1: "b", 2: "a", 3: "b"})):
        world = World(nodes=2)
        world.join("a", cpus=4)
        world.join("b", cpus=4)
        world.submit(job(1, 4, asks=Request(cores(2), spread=spread)))
        assert nodes_of(world, 1) == expected


def test_a_spread_task_goes_where_most_is_free_when_it_starts() -> None:
    world = World(job(1, 2, cpus=2, estimate=LONG), nodes=2)
    world.join("a", cpus=4)
    world.join("b", cpus=4)
    world.submit(job(2, 3, asks=Request(spread=True)))
    assert nodes_of(world, 1) == {0: "a", 1: "a"}
    assert nodes_of(world, 2) == dict.fromkeys(range(3), "b")


def test_tasks_that_need_no_core_are_spread_too() -> None:
    world = World(nodes=3)
    for name in "abc":
        world.join(name)
    world.submit(job(1, 9, asks=Request(cores(0), spread=True)))
    placed = list(nodes_of(world, 1).values())
    assert [placed.count(name) for name in "abc"] == [3, 3, 3]


def test_rare_things_are_spread_over_last() -> None:
    world = World(nodes=2)
    world.join("a", cpus=8, gpus=1)
    world.join("b", cpus=2)
    world.submit(job(1, 3, asks=Request(spread=True)))
    assert nodes_of(world, 1) == {0: "b", 1: "b", 2: "a"}


def test_spread_over_several_nodes() -> None:
    world = World(job(1, asks=Request(ONE, nodes=2, spread=True)), nodes=3)
    for name, cpus in (("a", 1), ("b", 3), ("c", 2)):
        world.join(name, cpus=cpus)
    world.submit(job(2, asks=Request(ONE, nodes=2, spread=True)))
    grants = of_type(world.said, Grant)
    assert [(grant.node, *(part.node for part in grant.beside)) for grant in grants][-1] == ("c", "b")
