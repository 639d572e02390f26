"""The table of states: each entry is true, and nothing else is possible."""

import itertools

import pytest

from pilotfish.errors import InternalError
from pilotfish.model.jobs import Job, JobSpec
from pilotfish.model.resources import Request
from pilotfish.model.states import FINAL, TRANSITIONS, TaskState, Trigger, follow
from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.tasks import JobTasks

S, T = TaskState, Trigger

LEGAL = {
    (S.waiting, T.release): S.ready,
    (S.waiting, T.skip): S.skipped,
    (S.waiting, T.cancel): S.cancelled,
    (S.waiting, T.fail): S.failed,
    (S.ready, T.grant): S.running,
    (S.ready, T.cancel): S.cancelled,
    (S.ready, T.fail): S.failed,
    (S.running, T.stop): S.stopping,
    (S.running, T.succeed): S.succeeded,
    (S.running, T.fail): S.failed,
    (S.running, T.cancel): S.cancelled,
    (S.running, T.give_back): S.ready,
    (S.running, T.postpone): S.waiting,
    (S.stopping, T.stop): S.stopping,
    (S.stopping, T.succeed): S.succeeded,
    (S.stopping, T.fail): S.failed,
    (S.stopping, T.cancel): S.cancelled,
    (S.stopping, T.give_back): S.ready,
    (S.failed, T.revive): S.waiting,
    (S.cancelled, T.revive): S.waiting,
    (S.skipped, T.revive): S.waiting,
}
ILLEGAL = [pair for pair in itertools.product(TaskState, Trigger) if pair not in LEGAL]


def tasks_in(state: TaskState) -> tuple[JobTasks, list[int]]:
    totals = [0] * len(TaskState)
    tasks = JobTasks(
        Job(1, JobSpec(name="a", command="true", directory="/", cwd="/")), RequestClass((Request(),)), totals
    )
    tasks.restore(0, 1, state)
    return tasks, totals


def test_the_table_has_a_row_for_each_state_and_no_entry_that_is_not_listed_here() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert {(state, trigger) for state, row in TRANSITIONS.items() for trigger in row} == set(LEGAL)


@pytest.mark.parametrize(("pair", "after"), LEGAL.items(), ids=str)
def test_each_entry_leads_where_it_says(pair: tuple[TaskState, Trigger], after: TaskState) -> None:
    assert follow(*pair) is after


@pytest.mark.parametrize(("state", "trigger"), ILLEGAL)
def test_whatever_has_no_entry_raises_and_changes_nothing(state: TaskState, trigger: Trigger) -> None:
    tasks, totals = tasks_in(state)
    before = bytes(tasks.states), list(tasks.counts), list(totals)
    with pytest.raises(InternalError, match=f"{state.name} cannot {trigger.value}"):
        tasks.move(0, trigger)
    with pytest.raises(InternalError):
        tasks.move_span(0, 1, trigger)
    assert (bytes(tasks.states), tasks.counts, totals) == before


@pytest.mark.parametrize("state", FINAL)
def test_only_a_revival_leaves_a_final_state(state: TaskState) -> None:
    assert set(TRANSITIONS[state]) <= {Trigger.revive}


def test_what_has_succeeded_stays_so() -> None:
    assert TRANSITIONS[S.succeeded] == {}
