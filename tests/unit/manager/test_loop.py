"""The manager's order of things: nothing leaves before it is durable, nothing is acknowledged before it is recorded."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec
import pytest

from pilotfish import __version__
from pilotfish.manager.loop import Manager
from pilotfish.manager.vigil import Vigil
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Change, Settle, Submit
from pilotfish.model.events import Cancelled, Command, Event, Grown, Revived
from pilotfish.model.jobs import Job, JobSpec
from pilotfish.model.messages import Answer, Ask, Frame, Hello, Message, Reports, Start, Stop, Welcome
from pilotfish.model.resources import Inventory
from pilotfish.model.states import Outcome, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore
from pilotfish.transport.base import Connection
from tests.contracts.builders import grow, submit_calls

HELLO = Hello(__version__, "n", 1, Inventory((0,), 2**30), (), ())
ATTEMPT = AttemptId(1, 0, 1, 1)
REPORT = Report(ATTEMPT, 0, Outcome.exited, 0, 1.0, 2.0, 0.0, 0)


class SlowStore(MemoryStore):
    """Makes nothing durable before it is told to."""

    def commit(self, changes: Sequence[Change]) -> int:
        before = self.durable
        ticket = super().commit(changes)
        self.durable, self.due = before, ticket
        return ticket

    def finish(self) -> None:
        self.durable = self.due


class Wire:
    """The agent's end of a connection, as the manager's loop sees it; and the listener that has only this one."""

    unsent = False

    def __init__(self) -> None:
        self.arriving: list[Frame] = []
        self.sent: list[Frame] = []
        self.number = 1

    def say(self, message: Message) -> None:
        self.arriving.append(Frame(self.number, 0, (message,)))
        self.number += 1

    @property
    def calls(self) -> list[bytes]:
        """Arguments of all calls that were started."""
        starts = [message for frame in self.sent for message in frame.messages if isinstance(message, Start)]
        return [call for start in {start.lo: start for start in starts}.values() for call in start.calls]

    def told(self, kind: type[Message]) -> bool:
        return any(isinstance(message, kind) for frame in self.sent for message in frame.messages)

    @property
    def handled(self) -> int:
        return max((frame.handled for frame in self.sent), default=0)

    def poll(self, timeout: float | None, awake: float = 0.0) -> list[tuple[Connection, Sequence[Frame] | None]]:  # noqa: ARG002 - no waiting
        frames, self.arriving = self.arriving, []
        if self.told(Stop):
            return [(self, None)]
        return [(self, frames)] if frames else []

    def fileno(self) -> int:
        return 0

    def receive(self) -> Sequence[Frame]:
        return ()

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def wake(self) -> None: ...


class Fork(Wire):
    """A wire whose listener has a second one."""

    def __init__(self, other: Wire) -> None:
        super().__init__()
        self.other = other

    def poll(self, timeout: float | None, awake: float = 0.0) -> list[tuple[Connection, Sequence[Frame] | None]]:
        return [*super().poll(timeout, awake), *self.other.poll(timeout, awake)]


class Silent:
    """An observer that says nothing."""

    def recorded(self, changes: Sequence[Change]) -> None: ...

    def note(self, text: str) -> None: ...

    def tick(self, now: float) -> None: ...


def answer(ask: Ask, now: float, tell: Callable[[Event], Sequence[Command]]) -> object:
    raise AssertionError((ask, now, tell))


def test_an_answer_leaves_when_what_was_decided_for_it_is_durable() -> None:
    store, wire, settings = SlowStore(), Wire(), Settings(resend_after=0.0)
    store.commit([Submit(Job(1, JobSpec(name="a", command="true", directory="/", cwd="/")))])
    store.finish()
    scheduler = Scheduler(settings, epoch=1)

    def cancel(_ask: Ask, _now: float, tell: Callable[[Event], Sequence[Command]]) -> object:
        return [type(command).__name__ for command in tell(Cancelled(1, 0, 1))]

    manager = Manager(store, scheduler, wire, settings=settings, observer=Silent(), answer=cancel)
    manager.restore(store.load(), {})
    answered: list[bool] = []

    def step(_now: float) -> tuple[()]:
        answered.append(wire.told(Answer))
        if len(answered) == 1:
            wire.say(Ask("wish", {}))
        elif len(answered) == 4:
            store.finish()
        return ()

    manager.run(step)
    assert answered == [False] * 4, "the answer left before the change was durable"
    assert wire.told(Answer)


def test_a_value_that_tasks_share_is_durable_before_anybody_hears_of_it() -> None:
    store, wire, settings = SlowStore(), Wire(), Settings(resend_after=0.0)
    manager = Manager(store, Scheduler(settings, epoch=1), wire, settings=settings, observer=Silent(), answer=answer)
    answered: list[bool] = []

    def step(_now: float) -> tuple[()]:
        answered.append(wire.told(Answer))
        if len(answered) == 1:
            wire.say(Ask("value-add", {"key": "n", "by": 1}))
        elif len(answered) == 3:
            wire.say(Ask("value-read", {"key": "n"}))
        elif len(answered) == 6:
            store.finish()
        return ()

    manager.run(step, stays=lambda: len(answered) < 7)
    assert answered == [False] * 6 + [True]
    assert [put.value for put in store.load().values] == [1]


def test_nothing_leaves_and_nothing_is_acknowledged_before_it_is_durable() -> None:
    store, wire, settings = SlowStore(), Wire(), Settings(resend_after=0.0)
    store.commit([Submit(Job(1, JobSpec(name="a", command="true", directory="/", cwd="/")))])
    store.finish()
    scheduler = Scheduler(settings, epoch=1)
    manager = Manager(store, scheduler, wire, settings=settings, observer=Silent(), answer=answer)
    manager.restore(store.load(), {})
    seen: list[tuple[bool, int]] = []

    def step(_now: float) -> tuple[()]:
        """One step before each turn of the loop: what the agent says, what the disk does."""
        seen.append((wire.told(Start), wire.handled))
        turn = len(seen)
        if turn == 1:
            wire.say(HELLO)
        elif turn == 4:
            store.finish()
        elif turn == 6:
            wire.say(Reports((REPORT,)))
        elif turn == 9:
            store.finish()
        return ()

    manager.run(step)
    started = [told for told, _ in seen]
    assert started[:4] == [False] * 4, "a start left before its grant was durable"
    assert started[4], "a durable grant was not sent"
    assert {handled for _, handled in seen[:9]} <= {0, 1}, "a report was acknowledged before it was recorded"
    assert wire.handled == 2


def ended(position: int, code: int, *, number: int = 1) -> Report:
    return Report(AttemptId(1, position, number, 1), 0, Outcome.exited, code, 1.0, 2.0, 0.0, 0)


def test_calls_are_started_with_their_arguments_also_by_a_new_manager_and_after_they_had_failed() -> None:
    store, wire, settings = MemoryStore(), Wire(), Settings(resend_after=0.0)
    store.commit([submit_calls(), grow(0, b"done", b"open", b"failed")])
    store.commit([Settle(ended(0, 0), "n", TaskState.succeeded, charged=True)])
    store.commit([Settle(ended(2, 1), "n", TaskState.failed, charged=True)])
    wanted: list[Event] = []

    def take() -> list[Event]:
        events = list(wanted)
        wanted.clear()
        return events

    scheduler = Scheduler(settings, epoch=1)
    manager = Manager(store, scheduler, wire, settings=settings, observer=Silent(), answer=answer, inbox=take)
    manager.restore(store.load(), {})
    steps: Iterator[tuple[Callable[[], None], list[bytes]]] = iter((
        (lambda: wire.say(HELLO), [b"open"]),
        (lambda: wire.say(Reports((ended(1, 0),))), [b"open"]),
        (lambda: wanted.append(Revived(1, 0, 3)), [b"open", b"failed"]),
        (lambda: wire.say(Reports((ended(2, 0, number=2),))), [b"open", b"failed"]),
        (lambda: wanted.append(Grown(1, (b"new",))), [b"open", b"failed", b"new"]),
        (lambda: wire.say(Reports((ended(3, 0),))), [b"open", b"failed", b"new"]),
    ))  # fmt: skip
    seen: list[tuple[list[bytes], list[bytes]]] = []
    expected: list[bytes] = []
    left = 6

    def step(_now: float) -> tuple[()]:
        nonlocal expected, left
        if wire.calls == expected and (following := next(steps, None)) is not None:
            do, expected = following
            do()
            left -= 1
        seen.append((wire.calls, expected))
        assert len(seen) < 1000, seen[-1]
        return ()

    manager.run(step, stays=lambda: left > 0)
    assert wire.calls == [b"open", b"failed", b"new"]


@pytest.mark.parametrize(("calls", "lone"), [(1, 1), (2, 0)])
def test_the_start_of_a_lone_call_is_told(monkeypatch: pytest.MonkeyPatch, calls: int, lone: int) -> None:
    starts: list[float] = []
    monkeypatch.setattr(Vigil, "started", lambda _, now: starts.append(now))
    store, wire, settings = MemoryStore(), Wire(), Settings()
    store.commit([submit_calls(), grow(0, *[b"call"] * calls)])
    manager = Manager(store, Scheduler(settings, epoch=1), wire, settings=settings, observer=Silent(), answer=answer)
    manager.restore(store.load(), {})
    hello = Hello(__version__, "n", 1, Inventory((0, 1), 2**30), (), ())
    ends = [msgspec.structs.replace(ended(position, 0), lane=position) for position in range(calls)]
    said: Iterator[Message] = iter([hello, Ask("value-add", {"key": "n", "by": 1}), Reports(tuple(ends))])

    def step(_now: float) -> tuple[()]:
        for message in islice(said, 1):
            wire.say(message)
        return ()

    manager.run(step)
    assert len(wire.calls) == calls
    assert wire.told(Answer)
    assert len(starts) == lone


def test_what_an_agent_said_before_is_not_believed_after_what_it_said_later() -> None:
    slow, settings = Wire(), Settings()
    wire = Fork(slow)
    scheduler = Scheduler(settings, epoch=1)
    manager = Manager(MemoryStore(), scheduler, wire, settings=settings, observer=Silent(), answer=answer)
    steps: list[float] = []

    def step(now: float) -> tuple[()]:
        steps.append(now)
        if len(steps) == 1:
            wire.arriving.append(Frame(1, 0, (HELLO,), sent=7.0))
        elif len(steps) == 2:
            slow.arriving.append(Frame(1, 0, (HELLO,), sent=5.0))
        return ()

    manager.run(step, lambda: len(steps) < 4)
    assert wire.told(Welcome)
    assert not slow.told(Welcome)
