"""A broker and a run's allocation with a scripted batch system: every answer, in any order, lost or late."""

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pilotfish.agent.pilots import Pilots, allocation_suffix, meet, with_agents
from pilotfish.batch.broker import Broker, read_book
from pilotfish.batch.dialect import AllocationRequest, Away, Errand, Output, Refused, Seen, State, Submission, Taken
from pilotfish.errors import BusyError, UserError
from pilotfish.model.events import Draining

# ruff: noqa: ARG002 - a script does not look at what it is asked

PATIENCE = 20.0


class Scripted:
    """A `Dialect` of a system that answers what a test says; each command appends a word to a file."""

    name = "scripted"
    chains = True

    def __init__(self, folder: Path) -> None:
        self.asked = folder / "asked"
        self.answer: Submission = Taken("7")
        self.state = Seen(State.QUEUED)
        self.known: Taken | Away | None = None
        self.told: Away | None = None

    def _errand(self, word: str) -> Errand:
        return Errand(("sh", "-c", f"echo {word} >> {self.asked}"))

    @property
    def words(self) -> list[str]:
        return self.asked.read_text().split() if self.asked.exists() else []

    def submit(self, wanted: AllocationRequest) -> Errand:
        if wanted.nodes > 9:
            raise UserError("scripted has no word for 10 nodes")
        return self._errand("submit")

    def submitted(self, output: Output) -> Submission:
        assert output.code == 0
        return self.answer

    def rehearse(self, wanted: AllocationRequest) -> Errand | None:
        return None

    def rehearsed(self, output: Output) -> str | Refused | Away:
        raise NotImplementedError

    def look(self, ids: Sequence[str]) -> Errand:
        return self._errand("look")

    def seen(self, ids: Sequence[str], output: Output) -> Mapping[str, Seen] | Away:
        return dict.fromkeys(ids, self.state)

    def find(self, name: str) -> Errand:
        return self._errand("find")

    def found(self, name: str, output: Output) -> Taken | Away | None:
        return self.known

    def cancel(self, ids: Sequence[str]) -> Errand:
        return self._errand("cancel")

    def cancelled(self, output: Output) -> Away | None:
        return self.told


def wanted(**more: Any) -> AllocationRequest:
    base: dict[str, Any] = {"argv": (), "name": "pf-1", "folder": "/", "log": "/log", "seconds": 600.0}
    return AllocationRequest(**base | more)


@pytest.fixture
def system(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


def broker(system: Scripted, folder: Path) -> Broker:
    return Broker(system, folder / "book.json", os.environ)


class Run:
    """A run's allocation, whose clock runs a hundred times as fast."""

    def __init__(self, system: Scripted, folder: Path, **more: Any) -> None:
        self.pilots = Pilots(lambda: broker(system, folder), wanted(**more))
        self.pilots.go(lambda: folder / "join")
        self.began = time.time()
        self.said: list[str] = []
        self.drained = False

    def until(self, condition: Callable[[], object], connected: Collection[str] = ()) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.said
            for news in self.pilots.supervise(connected, self.began + (time.time() - self.began) * 100):
                if isinstance(news, str):
                    self.said.append(news)
                else:
                    assert news == Draining(kill=True)
                    self.drained = True
            time.sleep(0.005)


# the broker


def test_it_is_in_the_book_before_the_command_leaves(system: Scripted, tmp_path: Path) -> None:
    first = broker(system, tmp_path)
    key = first.ask(wanted(), 0.0)
    assert [(pilot.key, pilot.state) for pilot in read_book(tmp_path / "book.json")[1]] == [(key, State.ASKED)]
    assert list(first.settle(lambda: 1.0)) == []
    assert [pilot.id for pilot in read_book(tmp_path / "book.json")[1]] == ["7"]
    first.close()


def test_one_of_which_nothing_was_heard_is_found_by_the_next(system: Scripted, tmp_path: Path) -> None:
    first = broker(system, tmp_path)
    key = first.ask(wanted(), 0.0)
    first.close()
    system.known = Taken("8")
    later = broker(system, tmp_path)
    list(later.step(1.0))
    list(later.settle(lambda: 1.0))
    assert (later.book[key].id, later.book[key].state) == ("8", State.QUEUED)
    later.close()


def test_one_that_never_arrived_is_told_once(system: Scripted, tmp_path: Path) -> None:
    system.answer = Away("the answer was lost", maybe=True)
    asking = broker(system, tmp_path)
    asking.ask(wanted(), 0.0)
    said = list(asking.settle(lambda: 1.0))
    assert said == ["scripted is away: the answer was lost"]
    for now in range(100):
        said += [*asking.step(float(now)), *asking.settle(lambda now=now: float(now))]  # type: ignore[misc]
    assert said[1:] == ["scripted is back", "allocation pf-1 was refused: it did not arrive (the answer was lost)"]
    assert not asking.book.living
    asking.close()


def test_who_only_asks_does_not_judge_what_was_asked_for_before(system: Scripted, tmp_path: Path) -> None:
    """It does not know whose agents had joined."""
    system.state = Seen(State.ENDED)
    asking = broker(system, tmp_path)
    for now in (0.0, 1000.0):
        asking.ask(wanted(), now)
        assert list(asking.settle(lambda now=now: now)) == []  # type: ignore[misc]
    assert system.words == ["submit", "submit"]
    asking.close()


def test_what_the_system_has_no_word_for_is_not_left_in_the_book(system: Scripted, tmp_path: Path) -> None:
    asking = broker(system, tmp_path)
    with pytest.raises(UserError, match="no word for 10 nodes"):
        asking.ask(wanted(nodes=10), 0.0)
    assert list(asking.book) == []
    asking.close()


def test_two_cannot_keep_one_book(system: Scripted, tmp_path: Path) -> None:
    first = broker(system, tmp_path)
    with pytest.raises(BusyError, match=r"another process asks for the allocations of .*book\.json"):
        broker(system, tmp_path)
    first.close()
    broker(system, tmp_path).close()


def test_a_file_that_is_no_book_is_named(tmp_path: Path) -> None:
    (tmp_path / "book.json").write_text("{}")
    with pytest.raises(UserError, match=r"book\.json does not tell of allocations"):
        read_book(tmp_path / "book.json")


# whose agents are here


def test_agents_are_known_by_the_end_of_their_names(system: Scripted, tmp_path: Path) -> None:
    asking = broker(system, tmp_path)
    keys = []
    for number in ("12", "2.server-1.site"):
        system.answer = Taken(number)
        keys.append(asking.ask(wanted(), 0.0))
        list(asking.settle(lambda: 1.0))
    here = meet(asking.book, ["n1-12", f"n-2{allocation_suffix('2.server-1.site')}", "n-112", "login"], 2.0)
    assert here == {keys[0]: {"n1-12"}, keys[1]: {"n-2-2"}}
    assert [pilot.agents for pilot in asking.book] == [("n1-12",), ("n-2-2",)]
    meet(asking.book, [], 3.0)
    assert [pilot.agents for pilot in asking.book] == [(), ()]
    asking.close()


def test_agents_are_told_where_to_go_and_what_nobody_else_knows() -> None:
    asked = with_agents(wanted(argv=("--label=fast",)), Path("/c/join")).argv
    assert asked[1:] == ("-m", "pilotfish", "agent", "--join", "/c/join", "--each-node", "--label=fast")


# a run's own


def test_each_step_is_told_once(system: Scripted, tmp_path: Path) -> None:
    run = Run(system, tmp_path, nodes=2)
    run.until(lambda: run.said)
    system.state = Seen(State.QUEUED, "Priority")
    run.until(lambda: len(run.said) == 2)
    system.state = Seen(State.RUNNING, nodes="n[1-2]")
    run.until(lambda: len(run.said) == 3)
    run.until(lambda: system.words.count("look") > 4, ["n1-7", "n2-7"])
    system.state = Seen(State.ENDED, "TIMEOUT")
    run.until(lambda: len(run.said) == 4, ["n2-7"])
    assert not run.drained, "an agent is still here"
    run.until(lambda: run.drained)
    assert run.said == [
        "allocation 7 is in the queue",
        "allocation 7 is in the queue (Priority)",
        "allocation 7 runs on n[1-2]",
        "allocation 7 is over (TIMEOUT)",
    ]
    run.pilots.end(0.0)
    assert "cancel" not in system.words


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Seen(State.STUCK, "PartitionNodeLimit"), "can never start as it was asked for: PartitionNodeLimit"),
        (Seen(State.RUNNING), "has run for 300s, and no agent of it has joined; what it printed is in /log"),
    ],
)  # fmt: skip
def test_one_that_comes_to_nothing_is_given_back(system: Scripted, tmp_path: Path, state: Seen, said: str) -> None:
    system.state = state
    run = Run(system, tmp_path)
    run.until(lambda: run.drained)
    assert run.said.count(f"allocation 7 {said}") == 1
    run.until(lambda: "cancel" in system.words)
    run.pilots.end(0.0)
    assert [pilot.cancelled for pilot in read_book(tmp_path / "book.json")[1]] == [True]


def test_a_refusal_ends_the_run(system: Scripted, tmp_path: Path) -> None:
    system.answer = Refused("no such partition")
    run = Run(system, tmp_path)
    run.until(lambda: run.drained)
    assert run.said == ["allocation pf-1 was refused: no such partition"]
    run.pilots.end(0.0)
    assert system.words == ["submit"]


def test_the_next_run_takes_what_lives_and_not_what_is_to_end(system: Scripted, tmp_path: Path) -> None:
    first = broker(system, tmp_path)
    first.ask(wanted(), time.time())
    list(first.settle(time.time))
    first.close()
    second = Run(system, tmp_path)
    second.until(lambda: second.said)
    assert system.words.count("submit") == 1
    second.pilots.end(0.0)
    assert "cancel" in system.words
    third = Run(system, tmp_path)
    third.until(lambda: system.words.count("submit") == 2)
    third.pilots.end(0.0)


def test_a_run_gets_its_own_where_that_of_the_run_before_is_over(system: Scripted, tmp_path: Path) -> None:
    first = broker(system, tmp_path)
    first.ask(wanted(), time.time() - 3600)
    list(first.settle(time.time))
    first.close()
    system.state, system.answer = Seen(State.GONE), Taken("8")
    run = Run(system, tmp_path)
    run.until(lambda: system.words.count("submit") == 2)
    system.state = Seen(State.RUNNING)
    run.until(lambda: "allocation 8 runs" in run.said)
    assert not run.drained
    run.pilots.end(0.0)


def test_an_end_that_cannot_be_told_is_told_to_the_user(
    system: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pilotfish.agent.pilots._GOODBYE", 0.2)
    run = Run(system, tmp_path)
    run.until(lambda: run.said)
    system.told = Away("no controller")
    run.pilots.end(0.0)
    said = capsys.readouterr().err
    assert "scripted is away: no controller" in said
    assert "allocation 7 could not be given back: `pilotfish alloc cancel --all`" in said
