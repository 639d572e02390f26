"""The other ends of the manager's connections: each an agent, a client, or not yet known."""

from collections.abc import Callable, Mapping

from pilotfish.model.changes import Grant
from pilotfish.model.events import Command, Kill, Retract
from pilotfish.model.jobs import Job
from pilotfish.model.messages import Answer, Describe, End, Message, Start, TakeBack
from pilotfish.transport.base import Connection
from pilotfish.transport.link import Link

__all__ = ["Peer", "messages_for"]


class Peer:
    """One connection with its link; an agent once it has said Hello."""

    def __init__(self, connection: Connection, link: Link) -> None:
        """Begin as a stranger."""
        self.connection = connection
        self.link = link
        self.node: str | None = None
        self.described: set[int] = set()
        """Jobs whose body this agent has."""
        self.silent = False

    def push(self, now: float) -> None:
        """Send what the link wants sent now."""
        frame = self.link.outgoing(now)
        if frame is not None:
            self.connection.send(frame)


def messages_for(
    peer: Peer, command: Command | Answer, jobs: Mapping[int, Job], arguments: Callable[[Grant], tuple[bytes, ...]]
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
            return [*body, Start(lane, slots, job, lo, hi, number, epoch, arguments(command))]
        case Retract(lane=lane, attempts=attempts):
            return [TakeBack(lane, attempts)]
        case Kill(lane=lane, attempt=attempt, outcome=outcome, hard=hard):
            return [End(lane, attempt, outcome, hard)]
        case Answer():
            return [command]
        case _:
            return []
