"""Running again: which tasks are kept, changed, new, dependants, left, or run again because they ended badly."""

import random
from typing import Any

import msgspec
import pytest

from pilotfish.errors import UserError
from pilotfish.manager.intake import Plan, dependencies_first, plan
from pilotfish.model.changes import Finish, Forget, Hold, Kept, Revive, Snapshot, Submit, TaskRecord
from pilotfish.model.jobs import Dependency, Job, JobSpec, RangeArray, Retries, Span, TableArray, When
from pilotfish.model.states import TaskState
from tests.contracts.builders import submit_calls

EMPTY = Snapshot(submits=(), tasks=(), finishes=(), grants=())


def spec(name: str, command: str = "true", count: int | None = None, **more: object) -> JobSpec:
    array = None if count is None else RangeArray(0, count)
    return msgspec.structs.replace(JobSpec(name=name, command=command, directory="/d", cwd="/d", array=array), **more)


def rows(name: str, *values: str, **more: Any) -> JobSpec:
    return spec(name, "run {value}", array=TableArray(("value",), (values,)), **more)


def after(name: str, *, each: bool = False, when: When = When.succeeded) -> tuple[Dependency, ...]:
    return (Dependency(name, when, each),)


def ran(
    *specs: JobSpec, state: TaskState = TaskState.succeeded, but: dict[str, dict[int, TaskState]] | None = None
) -> Snapshot:
    """The snapshot after a run in which every task came to `state`, except those in `but`."""
    first = plan(specs, EMPTY, next_id=1, now=0.0)
    submits = tuple(change for change in first.changes if isinstance(change, Submit))
    records = tuple(
        TaskRecord(submit.job.id, position, ended, 1, 1, 0)
        for submit in submits
        for position in range(submit.job.spec.count)
        if (ended := (but or {}).get(submit.job.spec.name, {}).get(position, state)) is not TaskState.waiting
    )
    return Snapshot(submits=submits, tasks=records, finishes=(), grants=())


def again(snapshot: Snapshot, *specs: JobSpec, keep_failed: bool = False) -> Plan:
    return plan(specs, snapshot, next_id=100, now=1.0, keep_failed=keep_failed)


def skipped(snapshot: Snapshot, *jobs: int) -> Snapshot:
    return msgspec.structs.replace(
        snapshot, finishes=tuple(Finish(job, 0, 1, TaskState.skipped, "for a reason") for job in jobs)
    )


def counted(made: Plan) -> dict[str, int]:
    """The numbers of a plan that are not zero."""
    return {name: number for name, number in msgspec.structs.asdict(made).items() if name != "changes" and number}


def submitted(made: Plan) -> dict[str, Submit]:
    return {change.job.spec.name: change for change in made.changes if isinstance(change, Submit)}


def test_a_first_run_submits_everything_as_new() -> None:
    made = plan((spec("b", after=after("a")), spec("a", count=10)), EMPTY, next_id=1, now=5.0)
    assert made.changes == (
        Submit(Job(1, spec("a", count=10), (), 5.0)),
        Submit(Job(2, spec("b", after=after("a")), (1,), 5.0)),
    )
    assert (made.total, made.new, made.kept) == (11, 11, 0)


def test_the_same_file_after_success_changes_nothing() -> None:
    specs = spec("a", count=10), spec("b", after=after("a"))
    made = again(ran(*specs), *specs)
    assert made.changes == ()
    assert (made.kept, made.new, made.changed, made.dependants, made.again) == (11, 0, 0, 0, 0)


def test_failed_tasks_run_again_with_fresh_retries_and_the_job_stays() -> None:
    specs = spec("a", count=10), spec("b", after=after("a"))
    before = ran(*specs, but={"a": {3: TaskState.failed}, "b": {0: TaskState.waiting}})
    before = msgspec.structs.replace(before, finishes=(Finish(2, 0, 1, TaskState.skipped, "a failed"),))
    made = again(before, *specs)
    assert made.changes == (Revive(1, 0, 10), Revive(2, 0, 1))
    assert (made.kept, made.again) == (9, 2)


def test_tasks_that_never_ran_are_unfinished_not_new() -> None:
    specs = (spec("a", count=10),)
    made = again(ran(*specs, but={"a": dict.fromkeys(range(4, 10), TaskState.waiting)}), *specs)
    assert made.changes == ()
    assert (made.kept, made.unfinished, made.new) == (4, 6, 0)


def test_a_changed_command_runs_with_all_that_depends_on_it() -> None:
    before = ran(spec("a", count=4), spec("b", after=after("a")), spec("c", after=after("b")), spec("d"))
    made = again(
        before, spec("a", "false", count=4), spec("b", after=after("a")), spec("c", after=after("b")), spec("d")
    )
    assert (made.changed, made.dependants, made.kept) == (4, 2, 1)
    submits = {change.job.spec.name: change for change in made.changes if isinstance(change, Submit)}
    assert {name: submit.replaces for name, submit in submits.items()} == {"a": 1, "b": 2, "c": 3}
    assert submits["c"].job.depends_on == (submits["b"].job.id,)


def test_a_longer_array_keeps_what_it_had() -> None:
    made = again(ran(spec("a", count=4)), spec("a", count=6))
    assert (made.kept, made.new, made.changed) == (4, 2, 0)
    assert made.changes == (Submit(Job(100, spec("a", count=6), (), 1.0), (Kept(Span(0, 4), 1, 0),), 1),)


def test_a_shifted_range_keeps_tasks_by_their_index() -> None:
    made = again(ran(spec("a", array=RangeArray(0, 10))), spec("a", array=RangeArray(5, 10)))
    (submit,) = made.changes
    assert isinstance(submit, Submit)
    assert submit.kept == (Kept(Span(0, 5), 1, 5),)


def test_each_passes_a_change_on_task_by_task() -> None:
    b = spec("b", count=3, after=after("a", each=True))
    made = again(ran(rows("a", "x", "y", "z"), b), rows("a", "x", "Y", "z"), b)
    assert counted(made) == {"total": 6, "new": 1, "dependants": 1, "kept": 4}


def test_rows_that_stayed_are_kept_wherever_they_stand_now() -> None:
    made = again(ran(rows("a", "x", "y", "z")), rows("a", "z", "new", "x"))
    assert counted(made) == {"total": 3, "new": 1, "kept": 2}
    assert submitted(made)["a"].kept == (Kept(Span(0, 1), 1, 2), Kept(Span(2, 3), 1, 0))


def test_what_became_of_a_row_follows_it() -> None:
    before = ran(rows("a", "x", "y", "z"), but={"a": {0: TaskState.failed, 1: TaskState.waiting}})
    made = again(before, rows("a", "z", "y", "x"))
    assert counted(made) == {"total": 3, "kept": 1, "unfinished": 1, "again": 1}
    assert submitted(made)["a"].kept == (Kept(Span(0, 1), 1, 2),)


def test_a_row_that_tells_its_place_is_changed_when_it_moves() -> None:
    made = again(ran(rows("a", "x", "y", cwd="/d/{index}")), rows("a", "y", "x", "z", cwd="/d/{index}"))
    assert counted(made) == {"total": 3, "changed": 2, "new": 1}


def test_each_follows_rows_that_moved_together() -> None:
    a, b = rows("a", "x", "y", "z"), rows("b", "x", "y", "z", after=after("a", each=True))
    made = again(ran(a, b), rows("a", "z", "x", "y"), rows("b", "z", "x", "y", after=after("a", each=True)))
    assert counted(made) == {"total": 6, "kept": 6}


def test_each_after_a_row_that_moved_away_is_a_dependant() -> None:
    b = spec("b", count=3, after=after("a", each=True))
    made = again(ran(rows("a", "x", "y", "z"), b), rows("a", "y", "x", "z"), b)
    assert counted(made) == {"total": 6, "kept": 4, "dependants": 2}


def test_the_order_of_rows_does_not_matter_to_what_comes_after_all_of_them() -> None:
    b = spec("b", after=after("a"))
    assert counted(again(ran(rows("a", "x", "y"), b), rows("a", "y", "x"), b)) == {"total": 3, "kept": 3}


@pytest.mark.parametrize("when", When)
def test_a_change_reaches_what_comes_after_however_it_does(when: When) -> None:
    b = spec("b", after=after("a", when=when))
    made = again(ran(spec("a"), b), spec("a", "false"), b)
    assert counted(made) == {"total": 2, "changed": 1, "dependants": 1}


def test_resources_priority_and_limits_are_not_part_of_a_fingerprint() -> None:
    made = again(ran(spec("a", count=4)), spec("a", count=4, priority=7, retries=Retries(3), time=9.0))
    assert (made.kept, made.changed) == (4, 0)
    (submit,) = made.changes
    assert isinstance(submit, Submit)
    assert (submit.replaces, submit.kept) == (1, (Kept(Span(0, 4), 1, 0),))


def test_indices_that_come_in_are_new_and_not_changed() -> None:
    made = again(ran(spec("a", array=RangeArray(0, 10))), spec("a", "false", array=RangeArray(5, 10)))
    assert counted(made) == {"total": 10, "changed": 5, "new": 5}


def test_a_job_gone_from_the_file_is_forgotten() -> None:
    made = again(ran(spec("a"), spec("b")), spec("a"))
    assert made.changes == (Forget(2),)
    assert (made.forgotten, made.total) == (1, 1)


def test_a_wide_and_deep_graph_is_ordered() -> None:
    chain = [spec("j0")] + [spec(f"j{i}", after=after(f"j{i - 1}")) for i in range(1, 5000)]
    wide = spec("all", after=tuple(Dependency(s.name) for s in chain))
    assert [s.name for s in dependencies_first([wide, *reversed(chain)])] == [*(s.name for s in chain), "all"]


@pytest.mark.parametrize("state", [TaskState.failed, TaskState.cancelled, TaskState.skipped])
def test_whatever_ended_badly_is_not_kept_for_a_replaced_job(state: TaskState) -> None:
    made = again(ran(spec("a", count=2), but={"a": {1: state}}), spec("a", count=2, priority=1))
    assert (made.kept, made.again) == (1, 1)


def test_whatever_ended_badly_runs_again_unless_failures_are_to_be_kept() -> None:
    specs = spec("a", count=4), spec("b", after=after("a")), spec("c", after=after("b")), spec("d", after=after("e"))
    states = {"a": {1: TaskState.failed, 2: TaskState.cancelled}, "e": {0: TaskState.cancelled}}
    nothing = {name: {0: TaskState.waiting} for name in "bcd"}
    before = skipped(ran(*specs, spec("e"), but=states | nothing), 2, 3, 5)
    made = again(before, *specs, spec("e"))
    assert counted(made) == {"total": 8, "kept": 2, "again": 6}
    assert made.changes == (Revive(1, 0, 4), Revive(2, 0, 1), Revive(3, 0, 1), Revive(4, 0, 1), Revive(5, 0, 1))
    made = again(before, *specs, spec("e"), keep_failed=True)
    assert counted(made) == {"total": 8, "kept": 2, "again": 3, "left": 3}
    assert made.changes == (Revive(1, 2, 3), Revive(4, 0, 1), Revive(5, 0, 1))


def test_failures_that_are_kept_are_carried_into_the_job_that_replaces_theirs() -> None:
    before = ran(rows("a", "x", "y"), but={"a": {1: TaskState.failed}})
    made = again(before, rows("a", "y", "x", priority=1), keep_failed=True)
    assert counted(made) == {"total": 2, "kept": 1, "left": 1}
    submit, finish = made.changes
    assert isinstance(submit, Submit)
    assert isinstance(finish, Finish)
    assert submit.kept == (Kept(Span(1, 2), 1, 0),)
    assert (finish.job, finish.lo, finish.hi, finish.state) == (submit.job.id, 0, 1, TaskState.failed)


def test_a_changed_task_runs_even_where_failures_are_kept() -> None:
    before = ran(spec("a", count=2), state=TaskState.failed)
    assert counted(again(before, spec("a", "false", count=2), keep_failed=True)) == {"total": 2, "changed": 2}


def test_what_waits_for_a_failure_stays_skipped_while_there_is_none() -> None:
    specs = spec("a"), spec("mourn", after=after("a", when=When.failed)), spec("b", after=after("mourn"))
    before = skipped(ran(*specs, but={"mourn": {0: TaskState.waiting}, "b": {0: TaskState.waiting}}), 2, 3)
    made = again(before, *specs)
    assert counted(made) == {"total": 3, "kept": 1, "left": 2}
    assert made.changes == ()
    assert counted(again(before, spec("a", "false"), *specs[1:])) == {"total": 3, "changed": 1, "dependants": 2}


def test_each_leaves_just_those_tasks_whose_own_dependency_is_left() -> None:
    specs = spec("a", count=3), spec("b", count=3, after=after("a", each=True))
    ends = {0: TaskState.failed, 1: TaskState.cancelled}
    before = ran(*specs, but={"a": ends, "b": dict.fromkeys(ends, TaskState.waiting)})
    before = msgspec.structs.replace(before, finishes=(Finish(2, 0, 2, TaskState.skipped, "a"),))
    made = again(before, *specs, keep_failed=True)
    assert counted(made) == {"total": 6, "kept": 2, "again": 2, "left": 2}
    assert made.changes == (Revive(1, 1, 2), Revive(2, 1, 2))


def test_a_job_that_says_so_is_held_when_it_is_submitted() -> None:
    held = spec("a", count=4, hold=True)
    made = plan((held, spec("b")), EMPTY, next_id=1, now=0.0)
    assert made.changes[1] == Hold(1, 0, 4, held=True, reason="hold: true in its job file")
    assert len(made.changes) == 3
    assert again(ran(held, spec("b")), held, spec("b")).changes == ()


def test_what_a_user_held_stays_held_and_what_the_file_held_does_not() -> None:
    held = (
        Hold(1, 1, 3, held=True, reason="by the user"),
        Hold(2, 0, 1, held=True, reason="hold: true in its job file"),
    )
    before = msgspec.structs.replace(ran(rows("a", "x", "y", "z"), spec("b", hold=True)), holds=held)
    made = again(before, rows("a", "y", "x", "z", priority=1), spec("b"))
    holds = [change for change in made.changes if isinstance(change, Hold)]
    assert {(hold.job, position) for hold in holds for position in range(hold.lo, hold.hi)} == {(100, 0), (100, 2)}
    assert all(hold.held and hold.reason == "by the user" for hold in holds)


def campaign_of(jobs: int) -> list[JobSpec]:
    """Jobs of one task each, with up to three dependencies on earlier ones, in any order."""
    chance = random.Random(jobs)
    specs = [
        spec(
            f"j{place}", after=tuple(Dependency(f"j{on}") for on in chance.sample(range(place), min(place, place % 4)))
        )
        for place in range(jobs)
    ]
    chance.shuffle(specs)
    return specs


def test_twenty_thousand_jobs_with_dependencies_are_planned() -> None:
    specs = campaign_of(20_000)
    assert len(plan(specs, EMPTY, next_id=1, now=0.0).changes) == 20_000
    assert counted(again(ran(*specs), *specs)) == {"total": 20_000, "kept": 20_000}


@pytest.mark.parametrize("keep_failed", [False, True])
def test_a_hundred_thousand_rows_in_another_order_are_planned(*, keep_failed: bool) -> None:
    values = [f"row {number}" for number in range(100_000)]
    before = ran(rows("a", *values), but={"a": dict.fromkeys(range(0, 100_000, 2), TaskState.failed)})
    shuffled = rows("a", *random.Random(1).sample(values, len(values)))
    made = again(before, shuffled, keep_failed=keep_failed)
    assert (made.kept, made.again, made.left) == (50_000, 50_000 * (not keep_failed), 50_000 * keep_failed)


def test_a_file_does_not_take_over_the_campaign_of_a_session() -> None:
    session = Snapshot(submits=(submit_calls(calls=3),), tasks=(), finishes=(), grants=())
    with pytest.raises(UserError, match="job `calls` calls functions"):
        again(session, spec("a"))
