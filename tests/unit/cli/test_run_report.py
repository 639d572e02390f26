"""What a run says before it begins, and when it stands still because of held tasks."""

import pytest

from pilotfish.cli.run_report import Idle, plan_words, run_code
from pilotfish.manager.intake import Plan
from pilotfish.model.changes import Submit
from pilotfish.model.events import Cancelled, Held, NodeJoined, Submitted
from pilotfish.model.jobs import Dependency, Job, JobSpec
from pilotfish.model.resources import Inventory
from pilotfish.model.states import TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings


def job(number: int, name: str, *after: int) -> Submit:
    depends = tuple(Dependency(str(on)) for on in after)
    return Submit(Job(number, JobSpec(name=name, command="true", directory="/", cwd="/", after=depends), after))


def standing() -> Scheduler:
    """A job that is held, one that waits for it, one that runs."""
    scheduler = Scheduler(Settings(), epoch=1)
    scheduler.handle(Submitted((job(1, "held"), job(2, "after", 1), job(3, "runs"))), 0.0)
    scheduler.handle(Held(1, 0, 1), 0.0)
    scheduler.handle(NodeJoined("n", Inventory(cores=(0,), memory=2**30)), 0.0)
    return scheduler


def test_as_long_as_something_runs_nothing_is_said() -> None:
    idle = Idle(standing())
    assert [list(idle.news(now)) for now in (0.0, 2.0, 4.0)] == [[], [], []]


def test_when_nothing_has_run_for_a_moment_the_held_jobs_are_named_once() -> None:
    scheduler = Scheduler(Settings(), epoch=1)
    scheduler.handle(Submitted((job(1, "held"), job(2, "after", 1))), 0.0)
    scheduler.handle(Held(1, 0, 1), 0.0)
    idle = Idle(scheduler)
    assert [list(idle.news(now)) for now in (0.0, 0.5, 1.0, 1.5, 9.0)] == [[], [], ["held"], [], []]


def test_where_nothing_is_held_or_all_has_ended_nothing_is_said() -> None:
    scheduler = Scheduler(Settings(), epoch=1)
    scheduler.handle(Submitted((job(1, "x"),)), 0.0)
    idle = Idle(scheduler)
    assert [list(idle.news(now)) for now in (0.0, 2.0)] == [[], []]
    scheduler.handle(Cancelled(1, 0, 1), 3.0)
    assert [list(idle.news(now)) for now in (4.0, 6.0)] == [[], []]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"new": 1}, "1 new"),
        ({"changed": 3, "new": 12, "dependants": 40, "kept": 1945}, "3 changed, 12 new, 40 dependants, 1,945 kept"),
        ({"dependants": 1, "again": 2, "left": 1}, "1 dependant, 2 to run again, 1 left as it is"),
        ({"left": 2, "unfinished": 1, "forgotten": 1}, "2 left as they are, 1 unfinished, 1 job no longer in the file"),
    ],
)
def test_a_plan_is_told_in_numbers_of_tasks(numbers: dict[str, int], words: str) -> None:
    nothing = dict.fromkeys(("total", "new", "changed", "dependants", "kept", "again", "left", "unfinished"), 0)
    assert plan_words(Plan(changes=(), **({**nothing, "forgotten": 0} | numbers))) == words


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({TaskState.succeeded: 3}, 0),
        ({TaskState.succeeded: 2, TaskState.skipped: 1}, 0),  # a handler of failures, and there were none
        ({TaskState.succeeded: 1, TaskState.failed: 1, TaskState.skipped: 1}, 1),
        ({TaskState.cancelled: 1}, 1),
    ],
)
def test_a_run_fails_only_by_what_failed_or_was_given_up(counts: dict[TaskState, int], code: int) -> None:
    assert run_code({state: counts.get(state, 0) for state in TaskState}, interrupted=False) == code
