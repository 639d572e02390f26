import math
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.batch.allocations import Action, Allocations, Find, Inspect, Pilot, Revoke
from pilotfish.batch.dialect import AllocationRequest, Away, Refused, Seen, State, Submission, Taken

AWAY = Away("Unable to contact slurm controller")


def wanted(name: str = "pf-1", **more: Any) -> AllocationRequest:
    base: dict[str, Any] = {"argv": ("agent",), "name": name, "folder": "/w", "log": "/w/log", "seconds": 3600.0}
    return AllocationRequest(**base | more)


def queued(*, nodes: int = 1, count: int = 1) -> Allocations:
    book = Allocations()
    for number in range(1, count + 1):
        pilot = book.ask(wanted(f"pf-{number}", nodes=nodes), 0.0)
        book.answered(pilot.key, Taken(f"{100 + number}"), 0.0)
    return book


def run(book: Allocations, now: float = 10.0, **more: Any) -> None:
    assert isinstance(book.due(now), Inspect)
    book.looked({pilot.id: Seen(State.RUNNING, **more) for pilot in book.living}, now)


def test_all_are_asked_about_at_once() -> None:
    book = queued(count=3)
    assert book.due(book.next_at) == Inspect(("101", "102", "103"))


def test_nothing_is_asked_while_an_answer_is_awaited() -> None:
    book = queued()
    assert book.due(10.0) is not None
    assert book.due(1e9) is None
    assert book.next_at == math.inf


def test_a_book_without_living_allocations_asks_nothing() -> None:
    assert Allocations().next_at == math.inf
    book = queued()
    book.looked({"101": Seen(State.ENDED)}, 5.0)
    assert book.due(1e9) is None


def test_questions_are_ten_seconds_apart_while_something_may_start() -> None:
    book = queued()
    assert book.next_at == 10.0
    assert book.due(9.9) is None
    assert book.due(10.0) is not None
    book.looked({"101": Seen(State.QUEUED)}, 12.0)
    assert book.next_at == 22.0


def test_what_has_waited_for_long_is_asked_about_less_often() -> None:
    book = queued()
    book.looked({"101": Seen(State.QUEUED)}, 600.0)
    assert book.next_at == 630.0
    book.looked({"101": Seen(State.QUEUED)}, 86_400.0)
    assert book.next_at == 86_460.0


def test_once_all_agents_have_joined_a_minute_lies_between_questions() -> None:
    book = queued(nodes=2)
    run(book)
    book.joined(1, "n1", 11.0)
    assert book.next_at == 20.0
    book.joined(1, "n2", 11.0)
    assert book.next_at == 70.0


def test_a_system_that_is_away_is_asked_less_and_less_often() -> None:
    book, now, waits = queued(), 10.0, []
    for _ in range(9):
        assert book.due(now) is not None
        book.looked(AWAY, now)
        waits.append(book.next_at - now)
        now = book.next_at
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert book.away == AWAY.why
    assert [pilot.state for pilot in book] == [State.QUEUED]
    book.due(now)
    book.looked({"101": Seen(State.QUEUED)}, now)
    assert book.away is None
    assert book.next_at <= now + 60


def test_what_the_system_tells_is_in_the_book() -> None:
    book = queued()
    run(book, nodes="n[1-2]", starts_at=8.0, ends_at=3608.0)
    assert (book[1].nodes, book[1].starts_at, book[1].ends_at) == ("n[1-2]", 8.0, 3608.0)


def test_where_the_system_tells_no_end_it_is_reckoned() -> None:
    book = queued()
    run(book)
    assert (book[1].starts_at, book[1].ends_at) == (10.0, 3610.0)
    run(book, 20.0)
    assert (book[1].starts_at, book[1].ends_at) == (10.0, 3610.0)


def test_an_agent_that_joins_is_believed_before_the_system() -> None:
    book = queued()
    book.joined(1, "n1", 3.0)
    assert (book[1].state, book[1].starts_at, book[1].ends_at) == (State.RUNNING, 3.0, 3603.0)
    book.looked({"101": Seen(State.GONE)}, 1000.0)
    assert book[1].state is State.RUNNING


def test_one_that_ends_without_its_agents_tells_why_and_where_to_look() -> None:
    book = queued()
    book.looked({"101": Seen(State.FAILED, "NODE_FAIL")}, 30.0)
    assert book[1].failure == (
        "allocation 101 ended before any agent of it had joined: NODE_FAIL; what it printed is in /w/log"
    )
    assert book[1].failed_at == 30.0


def test_one_whose_agents_never_join_is_not_silently_waited_for() -> None:
    book = queued()
    run(book)
    run(book, 309.0)
    assert not book[1].failure
    run(book, 400.0)
    assert "has run for 300s, and no agent of it has joined" in book[1].failure
    book.joined(1, "n1", 401.0)
    assert not book[1].failure


def test_one_that_ends_after_its_agents_had_joined_is_no_failure() -> None:
    book = queued()
    book.joined(1, "n1", 5.0)
    book.left(1, "n1")
    book.looked({"101": Seen(State.ENDED, "TIMEOUT")}, 4000.0)
    assert (book[1].state, book[1].failure, book[1].agents) == (State.ENDED, "", ())


def test_one_that_can_never_start_is_a_failure_at_once() -> None:
    book = queued()
    book.looked({"101": Seen(State.STUCK, "PartitionTimeLimit")}, 10.0)
    assert book[1].failure == "allocation 101 can never start as it was asked for: PartitionTimeLimit"
    assert book.living


def test_an_unknown_id_just_after_submission_means_nothing_yet() -> None:
    book = queued()
    book.looked({"101": Seen(State.GONE)}, 59.0)
    assert [pilot.state for pilot in book] == [State.QUEUED]
    book.looked({"101": Seen(State.GONE)}, 60.0)
    assert [pilot.state for pilot in book] == [State.GONE]


def test_a_refusal_is_kept_with_the_words_of_the_system() -> None:
    book = Allocations()
    book.ask(wanted(), 0.0)
    book.answered(1, Refused("Invalid partition", full=True), 1.0)
    assert (book[1].state, book[1].temporary) == (State.REFUSED, True)
    assert book[1].failure == "allocation pf-1 was refused: Invalid partition"
    assert book.next_at == math.inf


def test_a_submission_that_surely_did_not_arrive_is_over() -> None:
    book = Allocations()
    book.ask(wanted(), 0.0)
    book.answered(1, AWAY, 1.0)
    assert (book[1].state, book[1].temporary, book.away) == (State.REFUSED, True, AWAY.why)


def lost() -> Allocations:
    book = Allocations()
    book.ask(wanted(), 0.0)
    book.answered(1, Away("Socket timed out", maybe=True), 1.0)
    return book


def test_a_submission_that_may_have_arrived_is_looked_for_by_its_name() -> None:
    book = lost()
    assert book.due(5.0) is None
    assert book.due(11.0) == Find(1, "pf-1")
    book.found(1, Taken("101"), 12.0)
    assert (book[1].id, book[1].state) == ("101", State.QUEUED)
    assert book.due(book.next_at) == Inspect(("101",))


def test_one_that_is_not_found_for_a_minute_never_arrived() -> None:
    book = lost()
    book.due(11.0)
    book.found(1, None, 12.0)
    assert book[1].state is State.ASKED
    assert book.next_at == 22.0
    book.due(61.0)
    book.found(1, None, 61.0)
    assert (book[1].state, book[1].reason) == (State.REFUSED, "it did not arrive (Socket timed out)")


def test_one_that_was_lost_is_known_again_when_its_agent_joins() -> None:
    book = lost()
    book.joined(1, "n1", 20.0, "101")
    assert book.by_id("101") == book[1]
    assert isinstance(book.due(1000.0), Inspect)


def test_cancelling_comes_before_all_other_questions_and_is_repeated() -> None:
    book = queued(count=2)
    book.cancel(2)
    assert book.due(1.0) == Revoke(("102",))
    book.told_to_end(["102"], None, 2.0)
    assert book.due(10.0) == Inspect(("101", "102"))
    book.looked({"101": Seen(State.QUEUED), "102": Seen(State.RUNNING)}, 62.0)
    assert book.due(62.0) == Revoke(("102",))
    book.told_to_end(["102"], None, 62.0)
    book.looked({"102": Seen(State.ENDED, "CANCELLED")}, 70.0)
    assert book[2].state is State.ENDED
    assert not book[2].failure


def test_one_whose_id_is_not_known_yet_is_cancelled_when_it_is() -> None:
    book = Allocations()
    book.ask(wanted(), 0.0)
    book.cancel(1)
    assert book.due(1.0) is None
    book.answered(1, Taken("101"), 2.0)
    assert book.due(2.0) == Revoke(("101",))


def test_a_cancel_that_could_not_be_sent_is_sent_again() -> None:
    book = queued()
    book.cancel(1)
    book.due(0.0)
    book.told_to_end(["101"], AWAY, 0.0)
    assert book.due(9.0) is None
    assert book.due(10.0) == Revoke(("101",))


def test_changes_come_out_once() -> None:
    book = Allocations()
    book.ask(wanted(), 0.0)
    assert [pilot.state for pilot in book.changed()] == [State.ASKED]
    assert book.changed() == []
    book.answered(1, Taken("101"), 0.0)
    book.looked({"101": Seen(State.QUEUED)}, 10.0)
    assert [pilot.id for pilot in book.changed()] == ["101"]
    book.looked({"101": Seen(State.QUEUED)}, 20.0)
    assert book.changed() == []


def again(book: Iterable[Pilot]) -> Allocations:
    """As after a crash: only what was kept is known."""
    kept = msgspec.json.encode(list(book))
    return Allocations(msgspec.json.decode(kept, type=list[Pilot]))


def test_a_later_book_looks_and_cancels_at_once_and_finds_what_was_not_answered() -> None:
    book = queued(count=2)
    book.ask(wanted("pf-3"), 50.0)
    book.cancel(2)
    later = again(book)
    assert later.next_key == 4
    assert later.due(51.0) == Revoke(("102",))
    later.told_to_end(["102"], None, 51.0)
    assert later.due(51.0) == Find(3, "pf-3")
    later.found(3, Taken("103"), 51.0)
    assert later.due(61.0) == Inspect(("101", "102", "103"))


class World:
    """A batch system as bad as it can be: it answers or not, and what it did it did."""

    def __init__(self, book: Allocations) -> None:
        self.book = book
        self.alive: dict[str, str] = {}
        self.count = 100

    def submit(self, outcome: str, now: float) -> None:
        pilot = self.book.ask(wanted(f"pf-{self.book.next_key}"), now)
        if outcome in {"taken", "lost"}:
            self.count += 1
            self.alive[str(self.count)] = pilot.wanted.name
        answers: dict[str, Submission] = {"taken": Taken(str(self.count)), "refused": Refused("no"), "away": AWAY}
        if outcome != "crash":
            self.book.answered(pilot.key, answers.get(outcome, Away("lost", maybe=True)), now)

    def perform(self, action: Action, now: float, *, away: bool) -> None:
        match action:
            case Inspect(ids):
                seen = {job: Seen(State.QUEUED if job in self.alive else State.GONE) for job in ids}
                self.book.looked(AWAY if away else seen, now)
            case Find(key, name):
                found = [Taken(job) for job, called in self.alive.items() if called == name]
                self.book.found(key, AWAY if away else found[0] if found else None, now)
            case Revoke(ids):
                for job in () if away else ids:
                    self.alive.pop(job, None)
                self.book.told_to_end(ids, AWAY if away else None, now)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["taken", "refused", "away", "lost", "crash", "restart", "cancel", "turn", "turn away"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS)
def test_nothing_that_lives_in_the_system_is_ever_out_of_reach(steps: list[tuple[str, int]]) -> None:
    world, now = World(Allocations()), 0.0
    for word, number in steps:
        now += 7.0
        match word:
            case "restart":
                world.book = again(world.book)
            case "cancel":
                keys = [pilot.key for pilot in world.book]
                if keys:
                    world.book.cancel(keys[number % len(keys)])
            case "turn" | "turn away":
                if action := world.book.due(now):
                    world.perform(action, now, away=word == "turn away")
            case _:
                world.submit(word, now)
                if word == "crash":
                    world.book = again(world.book)
        reachable = {pilot.wanted.name for pilot in world.book.living}
        assert set(world.alive.values()) <= reachable
    for pilot in world.book:
        world.book.cancel(pilot.key)
    while (now := max(now, world.book.next_at)) < math.inf:
        action = world.book.due(now)
        assert action is not None
        world.perform(action, now, away=False)
    assert world.alive == {}
    assert not world.book.living


@pytest.mark.parametrize("state", list(State))
def test_only_what_is_over_is_final(state: State) -> None:
    assert state.final == (state in {State.ENDED, State.FAILED, State.GONE, State.REFUSED})
