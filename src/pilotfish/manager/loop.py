"""The manager's one loop: what arrives becomes events, decisions become durable, then they leave.

Each turn hears everything that has arrived, asks the scheduler, gives all changes to the store as one
commit, and does what earlier commits allow: sends starts, acknowledges reports. Nothing leaves before
the change that it stands for is durable; nothing is acknowledged before it is recorded.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from pilotfish import __version__
from pilotfish.errors import PilotfishError
from pilotfish.faults import reached
from pilotfish.functions import family, line
from pilotfish.manager.notify import Observer
from pilotfish.manager.offspring import Offspring
from pilotfish.manager.peers import Peer, messages_for
from pilotfish.manager.talk import Talk
from pilotfish.model.changes import Cancel, Change, Finish, Grant, Grow, Hold, Release, Revive, Settle, Snapshot
from pilotfish.model.events import (
    Command,
    Draining,
    Ended,
    Event,
    Kill,
    Limited,
    NodeJoined,
    NodeLost,
    Restored,
    Retract,
    Returned,
    WakeAt,
    Woken,
)
from pilotfish.model.jobs import Span
from pilotfish.model.messages import (
    Answer,
    Ask,
    Frame,
    Hello,
    Message,
    Note,
    Progressed,
    Refusal,
    Reports,
    Started,
    Stop,
    TakenBack,
    Welcome,
)
from pilotfish.model.states import FINAL
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.base import Store
from pilotfish.transport.base import Connection, Listener
from pilotfish.transport.link import Link

__all__ = ["Manager"]

_LONGEST_WAIT = 0.5
"""Seconds between two looks at the observer and at leases when nothing happens."""


def _ignore(_progress: Progressed) -> None:
    """Nobody watches."""


class _Batch(msgspec.Struct):
    """What may happen once the ticket is durable."""

    ticket: int
    changes: Sequence[Change]
    sends: Sequence[tuple[Peer, Command | Answer]]
    acknowledge: Sequence[tuple[Peer, int]]


class Manager:
    """Owns one campaign's queue from opening to its end.

    Args:
        store: opened, with its epoch; closed by the caller.
        scheduler: fresh, of the same epoch.
        listener: where agents and clients connect; closed by the caller.
        settings: leases and heartbeats.
        observer: is told what is recorded.
        answer: answers a client's question by name, or grants its wish through the function that it is given, which
            lets an event happen; raises PilotfishError to refuse it, before any such event. The answer leaves when
            all that was decided until then is durable.
        inbox: asked each turn what this process itself wants to happen.
        progressed: is told by running tasks how far they have come.
        new_job: a number for a job that tasks submit; None: the first that is free in the store.

    """

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        listener: Listener,
        *,
        settings: Settings,
        observer: Observer,
        answer: Callable[[Ask, float, Callable[[Event], Sequence[Command]]], object],
        inbox: Callable[[], Iterable[Event]] = tuple,
        progressed: Callable[[Progressed], None] = _ignore,
        new_job: Callable[[], int] | None = None,
    ) -> None:
        """Connect the parts; nothing happens before `run`."""
        self._store, self._scheduler, self._listener = store, scheduler, listener
        self._settings, self._observer, self._answer, self._inbox = settings, observer, answer, inbox
        self._progressed = progressed
        self._peers: dict[Connection, Peer] = {}
        self._agents: dict[str, Peer] = {}
        self._absent: dict[str, float] = {}
        """Nodes that hold grants and are not connected, with the end of their lease."""
        self._calls: dict[int, dict[int, bytes]] = {}
        """Arguments of calls that have not ended, by job and position."""
        self._changes: list[Change] = []
        self._sends: list[tuple[Peer, Command | Answer]] = []
        self._heard: dict[Peer, int] = {}
        self._batches: deque[_Batch] = deque()
        self._ticket = 0
        self._talk = Talk(store.epoch, self._record)
        self._offspring = Offspring(scheduler, store, self._talk, record=self._record, new_job=new_job)
        self._wake_at: float | None = None
        self._wish: tuple[Draining, str] | None = None
        self._draining = False
        self._trouble: str | None = None

    @property
    def agents(self) -> Sequence[str]:
        """Nodes whose agents are connected now."""
        return tuple(self._agents)

    def restore(self, snapshot: Snapshot, limits: Mapping[str, int]) -> None:
        """Take up what the store knows; nodes that hold grants get a lease to come back in.

        Args:
            snapshot: of the store.
            limits: the named limits of the queue.

        """
        now = time.time()
        self._tell(Limited(dict(limits)), now)
        for grant in snapshot.grants:
            self._absent[grant.node] = now + self._settings.lease
        self._talk.restore(snapshot.values)
        self._tell(Restored(snapshot), now)
        for job in [submit.job for submit in snapshot.submits if submit.job.spec.function is not None]:
            states = self._scheduler.states(job.id)
            calls = self._store.calls(job.id).items()
            self._calls[job.id] = {position: one for position, one in calls if states[position] not in FINAL}

    def drain(self, wish: Draining, why: str) -> None:
        """Ask for a drain; may be called from a signal handler, takes effect in the next turn, when `why` is noted."""
        self._wish = wish, why
        self._listener.wake()

    def run(self, supervise: Callable[[float], str | None], stays: Callable[[], bool] = bool) -> None:
        """Work until every task is final and none may come, or until nothing runs any more while draining.

        Args:
            supervise: called each turn with the time; starts the local agent where one is missing, and returns
                what a person should know of it.
            stays: whether more tasks may come from the inbox; by default none.

        """
        while stays() or not self._finished():
            now = time.time()
            note = supervise(now)
            if note is not None:
                self._observer.note(note)
            self._turn(self._timeout(now))
        self._dismiss()

    def _finished(self) -> bool:
        if self._batches or self._changes:
            return False
        return self._scheduler.unfinished == 0 or (self._draining and self._scheduler.running == 0)

    def _timeout(self, now: float) -> float:
        due = [now + _LONGEST_WAIT]
        if self._wake_at is not None:
            due.append(self._wake_at)
        due.extend(peer.link.next_due() for peer in self._agents.values())
        return max(0.0, min(due) - now)

    def _turn(self, timeout: float) -> None:
        arrivals = self._listener.poll(timeout)
        now = time.time()
        for connection, frames in arrivals:
            if frames is None:
                self._gone(connection, now)
            else:
                self._hear(connection, frames, now)
        for event in self._inbox():
            self._tell(event, now)
        self._see_to_time(now)
        self._commit()
        self._do_what_is_durable()
        for peer in list(self._peers.values()):
            peer.push(now)
        self._observer.tick(now)

    # What arrives

    def _hear(self, connection: Connection, frames: Sequence[Frame], now: float) -> None:
        peer = self._peers.get(connection)
        if peer is None:
            link = Link(resend_after=self._settings.resend_after, heartbeat=self._settings.heartbeat, now=now)
            peer = self._peers[connection] = Peer(connection, link)
        for frame in frames:
            for message in peer.link.receive(frame, now):
                self._understand(peer, message, now)
        if peer.silent:
            peer.silent = False
            self._observer.note(f"node {peer.node} is back")
        self._heard[peer] = peer.link.received

    def _understand(self, peer: Peer, message: Message, now: float) -> None:
        match message:
            case Hello():
                self._welcome(peer, message, now)
            case Reports(reports=reports) if peer.node is not None:
                self._tell(Ended(peer.node, reports), now)
            case TakenBack(lane=lane, attempts=attempts) if peer.node is not None:
                self._tell(Returned(peer.node, lane, attempts), now)
            case Note(text=text):
                self._observer.note(text if peer.node is None else f"{peer.node}: {text}")
            case Ask():
                self._respond(peer, message, now)
            case Progressed():
                self._progressed(message)
            case Started():
                pass  # known by its grant; the keeper's journal knows when
            case _:
                self._refuse(peer, f"a {type(message).__name__} is not expected here")

    def _respond(self, peer: Peer, ask: Ask, now: float) -> None:
        def reply(value: object) -> None:
            self._sends.append((peer, Answer(value)))

        try:
            if ask.name in line.VALUE_QUESTIONS:
                self._talk.hear(peer, ask.name, ask.arguments, reply)
            elif ask.name in family.FAMILY_QUESTIONS:
                reply(self._offspring.hear(ask.name, ask.arguments, lambda event: self._tell(event, now)))
            else:
                reply(self._answer(ask, now, lambda event: self._tell(event, now)))
        except PilotfishError as error:
            peer.link.send(Refusal(str(error), error.exit_code))

    def _welcome(self, peer: Peer, hello: Hello, now: float) -> None:
        if hello.version != __version__:
            self._refuse(peer, f"this manager is pilotfish {__version__}, the agent is {hello.version}")
            return
        former = self._agents.get(hello.node)
        if former is not None:
            self._drop(former)
        peer.node = hello.node
        self._agents[hello.node] = peer
        self._absent.pop(hello.node, None)
        peer.link.send(Welcome(self._store.epoch, self._settings.lease))
        if hello.reports:
            self._tell(Ended(hello.node, hello.reports), now)
        self._tell(NodeJoined(hello.node, hello.inventory, hello.lanes), now)

    def _refuse(self, peer: Peer, reason: str) -> None:
        self._observer.note(f"refused a connection: {reason}")
        peer.link.send(Refusal(reason))

    def _gone(self, connection: Connection, now: float) -> None:
        peer = self._peers.get(connection)
        if peer is None:
            return
        if peer.node is not None and self._agents.get(peer.node) is peer:
            self._absent[peer.node] = now + self._settings.lease
        self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.pop(peer.connection, None)
        self._heard.pop(peer, None)
        self._talk.forget(peer)
        if peer.node is not None and self._agents.get(peer.node) is peer:
            del self._agents[peer.node]
        peer.connection.close()

    # What time brings

    def _see_to_time(self, now: float) -> None:
        if self._wish is not None:
            (wish, why), self._wish, self._draining = self._wish, None, True
            self._observer.note(why)
            self._tell(wish, now)
        if self._wake_at is not None and now >= self._wake_at:
            self._wake_at = None
            self._tell(Woken(), now)
        for node in [node for node, end in self._absent.items() if now >= end]:
            del self._absent[node]
            self._tell(NodeLost(node, f"no word from its agent for {self._settings.lease:g} s"), now)
        for peer in self._agents.values():
            if not peer.silent and now - peer.link.last_heard > self._settings.misses * self._settings.heartbeat:
                peer.silent = True
                self._observer.note(f"node {peer.node} has been silent for {now - peer.link.last_heard:.0f} s")
        self._store.raise_failure()
        if self._store.trouble != self._trouble:
            self._trouble = self._store.trouble
            self._observer.note(self._trouble or "the store can write again")

    # What becomes durable

    def _tell(self, event: Event, now: float) -> Sequence[Command]:
        commands = self._scheduler.handle(event, now)
        for command in commands:
            if isinstance(command, WakeAt):
                self._wake_at = command.time
                continue
            if isinstance(command, Grow):
                self._calls.setdefault(command.job, {}).update(enumerate(command.calls, command.lo))
            elif isinstance(command, Settle | Finish) and command.state in FINAL and self._calls:
                self._forget_calls(command)
            if isinstance(command, Grow | Grant | Settle | Finish | Release | Revive | Hold | Cancel):
                self._changes.append(command)
            if isinstance(command, Grant | Retract | Kill) and command.node in self._agents:
                self._sends.append((self._agents[command.node], command))
        return commands

    def _forget_calls(self, end: Settle | Finish) -> None:
        """The arguments of calls that have ended are needed no more."""
        self._offspring.ended(end)
        if isinstance(end, Settle):
            self._calls.get(end.report.attempt.job, {}).pop(end.report.attempt.position, None)
        elif end.job in self._calls:
            for position in range(end.lo, end.hi):
                self._calls[end.job].pop(position, None)

    def _arguments(self, grant: Grant) -> tuple[bytes, ...]:
        """Of the calls that are granted; none of a job that makes no calls."""
        calls = self._calls.get(grant.job)
        if calls is None:
            return ()
        span = range(grant.lo, grant.hi)
        if not calls.keys() >= set(span):  # they had ended, and are wanted again
            calls.update(self._store.calls(grant.job, Span(grant.lo, grant.hi)))
        return tuple([calls[position] for position in span])

    def _record(self, change: Change) -> None:
        self._changes.append(change)

    def _commit(self) -> None:
        if self._changes:
            reached("manager.deciding")
            self._ticket = self._store.commit(self._changes)
        if self._changes or self._sends or self._heard:
            self._batches.append(_Batch(self._ticket, self._changes, self._sends, tuple(self._heard.items())))
            self._changes, self._sends, self._heard = [], [], {}

    def _do_what_is_durable(self) -> None:
        while self._batches and self._batches[0].ticket <= self._store.durable:
            batch = self._batches.popleft()
            if batch.changes:
                reached("manager.committed")
            for peer, command in batch.sends:
                # An agent that has connected anew meanwhile has told what it holds, and the scheduler has
                # drawn its conclusions: what was meant for the old connection must not reach the new one.
                if self._peers.get(peer.connection) is peer:
                    peer.link.send(*messages_for(peer, command, self._scheduler.jobs, self._arguments))
            for peer, upto in batch.acknowledge:
                peer.link.handled(upto)
            if batch.changes:
                reached("manager.acknowledging")
                self._observer.recorded(batch.changes)

    def _dismiss(self) -> None:
        """Tell agents to end, and wait until they have."""
        for peer in self._agents.values():
            peer.link.send(Stop())
        patience = time.time() + self._settings.grace
        while self._agents and (now := time.time()) < patience:
            for peer in list(self._agents.values()):
                peer.push(now)
            for connection, frames in self._listener.poll(0.5):
                if frames is None:
                    self._gone(connection, now)
                else:
                    self._hear(connection, frames, now)
