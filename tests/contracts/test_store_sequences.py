"""Whatever a scheduler may do: every store remembers of it what a simple ledger does."""

from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pilotfish.model.changes import Cancel, Change, Finish, Forget, Hold, Part, Revive
from pilotfish.model.jobs import Span
from pilotfish.model.states import Outcome, TaskState
from tests.contracts.builders import BESIDE, grant, grow, release, settle, submit, submit_calls
from tests.contracts.ledger import Ledger
from tests.contracts.shelves import SHELVES, Shelf

SUCCEEDED, FAILED, READY = TaskState.succeeded, TaskState.failed, TaskState.ready
CANCELLED, SKIPPED = TaskState.cancelled, TaskState.skipped

TASKS = 12
POSITIONS = st.integers(0, TASKS - 1)
OUTCOMES = [Outcome.exited, Outcome.lost, Outcome.out_of_memory, Outcome.preempted]
REASONS = st.text(max_size=3)
SPANS = st.tuples(POSITIONS, POSITIONS).map(lambda ends: (min(ends), max(ends) + 1))


class StoreMachine(RuleBasedStateMachine):
    """Random changes as a scheduler could make them; after each few the store and a simple ledger agree."""

    shelf_type: ClassVar[type[Shelf]]
    jobs = Bundle[int]("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.shelf = self.shelf_type()
        self.ledger = Ledger()
        self.batch: list[Change] = []

    def teardown(self) -> None:
        self.check()
        self.shelf.reopen()
        self.check()
        self.shelf.clear()

    def change(self, change: Change) -> None:
        self.ledger.apply(change)
        self.batch.append(change)

    def end_batch(self) -> None:
        if self.batch:
            self.shelf.store.commit(self.batch)
            self.batch = []

    def check(self) -> None:
        self.end_batch()
        self.ledger.check(self.shelf.store.load())
        self.ledger.check_survey(self.shelf.store.survey())
        self.ledger.check_calls(self.shelf.store, Span(2, 5))

    @initialize(target=jobs)
    def begin(self) -> int:
        self.change(submit(1, tasks=TASKS))
        return 1

    @rule(target=jobs, replaces=st.none() | jobs, tasks=st.sampled_from([TASKS, None]), name=st.sampled_from("ab"))
    def submit(self, replaces: int | None, tasks: int | None, name: str) -> int:
        job = len(self.ledger.submits) + 1
        self.change(submit(job, tasks=tasks, replaces=replaces, name=name))
        return job

    @rule(target=jobs, replaces=st.none() | jobs, name=st.sampled_from("ab"))
    def submit_calls(self, replaces: int | None, name: str) -> int:
        job = len(self.ledger.submits) + 1
        self.change(submit_calls(job, name=name, replaces=replaces))
        return job

    @rule(job=jobs, calls=st.lists(st.binary(max_size=3), min_size=1, max_size=5))
    def grow(self, job: int, calls: list[bytes]) -> None:
        if self.ledger.submits[job].job.spec.function is not None:
            self.change(grow(len(self.ledger.calls[job]), *calls, job=job))

    @rule(job=jobs, span=SPANS, beside=st.sampled_from([(), (), BESIDE]))
    def grant(self, job: int, span: tuple[int, int], beside: tuple[Part, ...]) -> None:
        tasks = [self.ledger.tasks[job, position] for position in range(*span)]
        number = tasks[0].next_number
        if all(task.grant is None and task.next_number == number for task in tasks):
            made = grant(*span, job=job, number=number, epoch=self.shelf.store.epoch)
            self.change(msgspec.structs.replace(made, beside=beside))

    @rule(job=jobs, position=POSITIONS, state=st.sampled_from([SUCCEEDED, FAILED, READY, READY]),
          charged=st.booleans(), outcome=st.sampled_from(OUTCOMES), result=st.binary(max_size=3))  # fmt: skip
    def settle(self, job: int, position: int, state: TaskState, **report: Any) -> None:
        task = self.ledger.tasks[job, position]
        if task.grant:
            number, epoch = task.grant[:2]
            self.change(settle(position, state, job=job, number=number, epoch=epoch, **report))

    @rule(job=jobs, position=POSITIONS)
    def settle_again(self, job: int, position: int) -> None:
        task = self.ledger.tasks[job, position]
        if task.settles:
            self.change(msgspec.structs.replace(task.settles[-1], state=SUCCEEDED, charged=True))

    @rule(job=jobs, span=SPANS)
    def release(self, job: int, span: tuple[int, int]) -> None:
        held = self.ledger.tasks[job, span[0]].grant
        if held:
            self.change(release(*span, job=job, number=held[0], epoch=held[1]))

    @rule(job=jobs, span=SPANS, state=st.sampled_from([CANCELLED, SKIPPED, FAILED]), reason=REASONS)
    def finish(self, job: int, span: tuple[int, int], state: TaskState, reason: str) -> None:
        if all(self.ledger.tasks[job, position].state is not SUCCEEDED for position in range(*span)):
            self.change(Finish(job, *span, state, reason))

    @rule(job=jobs, span=SPANS)
    def revive(self, job: int, span: tuple[int, int]) -> None:
        self.change(Revive(job, *span))

    @rule(job=jobs, span=SPANS, held=st.booleans(), reason=REASONS)
    def hold(self, job: int, span: tuple[int, int], held: bool, reason: str) -> None:  # noqa: FBT001 - hypothesis calls it
        self.change(Hold(job, *span, held, reason))

    @rule(job=jobs, span=SPANS, reason=REASONS)
    def cancel(self, job: int, span: tuple[int, int], reason: str) -> None:
        self.change(Cancel(job, *span, reason))

    @rule(job=jobs)
    def forget(self, job: int) -> None:
        self.change(Forget(job))

    @rule()
    def commit(self) -> None:
        self.end_batch()

    @rule()
    def look(self) -> None:
        self.check()

    @rule()
    def reopen(self) -> None:
        self.end_batch()
        self.shelf.reopen()

    @invariant()
    def nothing_failed(self) -> None:
        self.shelf.store.raise_failure()


@pytest.mark.parametrize("name", SHELVES)
def test_any_sequence_of_changes_is_remembered(name: str) -> None:
    class Machine(StoreMachine):
        shelf_type = SHELVES[name]

    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
