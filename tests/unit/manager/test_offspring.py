"""How the calls of job classes enter a queue, and what their parents hear of them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from pilotfish.errors import UserError
from pilotfish.functions.family import FAMILY_QUESTIONS, Enter, Fates, Trials
from pilotfish.manager.offspring import Offspring, job_for
from pilotfish.manager.talk import Talk
from pilotfish.model.changes import Change, Finish, Grow, Put, Settle, Submit
from pilotfish.model.events import Cancelled, Command, Event
from pilotfish.model.jobs import CallArray, Job, JobSpec, RangeArray
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore
from tests.contracts.builders import FUNCTION

NAMES = {question: name for name, question in FAMILY_QUESTIONS.items()}


def spec(name: str = "Prime", priority: int = 0) -> JobSpec:
    return JobSpec(
        name=name, command=(), function=FUNCTION, directory="/", cwd="/", array=CallArray(), priority=priority
    )


class Queue:
    """A scheduler, its offspring, and what is recorded."""

    def __init__(self) -> None:
        self.recorded: list[Change] = []
        self.scheduler = Scheduler(Settings(), 1)
        talk = Talk(1, self.recorded.append)
        self.offspring = Offspring(self.scheduler, MemoryStore(), talk, record=self.recorded.append, new_job=None)

    def tell(self, event: Event) -> Sequence[Command]:
        commands = self.scheduler.handle(event, 0.0)
        for command in commands:
            if isinstance(command, Grow | Settle | Finish):
                self.recorded.append(command)
            if isinstance(command, Settle | Finish):
                self.offspring.ended(command)
        return commands

    def ask(self, question: Enter | Trials | Fates) -> Any:
        return self.offspring.hear(NAMES[type(question)], msgspec.structs.asdict(question), self.tell)

    def enter(self, *specs: JobSpec, **more: Any) -> list[str]:
        packed = tuple(map(msgspec.msgpack.encode, specs))
        names: list[str] = self.ask(Enter(specs=packed, calls=tuple((i, b"") for i in range(len(specs))), **more))
        return names


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_calls_of_one_class_are_tasks_of_one_job(queue: Queue) -> None:
    assert queue.enter(spec()) == ["Prime:0"]
    assert queue.enter(spec(), spec("Other"), spec()) == ["Prime:1", "Other:0", "Prime:2"]
    assert [change.job.id for change in queue.recorded if isinstance(change, Submit)] == [1, 2]


def test_a_class_that_has_changed_is_another_job_with_a_name_of_its_own(queue: Queue) -> None:
    queue.enter(spec())
    assert queue.enter(spec(priority=1)) == ["Prime-2:0"]
    assert queue.enter(spec(priority=1), spec()) == ["Prime-2:1", "Prime:1"]


def test_a_trial_that_defers_counts_and_its_children_are_known(queue: Queue) -> None:
    queue.enter(spec())
    assert queue.ask(Trials((1, 0))) == {"deferrals": 0, "failures": 0, "first": 0.0, "children": {}}
    assert queue.enter(spec(), spec("Leaf"), parent=(1, 0), deferred=True, began=7.0) == ["Prime:1", "Leaf:0"]
    queue.enter(parent=(1, 0), trial=(1, 0), deferred=True, began=8.0)
    queue.tell(Cancelled(2, 0, 1))
    past = queue.ask(Trials((1, 0)))
    assert past == {"deferrals": 2, "failures": 0, "first": 7.0, "children": {"ready": 1, "cancelled": 1}}
    names = [(name, state) for name, state, _, _ in queue.ask(Fates((1, 0)))]
    assert names == [("Prime:1", "ready"), ("Leaf:0", "cancelled")]


@pytest.mark.parametrize("deferred", [True, False])
def test_a_trial_ends_once_however_often_that_is_told(queue: Queue, *, deferred: bool) -> None:
    queue.enter(spec())
    assert queue.enter(spec(), parent=(1, 0), deferred=deferred) == ["Prime:1"]
    before = list(queue.recorded)
    assert queue.enter(spec(), parent=(1, 0), deferred=deferred) == []
    assert queue.recorded == before


def test_what_enters_and_that_the_trial_has_ended_are_recorded_together(queue: Queue) -> None:
    queue.enter(spec())
    queue.recorded.clear()
    queue.enter(spec(), parent=(1, 0), deferred=True)
    assert [type(change) for change in queue.recorded] == [Grow, Put]


def test_among_the_jobs_of_a_file_no_call_enters() -> None:
    other = Job(1, JobSpec(name="sim", command="true", directory="/", cwd="/", array=RangeArray(0, 3)))
    with pytest.raises(UserError, match="that of a job file; name another one with --campaign"):
        job_for(spec(), [other])


def test_a_question_with_wrong_arguments_is_refused(queue: Queue) -> None:
    with pytest.raises(UserError, match="question `trials`: "):
        queue.offspring.hear("trials", {"task": "x"}, queue.tell)
