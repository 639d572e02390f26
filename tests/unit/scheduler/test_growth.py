"""Jobs that call functions: calls are added while others run, wait, or have ended."""

from pilotfish.model.changes import Finish, Grant, Grow
from pilotfish.model.jobs import When
from pilotfish.model.states import Outcome, TaskState
from tests.unit.scheduler.language import LONG, World, calling, granted, job, of_type


def test_calls_are_recorded_by_position_before_anything_starts() -> None:
    world = World(calling(1))
    world.join(cpus=4)
    first, second = world.grow(1, 2), world.grow(1, 3)
    assert of_type(first, Grow) == [Grow(1, 0, (b"0", b"1"))]
    assert of_type(second, Grow) == [Grow(1, 2, (b"2", b"3", b"4"))]
    assert isinstance(second[0], Grow)
    assert granted(first + second) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert world.scheduler.jobs[1].spec.count == world.scheduler.count(1) == 5
    world.run()
    assert world.states(1) == "sssss"


def test_a_job_grows_after_all_its_calls_have_ended() -> None:
    world = World(calling(1))
    world.join()
    assert world.scheduler.unfinished == 0
    for _ in range(3):
        world.grow(1, 2)
        assert world.scheduler.unfinished == 2
        world.run()
    assert world.states(1) == "ssssss"


def test_calls_wait_for_what_their_job_comes_after() -> None:
    world = World(job(1), calling(2, after=[1]))
    world.grow(2, 2)
    world.join()
    assert world.states(2) == "ww"
    world.end()
    world.grow(2)
    assert "w" not in world.states(2)
    world.run()
    assert world.states(2) == "sss"


def test_calls_of_a_job_that_can_never_run_are_skipped_whenever_they_are_added() -> None:
    world = World(job(1), calling(2, after=[1]))
    world.grow(2)
    world.submit(job(3, after=[(2, When.failed)]))
    world.join()
    world.end(code=1)
    assert of_type(world.grow(2, 2), Finish) == [Finish(2, 1, 3, TaskState.skipped, "j1 did not succeed")]
    world.run()
    assert (world.states(2), world.states(3)) == ("kkk", "s")


def test_calls_wait_for_a_start_time() -> None:
    world = World(calling(1, start_after=50.0))
    world.join()
    world.grow(1)
    assert world.states(1) == "w"
    world.run()
    assert (world.states(1), world.now) == ("s", 50.0 + LONG)


def test_who_comes_after_a_job_waits_for_the_calls_that_it_has() -> None:
    world = World(calling(1))
    world.grow(1)
    world.submit(job(2, after=[1]))
    world.join(cpus=1)
    world.grow(1)
    world.end(took=LONG)
    assert (world.states(1), world.states(2)) == ("sR", "w")
    world.end(took=LONG)
    assert world.states(2) == "R"
    world.grow(1)
    assert world.states(2) == "R", "what has begun goes on"
    world.submit(job(3, after=[1]))
    assert world.states(3) == "w"
    world.run()
    assert (world.states(1), world.states(2), world.states(3)) == ("sss", "s", "s")


def test_who_waits_for_starts_waits_for_those_of_added_calls_too() -> None:
    world = World(job(1, 2), calling(2), job(3, 2, after=[(1, When.succeeded, True), (2, When.started)]))
    world.grow(2)
    assert world.states(3) == "ww"
    world.join(cpus=1)
    world.run()
    assert world.states(3) == "ss"


def test_what_a_job_asks_for_is_judged_for_added_calls_too() -> None:
    world = World(calling(1, cpus=9))
    world.grow(1)
    world.join(cpus=2)
    assert world.states(1) == "f"
    (finish,) = of_type(world.grow(1, 2), Finish)
    assert (finish.lo, finish.hi, finish.state) == (1, 3, TaskState.failed)
    assert finish.reason == "asks for 9 cores, more than any node has"


def test_added_calls_are_cancelled_when_too_many_have_failed() -> None:
    world = World(calling(1, max_fails=1))
    world.grow(1)
    world.join()
    world.end(code=1)
    assert of_type(world.grow(1), Finish) == [Finish(1, 1, 2, TaskState.cancelled, "1 tasks of j1 failed")]
    world.revive(1)
    world.grow(1)
    world.run()
    assert world.states(1) == "sss"


def test_who_holds_calls_back_does_not_hold_later_ones() -> None:
    world = World(calling(1))
    world.grow(1, 2)
    world.hold(1)
    world.grow(1)
    world.join()
    world.run()
    assert world.states(1) == "rrs"
    world.hold(1, held=False)
    world.run()
    assert world.states(1) == "sss"


def test_a_new_manager_goes_on_with_all_calls() -> None:
    world = World(calling(1, retries=1))
    world.join(cpus=1)
    world.grow(1, 3)
    world.end(took=LONG)
    world.end(code=1, took=LONG)
    world.grow(1)
    before = world.states(1)
    world.restart()
    assert world.states(1) == before == "sRrr"
    world.grow(1)
    assert of_type(world.said, Grow)[-1] == Grow(1, 4, (b"4",))
    world.reconnect()
    world.run()
    assert world.states(1) == "sssss"
    assert world.store.calls(1) == {position: b"%d" % position for position in range(5)}


def test_a_job_with_one_call_learns_for_itself_after_a_restart_too() -> None:
    world = World(calling(1))
    world.grow(1)
    world.restart()
    world.join(cpus=1)
    world.grow(1, 50)
    world.seconds = lambda _: 0.001
    world.run()
    assert any(grant.hi - grant.lo > 1 for grant in of_type(world.said, Grant)), "short calls were not granted together"
    assert world.scheduler.unfinished == 0


def test_a_lost_call_is_made_again() -> None:
    world = World(calling(1))
    world.join()
    world.grow(1)
    world.end(outcome=Outcome.lost)
    world.run()
    assert world.states(1) == "s"
