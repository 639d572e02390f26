"""What the desk of a server makes of its clients' questions: nothing twice, nothing wrong, no news for others."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.errors import UserError
from pilotfish.manager.desk import Desk
from pilotfish.manager.peers import Peer, Rota
from pilotfish.manager.requests import (
    Abandon,
    About,
    ClientQuestion,
    Enqueue,
    Extend,
    Farewell,
    Follow,
    News,
    Repeat,
    Tally,
    Tidings,
    Whereabouts,
    question_name,
)
from pilotfish.manager.schedules import Schedules
from pilotfish.model.changes import Change, Finish, Grow, Hold, Put, Submit
from pilotfish.model.events import Command, Event
from pilotfish.model.jobs import CallArray, Dependency, JobSpec, RangeArray
from pilotfish.model.messages import Answer, Ask, Frame, Progressed
from pilotfish.model.states import TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore
from pilotfish.transport.link import Link
from tests.contracts.builders import FUNCTION

NOWHERE = Path("/nowhere")


class Wire:
    """The end of a connection that nobody holds."""

    unsent = False

    def fileno(self) -> int:
        return -1

    def receive(self) -> Sequence[Frame]:
        return ()

    def send(self, frame: Frame) -> None:
        raise AssertionError(frame)

    def flush(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


class Silent:
    """Nobody watches."""

    def recorded(self, changes: Sequence[Change]) -> None:
        """Not interested."""

    def note(self, text: str) -> None:
        """Not interested."""

    def tick(self, now: float) -> None:
        """Not interested."""


class Server:
    """A desk with a scheduler and a store, and what is recorded."""

    def __init__(self, **limits: int) -> None:
        self.store = MemoryStore()
        self.recorded: list[Change] = []
        self.limits = limits
        self.restart()

    def restart(self) -> None:
        """As after a kill: only the store is left."""
        self.scheduler = Scheduler(Settings(), 1)
        self.desk = Desk(
            self.scheduler,
            self.store,
            NOWHERE,
            limits=self.limits,
            schedules=Schedules(self.store, self.write),
            observer=Silent(),
            lease=1.0,
        )

    def peer(self) -> Peer:
        return Peer(Wire(), Link(resend_after=1, heartbeat=1), Rota())

    def ask(self, question: ClientQuestion, peer: Peer | None = None) -> Any:
        answers: list[object] = []
        ask = Ask(question_name(question), msgspec.structs.asdict(question))
        self.desk.hear(peer or self.peer(), ask, tell=self.tell, record=self.record, reply=answers.append)
        return answers[0] if answers else None

    def tell(self, event: Event) -> Sequence[Command]:
        commands = self.scheduler.handle(event, 0.0)
        for command in commands:
            if isinstance(command, Grow | Finish | Hold):
                self.record(command)
        return commands

    def record(self, change: Change) -> None:
        self.recorded.append(change)
        self.store.commit([change])

    def write(self, key: str, value: bytes | None) -> None:
        self.record(Put(key, value, 1))

    def enter(self, *specs: JobSpec, origin: str = "c/1", **more: Any) -> list[int]:
        found: list[int] = self.ask(Enqueue(origin=origin, specs=tuple(map(msgspec.msgpack.encode, specs)), **more))
        return found

    def tell_recorded(self) -> None:
        self.desk.recorded(self.recorded)
        self.recorded.clear()


@pytest.fixture
def server() -> Server:
    return Server(licence=2)


def command(name: str, *after: str, **fields: Any) -> JobSpec:
    dependencies = tuple(Dependency(on) for on in after)
    return JobSpec(name=name, command="true", directory="/", cwd="/", after=dependencies, **fields)


def calls(name: str = "f") -> JobSpec:
    return JobSpec(name=name, command=(), function=FUNCTION, directory="/", cwd="/", array=CallArray())


def news(peer: Peer) -> list[Tidings]:
    frame = peer.link.outgoing(0.0)
    answers = [one.value for one in frame.messages if isinstance(one, Answer)] if frame is not None else []
    return [msgspec.msgpack.decode(answer, type=Tidings) for answer in answers]


def test_a_submission_that_is_made_twice_enters_once(server: Server) -> None:
    assert server.enter(command("b", "a"), command("a")) == [2, 1]
    assert server.enter(command("b", "a"), command("a")) == [2, 1]
    assert len([one for one in server.recorded if isinstance(one, Submit)]) == 2
    server.restart()
    assert server.enter(command("b", "a"), command("a")) == [2, 1], "also after a restart"
    assert server.enter(command("c"), origin="c/2") == [3]


def test_a_submission_cannot_become_another_one(server: Server) -> None:
    server.enter(command("a"))
    with pytest.raises(UserError, match="submission c/1 has entered already"):
        server.enter(command("b"))


def test_a_task_that_has_ended_needs_no_reason(server: Server) -> None:
    (job,) = server.enter(command("a"))
    server.ask(Abandon(job, 0, 1))
    assert server.ask(Whereabouts(job, 0)) == ["cancelled", ""]


def test_a_call_that_has_not_arrived_is_told_from_one_that_waits(server: Server) -> None:
    (job,) = server.enter(calls())
    for position in (0, 7):
        with pytest.raises(UserError, match=f"job {job} has no task {position}"):
            server.ask(Whereabouts(job, position))
    server.ask(Extend(job, 0, (b"call",)))
    assert server.ask(Whereabouts(job, 0))[0] == "ready"


def test_calls_that_are_added_twice_are_there_once(server: Server) -> None:
    (job,) = server.enter(calls())
    assert server.ask(Extend(job, 0, (b"a", b"b"))) == 2
    assert server.ask(Extend(job, 0, (b"a", b"b"))) == 2
    assert server.ask(Extend(job, 1, (b"b", b"c"))) == 3
    assert server.store.calls(job) == {0: b"a", 1: b"b", 2: b"c"}
    with pytest.raises(UserError, match="job 1 has 3 calls, and the next is not number 4"):
        server.ask(Extend(job, 4, (b"e",)))


def test_what_is_not_submitted_now_is_the_newest_of_its_name(server: Server) -> None:
    server.enter(command("a"), origin="c/1")
    server.enter(command("a"), origin="c/2")
    server.enter(command("b", "a", "1"), origin="c/3")
    server.enter(command("a", "a"), origin="c/4")
    found = {number: job.depends_on for number, job in server.scheduler.jobs.items()}
    assert found == {1: (), 2: (), 3: (2, 1), 4: (2,)}


def test_a_job_that_is_to_be_held_is_held_before_it_can_start(server: Server) -> None:
    (job,) = server.enter(command("a", hold=True, array=RangeArray(0, 3)))
    assert [one for one in server.recorded if isinstance(one, Hold)] == [
        Hold(job, 0, 3, reason="hold: true in its job file")
    ]
    assert server.scheduler.is_held(job, 2)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([command("a", "none")], "there is no job `none`"),
        ([command("a", uses={"seat": 1})], "a: uses.seat: the server has no such limit"),
        ([command("a", uses={"licence": 3})], "a: uses.licence: expected at most 2, the limit; got 3"),
        ([command("a"), command("a")], "a is also the name of"),
        ([command("a", "b"), command("b", "a")], "each of these waits for the next: a → b → a"),
    ],
)
def test_what_does_not_fit_is_refused_whole(server: Server, specs: list[JobSpec], message: str) -> None:
    with pytest.raises(UserError, match=message):
        server.enter(*specs)
    assert server.recorded == []
    assert server.enter(command("a")) == [1]


@pytest.mark.parametrize(
    "question",
    [
        Enqueue(origin="../..", specs=()),
        Enqueue(origin="c/2", specs=(b"no job",)),
        Follow("../..", ()),
        Follow("c", ((7, 0, 1),)),
        Farewell(""),
        Extend(7, 0, ()),
        Abandon(7, 0, 1),
        Whereabouts(7, 0),
        Whereabouts(1, 1),
        Whereabouts(1, -1),
        Abandon(1, -1, 1),
    ],
)
def test_nonsense_is_refused(server: Server, question: ClientQuestion) -> None:
    server.enter(command("a"))
    with pytest.raises(UserError):
        server.ask(question)


def test_ends_are_told_to_who_follows_and_to_nobody_else(server: Server) -> None:
    peers = {client: server.peer() for client in ("one", "two")}
    jobs = {client: server.enter(command(client), origin=f"{client}/1")[0] for client in peers}
    for client, peer in peers.items():
        server.ask(Follow(client, ()), peer)
        server.ask(News(), peer)
    server.ask(Abandon(jobs["one"], 0, 10**9))
    assert news(peers["one"]) == [], "it is not recorded yet"
    server.tell_recorded()
    (told,) = news(peers["one"])
    assert [(end.job, end.state) for end in told.finishes] == [(jobs["one"], TaskState.cancelled)]
    assert news(peers["two"]) == []
    server.desk.progressed(Progressed(jobs["two"], 0, 0.5, "half"))
    (told,) = news(peers["two"])
    assert told.progress == (Progressed(jobs["two"], 0, 0.5, "half"),)
    assert server.ask(Tally("one")) == {"cancelled": 1}


def test_who_comes_again_is_told_what_he_has_missed(server: Server) -> None:
    (job,) = server.enter(command("a", array=RangeArray(0, 250)))
    server.ask(Abandon(job, 10, 240))
    server.tell_recorded()
    peer = server.peer()
    assert server.ask(News(), peer) is None, "it does not follow yet"
    server.ask(Follow("c", ((job, 0, 10**9),)), peer)
    missed: list[int] = []
    while len(missed) < 230:
        server.ask(News(), peer)
        (told,) = news(peer)
        missed += [end.lo for end in told.finishes]
    assert missed == list(range(10, 240))
    server.ask(News(), peer)
    assert news(peer) == []


def test_who_leaves_waits_for_news_no_more(server: Server) -> None:
    peer = server.peer()
    server.ask(Follow("c", ()), peer)
    server.ask(News(), peer)
    server.ask(Farewell("c"))
    assert news(peer) == [Tidings()]
    server.desk.forget(peer)


def test_it_says_who_it_is(server: Server) -> None:
    assert server.ask(About())["limits"] == {"licence": 2}
    assert server.desk.new_job() == 1
    assert server.enter(command("a")) == [2]


def repeat(identity: str = "ab", schedule: str = "* * * * *", call: bytes = b"call", **fields: Any) -> Repeat:
    spec = msgspec.structs.replace(calls(), **fields)
    return Repeat(identity=identity, spec=msgspec.msgpack.encode(spec), call=call, schedule=schedule)


def come(server: Server, minutes: int) -> dict[int, dict[int, bytes]]:
    """Let so many minutes go by, but for those that nobody was asked in; all calls by job."""
    for event in server.desk.due(time.time() + 60 * minutes):
        server.tell(event)
    return {job: found for job in server.scheduler.jobs if (found := server.store.calls(job))}


def test_what_is_repeated_enters_at_its_times(server: Server) -> None:
    name, due = server.ask(repeat())
    assert name == "f"
    assert 0 < due - time.time() <= 60
    assert come(server, 0) == {}
    assert come(server, 5) == come(server, 5) == {1: {0: b"call"}}
    server.ask(Abandon(1, 0, 1))
    assert come(server, 9) == {1: {0: b"call", 1: b"call"}}


def test_nothing_enters_while_the_last_has_not_ended(server: Server) -> None:
    server.ask(repeat())
    assert come(server, 1) == come(server, 2) == {1: {0: b"call"}}
    server.ask(repeat(priority=3))
    assert come(server, 3) == {1: {0: b"call"}}, "also where another job has taken its place"
    server.ask(Abandon(1, 0, 1))
    assert come(server, 3) == {1: {0: b"call"}}, "the time has gone by"
    assert come(server, 4) == {1: {0: b"call"}, 2: {0: b"call"}}


def test_the_same_is_repeated_once_and_what_has_changed_takes_its_place(server: Server) -> None:
    assert [server.ask(repeat())[0] for _ in range(2)] == ["f", "f"]
    assert server.ask(repeat(schedule="*/5 * * * *"))[0] == "f"
    assert server.ask(repeat("cd"))[0] == "f-2"
    assert server.ask(repeat(priority=3))[0] == "f-3"
    assert {job.id: job.spec.name for job in server.scheduler.jobs.values()} == {1: "f", 2: "f-2", 3: "f-3"}
    assert server.enter(command("a")) == [4]
    assert come(server, 9) == {2: {0: b"call"}, 3: {0: b"call"}}
    assert server.ask(repeat())[0] == "f", "which it was before"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (repeat("../.."), "is no identity"),
        (repeat(schedule="* * * *"), "expected cron's five fields"),
        (repeat(uses={"seat": 1}), "the server has no such limit"),
        (Repeat(identity="ab", spec=b"no job", call=b"", schedule="* * * * *"), "is no job"),
    ],
)
def test_what_cannot_be_repeated_is_refused_whole(server: Server, question: Repeat, message: str) -> None:
    with pytest.raises(UserError, match=message):
        server.ask(question)
    assert server.recorded == []
    assert server.enter(command("a")) == [1]
