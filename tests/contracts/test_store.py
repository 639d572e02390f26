"""Every store keeps the laws of ``pilotfish.store.base``."""

from collections.abc import Iterable, Iterator, Sequence
from threading import Event

import msgspec
import pytest

from pilotfish.model.attempts import OutputRef
from pilotfish.model.changes import (
    Cancel,
    Change,
    Finish,
    Forget,
    Grant,
    Hold,
    Kept,
    Put,
    Revive,
    Settle,
    Snapshot,
    Submit,
    TaskRecord,
)
from pilotfish.model.jobs import Dependency, Job, JobSpec, Retries, Span, TableArray, When
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request, Slots
from pilotfish.model.states import Outcome, TaskState
from pilotfish.store.base import DURATIONS, LOOKED_AT
from tests.contracts.builders import (
    BESIDE,
    cancel,
    grant,
    grow,
    hold,
    release,
    settle,
    submit,
    submit_calls,
    unhold,
)
from tests.contracts.ledger import expanded_states
from tests.contracts.shelves import SHELVES, Shelf

SUCCEEDED, FAILED, READY = TaskState.succeeded, TaskState.failed, TaskState.ready
CANCELLED, SKIPPED = TaskState.cancelled, TaskState.skipped


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


def spans(changes: Sequence[Grant | Finish | Hold | Cancel]) -> list[tuple[int, int]]:
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


def test_a_job_that_calls_functions_comes_back_with_all_its_calls(shelf: Shelf) -> None:
    snapshot = after(shelf, submit_calls(2), grow(0, b"a", b"", job=2), submit_calls(3), grow(2, b"\0b", job=2))
    assert snapshot.submits == (submit(), submit_calls(2, calls=3), submit_calls(3))
    assert shelf.store.submits() == shelf.store.current() == snapshot.submits
    assert shelf.store.calls(2) == {0: b"a", 1: b"", 2: b"\0b"}
    assert shelf.store.calls(1) == shelf.store.calls(3) == {}
    shelf.store.commit([Forget(2)])
    assert shelf.store.submits()[1] == submit_calls(2, calls=3)


def test_calls_may_be_added_with_their_job_and_end_at_once(shelf: Shelf) -> None:
    ends = settle(0, FAILED, job=2), Finish(2, 1, 2, CANCELLED, ""), settle(2, job=2)
    shelf.store.commit([submit(), submit_calls(2), grow(0, b"a", b"b", job=2), grow(2, b"c", b"d", job=2), *ends])
    assert shelf.store.load().submits == (submit(), submit_calls(2, calls=4))
    assert shelf.store.calls(2) == {0: b"a", 1: b"b", 2: b"c", 3: b"d"}


def test_the_arguments_of_a_span_of_calls_may_be_asked_for(shelf: Shelf) -> None:
    parts = [[b"%d" % position for position in range(lo, hi)] for lo, hi in ((0, 1), (1, 4), (4, 5000), (5000, 5003))]
    grown = [grow(int(part[0]), *part, job=2) for part in parts]
    after(shelf, submit_calls(2), *grown)
    for lo, hi in ((0, 1), (0, 2), (1, 4), (3, 5), (999, 1005), (4999, 6000), (5003, 5004), (0, 5003)):
        wanted = {position: b"%d" % position for position in range(lo, min(hi, 5003))}
        assert shelf.store.calls(2, Span(lo, hi)) == wanted
    assert list(shelf.store.calls(2)) == list(range(5003))


def test_arguments_stay_whatever_becomes_of_their_tasks(shelf: Shelf) -> None:
    ends = settle(0, FAILED, job=2), settle(1, job=2), settle(2, READY, job=2), Finish(2, 3, 4, SKIPPED, "")
    grown = [grow(2 * place, b"%d" % (2 * place), b"%d" % (2 * place + 1), job=2) for place in range(3)]
    after(shelf, submit_calls(2), *grown, *ends, settle(4, job=2), settle(5, job=2), Revive(2, 0, 1))
    assert shelf.store.calls(2) == {position: b"%d" % position for position in range(6)}
    assert shelf.store.load().submits[1] == submit_calls(2, calls=6)


def test_results_come_back_as_they_were(shelf: Shelf) -> None:
    wanted = [settle(0, result=b"\0\xff"), settle(1, result=b"x" * 100_000), settle(2), settle(3, READY, result=b"it")]
    after(shelf, *wanted, settle(3, FAILED, number=2, result=b"again"), Revive(1, 0, 10))
    assert list(shelf.store.results([(1, position) for position in range(3)])) == wanted[:3]
    assert [one.report.result for one in shelf.store.attempts(1, 3)] == [b"it", b"again"]


def test_a_job_that_has_many_calls_by_now_is_told_its_durations(shelf: Shelf) -> None:
    one = after(shelf, submit_calls(2), grow(0, b"", job=2), settle(0, job=2, took=1.0))
    assert one.durations == {}
    shelf.store.commit([grow(1, b"", job=2)])
    assert shelf.store.load().durations == {2: _taken([settle(0, took=1.0)])}


def test_a_grant_comes_back_as_it_was(shelf: Shelf) -> None:
    wanted = msgspec.structs.replace(grant(2, 5, number=7, epoch=9), slots=Slots((), Amount(2_500), None))
    assert after(shelf, wanted).grants == (wanted,)


def test_a_grant_on_several_nodes_comes_back_as_it_was(shelf: Shelf) -> None:
    wanted = msgspec.structs.replace(grant(2, 3), beside=BESIDE)
    snapshot = after(shelf, wanted, grant(5, 6))
    assert snapshot.grants == (wanted, grant(5, 6))
    assert shelf.store.survey().grants == snapshot.grants
    assert shelf.store.survey(1, Span(2, 3)).grants == (wanted,)


def test_what_remains_of_a_grant_keeps_its_nodes(shelf: Shelf) -> None:
    snapshot = after(shelf, msgspec.structs.replace(grant(0, 9), beside=BESIDE), release(2, 4), settle(6))
    assert spans(snapshot.grants) == [(0, 2), (4, 6), (7, 9)]
    assert [one.beside for one in snapshot.grants] == [BESIDE] * 3


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
    assert snapshot.tasks == (TaskRecord(1, 2, READY, 1, 0, 0, 0, 1), TaskRecord(1, 4, FAILED, 4, 2, 2))


def test_a_record_tells_shortages_of_memory_and_preemptions(shelf: Shelf) -> None:
    snapshot = after(
        shelf,
        settle(0, READY, number=1, outcome=Outcome.out_of_memory),
        settle(0, READY, number=2, outcome=Outcome.out_of_memory, charged=False),
        settle(0, READY, number=3, outcome=Outcome.preempted, charged=False),
        settle(0, READY, number=4, outcome=Outcome.preempted, charged=False),
        settle(1, FAILED, outcome=Outcome.timed_out),
    )
    assert [(one.shortages, one.preemptions) for one in snapshot.tasks] == [(1, 2), (0, 0)]


def test_reviving_forgives_shortages_of_memory_and_no_preemptions(shelf: Shelf) -> None:
    snapshot = after(
        shelf,
        settle(0, READY, number=1, outcome=Outcome.preempted, charged=False),
        settle(0, FAILED, number=2, outcome=Outcome.out_of_memory),
        Revive(1, 0, 1),
        settle(0, READY, number=3, outcome=Outcome.out_of_memory),
    )
    assert snapshot.tasks == (TaskRecord(1, 0, READY, 3, 1, 0, shortages=1, preemptions=1),)


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
    flags = hold(3, 9), cancel(2, 3)
    snapshot = after(shelf, settle(0), settle(1, READY), grant(2, 3), Finish(1, 5, 6, CANCELLED, ""), *flags, change)
    assert 1 not in {one.job.id for one in snapshot.submits}
    assert (snapshot.tasks, snapshot.grants, snapshot.finishes) == ((), (), ())
    assert (snapshot.holds, snapshot.cancels) == ((), ())
    assert shelf.store.survey().holds == shelf.store.survey(1, Span(0, 9)).holds == ()
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
    shelf.store.commit([Finish(1, 1, 3, SKIPPED, ""), hold(0, 4), hold(5, 9), hold(0, 9, job=2)])
    survey = shelf.store.survey(1, Span(4, 6))
    assert expanded_states(survey) == {(1, 4): FAILED}
    assert spans(survey.grants) == [(5, 7)]
    assert survey.finishes == ()
    assert survey.holds == (hold(5, 9),)
    assert spans(shelf.store.survey(1, Span(2, 3)).finishes) == [(1, 3)]


def test_a_hold_comes_back_as_it_was(shelf: Shelf) -> None:
    wanted = hold(2, 5, "it was preempted\n'twice'")
    assert after(shelf, wanted).holds == (wanted,)


def test_a_later_hold_replaces_the_part_that_it_covers(shelf: Shelf) -> None:
    snapshot = after(shelf, hold(0, 6, "first"), hold(4, 9, "second"), hold(1, 2, "third"))
    assert snapshot.holds == (hold(0, 1, "first"), hold(1, 2, "third"), hold(2, 4, "first"), hold(4, 9, "second"))


def test_letting_go_cuts_holds(shelf: Shelf) -> None:
    other = submit(2), hold(0, 10, job=2)
    snapshot = after(shelf, unhold(0, 1), hold(0, 3), hold(4, 8), *other, unhold(2, 6), unhold(7, 10))
    assert snapshot.holds == (hold(0, 2), hold(6, 7), hold(0, 10, job=2))
    shelf.store.commit([unhold(0, 10)])
    assert shelf.store.load().holds == (hold(0, 10, job=2),)


def test_a_hold_outlives_attempts_ends_and_revivals(shelf: Shelf) -> None:
    ends = settle(0), settle(1, FAILED), settle(2, READY), Finish(1, 3, 5, CANCELLED, ""), Revive(1, 0, 10)
    assert after(shelf, hold(0, 6), grant(0, 3), *ends).holds == (hold(0, 6),)


def test_a_cancellation_comes_back_as_it_was(shelf: Shelf) -> None:
    snapshot = after(shelf, grant(0, 5), cancel(0, 5, "first"), cancel(2, 3, "second"))
    assert snapshot.cancels == (cancel(0, 2, "first"), cancel(2, 3, "second"), cancel(3, 5, "first"))
    assert spans(snapshot.grants) == [(0, 5)]


@pytest.mark.parametrize("end", [settle(4, FAILED), settle(4), Finish(1, 4, 5, CANCELLED, ""), Revive(1, 4, 5)])
def test_a_cancellation_ends_with_its_task(shelf: Shelf, end: Change) -> None:
    assert after(shelf, hold(0, 9), cancel(3, 7), end).cancels == (cancel(3, 4), cancel(5, 7))


def test_a_cancellation_outlives_an_attempt_that_does_not_end_its_task(shelf: Shelf) -> None:
    snapshot = after(shelf, settle(3), cancel(3, 5), settle(3), settle(4, READY), grant(4, 5, number=2), release(4, 5))
    assert snapshot.cancels == (cancel(3, 5),)


def test_cancelled_tasks_may_end_in_the_same_commit(shelf: Shelf) -> None:
    shelf.store.commit([submit(), grant(0, 3), cancel(0, 3), settle(0, CANCELLED), settle(1), cancel(1, 2)])
    assert shelf.store.load().cancels == (cancel(1, 2), cancel(2, 3))


def test_durations_are_those_of_the_last_positions_first(shelf: Shelf) -> None:
    ended = [settle(position, took=float(position)) for position in range(10)]
    snapshot = after(shelf, *ended, settle(10, FAILED), settle(11, READY), settle(11, number=2, took=0.5))
    assert snapshot.durations == {1: (0.5, *_taken(reversed(ended)))}


def test_durations_are_of_what_really_ran(shelf: Shelf) -> None:
    unknown = settle(2)
    unknown = msgspec.structs.replace(unknown, report=msgspec.structs.replace(unknown.report, started_at=0.0))
    assert after(shelf, unknown, settle(1, FAILED), settle(0, READY)).durations == {}


def test_durations_are_few(shelf: Shelf) -> None:
    shelf.store.commit([submit(tasks=100), *(settle(position, took=1 + position) for position in range(100))])
    assert shelf.store.load().durations == {1: _taken(settle(99 - n, took=100 - n) for n in range(DURATIONS))}


def test_durations_are_looked_for_among_few_attempts(shelf: Shelf) -> None:
    shelf.store.commit([submit(tasks=10**6), settle(0), *(settle(1 + n, FAILED) for n in range(LOOKED_AT - 1))])
    assert len(shelf.store.load().durations[1]) == 1
    shelf.store.commit([settle(LOOKED_AT, FAILED)])
    assert shelf.store.load().durations == {}


def test_a_job_learns_from_the_earlier_ones_of_its_name(shelf: Shelf) -> None:
    snapshot = after(
        shelf,
        settle(0, took=1.0),
        settle(9, took=2.0),
        submit(2, tasks=None, replaces=1),
        settle(0, job=2, took=3.0),
        submit(3, name="other"),
        settle(0, job=3, took=4.0),
        Forget(2),
        submit(4, tasks=2),
        submit(5, tasks=None, replaces=4),
        settle(0, job=5, took=6.0),
        submit(6),
    )
    mine = _taken([settle(0, took=6.0), settle(0, took=3.0), settle(9, took=2.0), settle(0, took=1.0)])
    assert snapshot.durations == {3: (4.0,), 5: mine, 6: mine}


def test_a_job_of_one_task_that_replaced_none_needs_no_durations(shelf: Shelf) -> None:
    assert after(shelf, submit(2, tasks=None), settle(0, job=2), settle(0)).durations.keys() == {1}


def _following(number: int, on: int, *, replaces: int | None = None) -> Submit:
    """A job whose tasks follow those of another one."""
    made = submit(number, replaces=replaces)
    spec = msgspec.structs.replace(made.job.spec, after=(Dependency("sim", each=True),), same_node=True)
    return msgspec.structs.replace(made, job=msgspec.structs.replace(made.job, spec=spec, depends_on=(on,)))


def _on(node: str, one: Settle) -> Settle:
    return msgspec.structs.replace(one, node=node)


def test_the_nodes_are_those_of_the_newest_attempts(shelf: Shelf) -> None:
    ends = [_on("a", settle(0, READY)), _on("b", settle(0, number=2)), _on("a", settle(3, FAILED))]
    assert after(shelf, _following(2, 1), *ends).nodes == {1: {0: "b", 3: "a"}}
    assert shelf.store.nodes(1) == {0: "b", 3: "a"}
    assert shelf.store.nodes(2) == {}


def test_nodes_are_told_of_jobs_that_are_followed(shelf: Shelf) -> None:
    assert after(shelf, settle(0)).nodes == {}
    assert shelf.store.nodes(1) == {0: "node"}


def test_the_nodes_of_kept_tasks_are_those_where_they_ran(shelf: Shelf) -> None:
    second = msgspec.structs.replace(submit(2, replaces=1), kept=(Kept(Span(0, 4), 1, 3),))
    third = msgspec.structs.replace(submit(3, replaces=2), kept=(Kept(Span(2, 8), 2, 0),))
    ends = [_on(f"n{position}", settle(position)) for position in range(9)]
    snapshot = after(shelf, *ends, second, settle(5, job=2), third, _on("new", settle(9, job=3)), _following(4, 3))
    assert snapshot.nodes == {3: {2: "n3", 3: "n4", 4: "n5", 5: "n6", 7: "node", 9: "new"}}


def _taken(settles: Iterable[Settle]) -> tuple[float, ...]:
    return tuple(settle.report.ended_at - settle.report.started_at for settle in settles)


@pytest.mark.parametrize("value", [0, -(2**63), 2**63 - 1, 0.5, b"", b"\x80\x05", b"12"])
def test_a_value_that_tasks_share_comes_back_as_it_was(shelf: Shelf, value: float | bytes) -> None:
    (found,) = after(shelf, Put("key", value, 2**41 + 1)).values
    assert found == Put("key", value, 2**41 + 1)
    assert type(found.value) is type(value)


def test_the_newest_value_of_each_key_holds_and_removed_keys_are_gone(shelf: Shelf) -> None:
    puts = Put("b", 1, 1), Put("a", 2, 2), Put("b", b"3", 3), Put("c", 4, 4), Put("c", None, 5), Put("d", None, 6)
    assert after(shelf, *puts).values == (Put("a", 2, 2), Put("b", b"3", 3))


def test_values_are_found_by_what_their_keys_begin_with(shelf: Shelf) -> None:
    after(shelf, *(Put(key, 1, 1) for key in ("a/2", "a/1", "a", "A/1", "b/a/1", "a%1", "ä/1")), Put("a/2", None, 2))
    assert [[put.key for put in shelf.store.values(prefix)] for prefix in ("a/", "ä", "c")] == [["a/1"], ["ä/1"], []]
