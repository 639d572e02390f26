from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.errors import UserError
from pilotfish.manager.answers import Done
from pilotfish.manager.look import View
from pilotfish.manager.records import Records
from pilotfish.manager.wishes import Clerk, Wish, grant
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Cancel, Change, Finish, Grant, Hold, Revive, Settle, Submit
from pilotfish.model.jobs import Array, Dependency, Job, JobSpec, RangeArray
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome, TaskState
from pilotfish.store.memory import MemoryStore

S = TaskState


def job(number: int, name: str, array: Array | None = None, *, after: dict[int, Dependency] | None = None) -> Submit:
    spec = JobSpec(name=name, command="true", directory="/", cwd="/", array=array, after=tuple((after or {}).values()))
    return Submit(Job(number, spec, tuple(after or {})))


def settle(job: int, position: int, state: TaskState) -> Settle:
    code = 0 if state is S.succeeded else 1
    report = Report(AttemptId(job, position, 1, 1), 0, Outcome.exited, code, 1.0, 2.0, 0.0, 0)
    return Settle(report, "n", state, charged=True)


def running(job: int, lo: int, hi: int) -> Grant:
    return Grant("n", 0, Slots((0,), ONE, None), job, lo, hi, 1, 1)


class Campaign:
    """A store that no manager runs."""

    def __init__(self, *changes: Change) -> None:
        self.store = MemoryStore()
        self.store.commit(changes)

    @property
    def view(self) -> View:
        return View(Records(self.store), self.store, Path("/c"), live=False, now=2e9)

    def wish(self, verb: Any, *ids: str, failed: bool = False) -> tuple[Done, list[Change]]:
        clerk = Clerk(self.view)
        wish = Wish(verb, ids or None, failed)
        done = msgspec.convert(grant(msgspec.to_builtins(wish), self.view, clerk.tell), Done)
        self.store.commit(clerk.changes)
        return done, clerk.changes

    def states(self, number: int) -> list[TaskState]:
        return [S(state) for state in Records(self.store).states(number)]


def chain(*changes: Change) -> Campaign:
    """An array of four, a task for each of them, and one after all."""
    return Campaign(
        job(1, "sim", RangeArray(10, 4)),
        job(2, "polish", RangeArray(10, 4), after={1: Dependency("sim", each=True)}),
        job(3, "end", after={2: Dependency("polish")}),
        *changes,
    )


def test_waiting_tasks_are_cancelled_and_running_ones_are_told_to_end() -> None:
    campaign = chain(settle(1, 0, S.succeeded), running(1, 1, 2))
    done, changes = campaign.wish("cancel", "sim")
    assert changes == [
        Finish(1, 2, 4, S.cancelled, "cancelled by the user"),
        Cancel(1, 1, 2, "cancelled by the user"),
    ]
    assert (done.tasks, done.ending, done.states) == (2, 1, {"ready": 2, "running": 1, "succeeded": 1})


def test_what_has_ended_is_left_alone_and_told() -> None:
    campaign = chain(*(settle(1, position, S.succeeded) for position in range(4)))
    for verb in ("cancel", "hold", "release", "retry"):
        done, changes = campaign.wish(verb, "1")
        assert (changes, done.tasks, done.states) == ([], 0, {"succeeded": 4})


def test_overlapping_ids_mean_each_task_once() -> None:
    done, changes = chain().wish("hold", "sim:11", "sim:12", "1:12", "sim:11")
    assert changes == [Hold(1, 1, 3, held=True, reason="held by the user")]
    assert (done.tasks, done.states) == (2, {"ready": 2})


def test_of_what_is_held_while_it_runs_it_is_told_apart() -> None:
    campaign = chain(settle(1, 0, S.succeeded), running(1, 1, 2))
    done, changes = campaign.wish("hold", "sim")
    assert changes == [Hold(1, 1, 4, held=True, reason="held by the user")]
    assert (done.tasks, done.running) == (2, 1)
    assert campaign.wish("release", "sim")[0].tasks == 3


def test_holding_again_and_releasing_what_is_free_change_nothing() -> None:
    campaign = chain()
    assert campaign.wish("hold", "sim:11")[0].tasks == 1
    assert campaign.wish("hold", "sim")[1] == [
        Hold(1, 0, 1, held=True, reason="held by the user"),
        Hold(1, 2, 4, held=True, reason="held by the user"),
    ]
    assert campaign.wish("release", "sim:13", "polish")[1] == [Hold(1, 3, 4, held=False, reason="")]
    assert campaign.wish("release", "sim:13")[0].tasks == 0


def test_without_ids_all_current_tasks_are_meant() -> None:
    done, _ = chain().wish("cancel")
    assert done.tasks == 9


def test_a_retry_takes_along_what_was_skipped_because_of_it() -> None:
    campaign = chain(
        settle(1, 0, S.failed),
        settle(1, 1, S.failed),
        settle(1, 2, S.succeeded),
        Finish(1, 3, 4, S.cancelled, "cancelled by the user"),
        Finish(2, 0, 2, S.skipped, "sim did not succeed"),
        Finish(2, 3, 4, S.skipped, "sim did not succeed"),
        Finish(3, 0, 1, S.skipped, "polish did not succeed"),
    )
    done, changes = campaign.wish("retry", "sim:11")
    assert changes == [Revive(1, 1, 2), Revive(2, 1, 2), Revive(3, 0, 1)]
    assert done.tasks == 3
    assert campaign.states(1) == [S.failed, S.ready, S.succeeded, S.cancelled]


def test_a_retry_of_what_failed_leaves_what_was_cancelled() -> None:
    ended = settle(1, 0, S.failed), Finish(1, 3, 4, S.cancelled, "x")
    assert chain(*ended).wish("retry", failed=True)[1] == [Revive(1, 0, 1)]
    assert chain(*ended).wish("retry", "sim", failed=True)[1] == [Revive(1, 0, 1)]
    assert chain(*ended).wish("retry", "sim")[1] == [Revive(1, 0, 1), Revive(1, 3, 4)]
    assert chain(*ended).wish("retry", "polish", failed=True)[1] == []


def test_ids_are_all_checked_before_anything_is_done() -> None:
    campaign = chain()
    clerk = Clerk(campaign.view)
    wish = msgspec.to_builtins(Wish("cancel", ("sim", "smi")))
    with pytest.raises(UserError, match="there is no job `smi`; did you mean `sim`"):
        grant(wish, campaign.view, clerk.tell)
    assert clerk.changes == []


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"verb": "delete", "ids": None}, "wish: Invalid enum value 'delete'"),
        ({"verb": "hold"}, "wish: Object missing required field `ids`"),
        ({"verb": "hold", "ids": ["1"]}, "`1` is no longer part of the campaign"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: dict[str, object], complaint: str) -> None:
    first, second = job(1, "sim"), job(2, "sim")
    campaign = Campaign(first, Submit(second.job, replaces=1))
    with pytest.raises(UserError) as caught:
        grant(wish, campaign.view, Clerk(campaign.view).tell)
    assert str(caught.value).startswith(complaint)
