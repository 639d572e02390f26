"""What records tell is what the scheduler knows, whatever has happened."""

import copy
from collections.abc import Iterable, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.manager.records import Records
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Change, Finish, Forget, Grant, Kept, Release, Revive, Settle, Submit
from pilotfish.model.events import Cancelled, Command, Ended, Event, NodeJoined, Restored, Revived, Submitted
from pilotfish.model.jobs import Dependency, Job, JobSpec, RangeArray, Retries, Span, When
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Inventory, Slots
from pilotfish.model.states import Outcome, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore

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


def records(*changes: Change) -> Records:
    store = MemoryStore()
    store.commit(changes)
    return Records(store)


def names(found: Records, job: int) -> list[str]:
    assert found.states(job) == bytes(found.state(job, position) for position in range(len(found.states(job))))
    return [S(state).name for state in found.states(job)]


def durable(commands: Iterable[Command]) -> list[Change]:
    return [command for command in commands if isinstance(command, Finish | Grant | Release | Revive | Settle)]


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
        assert all(found.states(job) == bytes(successor.states(job)) for job in successor.jobs)


DEPENDENCIES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([When.succeeded, When.failed, When.finished]), st.booleans()),
    max_size=2,
    unique_by=lambda one: one[0],
)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["end", "fail", "lose", "revive", "cancel"]), st.integers(0, 50)), max_size=25
)


@given(graph=st.lists(DEPENDENCIES, min_size=1, max_size=4), actions=ACTIONS, retries=st.integers(0, 1))
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


def test_a_retired_job_can_be_looked_at_by_its_number() -> None:
    found = records(Submit(job(1)), settle(1, 2, S.failed), Forget(1))
    assert found.jobs == {}
    assert names(found, 1) == ["ready", "ready", "failed", "ready"]


def test_a_running_task_is_known_by_its_grant() -> None:
    slots = Slots((0,), ONE, None)
    found = records(Submit(job(1)), Grant("n", 5, slots, 1, 1, 3, 1, 1), settle(1, 1, S.succeeded))
    assert names(found, 1) == ["ready", "succeeded", "running", "ready"]
    assert found.holder(1, 2) == ("n", 5, AttemptId(1, 2, 1, 1))
    assert found.head("n", 5) == AttemptId(1, 2, 1, 1)


def test_which_of_several_a_lane_runs_is_not_recorded() -> None:
    found = records(Submit(job(1)), Grant("n", 5, Slots((0,), ONE, None), 1, 1, 3, 1, 1))
    assert found.head("n", 5) is None
    assert found.head("n", 6) is None


@pytest.mark.parametrize(
    ("dependency", "reason"),
    [
        (Dependency("j1"), "waits for j1 to succeed (1 of 4 tasks have ended)"),
        (Dependency("j1", When.failed), "waits for j1 to fail (1 of 4 tasks have ended)"),
        (Dependency("j1", When.finished, each=True), "waits for j1:2 to end"),
    ],
)
def test_a_waiting_task_tells_what_it_waits_for(dependency: Dependency, reason: str) -> None:
    found = records(Submit(job(1)), settle(1, 0, S.succeeded), Submit(job(2, dependency, on=(1,))))
    assert found.explain(2, 2, 0.0) == reason


def test_what_could_run_tells_that_nobody_runs_it() -> None:
    found = records(Submit(job(1)), Grant("n", 5, Slots((0,), ONE, None), 1, 1, 3, 1, 1))
    assert found.explain(1, 0, 0.0) == "could start, but no manager is running"
    assert found.explain(1, 1, 0.0) == "was running when its manager went away"
