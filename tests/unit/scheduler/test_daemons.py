"""What launchers start on the other nodes of their attempts: it holds its slots until its node has told its end."""

from typing import NamedTuple

import pytest

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Grant, Release, Settle
from pilotfish.model.events import CloseLane, Ended, Hosted, Kill, Returned
from pilotfish.model.jobs import Job, OnSilence
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.model.states import Outcome, TaskState
from tests.unit.scheduler.language import Daemon, World, cores, granted, job, of_type

PAIR = Request(cores(2), nodes=2)


class Started(NamedTuple):
    """A world of two nodes of two cores, on which job 1 runs."""

    world: World
    attempt: AttemptId
    leading: str
    daemon: Daemon
    """On the other one."""


def started(*jobs: Job, nodes: int | None = 2) -> Started:
    """`jobs` come after it."""
    world = World(nodes=nodes)
    for name in "ab":
        world.join(name)
    world.submit(job(1, asks=PAIR, estimate=100.0, on_silence=OnSilence.rerun))
    world.submit(*jobs)
    attempt = world.attempt(1)
    (grant,) = of_type(world.said, Grant)
    return Started(world, attempt, grant.node, world.host(attempt, grant.beside[0].node))


def ordered(daemon: Daemon) -> Kill:
    return Kill(daemon.node, daemon.lane, daemon.attempt, Outcome.cancelled, hard=True)


def free(world: World, node: str) -> int:
    return world.scheduler._book.placement.nodes[node].cores.whole  # noqa: SLF001 - not public


def settles_when_the_daemon_has_ended(world: World, daemon: Daemon) -> None:
    """Only now are its slots free, and its lane closes."""
    assert free(world, daemon.node) == 0
    commands = world.end_daemon(daemon, Outcome.cancelled)
    assert not of_type(commands, Settle)
    assert CloseLane(daemon.node, daemon.lane) in commands
    assert free(world, daemon.node) == 2


def test_a_daemon_that_outlives_its_attempt_is_told_to_end_and_keeps_others_out() -> None:
    world, attempt, leading, daemon = started(job(2, 2, cpus=2))
    commands = world.end(attempt)
    assert of_type(commands, Kill) == [ordered(daemon)]
    assert [(grant.job, grant.node) for grant in of_type(commands, Grant)] == [(2, leading)]
    commands = world.answer()
    assert [(grant.job, grant.node) for grant in of_type(commands, Grant)] == [(2, daemon.node)]
    assert world.states(1) == "s"


def test_a_daemon_that_ends_first_ends_nothing() -> None:
    world, attempt, _, daemon = started(job(2, 2, cpus=2))
    assert not world.end_daemon(daemon, Outcome.signalled)
    assert world.states(1) == "R"
    assert free(world, daemon.node) == 0
    assert granted(world.end(attempt)) == [(2, 0), (2, 1)]


def test_where_there_is_no_daemon_nobody_waits_for_one() -> None:
    world = World(job(1, 2, asks=PAIR), nodes=2)
    for name in "ab":
        world.join(name)
    assert granted(world.end()) == [(1, 1)]


def test_one_launcher_after_another() -> None:
    world, attempt, _, daemon = started()
    world.end_daemon(daemon)
    world.end(attempt)
    assert free(world, daemon.node) == 2
    world, attempt, _, daemon = started()
    world.end_daemon(daemon)
    world.host(attempt, daemon.node)
    world.end(attempt)
    settles_when_the_daemon_has_ended(world, daemon)


def test_a_second_daemon_on_the_node_leaves_nothing_held_for_ever() -> None:
    world, attempt, _, daemon = started()
    world.tell(Hosted(attempt, daemon.node))
    world.end(attempt)
    settles_when_the_daemon_has_ended(world, daemon)
    late = Report(attempt, daemon.lane, Outcome.cancelled, 0, 1.0, 2.0, 0.0, 0)
    assert not world.tell(Ended(daemon.node, (late,)))


def test_a_daemon_that_never_began_is_not_waited_for() -> None:
    world, attempt, _, daemon = started()
    assert not world.return_daemon(daemon)
    world.end(attempt)
    assert free(world, daemon.node) == 2


def test_a_daemon_of_an_attempt_that_has_ended_changes_nothing() -> None:
    world, attempt, _, daemon = started()
    world.end(attempt)
    world.answer()
    assert not world.tell(Hosted(attempt, daemon.node))
    assert free(world, daemon.node) == 2


def test_what_waits_for_a_node_is_not_overtaken_while_a_daemon_ends() -> None:
    world, attempt, *_ = started(job(2, asks=PAIR), job(3, estimate=50.0))
    assert not granted(world.end(attempt)), "what would take long has taken room that the next one is about to have"
    assert granted(world.answer())[0] == (2, 0)


# Nodes that are lost, or not heard


def test_when_the_first_node_is_lost_the_daemon_is_told_to_end() -> None:
    world, _, leading, daemon = started()
    assert of_type(world.lose(leading), Kill) == [ordered(daemon)]
    assert world.states(1) == "r"
    settles_when_the_daemon_has_ended(world, daemon)


def test_when_the_first_node_knows_nothing_of_the_attempt_the_daemon_is_told_to_end() -> None:
    world, _, leading, daemon = started()
    world.hosts[leading].lanes.clear()
    commands = world.reconnect(leading)
    assert of_type(commands, Release)
    assert of_type(commands, Kill) == [ordered(daemon)]
    assert not granted(commands)
    assert (1, 0) in granted(world.answer())


def test_a_daemon_whose_node_is_lost_is_gone() -> None:
    world, attempt, _, daemon = started()
    world.lose(daemon.node)
    world.end(attempt, outcome=Outcome.lost)
    assert granted(world.join(daemon.node)) == [(1, 0)]


@pytest.mark.parametrize("ended", [False, True])
def test_a_daemon_may_come_back_with_its_lost_node(*, ended: bool) -> None:
    world, attempt, _, daemon = started()
    host = world.hosts[daemon.node]
    world.lose(daemon.node)
    if ended:
        world.cancel(1)
        world.end(attempt, outcome=Outcome.lost)
    world.hosts[daemon.node] = host
    assert of_type(world.reconnect(daemon.node), Kill) == [ordered(daemon)] * ended
    assert free(world, daemon.node) == 0
    if not ended:
        world.cancel(1)
        assert ordered(daemon) in world.end(attempt, outcome=Outcome.lost)
    settles_when_the_daemon_has_ended(world, daemon)


def test_a_daemon_whose_node_introduces_itself_anew_goes_on() -> None:
    world, attempt, _, daemon = started()
    assert not of_type(world.reconnect(daemon.node), Kill)
    assert ordered(daemon) in world.end(attempt)
    settles_when_the_daemon_has_ended(world, daemon)


def test_a_daemon_that_a_node_does_not_tell_of_is_not_waited_for() -> None:
    world, attempt, _, daemon = started()
    world.hosts[daemon.node].daemons.clear()
    world.reconnect(daemon.node)
    assert free(world, daemon.node) == 0
    world.end(attempt)
    assert free(world, daemon.node) == 2


def test_the_end_of_a_daemon_may_come_with_the_introduction_of_its_node() -> None:
    world, attempt, _, daemon = started()
    world.end_daemon(daemon)
    world.reconnect(daemon.node)
    assert (world.states(1), free(world, daemon.node)) == ("R", 0)
    world.end(attempt)
    assert free(world, daemon.node) == 2


def test_a_daemon_on_a_silent_node_goes_on_with_its_attempt() -> None:
    world, attempt, leading, daemon = started()
    order = Kill(leading, world.lane(1), attempt, Outcome.interrupted)
    assert of_type(world.silence(daemon.node), Kill) == [order]  # on_silence
    world.asked.clear()
    assert not of_type(world.back(daemon.node), Kill)


@pytest.mark.parametrize("anew", [False, True])
def test_a_daemon_whose_attempt_has_ended_during_a_silence_ends_after_it(*, anew: bool) -> None:
    world, _, _, daemon = started(nodes=3)
    world.silence(daemon.node)
    world.answer()
    assert (world.states(1), free(world, daemon.node)) == ("r", 0)
    assert ordered(daemon) in (world.reconnect(daemon.node) if anew else world.back(daemon.node))
    assert world.states(1) == "r"
    world.answer()
    assert world.states(1) == "R"


# Another manager


@pytest.mark.parametrize("leading_first", [False, True])
def test_a_daemon_goes_on_when_the_manager_comes_back(*, leading_first: bool) -> None:
    world, attempt, leading, daemon = started()
    world.restart()
    for name in (leading, daemon.node) if leading_first else (daemon.node, leading):
        commands = world.reconnect(name)
        assert not of_type(commands, Kill)
        assert not of_type(commands, Release)
    assert of_type(world.end(attempt), Kill) == [ordered(daemon)]
    settles_when_the_daemon_has_ended(world, daemon)


def test_a_daemon_whose_attempt_the_former_manager_saw_end_is_told_to_end() -> None:
    world, attempt, leading, daemon = started()
    world.end(attempt)
    world.restart()
    world.reconnect(leading)
    assert of_type(world.reconnect(daemon.node), Kill) == [ordered(daemon)]
    settles_when_the_daemon_has_ended(world, daemon)


def test_a_daemon_whose_first_node_does_not_come_back_is_told_to_end_when_that_is_lost() -> None:
    world, _, leading, daemon = started()
    world.restart()
    assert not of_type(world.reconnect(daemon.node), Kill)
    assert not granted(world.submit(job(2, cpus=2)))
    assert of_type(world.lose(leading), Kill) == [ordered(daemon)]
    assert granted(world.answer()) == [(2, 0)]


def test_the_end_of_an_attempt_may_come_with_the_introduction_of_its_first_node() -> None:
    world, attempt, leading, daemon = started()
    world.restart()
    world.reconnect(daemon.node)
    world.hosts[leading].lanes.clear()
    commands = world.tell(Ended(leading, (Report(attempt, 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0),)))
    assert [settle.state for settle in of_type(commands, Settle)] == [TaskState.succeeded]
    assert of_type(commands, Kill) == [ordered(daemon)]
    world.reconnect(leading)
    settles_when_the_daemon_has_ended(world, daemon)


def test_what_was_fenced_and_never_began_holds_nothing_when_its_keeper_has_died() -> None:
    world = World(job(1, asks=Request(ONE), on_silence=OnSilence.rerun))
    world.join(cpus=1)
    late = world.attempt(1)
    world.silence()
    world.back()
    world.hosts["n"].lanes.clear()
    assert granted(world.tell(Returned("n", 0, (late,)))) == [(1, 0)]
