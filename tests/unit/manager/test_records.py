"""What records tell is what the scheduler knows, whatever has happened."""

import copy
import time
from collections.abc import Iterable, Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pilotfish.manager.records import Records
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Cancel, Change, Finish, Forget, Grant, Hold, Kept, Release, Revive, Settle, Submit
from pilotfish.model.events import (
    Cancelled,
    Command,
    Ended,
    Event,
    Explanation,
    Held,
    NodeJoined,
    Restored,
    Revived,
    Submitted,
)
from pilotfish.model.jobs import Dependency, Job, JobSpec, RangeArray, Retries, Span, When
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Inventory, Slots
from pilotfish.model.states import Outcome, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore
from tests.contracts.builders import grow, submit_calls

S = TaskState
TASKS = 4


def job(number: int, *after: Dependency, tasks: int = TASKS, on: tuple[int, ...] = (), retries: int = 0) -> Job:
    array = RangeArray(0, tasks)
    spec = JobSpec(
        name=f"j{number}", command="true", directory="/d", cwd="/d", array=array, after=after, retries=Retries(retries)
    )
    return Job(number, spec, depends_on=on)


def settle(job: int, position: int, state: TaskState, *, number: int = 1) -> Settle:
    report = Report(AttemptId(job, position, number, 1), 0, Outcome.exited, int(state is not S.succeeded), 1, 2, 0, 0)
    return Settle(report, "n", state, charged=True)


def grant(job: int, lo: int, hi: int, *, lane: int = 5) -> Grant:
    return Grant("n", lane, Slots((0,), ONE, None), job, lo, hi, 1, 1)


def stored(*changes: Change) -> MemoryStore:
    store = MemoryStore()
    store.commit(changes)
    return store


def records(*changes: Change) -> Records:
    return Records(stored(*changes))


def names(found: Records, job: int) -> list[str]:
    assert found.states(job) == bytes(found.state(job, position) for position in range(len(found.states(job))))
    return [S(state).name for state in found.states(job)]


def durable(commands: Iterable[Command]) -> list[Change]:
    return [
        command
        for command in commands
        if isinstance(command, Finish | Grant | Release | Revive | Settle | Hold | Cancel)
    ]


def check(scheduler: Scheduler, store: MemoryStore) -> None:
    """The store's records tell what the scheduler knows, but for what is not recorded: that a task was told to end,
    and that one was released by a dependency which has been revived since.
    """
    found = Records(store)
    for job in scheduler.jobs:
        states = found.states(job)
        assert coarse(states) == coarse(scheduler.states(job))
        assert found.counts(job) == {state: states.count(state) for state in S}
        assert bytes(found.state(job, position) for position in range(TASKS)) == states
        for position in range(TASKS):
            assert found.holder(job, position) == scheduler.holder(job, position)
            if "is held" in (told := scheduler.explain(job, position, 0.0).reason):
                assert found.explain(job, position, 0.0).reason == told


def coarse(states: Sequence[int]) -> list[str]:
    same = {S.stopping: S.running, S.waiting: S.ready}
    return [same.get(S(state), S(state)).name for state in states]


class World:
    """A scheduler with one node, whose durable commands go into a store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.scheduler = Scheduler(Settings(queue_seconds=0.0), epoch=1)
        self.running: dict[AttemptId, int] = {}
        self.clock = count(1)

    def tell(self, event: Event) -> None:
        commands = self.scheduler.handle(event, float(next(self.clock)))
        for one in commands:
            if isinstance(one, Grant):
                granted = [AttemptId(one.job, position, one.number, one.epoch) for position in range(one.lo, one.hi)]
                self.running |= dict.fromkeys(granted, one.lane)
        self.store.commit(durable(commands))

    def end(self, which: int, outcome: Outcome, code: int) -> None:
        attempt = list(self.running)[which % len(self.running)]
        lane = self.running.pop(attempt)
        self.tell(Ended("n", (Report(attempt, lane, outcome, code, 1.0, 2.0, 0.0, 0),)))

    def check(self) -> None:
        check(self.scheduler, self.store)
        after_death = copy.deepcopy(self.store)
        successor = Scheduler(Settings(), epoch=2)
        after_death.commit(durable(successor.handle(Restored(after_death.load()), 0.0)))
        check(successor, after_death)
        found = Records(after_death)
        told_to_end_or_not = bytes.maketrans(bytes([S.stopping]), bytes([S.running]))
        for job in successor.jobs:
            assert found.states(job) == bytes(successor.states(job)).translate(told_to_end_or_not)


DEPENDENCIES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(When), st.booleans()),
    max_size=2,
    unique_by=lambda one: one[0],
)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["end", "fail", "lose", "revive", "cancel", "hold", "release"]), st.integers(0, 50)),
    max_size=25,
)


@given(graph=st.lists(DEPENDENCIES, min_size=1, max_size=4), actions=ACTIONS, retries=st.integers(0, 1))
@example(graph=[[], [(1, When.started, False)], []], actions=[("cancel", 3)], retries=0)
@settings(deadline=None)
def test_records_tell_what_the_scheduler_knows(
    graph: list[list[tuple[int, When, bool]]], actions: list[tuple[str, int]], retries: int
) -> None:
    world = World()
    submits = []
    for number, edges in enumerate(graph, 1):
        known = [(number - back, when, each) for back, when, each in edges if number > back]
        after = tuple(Dependency(f"j{on}", when, each) for on, when, each in known)
        submits.append(Submit(job(number, *after, on=tuple(on for on, _, _ in known), retries=retries)))
    world.store.commit(submits)
    world.tell(Submitted(tuple(submits)))
    world.tell(NodeJoined("n", Inventory(cores=(0, 1, 2), memory=2**30)))
    world.check()
    for action, number in actions:
        at, position = number % len(graph) + 1, number % TASKS
        match action:
            case "revive":
                world.tell(Revived(at, 0, TASKS))
            case "cancel":
                world.tell(Cancelled(at, position, position + 1))
            case "hold" | "release":
                world.tell(Held(at, position, TASKS, held=action == "hold"))
            case _ if world.running:
                outcome = Outcome.lost if action == "lose" else Outcome.exited
                world.end(number, outcome, code=int(action == "fail"))
        world.check()


def test_what_an_earlier_run_did_counts() -> None:
    found = records(
        Submit(job(1)),
        *(settle(1, position, S.succeeded) for position in range(TASKS)),
        Submit(job(2, tasks=6), kept=(Kept(Span(1, 3), 1, 0),), replaces=1),
    )
    assert names(found, 2) == ["ready", "succeeded", "succeeded", "ready", "ready", "ready"]


def test_calls_that_were_added_are_told() -> None:
    later = Submit(job(2, Dependency("calls"), on=(1,), tasks=1))
    changes = submit_calls(), grow(0, b"a", b"b"), settle(1, 0, S.succeeded), later, grant(1, 1, 2), grow(2, b"c")
    found = records(*changes)
    assert names(found, 1) == ["succeeded", "running", "ready"]
    assert names(found, 2) == ["waiting"]
    assert found.jobs[1].spec.count == 3
    assert found.explain(2, 0, 0.0).reason == "waits for calls to succeed (1 of 3 tasks have ended)"
    assert names(records(*changes, Forget(1)), 1) == ["succeeded", "running", "ready"]


def test_a_retired_job_can_be_looked_at_by_its_number() -> None:
    found = records(Submit(job(1)), settle(1, 2, S.failed), Forget(1))
    assert found.jobs == {}
    assert names(found, 1) == ["ready", "ready", "failed", "ready"]


def test_a_running_task_is_known_by_its_grant() -> None:
    found = records(Submit(job(1)), grant(1, 1, 3), settle(1, 1, S.succeeded))
    assert names(found, 1) == ["ready", "succeeded", "running", "ready"]
    assert found.holder(1, 2) == ("n", 5, AttemptId(1, 2, 1, 1))
    assert found.head("n", 5) == AttemptId(1, 2, 1, 1)


def test_which_of_several_a_lane_runs_is_not_recorded() -> None:
    found = records(Submit(job(1)), grant(1, 1, 3))
    assert found.head("n", 5) is None
    assert found.head("n", 6) is None


@pytest.mark.parametrize(
    ("dependency", "reason"),
    [
        (Dependency("j1"), "waits for j1 to succeed (1 of 4 tasks have ended)"),
        (Dependency("j1", When.failed), "waits for j1 to fail (1 of 4 tasks have ended)"),
        (Dependency("j1", When.finished, each=True), "waits for j1:2 to end"),
        (Dependency("j1", When.started), "waits for j1 to start (1 of 4 tasks have started)"),
        (Dependency("j1", When.started, each=True), "waits for j1:2 to start"),
    ],
)
def test_a_waiting_task_tells_what_it_waits_for(dependency: Dependency, reason: str) -> None:
    found = records(Submit(job(1)), settle(1, 0, S.succeeded), Submit(job(2, dependency, on=(1,))))
    assert found.explain(2, 2, 0.0) == Explanation(reason)


def test_what_could_run_tells_that_nobody_runs_it() -> None:
    found = records(Submit(job(1)), grant(1, 1, 3))
    assert found.explain(1, 0, 0.0) == Explanation("could start, but no manager is running")
    assert found.explain(1, 1, 0.0) == Explanation("was running when its manager went away")


@pytest.mark.parametrize(
    ("changes", "each", "together"),
    [
        ([], "wwww", "wwww"),
        ([grant(1, 0, 3)], "rrrw", "wwww"),
        ([grant(1, 0, 4)], "rrrr", "rrrr"),
        ([grant(1, 0, 4), Release(1, 2, 3, 1, 1)], "rrwr", "wwww"),
        ([settle(1, 0, S.ready), settle(1, 1, S.failed), settle(1, 2, S.succeeded), grant(1, 3, 4)], "rrrr", "rrrr"),
        ([settle(1, 0, S.failed), Revive(1, 0, 4), grant(1, 1, 4)], "rrrr", "rrrr"),
        ([settle(1, 0, S.ready), grant(1, 1, 4), Finish(1, 0, 1, S.cancelled, "")], "rrrr", "rrrr"),
        ([grant(1, 1, 4), Finish(1, 0, 1, S.cancelled, "")], "wrrr", "wwww"),
        ([grant(1, 1, 4), Finish(1, 0, 1, S.succeeded, "")], "rrrr", "rrrr"),
    ],
)
def test_a_task_has_started_once_it_was_given_to_a_node(changes: list[Change], each: str, together: str) -> None:
    by_task, by_job = Dependency("j1", When.started, each=True), Dependency("j1", When.started)
    found = records(Submit(job(1)), *changes, Submit(job(2, by_task, on=(1,))), Submit(job(3, by_job, on=(1,))))
    assert ["".join(name[0] for name in names(found, number)) for number in (2, 3)] == [each, together]


def test_a_task_that_an_earlier_run_did_has_started() -> None:
    after = Dependency("j1", When.started, each=True)
    kept = (Kept(Span(1, 3), 1, 0),)
    found = records(Submit(job(1)), Submit(job(2), kept=kept, replaces=1), Submit(job(3, after, on=(2,))))
    assert names(found, 3) == ["waiting", "ready", "ready", "waiting"]


def test_a_held_task_tells_why_it_is_held() -> None:
    found = records(
        Submit(job(1)),
        Submit(job(2, Dependency("j1"), on=(1,))),
        *(Hold(number, 0, 2, reason="it was preempted twice") for number in (1, 2)),
        Hold(1, 1, 3),
        grant(1, 2, 3),
    )
    assert [found.explain(number, 0, 0.0).reason for number in (1, 2)] == [
        f"is held: it was preempted twice; `pilotfish release j{number}` lets it go" for number in (1, 2)
    ]
    assert found.explain(1, 2, 0.0).reason == "was running when its manager went away"
    assert found.explain(1, 3, 0.0).reason == "could start, but no manager is running"
    assert names(found, 1) == ["ready", "ready", "running", "ready"]


@pytest.mark.parametrize(
    "times", [{"start_after": 1_000.0}, {"start_delay": 100.0}, {"start_after": 1_000.0, "start_delay": 50.0}]
)
def test_a_task_waits_for_its_start_time(times: dict[str, float]) -> None:
    early = msgspec.structs.replace(job(2, Dependency("j1"), on=(1,)), submitted_at=900.0)
    early = msgspec.structs.replace(early, spec=msgspec.structs.replace(early.spec, **times))
    store = stored(Submit(job(1, tasks=1)), Submit(early), grant(2, 3, 4))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_000.0))
    assert Records(store).explain(2, 0, 999.0).reason == f"waits for j1 to succeed; waits until {moment}"
    assert Records(store).explain(2, 0, 1_000.0).reason == "waits for j1 to succeed"
    store.commit([settle(1, 0, S.succeeded)])
    assert Records(store).explain(2, 0, 999.0).reason == f"waits until {moment}"
    assert names(Records(store, 999.0), 2) == ["waiting", "waiting", "waiting", "running"]
    assert names(Records(store, 1_000.0), 2) == names(Records(store), 2) == ["ready", "ready", "ready", "running"]
