"""The other ends of the manager's connections: each an agent, a client, or not yet known."""

from collections.abc import Callable, Container, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import count
from math import inf
from typing import Protocol

from pilotfish.model.changes import Change, Grant
from pilotfish.model.events import Command, Event, Kill, Retract
from pilotfish.model.jobs import Job
from pilotfish.model.messages import Answer, Ask, Describe, End, Host, Message, Start, TakeBack
from pilotfish.transport.base import Connection
from pilotfish.transport.link import Link

__all__ = ["Peer", "Reception", "Rota", "messages_for"]


class Rota:
    """To whom something is to be said: so a turn of the loop costs who has something to hear, not who is there."""

    def __init__(self) -> None:
        """Nobody is there."""
        self._stirred: dict[Peer, None] = {}
        self._due: list[tuple[float, int, Peer]] = []
        """A heap. Some are due later by now; of those that are there more than once, `Peer.due` counts."""
        self._count = count()

    def stir(self, peer: "Peer") -> None:
        """There is, or may be, something to say to it."""
        self._stirred[peer] = None

    def next_due(self) -> float:
        """When to call `push` at the latest, on the clock of links."""
        if self._stirred:
            return -inf
        heap = self._due
        while heap:
            at, _, peer = heap[0]
            if peer.gone or at != peer.due:
                heappop(heap)
            elif at < (due := peer.link.next_due()):  # something was said to it meanwhile
                peer.due = due
                heapreplace(heap, (due, next(self._count), peer))
            else:
                return at
        return inf

    def push(self, now: float) -> None:
        """Say what is to be said now."""
        while self._due and self._due[0][0] <= now:
            at, _, peer = heappop(self._due)
            if at == peer.due:
                peer.due = inf
                self._stirred[peer] = None
        for peer in self._stirred:
            if not peer.gone:
                frame = peer.link.outgoing(now)
                if frame is not None:
                    peer.connection.send(frame)
                due = peer.link.next_due()
                if due < peer.due:
                    peer.due = due
                    heappush(self._due, (due, next(self._count), peer))
        self._stirred.clear()


class Peer:
    """One connection with its link; an agent once it has said Hello."""

    def __init__(self, connection: Connection, link: Link, rota: Rota) -> None:
        """Begin as a stranger."""
        self.connection = connection
        self.link = link
        self.due = inf
        """When the rota looks at it, whatever happens."""
        self.gone = False
        self._rota = rota
        self.node: str | None = None
        self.described: set[int] = set()
        """Jobs whose body this agent has."""
        self.silent = self.leased = False

    def send(self, *messages: Message) -> None:
        """Say something, soon."""
        self.link.send(*messages)
        self._rota.stir(self)

    def handled(self, upto: int) -> None:
        """Acknowledge what it said up to that number."""
        self.link.handled(upto)
        self._rota.stir(self)


class Reception(Protocol):
    """Who serves clients, where a manager stays for them."""

    @property
    def questions(self) -> Container[str]:
        """What it answers."""

    def hear(
        self,
        peer: Peer,
        ask: Ask,
        *,
        tell: Callable[[Event], Sequence[Command]],
        record: Callable[[Change], None],
        reply: Callable[[object], None],
    ) -> None:
        """Answer a client, now through `reply` or later by itself. Raises UserError to refuse, before any event."""

    def forget(self, peer: Peer) -> None:
        """A connection has ended."""


def messages_for(
    peer: Peer,
    command: Command | Answer | Host,
    jobs: Mapping[int, Job],
    arguments: Callable[[Grant], tuple[bytes, ...]],
) -> list[Message]:
    """What a peer is told so that a command of the scheduler happens; the job's body comes with its first start.

    Args:
        peer: that is told.
        command: of the scheduler.
        jobs: by id.
        arguments: tells those of granted calls, none of other jobs.

    """
    match command:
        case Grant(lane=lane, slots=slots, job=job, lo=lo, hi=hi, number=number, epoch=epoch):
            body = [] if job in peer.described else [Describe(job, jobs[job].spec)]
            peer.described.add(job)
            beside = tuple([(part.node, part.slots) for part in command.beside])
            return [*body, Start(lane, slots, job, lo, hi, number, epoch, arguments(command), beside)]
        case Host():
            return [command]
        case Retract(lane=lane, attempts=attempts):
            return [TakeBack(lane, attempts)]
        case Kill(lane=lane, attempt=attempt, outcome=outcome, hard=hard):
            return [End(lane, attempt, outcome, hard)]
        case Answer():
            return [command]
        case _:
            return []
