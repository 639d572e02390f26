"""Requests that the nodes which are here could not hold: while others may come, once none does, and after a loss."""

from pilotfish.model.changes import Finish
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.model.states import TaskState
from tests.unit.scheduler.language import SHORT, World, cores, job, of_type

FOUR = Request(cores(2), nodes=4)
ASKED = "asks for 4 nodes, each with 2 cores"


def test_a_task_on_several_nodes_waits_for_them_and_says_so() -> None:
    world = World(job(1, asks=FOUR), nodes=5)
    assert world.explain(1) == "could start, but no node has joined yet"
    world.join("a")
    assert world.explain(1) == f"{ASKED}, of which there is 1; 4 more are expected"
    world.join("b", cpus=1)
    world.join("c")
    assert world.explain(1) == f"{ASKED}, of which there are 2; 2 more are expected"


def test_it_starts_when_they_are_there() -> None:
    world = World(job(1, asks=FOUR), job(2, 8), nodes=4)
    for name in "abcd":
        world.join(name, cpus=4)
    world.run()
    assert (world.states(1), world.states(2)) == ("s", "s" * 8)


def test_it_fails_when_too_few_are_left_to_come() -> None:
    world = World(job(1, asks=FOUR), job(2, after=[1]), nodes=5)
    for name in "ab":
        world.join(name)
    world.join("c", cpus=1)
    assert world.states(1) == "r"
    finish, _ = of_type(world.join("d", cpus=1), Finish)
    assert finish == Finish(1, 0, 1, TaskState.failed, f"{ASKED}, of which there are 2")
    assert world.states(2) == "k"


def test_one_that_is_larger_than_the_first_node_waits() -> None:
    world = World(job(1, cpus=8), nodes=2)
    world.join("a", cpus=2)
    assert world.explain(1) == "asks for 8 cores, more than any node has; 1 more is expected"
    world.join("b", cpus=8)
    assert world.states(1) == "R"


def test_it_fails_once_fewer_are_expected() -> None:
    world = World(job(1, 3, cpus=8), nodes=2)
    world.join("a", cpus=2)
    assert of_type(world.expect(1), Finish) == [
        Finish(1, 0, 3, TaskState.failed, "asks for 8 cores, more than any node has")
    ]


def test_where_some_may_always_come_it_waits_for_ever() -> None:
    world = World(job(1, asks=FOUR), nodes=None)
    world.join("a")
    assert world.explain(1) == f"{ASKED}, of which there is 1; others may come"
    world.lose("a")
    assert world.explain(1) == "could start, but no node has joined yet"
    assert not world.scheduler.stranded


def test_those_that_wait_for_nodes_stand_in_nobodys_way() -> None:
    world = World(job(1, asks=FOUR, priority=9), job(2, 100), nodes=5)
    world.seconds = lambda _: SHORT
    world.join("a", cpus=1)
    world.end(took=SHORT)
    assert world.scheduler.running > 1  # some wait in the lane
    world.run()
    assert (world.states(1), world.states(2)) == ("r", "s" * 100)


def test_a_task_that_comes_later_waits_too() -> None:
    world = World(nodes=2)
    world.join("a", cpus=1)
    world.submit(job(1, cpus=2), job(2, asks=Request(ONE, nodes=3)))
    assert (world.states(1), world.states(2)) == ("r", "f")


def test_the_loss_of_a_node_leaves_what_needs_it_for_a_later_run() -> None:
    world = World(job(1, 2, cpus=8), job(2), job(3, after=[1]), nodes=2)
    world.join("a", cpus=2)
    world.join("b", cpus=8)
    world.lose("b")
    assert world.explain(1, 1) == "asks for 8 cores, more than any node has; 1 more is expected"
    assert not world.scheduler.stranded
    world.expect(1)
    reason = "asks for 8 cores, more than any node has, and no more will come: it is left for a later run"
    assert (world.states(1), world.explain(1)) == ("rr", reason)
    assert not world.scheduler.stranded  # j2 still runs
    world.run()
    assert (world.states(1), world.states(2), world.states(3)) == ("rr", "s", "w")
    assert world.scheduler.stranded


def test_the_next_run_goes_on_with_it() -> None:
    world = World(job(1, cpus=8), nodes=1)
    world.join("b", cpus=8)
    world.lose("b")
    world.expect(0)
    assert world.scheduler.stranded
    world.expected = 1
    world.restart()
    assert not world.scheduler.stranded
    world.join("c", cpus=8)
    assert world.states(1) == "R"


def test_what_no_node_could_ever_hold_fails_after_a_loss_too() -> None:
    world = World(job(1, cpus=8), nodes=3)
    world.join("a", cpus=2)
    world.join("b", cpus=2)
    world.lose("b")
    world.expect(1)
    assert world.states(1) == "f"


def test_a_run_that_waits_for_a_time_or_a_release_is_not_stranded() -> None:
    world = World(job(1, cpus=8), job(2, start_after=5.0), nodes=1)
    world.join("b", cpus=8)
    world.lose("b")
    world.expect(0)
    assert not world.scheduler.stranded
    done = World(job(1))
    done.hold(1)
    done.expect(0)
    assert not done.scheduler.stranded


def test_labels_choose_among_nodes() -> None:
    world = World(job(1, 3, asks=Request(labels=("fast",))), job(2, asks=Request(labels=("big", "fast"))), nodes=3)
    world.join("a", cpus=4)
    assert world.explain(1) == "asks for 1 core, label fast, more than any node has; 2 more are expected"
    world.join("b", cpus=4, labels=("fast",))
    assert {node for node, _, _ in world.running()} == {"b"}
    assert len(world.running()) == 3
    world.join("c", cpus=1, labels=("big", "fast"))
    assert ("c", 2) in {(node, attempt.job) for node, _, attempt in world.running()}
    assert world.states(2) == "R"


def test_a_whole_node_is_waited_for_while_small_tasks_go_elsewhere() -> None:
    world = World(job(1, 2), job(2, asks=Request(exclusive=True), priority=-1), job(3, 4, priority=-2), nodes=2)
    world.join("a", cpus=4)
    world.join("b", cpus=2)
    ((node, _, _),) = [one for one in world.running() if one[2].job == 2]
    assert node == "b"
    assert {one for one, _, attempt in world.running() if attempt.job != 2} == {"a"}
    world.run()
    assert world.scheduler.unfinished == 0
