"""The manager's one loop: what arrives becomes events, decisions become durable, then they leave.

Each turn hears everything that has arrived, asks the scheduler, gives all changes to the store as one
commit, and does what earlier commits allow: sends starts, acknowledges reports. Nothing leaves before
the change that it stands for is durable; nothing is acknowledged before it is recorded.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

import msgspec

from pilotfish import __version__
from pilotfish.errors import PilotfishError, UnavailableError
from pilotfish.faults import reached
from pilotfish.functions import family, line
from pilotfish.manager.notify import Observer
from pilotfish.manager.offspring import Offspring
from pilotfish.manager.parts import HOST, Parts
from pilotfish.manager.peers import Peer, Reception, Rota, messages_for
from pilotfish.manager.talk import Talk
from pilotfish.manager.vigil import Vigil
from pilotfish.model.changes import Cancel, Change, Finish, Grant, Grow, Hold, Release, Revive, Settle, Snapshot
from pilotfish.model.events import (
    Command,
    Draining,
    Ended,
    Event,
    Expected,
    Kill,
    Limited,
    NodeBack,
    NodeJoined,
    NodeLost,
    NodeSilent,
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
    Host,
    Left,
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

__all__ = ["Manager", "ignore_progress"]

_LOOK_AFTER = 0.05
"""Seconds between two looks at processes: a turn may take less than such a look."""
_LONGEST_WAIT = 0.5
"""Seconds between two looks at the observer and at leases when nothing happens."""
_LAST_BREATH = 2.0
"""Seconds in which what a keeper kills is gone."""
_WHILE = 60.0
"""Seconds after a node has gone away in which it is looked after often: somebody may soon know that it is dead."""
_CHANGES = (Grow, Grant, Settle, Finish, Release, Revive, Hold, Cancel)  # made once: all commands are asked
_ENDS = (Settle, Finish)
_ORDERS = (Grant, Retract, Kill)


def ignore_progress(_progress: Progressed) -> None:
    """Nobody watches."""


class _Batch(msgspec.Struct):
    """What may happen once the ticket is durable."""

    ticket: int
    changes: Sequence[Change]
    sends: Sequence[tuple[Peer, Command | Answer | Host]]
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
        desk: serves clients, of a manager that stays.

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
        progressed: Callable[[Progressed], None] = ignore_progress,
        new_job: Callable[[], int] | None = None,
        desk: Reception | None = None,
    ) -> None:
        """Connect the parts; nothing happens before `run`."""
        self._store, self._scheduler, self._listener = store, scheduler, listener
        self._settings, self._observer, self._answer, self._inbox = settings, observer, answer, inbox
        self._progressed, self._desk = progressed, desk
        self._rota = Rota()
        self._peers: dict[Connection, Peer] = {}
        self._agents: dict[str, Peer] = {}
        self._absent: dict[str, float] = {}
        """Nodes that hold grants and are not connected, with the time at which they are given up."""
        self._watchful_until = 0.0
        self._patience = settings.lease + settings.grace + _LAST_BREATH
        """Seconds without a word after which a node's tasks have ended: at the end of its lease they get a grace."""
        self._calls: dict[int, dict[int, bytes]] = {}
        """Arguments of calls that have not ended, by job and position."""
        self._changes: list[Change] = []
        self._sends: list[tuple[Peer, Command | Answer | Host]] = []
        self._heard: dict[Peer, int] = {}
        self._batches: deque[_Batch] = deque()
        self._ticket = 0
        self._talk = Talk(store.epoch, self._record)
        self._parts = Parts()
        self._offspring = Offspring(scheduler, store, self._talk, record=self._record, new_job=new_job)
        self._wake_at: float | None = None
        self._supervise_at = 0.0
        """When to see that agents live."""
        self._listen_at = 0.0
        """When to look for silent nodes again."""
        self._vigil = Vigil()
        self._wish: tuple[Draining, str] | None = None
        self._draining = False
        self._trouble: str | None = None

    @property
    def agents(self) -> Sequence[str]:
        """Nodes whose agents are connected now."""
        return tuple(self._agents)

    @property
    def away(self) -> Sequence[str]:
        """Nodes that hold something and whose agents are not connected."""
        return tuple(self._absent)

    def restore(self, snapshot: Snapshot, limits: Mapping[str, int], expected: int | None = 1) -> None:
        """Take up what the store knows; nodes that hold grants get a lease to come back in.

        Args:
            snapshot: of the store.
            limits: the named limits of the queue.
            expected: how many nodes there will be together at most; None: nobody can tell.

        """
        now = time.time()
        self._tell(Limited(dict(limits)), now)
        self._tell(Expected(expected), now)
        for grant in snapshot.grants:
            self._parts.note(grant)
            self._absent[grant.node] = monotonic() + self._patience
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

    def write(self, key: str, value: bytes | None) -> None:
        """Set one of the values that tasks share, or remove it, in one transaction with all that this turn decides."""
        self._talk.write(key, value)

    def run(self, supervise: Callable[[float], Iterable[str | Event]], stays: Callable[[], bool] = bool) -> None:
        """Work until every task is final and none may come, or until nothing runs any more while draining.

        Args:
            supervise: called now and then, and when an agent has come or gone, with the time; starts agents where they
                are missing, and returns what a person should know of them, and what it knows of nodes: how many may
                come, that one is dead.
            stays: whether more tasks may come from the inbox; by default none.

        """
        while stays() or not self._finished():
            now = time.time()
            if monotonic() >= self._supervise_at:
                self._supervise_at = monotonic() + _LOOK_AFTER
                for news in supervise(now):
                    self._learn(news, now)
            self._turn(self._timeout(now))
        self._dismiss()

    def _learn(self, news: str | Event, now: float) -> None:
        """Take in what is known of agents from elsewhere."""
        match news:
            case str():
                self._observer.note(news)
            case Draining():
                self._wish = news, "nothing is left to run on: ending; the next run goes on"
            case NodeLost(node, reason):
                self._give_up(node, reason, now)
            case _:
                self._tell(news, now)

    def _finished(self) -> bool:
        if self._batches or self._changes:
            return False
        if self._scheduler.stranded and not self._draining:
            self._draining = True
            self._observer.note("nothing that is left can run on the nodes that there are: it stays for the next run")
        return self._scheduler.unfinished == 0 or (self._draining and not self._awaited())

    def _awaited(self) -> bool:
        """Whether something runs whose end can be waited for: not on nodes that went away and did not come back."""
        if self._scheduler.running == 0:
            return False
        gone_by = monotonic() - self._settings.grace + self._patience
        away = {node for node, end in self._absent.items() if end < gone_by}
        return any(count for node, count in self._scheduler.backlog().busy.items() if node not in away)

    def _timeout(self, now: float) -> float:
        if self._changes or self._sends:  # what the supervision brought waits for nothing
            return 0.0
        due = [now + (_LOOK_AFTER if monotonic() < self._watchful_until else _LONGEST_WAIT)]
        if self._wake_at is not None:
            due.append(self._wake_at)
        return max(0.0, min(min(due) - now, self._rota.next_due() - monotonic()))

    def _turn(self, timeout: float) -> None:
        arrivals = self._listener.poll(timeout, self._vigil.awake())
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
        self._rota.push(monotonic())
        self._observer.tick(now)

    # What arrives

    def _hear(self, connection: Connection, frames: Sequence[Frame], now: float) -> None:
        peer, elapsed = self._peers.get(connection), monotonic()
        if peer is None:
            link = Link(resend_after=self._settings.resend_after, heartbeat=self._settings.heartbeat, now=elapsed)
            peer = self._peers[connection] = Peer(connection, link, self._rota)
        if peer.silent and peer.node is not None:
            peer.silent = False
            self._observer.note(f"node {peer.node} is back")
            self._tell(NodeBack(peer.node), now)
        for frame in frames:
            for message in peer.link.receive(frame, elapsed):
                self._understand(peer, message, now)
        self._rota.stir(peer)
        self._heard[peer] = peer.link.received

    def _understand(self, peer: Peer, message: Message, now: float) -> None:
        match message:
            case Hello():
                self._welcome(peer, message, now)
            case Reports(reports=reports) if peer.node is not None:
                self._vigil.ended(monotonic())
                self._tell(Ended(peer.node, self._parts.judged(reports, self._hears)), now)
            case TakenBack(lane=lane, attempts=attempts) if peer.node is not None:
                self._tell(Returned(peer.node, lane, attempts), now)
            case Left(reason=reason) if peer.node is not None:
                self._give_up(peer.node, reason, now, told=True)
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
            elif ask.name == HOST:
                self._host(ask, reply, now)
            elif self._desk is not None and ask.name in self._desk.questions:
                self._desk.hear(peer, ask, tell=lambda event: self._tell(event, now), record=self._record, reply=reply)
            else:
                reply(self._answer(ask, now, lambda event: self._tell(event, now)))
        except PilotfishError as error:
            peer.send(Refusal(str(error), error.exit_code))

    def _hears(self, node: str) -> bool:
        peer = self._agents.get(node)
        return peer is not None and not peer.silent

    def _host(self, ask: Ask, reply: Callable[[object], None], now: float) -> None:
        """Let the launcher of an attempt on several nodes start something on one of the others."""
        hosted, host = self._parts.wanted(ask.arguments)
        if hosted.node not in self._agents:
            raise UnavailableError(f"node {hosted.node} is not there")
        self._tell(hosted, now)
        self._sends.append((self._agents[hosted.node], host))
        reply(None)

    def _welcome(self, peer: Peer, hello: Hello, now: float) -> None:
        if hello.version != __version__:
            self._refuse(peer, f"this manager is pilotfish {__version__}, node {hello.node} has {hello.version}")
            return
        former = self._agents.get(hello.node)
        if former is not None and former.link.newest > peer.link.newest:
            self._drop(peer)  # what was said first was longer on its way
            return
        if former is not None:
            self._drop(former)
        peer.node, peer.leased = hello.node, hello.leased
        self._agents[hello.node] = peer
        self._supervise_at = 0.0
        self._absent.pop(hello.node, None)
        peer.send(Welcome(self._store.epoch, self._settings.lease))
        if hello.reports:
            self._tell(Ended(hello.node, self._parts.judged(hello.reports, self._hears)), now)
        self._tell(NodeJoined(hello.node, hello.inventory, hello.lanes), now)

    def _refuse(self, peer: Peer, reason: str) -> None:
        self._observer.note(f"refused a connection: {reason}")
        peer.send(Refusal(reason))

    def _gone(self, connection: Connection, now: float) -> None:
        peer = self._peers.get(connection)
        if peer is None:
            return
        if peer.node is not None and self._agents.get(peer.node) is peer:
            self._absent[peer.node] = monotonic() + self._patience
            self._watchful_until = monotonic() + _WHILE
            self._tell(NodeSilent(peer.node), now)
        self._drop(peer)

    def _give_up(self, node: str, reason: str, now: float, *, told: bool = False) -> None:
        """A node is dead, or its tasks have ended by now; or it has `told` the end of all that it had begun."""
        peer = self._agents.get(node)
        if peer is not None:
            self._drop(peer)
        self._absent.pop(node, None)
        self._observer.note(f"node {node} is lost: {reason}")
        self._tell(NodeLost(node, reason, told), now)

    def _drop(self, peer: Peer) -> None:
        peer.gone = True
        self._peers.pop(peer.connection, None)
        self._heard.pop(peer, None)
        self._talk.forget(peer)
        if self._desk is not None:
            self._desk.forget(peer)
        if peer.node is not None and self._agents.get(peer.node) is peer:
            del self._agents[peer.node]
            self._supervise_at = 0.0
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
        if (elapsed := monotonic()) >= self._listen_at:
            self._see_to_silence(elapsed, now)
        self._store.raise_failure()
        if self._store.trouble != self._trouble:
            self._trouble = self._store.trouble
            self._observer.note(self._trouble or "the store can write again")

    def _see_to_silence(self, elapsed: float, now: float) -> None:
        """Give up nodes whose lease is over; seldom, because there may be many."""
        stopped = elapsed > self._listen_at + 2 * _LONGEST_WAIT
        self._listen_at = elapsed + self._settings.heartbeat / 8
        if stopped:  # this process: what has come meanwhile is not yet heard
            return
        for node in [node for node, end in self._absent.items() if elapsed >= end]:
            self._give_up(node, f"no word from its agent for {self._settings.lease:g} s", now)
        for node, peer in list(self._agents.items()):
            silence = elapsed - peer.link.last_heard
            if peer.leased and silence > self._patience:
                self._give_up(node, f"no word from its agent for {self._settings.lease:g} s", now)
            elif not peer.silent and silence > self._settings.misses * self._settings.heartbeat:
                peer.silent = True
                self._observer.note(f"node {node} has been silent for {silence:.0f} s")
                self._tell(NodeSilent(node), now)

    # What becomes durable

    def _tell(self, event: Event, now: float) -> Sequence[Command]:
        commands = self._scheduler.handle(event, now)
        for command in commands:
            if isinstance(command, WakeAt):
                self._wake_at = command.time
                continue
            if isinstance(command, Grow):
                self._calls.setdefault(command.job, {}).update(enumerate(command.calls, command.lo))
            elif isinstance(command, _ENDS) and command.state in FINAL and self._calls:
                self._forget_calls(command)
            if isinstance(command, _CHANGES):
                self._changes.append(command)
            if isinstance(command, _ORDERS) and command.node in self._agents:
                self._sends.append((self._agents[command.node], command))
            if self._parts.of or (isinstance(command, Grant) and command.beside):
                self._parts.note(command)
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
            messages: dict[Peer, list[Message]] = {}
            for peer, command in batch.sends:
                # An agent that has connected anew meanwhile has told what it holds, and the scheduler has
                # drawn its conclusions: what was meant for the old connection must not reach the new one.
                if self._peers.get(peer.connection) is peer:
                    told = messages_for(peer, command, self._scheduler.jobs, self._arguments)
                    messages.setdefault(peer, []).extend(told)
            for peer, told in messages.items():
                peer.send(*told)
            calls = [one for _, one in batch.sends if isinstance(one, Grant) and one.job in self._calls]
            if calls and self._scheduler.running == 1:
                self._vigil.started(monotonic())
            for peer, upto in batch.acknowledge:
                peer.handled(upto)
            if batch.changes:
                reached("manager.acknowledging")
                self._observer.recorded(batch.changes)

    def _dismiss(self) -> None:
        """Tell agents to end, and wait until they have."""
        for peer in self._agents.values():
            peer.send(Stop())
        patience = time.time() + self._settings.grace
        while self._agents and (now := time.time()) < patience:
            self._rota.push(monotonic())
            for connection, frames in self._listener.poll(0.5):
                if frames is None:
                    self._gone(connection, now)
                else:
                    self._hear(connection, frames, now)
