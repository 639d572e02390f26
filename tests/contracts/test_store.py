"""Every store keeps the laws of ``pilotfish.store.base``."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import ClassVar, Protocol

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pilotfish.model.attempts import OutputRef
from pilotfish.model.changes import Change, Finish, Forget, Grant, Kept, Revive, Settle, Snapshot, TaskRecord
from pilotfish.model.jobs import Dependency, Job, JobSpec, Retries, Span, TableArray, When
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request, Slots
from pilotfish.model.states import Outcome, TaskState
from pilotfish.store.base import Store
from pilotfish.store.memory import MemoryStore
from pilotfish.store.sqlite import SqliteStore
from tests.contracts.builders import grant, release, settle, submit
from tests.contracts.ledger import Ledger, expanded_states

SUCCEEDED, FAILED, READY = TaskState.succeeded, TaskState.failed, TaskState.ready
CANCELLED, SKIPPED = TaskState.cancelled, TaskState.skipped


class Shelf(Protocol):
    """A place for one store, which can be closed and opened again."""

    store: Store

    def reopen(self, wake: Callable[[], None] = ...) -> Store: ...

    def clear(self) -> None: ...


class MemoryShelf:
    store: Store

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self.store = self._memory

    def reopen(self, wake: Callable[[], None] = lambda: None) -> Store:
        self.store.close()
        self._memory = self._memory.reopened(wake=wake)
        self.store = self._memory
        return self.store

    def clear(self) -> None:
        self.store.close()


class SqliteShelf:
    store: Store
    exclusive: ClassVar[bool | None] = None

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self.store = SqliteStore(self._folder, exclusive=self.exclusive)

    def reopen(self, wake: Callable[[], None] = lambda: None) -> Store:
        self.store.close()
        self.store = SqliteStore(self._folder, wake=wake, exclusive=self.exclusive)
        return self.store

    def clear(self) -> None:
        self.store.close()
        shutil.rmtree(self._folder)


class ExclusiveSqliteShelf(SqliteShelf):
    exclusive = True


SHELVES: dict[str, type[Shelf]] = {"memory": MemoryShelf, "sqlite": SqliteShelf, "exclusive": ExclusiveSqliteShelf}


@pytest.fixture(params=SHELVES)
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    made = SHELVES[request.param]()
    yield made
    made.clear()


def after(shelf: Shelf, *changes: Change) -> Snapshot:
    """What a store remembers that was given each change in a commit of its own, and was then opened again."""
    shelf.store.commit([submit()])
    for change in changes:
        shelf.store.commit([change])
    before = shelf.store.load()
    assert shelf.reopen().load() == before
    return before


def records(snapshot: Snapshot) -> list[tuple[int, TaskState, int, int, int]]:
    return [(task.position, task.state, task.number, task.tries, task.losses) for task in snapshot.tasks]


def spans(changes: Sequence[Grant] | Sequence[Finish]) -> list[tuple[int, int]]:
    return [(change.lo, change.hi) for change in changes]


def test_a_new_store_is_empty(shelf: Shelf) -> None:
    assert shelf.store.epoch == 1
    assert shelf.store.durable == 0
    assert shelf.store.trouble is None
    assert shelf.store.load() == Snapshot((), (), (), ())
    assert shelf.store.submits() == ()


def test_the_epoch_rises_with_each_opening(shelf: Shelf) -> None:
    assert [shelf.reopen().epoch for _ in range(3)] == [2, 3, 4]


def test_tickets_rise_and_become_durable(shelf: Shelf) -> None:
    tickets = [shelf.store.commit([change]) for change in (submit(), grant(0, 1), settle(0))]
    assert tickets == [1, 2, 3]
    shelf.store.flush()
    assert shelf.store.durable == 3
    assert shelf.store.commit([]) == 4
    shelf.store.flush()
    assert shelf.store.durable == 4
    shelf.store.raise_failure()


def test_the_owner_is_woken_when_something_became_durable(shelf: Shelf) -> None:
    woken = Event()
    store = shelf.reopen(wake=woken.set)
    ticket = store.commit([submit()])
    assert woken.wait(10)
    assert store.durable == ticket


def test_a_question_sees_all_that_was_given_before(shelf: Shelf) -> None:
    shelf.store.commit([submit()])
    for number in range(1, 50):
        shelf.store.commit([settle(0, READY, number=number)])
        assert len(shelf.store.attempts(1, 0)) == number


def test_closing_makes_everything_durable_and_may_be_repeated(shelf: Shelf) -> None:
    shelf.store.commit([submit()])
    shelf.store.commit([settle(position) for position in range(100)])
    shelf.store.close()
    shelf.store.close()
    assert len(shelf.reopen().load().tasks) == 100


def test_a_job_comes_back_as_it_was(shelf: Shelf) -> None:
    spec = JobSpec(
        name="söm 'quoted'",
        command=("printf", "%s\n\t\0", "\N{FISH}"),
        directory="/a b",
        cwd="/a b/{index}",
        array=TableArray(("value",), (("x", "y; rm -rf /", ""),)),
        after=(Dependency("other", When.failed, each=True),),
        request=Request(cores=Amount(5_000), memory=2**41 + 1),
        time=0.1,
        retries=Retries(3),
        priority=-7,
        max_parallel=2,
        env={"K": "v=\n", "": ""},
        stdout="/out/{index}",
        stderr="stdout",
    )
    kept = (Kept(Span(0, 2), from_job=1, from_lo=1),)
    wanted = msgspec.structs.replace(submit(2), job=Job(2, spec, depends_on=(1,), submitted_at=1e9 / 3), kept=kept)
    snapshot = after(shelf, wanted)
    assert snapshot.submits == (submit(), wanted)
    assert shelf.store.submits() == (submit(), wanted)


def test_a_grant_comes_back_as_it_was(shelf: Shelf) -> None:
    wanted = msgspec.structs.replace(grant(2, 5, number=7, epoch=9), slots=Slots((), Amount(2_500), None))
    assert after(shelf, wanted).grants == (wanted,)


def test_an_attempt_comes_back_as_it_was(shelf: Shelf) -> None:
    report = msgspec.structs.replace(
        settle(1).report,
        outcome=Outcome.signalled,
        code=9,
        stdout=None,
        stderr=OutputRef("/user's/file", 0, 2**40),
        reason="because\nof 'that'",
    )
    wanted = [settle(0), Settle(report, "ñode", FAILED, charged=False)]
    after(shelf, *wanted)
    assert list(shelf.store.results([(1, position) for position in range(10)])) == wanted


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_comes_back(shelf: Shelf, outcome: Outcome) -> None:
    after(shelf, settle(0, FAILED, outcome=outcome))
    assert shelf.store.attempts(1, 0) == (settle(0, FAILED, outcome=outcome),)


@pytest.mark.parametrize("state", [FAILED, CANCELLED, SKIPPED])
def test_an_end_without_attempt_comes_back(shelf: Shelf, state: TaskState) -> None:
    finish = Finish(1, 2, 5, state, "why\nnot")
    assert after(shelf, finish).finishes == (finish,)
    assert shelf.store.finishes(1) == (finish,)
    assert shelf.store.finishes(2) == ()


def test_a_record_tells_tries_losses_and_the_newest_state(shelf: Shelf) -> None:
    snapshot = after(
        shelf,
        settle(4, READY, number=1),
        settle(4, READY, number=2, charged=False, outcome=Outcome.lost),
        settle(4, READY, number=3, charged=False, outcome=Outcome.lost),
        settle(4, FAILED, number=4),
        settle(2, READY, charged=False, outcome=Outcome.preempted),
    )
    assert snapshot.tasks == (TaskRecord(1, 2, READY, 1, 0, 0), TaskRecord(1, 4, FAILED, 4, 2, 2))


def test_the_first_record_of_an_attempt_stands(shelf: Shelf) -> None:
    cancel = Finish(1, 0, 1, CANCELLED, "by the user")
    snapshot = after(shelf, settle(0, READY), cancel, settle(0, SUCCEEDED))
    assert records(snapshot) == [(0, READY, 1, 1, 0)]
    assert snapshot.finishes == (cancel,)


def test_repetitions_within_one_commit_change_nothing(shelf: Shelf) -> None:
    shelf.store.commit([submit(), settle(0, FAILED), settle(0, SUCCEEDED)])
    assert records(shelf.store.load()) == [(0, FAILED, 1, 1, 0)]


def test_an_end_holds_against_an_earlier_attempt(shelf: Shelf) -> None:
    snapshot = after(shelf, settle(3, READY), Finish(1, 0, 10, CANCELLED, "by the user"))
    assert records(snapshot) == [(3, READY, 1, 1, 0)]
    assert spans(snapshot.finishes) == [(0, 10)]


def test_an_attempt_holds_against_an_earlier_end(shelf: Shelf) -> None:
    snapshot = after(shelf, Finish(1, 0, 10, CANCELLED, "by the user"), settle(3), settle(9))
    assert records(snapshot) == [(3, SUCCEEDED, 1, 1, 0), (9, SUCCEEDED, 1, 1, 0)]
    assert spans(snapshot.finishes) == [(0, 3), (4, 9)]


def test_a_later_end_replaces_the_part_that_it_covers(shelf: Shelf) -> None:
    first, second = Finish(1, 0, 10, CANCELLED, "first"), Finish(1, 4, 6, FAILED, "second")
    assert after(shelf, first, second).finishes == (
        Finish(1, 0, 4, CANCELLED, "first"),
        second,
        Finish(1, 6, 10, CANCELLED, "first"),
    )


def test_a_grant_is_split_around_attempts_that_have_ended(shelf: Shelf) -> None:
    assert spans(after(shelf, grant(0, 6), settle(2), settle(3)).grants) == [(0, 2), (4, 6)]


def test_a_grant_whose_attempts_have_ended_is_not_open(shelf: Shelf) -> None:
    assert after(shelf, grant(0, 2), settle(0), settle(1, FAILED)).grants == ()


def test_a_grant_is_not_closed_by_another_attempt(shelf: Shelf) -> None:
    assert spans(after(shelf, settle(0, READY), grant(0, 1, number=2)).grants) == [(0, 1)]


def test_releasing_undoes_part_of_a_grant_which_may_be_granted_again(shelf: Shelf) -> None:
    snapshot = after(shelf, grant(0, 9), release(3, 6), grant(4, 5))
    assert spans(snapshot.grants) == [(0, 3), (4, 5), (6, 9)]


def test_releasing_reaches_over_several_grants(shelf: Shelf) -> None:
    assert spans(after(shelf, grant(0, 3), grant(3, 6), grant(6, 9), release(2, 7)).grants) == [(0, 2), (7, 9)]


def test_releasing_leaves_other_attempts_alone(shelf: Shelf) -> None:
    snapshot = after(shelf, grant(0, 3, number=2, epoch=4), release(0, 3, number=1, epoch=4), release(0, 3, number=2))
    assert spans(snapshot.grants) == [(0, 3)]


def test_reviving_gives_failed_tasks_fresh_retries(shelf: Shelf) -> None:
    snapshot = after(
        shelf,
        settle(0, READY, outcome=Outcome.lost, charged=False),
        settle(0, FAILED, number=2),
        settle(1, CANCELLED, outcome=Outcome.cancelled),
        Revive(1, 0, 10),
    )
    assert records(snapshot) == [(0, READY, 2, 0, 0), (1, READY, 1, 0, 0)]
    assert [(one.state, one.charged) for one in shelf.store.attempts(1, 0)] == [(READY, False), (READY, False)]
    assert [one.state for one in shelf.store.results([(1, position) for position in range(10)])] == [READY, READY]


def test_reviving_counts_later_attempts_afresh(shelf: Shelf) -> None:
    snapshot = after(shelf, settle(0, FAILED), Revive(1, 0, 1), settle(0, READY, number=2), settle(0, FAILED, number=3))
    assert records(snapshot) == [(0, FAILED, 3, 2, 0)]


def test_reviving_leaves_succeeded_and_unfinished_tasks_alone(shelf: Shelf) -> None:
    snapshot = after(shelf, settle(0), settle(1, READY), settle(2, FAILED), grant(5, 6), Revive(1, 0, 2))
    assert records(snapshot) == [(0, SUCCEEDED, 1, 1, 0), (1, READY, 1, 1, 0), (2, FAILED, 1, 1, 0)]
    assert spans(snapshot.grants) == [(5, 6)]


def test_reviving_takes_back_ends_without_attempt(shelf: Shelf) -> None:
    snapshot = after(shelf, settle(4, READY), Finish(1, 0, 10, SKIPPED, "no"), Revive(1, 3, 6))
    assert spans(snapshot.finishes) == [(0, 3), (6, 10)]
    assert records(snapshot) == [(4, READY, 1, 0, 0)]


def test_reviving_leaves_a_success_without_attempt(shelf: Shelf) -> None:
    assert spans(after(shelf, Finish(1, 2, 4, SUCCEEDED, "kept"), Revive(1, 0, 10)).finishes) == [(2, 4)]


@pytest.mark.parametrize("change", [Forget(1), submit(2, replaces=1)])
def test_a_job_that_is_no_longer_current_keeps_its_record_only(shelf: Shelf, change: Change) -> None:
    snapshot = after(shelf, settle(0), settle(1, READY), grant(2, 3), Finish(1, 5, 6, CANCELLED, ""), change)
    assert 1 not in {one.job.id for one in snapshot.submits}
    assert (snapshot.tasks, snapshot.grants, snapshot.finishes) == ((), (), ())
    assert shelf.store.current() == snapshot.submits
    assert shelf.store.submits()[0] == submit(1)
    assert shelf.store.attempts(1, 0) == (settle(0),)
    assert expanded_states(shelf.store.survey(1, Span(0, 2))) == {(1, 0): SUCCEEDED, (1, 1): READY}


def test_attempts_come_oldest_first_and_the_newest_of_many_tasks_in_their_order(shelf: Shelf) -> None:
    first, second = settle(3, READY), settle(3, FAILED, number=2)
    after(shelf, first, settle(5), second, settle(3, job=2), settle(9))
    assert shelf.store.attempts(1, 3) == (first, second)
    assert shelf.store.attempts(1, 4) == ()
    assert shelf.store.results([(1, 9), (1, 4), (1, 3)]) == (settle(9), second)


def test_a_survey_may_look_at_a_span_alone(shelf: Shelf) -> None:
    after(shelf, settle(0), settle(4, FAILED), grant(5, 7), grant(7, 9), settle(5, job=2))
    shelf.store.commit([Finish(1, 1, 3, SKIPPED, "")])
    survey = shelf.store.survey(1, Span(4, 6))
    assert expanded_states(survey) == {(1, 4): FAILED}
    assert spans(survey.grants) == [(5, 7)]
    assert survey.finishes == ()
    assert spans(shelf.store.survey(1, Span(2, 3)).finishes) == [(1, 3)]


TASKS = 12
POSITIONS = st.integers(0, TASKS - 1)
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

    @initialize(target=jobs)
    def begin(self) -> int:
        self.change(submit(1, tasks=TASKS))
        return 1

    @rule(target=jobs, replaces=st.none() | jobs)
    def submit(self, replaces: int | None) -> int:
        job = len(self.ledger.submits) + 1
        self.change(submit(job, tasks=TASKS, replaces=replaces))
        return job

    @rule(job=jobs, span=SPANS)
    def grant(self, job: int, span: tuple[int, int]) -> None:
        tasks = [self.ledger.tasks[job, position] for position in range(*span)]
        number = tasks[0].next_number
        if all(task.grant is None and task.next_number == number for task in tasks):
            self.change(grant(*span, job=job, number=number, epoch=self.shelf.store.epoch))

    @rule(job=jobs, position=POSITIONS, state=st.sampled_from([SUCCEEDED, FAILED, READY, READY]),
          charged=st.booleans(), outcome=st.sampled_from([Outcome.exited, Outcome.lost]))  # fmt: skip
    def settle(self, job: int, position: int, state: TaskState, charged: bool, outcome: Outcome) -> None:  # noqa: FBT001 - hypothesis calls it
        task = self.ledger.tasks[job, position]
        if task.grant:
            _, _, number, epoch = task.grant
            made = settle(position, state, job=job, number=number, epoch=epoch, charged=charged, outcome=outcome)
            self.change(made)

    @rule(job=jobs, position=POSITIONS)
    def settle_again(self, job: int, position: int) -> None:
        task = self.ledger.tasks[job, position]
        if task.settles:
            self.change(msgspec.structs.replace(task.settles[-1], state=SUCCEEDED, charged=True))

    @rule(job=jobs, span=SPANS)
    def release(self, job: int, span: tuple[int, int]) -> None:
        held = self.ledger.tasks[job, span[0]].grant
        if held:
            self.change(release(*span, job=job, number=held[2], epoch=held[3]))

    @rule(job=jobs, span=SPANS, state=st.sampled_from([CANCELLED, SKIPPED, FAILED]), reason=st.text(max_size=3))
    def finish(self, job: int, span: tuple[int, int], state: TaskState, reason: str) -> None:
        if all(self.ledger.tasks[job, position].state is not SUCCEEDED for position in range(*span)):
            self.change(Finish(job, *span, state, reason))

    @rule(job=jobs, span=SPANS)
    def revive(self, job: int, span: tuple[int, int]) -> None:
        self.change(Revive(job, *span))

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
