"""Running again: which tasks are kept, changed, new, dependants, or run again because they ended badly."""

import msgspec
import pytest

from pilotfish.manager.intake import Plan, dependencies_first, plan
from pilotfish.model.changes import Finish, Forget, Kept, Revive, Snapshot, Submit, TaskRecord
from pilotfish.model.jobs import Dependency, Job, JobSpec, RangeArray, Retries, Span, TableArray
from pilotfish.model.states import TaskState

EMPTY = Snapshot(submits=(), tasks=(), finishes=(), grants=())


def spec(name: str, command: str = "true", count: int | None = None, **more: object) -> JobSpec:
    array = None if count is None else RangeArray(0, count)
    return msgspec.structs.replace(JobSpec(name=name, command=command, directory="/d", cwd="/d", array=array), **more)


def after(name: str, *, each: bool = False) -> tuple[Dependency, ...]:
    return (Dependency(name, each=each),)


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


def again(snapshot: Snapshot, *specs: JobSpec) -> Plan:
    return plan(specs, snapshot, next_id=100, now=1.0)


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
    a, b = (
        spec("a", "{value}", array=TableArray(("value",), (("x", "y", "z"),))),
        spec("b", count=3, after=after("a", each=True)),
    )
    made = again(ran(a, b), spec("a", "{value}", array=TableArray(("value",), (("x", "Y", "z"),))), b)
    assert (made.changed, made.dependants, made.kept) == (1, 1, 4)


def test_resources_priority_and_limits_are_not_part_of_a_fingerprint() -> None:
    made = again(ran(spec("a", count=4)), spec("a", count=4, priority=7, retries=Retries(3), time=9.0))
    assert (made.kept, made.changed) == (4, 0)
    (submit,) = made.changes
    assert isinstance(submit, Submit)
    assert (submit.replaces, submit.kept) == (1, (Kept(Span(0, 4), 1, 0),))


def test_a_job_gone_from_the_file_is_forgotten() -> None:
    made = again(ran(spec("a"), spec("b")), spec("a"))
    assert made.changes == (Forget(2),)
    assert (made.forgotten, made.total) == (1, 1)


def test_a_wide_and_deep_graph_is_ordered_quickly() -> None:
    chain = [spec("j0")] + [spec(f"j{i}", after=after(f"j{i - 1}")) for i in range(1, 5000)]
    wide = spec("all", after=tuple(Dependency(s.name) for s in chain))
    assert [s.name for s in dependencies_first([wide, *reversed(chain)])] == [*(s.name for s in chain), "all"]


@pytest.mark.parametrize("state", [TaskState.failed, TaskState.cancelled, TaskState.skipped])
def test_whatever_ended_badly_is_not_kept_for_a_replaced_job(state: TaskState) -> None:
    made = again(ran(spec("a", count=2), but={"a": {1: state}}), spec("a", count=2, priority=1))
    assert (made.kept, made.again) == (1, 1)
