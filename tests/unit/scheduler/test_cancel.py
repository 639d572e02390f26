"""Cancellation, revival, and draining."""

import pytest

from pilotfish.model.changes import Finish, Release, Revive, Settle
from pilotfish.model.events import Cancelled, Kill, Retract
from pilotfish.model.states import Outcome, TaskState
from tests.unit.scheduler.language import World, granted, job, of_type


def test_what_has_not_started_is_cancelled_at_once() -> None:
    world = World(job(1, 5), job(2, after=[1]))
    commands = world.cancel(1, 1, 4)
    assert of_type(commands, Finish) == [Finish(1, 1, 4, TaskState.cancelled, "cancelled by the user")]
    assert world.states(1) == "rcccr"


def test_the_whole_job_cancelled_skips_what_waits_for_it() -> None:
    world = World(job(1, 5), job(2, after=[1]), job(3, after=[2]))
    world.cancel(1)
    assert (world.states(2), world.states(3)) == ("k", "k")


def test_what_runs_is_told_to_end_and_counts_until_it_has() -> None:
    world = World(job(1, 3))
    world.join(cpus=1)
    attempt = world.attempt(1, 0)
    assert of_type(world.cancel(1), Kill) == [Kill("n", 0, attempt, Outcome.cancelled)]
    assert world.states(1) == "Scc"
    (settled,) = of_type(world.answer(), Settle)
    assert (settled.report.outcome, settled.report.reason) == (Outcome.cancelled, "cancelled by the user")
    assert world.states(1) == "ccc"


@pytest.mark.parametrize(("code", "after"), [(0, "s"), (1, "c")])
def test_a_task_that_ended_before_it_could_be_cancelled(*, code: int, after: str) -> None:
    world = World(job(1, retries=3))
    world.join()
    world.cancel(1)
    world.end(code=code)
    assert world.states(1) == after


def test_a_cancelled_task_that_waits_in_a_lane_never_runs() -> None:
    world = World(job(1, 100))
    world.join(cpus=1)
    world.end()
    world.cancel(1, 5, 10)
    world.answer()
    world.run()
    assert world.states(1) == "s" * 5 + "c" * 5 + "s" * 90


def test_a_retracted_task_that_was_cancelled_meanwhile_is_cancelled() -> None:
    world = World(job(1, 100))
    world.join(cpus=1)
    world.end()
    world.drain()
    world.cancel(1, 2, 100)
    world.answer()
    assert world.states(1) == "sR" + "c" * 98


def test_a_lost_task_that_was_to_be_cancelled_is_cancelled() -> None:
    world = World(job(1))
    world.join()
    world.cancel(1)
    world.lose()
    assert world.states(1) == "c"


def test_a_replaced_job_is_cancelled() -> None:
    world = World(job(1, 3))
    world.join(cpus=1)
    world.submit(job(2, 3), replaces=1)
    assert (world.states(1), world.states(2)) == ("Scc", "rrr")
    world.answer()
    assert world.states(2) == "Rrr"


def test_revival_wants_again_what_did_not_succeed() -> None:
    world = World(job(1, 4), job(2, 4, after=[1]))
    world.code = lambda attempt: attempt.position % 2
    world.join(cpus=4)
    world.run()
    assert (world.states(1), world.states(2)) == ("sfsf", "kkkk")
    assert of_type(world.revive(1), Revive) == [Revive(1, 1, 2), Revive(1, 3, 4)]
    world.revive(2)
    assert (world.states(1), world.states(2)) == ("sRsR", "wwww")


def test_revival_gives_fresh_retries_and_new_attempt_numbers() -> None:
    world = World(job(1, retries=1))
    world.join()
    world.code = lambda _: 1
    world.run()
    world.revive(1)
    world.run()
    assert [settled.report.attempt.number for settled in world.store.attempts(1, 0)] == [1, 2, 3, 4]


def test_revival_of_ten_thousand_scattered_tasks() -> None:
    world = World(job(1, 20_000, cpus=1))
    for position in range(0, 20_000, 2):
        world.scheduler.handle(Cancelled(1, position, position + 1), 0.0)
    assert len(of_type(world.revive(1), Revive)) == 10_000
    world.join(cpus=1)
    assert world.states(1) == "R" + "r" * 19_999


def test_draining_starts_nothing_and_takes_back_what_waits() -> None:
    world = World(job(1, 100))
    world.join(cpus=1)
    world.end()
    commands = world.drain()
    assert len(of_type(commands, Retract)) == 1
    assert not of_type(commands, Kill)
    assert len(of_type(world.answer(), Release)) == 50
    assert world.states(1) == "sR" + "r" * 98
    world.submit(job(2))
    world.join("m")
    world.end()
    assert world.scheduler.running == 0


@pytest.mark.parametrize("hard", [False, True])
def test_draining_with_kill_ends_what_runs_and_charges_nobody(*, hard: bool) -> None:
    world = World(job(1, 2))
    world.join()
    kills = of_type(world.drain(kill=True, hard=hard), Kill)
    assert [(kill.outcome, kill.hard) for kill in kills] == [(Outcome.interrupted, hard)] * 2
    settled = of_type(world.answer(), Settle)
    assert [(one.state, one.charged) for one in settled] == [(TaskState.ready, False)] * 2


def test_a_drain_with_kill_also_ends_what_began_while_the_order_travelled() -> None:
    world = World(job(1, 100))
    world.join(cpus=1)
    world.end()
    queue = world.hosts["n"].lanes[0]
    second = queue[1]
    kills = of_type(world.drain(kill=True), Kill)
    world.end()
    assert queue[0] == second
    assert second in [kill.attempt for kill in kills]
    world.answer()
    assert world.scheduler.running == 0


def test_a_drain_after_a_drain_may_kill() -> None:
    world = World(job(1))
    world.join()
    world.drain()
    assert of_type(world.drain(kill=True, hard=True), Kill)


def test_a_node_that_comes_back_during_a_drain_is_told_again() -> None:
    world = World(job(1, 100))
    world.join(cpus=1)
    world.end()
    world.lose_orders = True
    world.drain(kill=True)
    world.lose_orders = False
    world.reconnect()
    world.answer()
    assert world.scheduler.running == 0
    assert not granted(world.reconnect())
