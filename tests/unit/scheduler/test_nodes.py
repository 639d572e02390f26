"""Nodes come, come back, and get lost: what they hold and what was granted to them is made the same."""

import msgspec
import pytest

from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.changes import Finish, Grant, Release, Settle
from pilotfish.model.events import CloseLane, Ended, Kill, NodeJoined
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome, TaskState
from tests.unit.scheduler.language import World, granted, inventory, job, of_type


def test_what_was_granted_and_is_not_there_never_started_and_starts_anew() -> None:
    world = World(job(1, 3))
    world.join(cpus=2)
    host = world.hosts["n"]
    gone = host.lanes.pop(0)[0]
    commands = world.reconnect()
    assert of_type(commands, Release) == [Release(1, gone.position, gone.position + 1, 1, 1)]
    assert granted(commands) == [(1, gone.position)]


def test_what_is_there_goes_on() -> None:
    world = World(job(1, 100))
    world.join(cpus=2)
    world.end()
    before = world.states(1)
    commands = world.reconnect()
    assert not of_type(commands, Release)
    assert not of_type(commands, Kill)
    assert not granted(commands)
    assert world.states(1) == before
    world.run()
    assert world.states(1) == "s" * 100


def test_strangers_are_killed_and_hold_their_slots_until_they_have_ended() -> None:
    world = World(job(1, 2))
    stranger = AttemptId(9, 9, 9, 9)
    lane = LaneState(3, Slots((0,), ONE, None), (stranger,), 1.0)
    commands = world.tell(NodeJoined("n", inventory(2), (lane,)))
    assert of_type(commands, Kill) == [Kill("n", 3, stranger, Outcome.cancelled, hard=True)]
    assert [grant.slots.cores for grant in of_type(commands, Grant)] == [(1,)]
    ended = world.tell(Ended("n", (Report(stranger, 3, Outcome.cancelled, 0, 1.0, 2.0, 0.0, 0),)))
    assert of_type(ended, CloseLane) == [CloseLane("n", 3)]
    assert not of_type(ended, Settle)
    assert [grant.slots.cores for grant in of_type(ended, Grant)] == [(0,)]


def test_an_empty_lane_of_an_earlier_time_is_closed() -> None:
    world = World()
    lane = LaneState(5, Slots((0,), ONE, None), (), None)
    assert of_type(world.tell(NodeJoined("n", inventory(1), (lane,))), CloseLane) == [CloseLane("n", 5)]


def test_what_was_to_end_is_told_again() -> None:
    world = World(job(1))
    world.join()
    world.lose_orders = True
    world.cancel(1)
    assert of_type(world.reconnect(), Kill) == [Kill("n", 0, world.attempt(1), Outcome.cancelled)]


def test_what_was_to_end_and_is_not_there_is_cancelled() -> None:
    world = World(job(1, 2, most=1))
    world.join()
    world.lose_orders = True
    world.cancel(1, 0, 1)
    world.hosts["n"].lanes.clear()
    world.reconnect()
    assert world.states(1) == "cR"


def test_a_node_that_comes_back_smaller_keeps_what_it_runs() -> None:
    world = World(job(1, 4, gib=2))
    world.join(cpus=4)
    world.hosts["n"].inventory = inventory(2, gib=3)
    assert not granted(world.reconnect())
    world.run()
    assert world.states(1) == "ssss"


def test_a_lost_node_returns_its_tasks_uncharged() -> None:
    world = World(job(1, 2))
    world.join("a")
    settled = of_type(world.lose("a"), Settle)
    assert [(one.report.outcome, one.state, one.charged, one.report.reason) for one in settled] == [
        (Outcome.lost, TaskState.ready, False, "gone")
    ] * 2
    world.join("b")
    assert [world.attempt(1, position).number for position in (0, 1)] == [2, 2]


def test_a_task_that_is_lost_again_and_again_fails() -> None:
    world = World(job(1), crash_limit=3)
    for state in "rrrrf":
        world.join()
        world.lose()
        assert world.states(1) == state
    assert world.store.attempts(1, 0)[-1].report.reason == "gone; lost 5 times, 3 of them alone on its node"


@pytest.mark.parametrize("times", [1, 2])
def test_late_news_of_lost_attempts_changes_nothing(times: int) -> None:
    world = World(job(1))
    world.join()
    late = world.attempt(1)
    world.lose()
    for _ in range(times):
        report = Report(late, 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0)
        assert not world.tell(Ended("n", (report,)))
    assert world.states(1) == "r"


def test_a_report_that_is_told_twice_counts_once() -> None:
    world = World(job(1, 2))
    world.join(cpus=1)
    report = Report(world.attempt(1), 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0)
    world.end()
    assert not world.tell(Ended("n", (report,)))
    assert world.states(1) == "sR"


def test_the_loss_of_a_node_that_nobody_knows_changes_nothing() -> None:
    assert not World(job(1)).lose("nobody")


@pytest.mark.parametrize(("asks", "reason"), [((3, None), "3 cores"), ((1, 9), "1 core, 9 GiB")])
@pytest.mark.parametrize("joined_first", [True, False])
def test_impossible_requests_fail_at_once(*, asks: tuple[int, int | None], reason: str, joined_first: bool) -> None:
    jobs = (job(1, 3, cpus=asks[0], gib=asks[1]), job(2, after=[1]), job(3))
    world = World(*(() if joined_first else jobs))
    commands = world.join(cpus=2, gib=8)
    if joined_first:
        commands = world.submit(*jobs)
    assert Finish(1, 0, 3, TaskState.failed, f"asks for {reason}, more than any node has") in commands
    assert (world.states(1), world.states(2), world.states(3)) == ("fff", "k", "R")


def test_impossible_requests_wait_while_no_node_has_joined() -> None:
    assert World(job(1, cpus=1000)).states(1) == "r"


def test_an_impossible_request_fails_again_when_revived() -> None:
    world = World(job(1, cpus=3))
    world.join(cpus=2)
    world.revive(1)
    assert world.states(1) == "f"


def test_a_held_back_job_that_is_impossible_fails_before_its_time() -> None:
    world = World(job(1), job(2, cpus=3, after=[1]))
    world.join(cpus=2)
    assert world.states(2) == "f"


def restarted(world: World) -> World:
    world.restart()
    return world


def test_a_new_manager_goes_on_where_the_old_one_was() -> None:
    world = World(job(1, 100, retries=1), job(2, after=[1]), job(3, 100, after=[1]), job(4, 5))
    world.join(cpus=2)
    world.end()
    world.end(code=1)
    world.cancel(4, 1, 3)
    before = {number: world.states(number) for number in (1, 2, 3, 4)}
    assert {number: restarted(world).states(number) for number in (1, 2, 3, 4)} == before
    assert not granted(world.said[-1:])
    held = world.scheduler.running
    commands = world.reconnect()
    assert not of_type(commands, Release)
    assert world.scheduler.running >= held
    world.run()
    assert world.scheduler.unfinished == 0


def test_grants_of_an_earlier_manager_whose_node_is_lost_are_lost() -> None:
    world = World(job(1))
    world.join()
    world.restart()
    world.lose()
    assert world.states(1) == "r"
    world.join()
    assert msgspec.to_builtins(world.attempt(1)) == [1, 0, 2, 2]


def test_a_new_manager_tells_again_what_the_old_one_wanted_to_end() -> None:
    world = World(job(1))
    world.join()
    world.cancel(1)
    world.restart()
    assert world.states(1) == "S"
    assert of_type(world.reconnect(), Kill)
    world.answer()
    assert world.states(1) == "c"
