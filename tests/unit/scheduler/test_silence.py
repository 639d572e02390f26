"""Nodes of which nothing is heard: they get nothing new, and what may be given up starts elsewhere."""

import pytest

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Grant, Settle
from pilotfish.model.events import Ended, Kill, NodeBack, NodeSilent, Retract
from pilotfish.model.jobs import OnLost, OnSilence
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.model.states import Outcome, TaskState
from tests.unit.scheduler.language import LONG, SHORT, World, cores, granted, job, of_type


def test_a_silent_node_gets_nothing_new() -> None:
    world = World(nodes=None)
    world.join("a", cpus=2)
    world.silence("a")
    world.submit(job(1, 2))
    assert world.explain(1) == "nothing has been heard of a for a while"
    assert granted(world.back("a")) == [(1, 0), (1, 1)]


def test_what_runs_there_goes_on() -> None:
    world = World(job(1))
    world.join()
    assert not world.silence()
    assert world.states(1) == "R"
    assert world.explain(1) == "runs on node n in lane 0; nothing has been heard of n for a while"
    assert not of_type(world.back(), Kill)
    world.run()
    assert world.states(1) == "s"


def test_what_waits_there_stays_and_no_more_comes_to_it() -> None:
    world = World(job(1, 100), nodes=2)
    world.join("a", cpus=1)
    world.end(took=SHORT)
    held = world.scheduler.running
    assert held > 2
    world.silence("a")
    world.join("b", cpus=1)
    assert not [one for one in of_type(world.said, Retract) if one.node == "a"]
    world.now += LONG
    world.wake()
    assert not [one for one in of_type(world.said, Retract) if one.node == "a"]
    assert all(world.attempt(1, position) for position in range(1, 1 + held))
    world.back("a")
    world.run()
    assert world.states(1) == "s" * 100


def test_its_lanes_are_filled_when_it_is_back() -> None:
    world = World(job(1, 1000))
    world.join(cpus=1)
    world.silence()
    first = world.attempt(1)
    world.hosts["n"].lanes[0].clear()
    report = Report(first, 0, Outcome.exited, 0, world.now, world.now + SHORT, 0.0, 0)
    assert not granted(world.tell(Ended("n", (report,))))
    assert len(granted(world.back())) == 1
    world.run()
    assert world.scheduler.unfinished == 0


def test_what_need_not_wait_for_its_word_starts_elsewhere_at_once() -> None:
    world = World(job(1, on_silence=OnSilence.rerun), job(2), nodes=2)
    world.join("a", cpus=2)
    world.join("b", cpus=2)
    assert {node for node, _, _ in world.running()} == {"a"}
    late = world.attempt(1)
    commands = world.silence("a")
    (settled,) = of_type(commands, Settle)
    assert (settled.report.outcome, settled.state, settled.charged) == (Outcome.interrupted, TaskState.ready, False)
    assert settled.report.reason == "nothing was heard of its node for a while; on_silence lets it start elsewhere"
    assert [(grant.node, grant.job, grant.number) for grant in of_type(commands, Grant)] == [("b", 1, 2)]
    assert not of_type(commands, Kill)
    assert world.states(2) == "R"
    assert of_type(world.back("a"), Kill) == [Kill("a", 0, late, Outcome.cancelled, hard=True)]


def test_the_late_one_is_refused_and_holds_its_slots_until_it_has_ended() -> None:
    world = World(job(1, on_silence=OnSilence.rerun), nodes=2)
    world.join("a", cpus=1)
    late = world.attempt(1)
    world.silence("a")
    world.join("b", cpus=1)
    world.back("a")
    assert not granted(world.submit(job(2)))
    ended = world.tell(Ended("a", (Report(late, 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0),)))
    assert not of_type(ended, Settle)
    assert [(grant.node, grant.job) for grant in of_type(ended, Grant)] == [("a", 2)]
    assert world.attempt(1).number == 2


def test_a_late_one_whose_node_introduces_itself_anew_is_told_to_end() -> None:
    world = World(job(1, on_silence=OnSilence.rerun), nodes=2)
    world.join("a", cpus=1)
    late = world.attempt(1)
    world.silence("a")
    assert of_type(world.reconnect("a"), Kill) == [Kill("a", 0, late, Outcome.cancelled, hard=True)]
    assert world.states(1) == "r"  # its slots are held by the late one
    world.answer()
    assert world.attempt(1) == AttemptId(1, 0, 2, 1)


def test_the_report_of_a_late_one_may_come_with_the_introduction() -> None:
    world = World(job(1, on_silence=OnSilence.rerun))
    world.join()
    late = world.attempt(1)
    world.silence()
    world.hosts["n"].lanes.clear()
    assert not of_type(world.tell(Ended("n", (Report(late, 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0),))), Settle)
    assert granted(world.reconnect()) == [(1, 0)]


def test_a_late_one_is_told_to_end_by_the_next_manager_too() -> None:
    world = World(job(1, on_silence=OnSilence.rerun), nodes=2)
    world.join("a", cpus=1)
    late = world.attempt(1)
    world.silence("a")
    world.restart()
    assert world.states(1) == "r"
    assert of_type(world.reconnect("a"), Kill) == [Kill("a", 0, late, Outcome.cancelled, hard=True)]


def test_the_loss_of_a_silent_node_ends_what_waited_for_it() -> None:
    world = World(job(1, on_silence=OnSilence.rerun), job(2), nodes=2)
    world.join("a", cpus=2)
    world.silence("a")
    assert (world.states(1), world.states(2)) == ("r", "R")
    settled = of_type(world.lose("a"), Settle)
    assert [(one.report.attempt.job, one.report.outcome) for one in settled] == [(2, Outcome.lost)]


def test_a_node_that_was_given_up_and_comes_back_ends_what_it_runs() -> None:
    world = World(job(1), nodes=2)
    world.join("a", cpus=1)
    host, late = world.hosts["a"], world.attempt(1)
    world.lose("a")
    world.join("b", cpus=1)
    world.hosts["a"] = host
    assert of_type(world.reconnect("a"), Kill) == [Kill("a", 0, late, Outcome.cancelled, hard=True)]
    world.answer()
    assert world.states(1) == "R"
    assert granted(world.submit(job(2))) == [(2, 0)]


def test_what_was_told_to_end_waits_for_the_word_of_its_node() -> None:
    world = World(job(1, on_silence=OnSilence.rerun))
    world.join()
    world.cancel(1)
    assert not world.silence()
    assert world.states(1) == "S"


def test_a_task_on_several_nodes_is_ended_where_it_runs_before_it_starts_elsewhere() -> None:
    world = World(job(1, asks=Request(cores(2), nodes=2), on_silence=OnSilence.rerun), nodes=3)
    for name in "abc":
        world.join(name, cpus=2)
    ((main, lane, attempt),) = world.running()
    (grant,) = of_type(world.said, Grant)
    (other,) = [part.node for part in grant.beside]
    assert of_type(world.silence(other), Kill) == [Kill(main, lane, attempt, Outcome.interrupted)]
    world.answer()
    assert world.attempt(1).number == 2


def test_a_task_on_several_nodes_that_runs_on_a_silent_one_waits() -> None:
    world = World(job(1, asks=Request(ONE, nodes=2), on_silence=OnSilence.rerun), nodes=2)
    for name in "ab":
        world.join(name, cpus=2)
    ((main, _, _),) = world.running()
    assert not world.silence(main)
    assert world.states(1) == "R"


def test_the_first_that_fits_nowhere_is_not_kept_waiting_for_a_silent_node() -> None:
    world = World(job(1, estimate=1.0), job(2, estimate=5.0), nodes=2)
    for name in "ab":
        world.join(name, cpus=1)
    world.silence("a")
    world.submit(job(3))
    assert world.explain(3).endswith("; b is kept for it")


def test_on_lost_says_nothing_about_silence() -> None:
    world = World(job(1, on_silence=OnSilence.rerun, on_lost=OnLost.fail))
    world.join()
    world.silence()
    assert world.states(1) == "r"


@pytest.mark.parametrize("event", [NodeSilent("nobody"), NodeBack("nobody")])
def test_silence_of_a_node_that_nobody_knows_changes_nothing(event: NodeSilent | NodeBack) -> None:
    assert not World(job(1)).tell(event)
