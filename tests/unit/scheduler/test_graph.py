"""Dependencies: when tasks become ready, and when they never can."""

import pytest

from pilotfish.model.changes import Finish
from pilotfish.model.jobs import When
from pilotfish.model.states import TaskState
from tests.unit.scheduler.language import World, job, of_type

S, F, E = When.succeeded, When.failed, When.finished


@pytest.mark.parametrize(
    ("when", "code", "after"), [(S, 0, "s"), (S, 1, "k"), (F, 0, "k"), (F, 1, "s"), (E, 0, "s"), (E, 1, "s")]
)
@pytest.mark.parametrize("each", [False, True])
def test_a_job_runs_where_the_end_of_another_is_as_wanted(*, when: When, code: int, after: str, each: bool) -> None:
    world = World(job(1), job(2, after=[(1, when, each)]))
    world.code = lambda attempt: code if attempt.job == 1 else 0
    assert world.states(2) == "w"
    world.join()
    world.run()
    assert world.states(2) == after


def test_a_job_waits_for_all_tasks_of_another() -> None:
    world = World(job(1, 3), job(2, 2, after=[1]))
    world.join(cpus=8)
    world.end(world.attempt(1, 0), world.attempt(1, 2))
    assert world.states(2) == "ww"
    world.end(world.attempt(1, 1))
    assert world.states(2) == "RR"


def test_one_failed_task_breaks_a_dependency_on_the_whole_job() -> None:
    world = World(job(1, 3), job(2, 2, after=[1]), job(3, after=[(1, F)]))
    world.code = lambda attempt: int(attempt.position == 1)
    world.join()
    world.run()
    assert (world.states(1), world.states(2), world.states(3)) == ("sfs", "kk", "s")


def test_with_each_task_i_follows_task_i() -> None:
    world = World(job(1, 3), job(2, 3, after=[(1, S, True)]))
    world.join(cpus=8)
    world.end(world.attempt(1, 1))
    assert world.states(2) == "wRw"
    world.end(world.attempt(1, 0), code=1)
    assert world.states(2) == "kRw"


def test_each_and_whole_dependencies_hold_together() -> None:
    world = World(job(1, 2), job(2), job(3, 2, after=[(1, S, True), 2]))
    world.join(cpus=8)
    world.end(world.attempt(1, 0))
    assert world.states(3) == "ww"
    world.end(world.attempt(2))
    assert world.states(3) == "Rw"
    world.end(world.attempt(1, 1))
    assert world.states(3) == "RR"


def test_a_broken_dependency_skips_at_once_while_others_still_run() -> None:
    world = World(job(1), job(2), job(3, after=[1, 2]))
    world.join()
    commands = world.end(world.attempt(2), code=1)
    assert world.states(3) == "k"
    assert of_type(commands, Finish) == [Finish(3, 0, 1, TaskState.skipped, "j2 did not succeed")]


def test_a_job_submitted_after_the_end_of_what_it_waits_for() -> None:
    world = World(job(1), job(2))
    world.code = lambda attempt: int(attempt.job == 2)
    world.join()
    world.run()
    world.submit(job(3, after=[1]), job(4, after=[2]), job(5, after=[(2, F), 1]))
    assert [world.states(number) for number in (3, 4, 5)] == ["R", "k", "R"]


def test_jobs_that_come_together_may_stand_in_any_order() -> None:
    world = World(job(2, after=[1]), job(1))
    world.join()
    world.run()
    assert world.states(2) == "s"


@pytest.mark.parametrize("forwards", [True, False])
def test_skips_run_down_a_chain_that_is_longer_than_a_stack(*, forwards: bool) -> None:
    length = 5_000
    chain = [job(1), *(job(n, after=[n - 1]) for n in range(2, length + 1))]
    world = World(*(chain if forwards else reversed(chain)))
    world.join()
    commands = world.end(code=1)
    assert len(of_type(commands, Finish)) == length - 1
    assert world.scheduler.unfinished == 0


def test_a_revived_job_is_waited_for_again() -> None:
    world = World(job(1, 2), job(2, after=[(1, F)]), job(3, after=[(1, E), 2]))
    world.code = lambda attempt: int(attempt.job == 1)
    world.join(cpus=4)
    world.end(world.attempt(1, 0), world.attempt(1, 1), code=1)
    assert world.states(2) == "R"
    world.revive(1)
    assert world.states(3) == "w"
    world.end(world.attempt(2))
    assert world.states(3) == "w"
    world.end()
    world.end()
    assert world.states(3) == "s"


def test_a_revival_that_finds_nothing_to_do_holds_nobody_up() -> None:
    world = World(job(1), job(2), job(3, after=[1, 2]))
    world.join()
    world.end(world.attempt(1))
    world.revive(1)
    world.end(world.attempt(2))
    assert world.states(3) == "R"


def test_a_skipped_job_that_is_revived_is_skipped_again_while_its_dependency_is_broken() -> None:
    world = World(job(1), job(2, after=[1]))
    world.join()
    world.end(code=1)
    world.revive(2)
    assert world.states(2) == "k"
    world.revive(1)
    world.revive(2)
    assert world.states(2) == "w"
    world.end()
    assert world.states(2) == "R"


def test_a_start_time_keeps_nobody_from_telling_that_a_job_can_never_run() -> None:
    world = World(job(1), job(2))
    world.join(cpus=2)
    world.end(world.attempt(1), code=1)
    world.submit(job(3, after=[1, 2], start_after=5.0))
    assert world.states(3) == "k"


def test_ranks_are_the_longest_chain_that_remains() -> None:
    world = World(job(1), job(2, after=[1]), job(3, after=[1]), job(4, after=[3]), job(5))
    assert ranks(world) == {1: 3, 2: 1, 3: 2, 4: 1, 5: 1}
    world.submit(job(6, after=[2]), job(7, after=[6]), job(8, after=[5]))
    assert ranks(world) == {1: 4, 2: 3, 3: 2, 4: 1, 5: 2, 6: 2, 7: 1, 8: 1}


def ranks(world: World) -> dict[int, float]:
    jobs = world.scheduler._book.jobs  # noqa: SLF001 - seen elsewhere only as an order
    return {number: tasks.rank for number, tasks in jobs.items()}
