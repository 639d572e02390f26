"""Messages a second from two agents to a manager, through dialers, gateway and mutual TLS, numbered and acknowledged.

``python -m benchmarks.transport --send DOOR MESSAGES`` is one of the two.
"""

import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.pairs import Figure, finish, options, workplace
from pilotfish.errors import UnavailableError
from pilotfish.model.attempts import AttemptId
from pilotfish.model.messages import Started
from pilotfish.settings import Settings
from pilotfish.transport.base import Connection, DisconnectedError
from pilotfish.transport.carrier import Dialer, Gateway
from pilotfish.transport.link import Link
from pilotfish.transport.local import LocalListener

__all__ = ["connected", "figures"]

_AGENTS, _MESSAGES = 2, 300_000
_AT_ONCE = 200
"""Messages of one turn of an agent's loop."""
_WINDOW = 50 * _AT_ONCE
"""Not acknowledged, of each agent."""
_BAR = 100_000.0


def figures(rounds: int) -> Iterator[Figure]:
    """Thousands of messages a second, of both together."""
    rate = median(_measure() for _ in range(rounds))
    yield Figure("messages of two agents over TLS", rate, "limit", _BAR, "a second", rate / _BAR, 1.0)


def _measure() -> float:
    with workplace() as folder, tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as sockets:
        listener = LocalListener(Path(sockets, "manager"))
        gateway = Gateway(folder, "bench", listener.path, Settings())
        words = [sys.executable, "-m", "benchmarks.transport", "--send", str(gateway.file)]
        senders = [subprocess.Popen(words, stdin=subprocess.PIPE) for _ in range(_AGENTS)]
        try:
            links = {connection: Link(resend_after=60.0, heartbeat=60.0) for connection in _come(listener)}
            began, heard = time.perf_counter(), 0
            while heard < _AGENTS * _MESSAGES:
                for connection, frames in listener.poll(1.0):
                    if frames is None:
                        continue  # it knows that all of its own have come
                    link, now = links[connection], time.monotonic()
                    heard += sum(len(link.receive(frame, now)) for frame in frames)
                    link.handled(link.received)
                    answer = link.outgoing(now + 1000.0)  # an acknowledgement each turn, as a manager's commits give
                    if answer is not None:
                        connection.send(answer)
            rate = heard / (time.perf_counter() - began)
        finally:
            listener.close()
            for sender in senders:
                sender.wait(30.0)
            gateway.close()
    print(f"  {rate:,.0f} messages a second", file=sys.stderr)
    return rate


def _come(listener: LocalListener) -> list[Connection]:
    """Wait for both agents; both begin when both are there."""
    here: list[Connection] = []
    while len(here) < _AGENTS:
        here += [connection for connection, frames in listener.poll(30.0) if frames and connection not in here]
    for connection in here:
        answer = Link(resend_after=60.0, heartbeat=0.0)
        answer.send(Started(AttemptId(0, 0, 0, 0), 0, 0.0, 0))
        frame = answer.outgoing(0.0)
        assert frame is not None
        connection.send(frame)
    return here


def _send(join: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as folder:
        dialer = Dialer((join,), Path(folder, "door"), Path(folder))
        connection = connected(dialer)
        selector = selectors.DefaultSelector()
        _greet(connection, selector)
        link, sent = Link(resend_after=60.0, heartbeat=60.0), 0
        try:
            while link.acknowledged < _MESSAGES:
                if sent < _MESSAGES and sent - link.acknowledged < _WINDOW and not connection.unsent:
                    link.send(*[Started(AttemptId(1, at, 1, 1), 1, 0.0, 0) for at in range(sent, sent + _AT_ONCE)])
                    sent += _AT_ONCE
                    frame = link.outgoing(time.monotonic())
                    assert frame is not None
                    connection.send(frame)
                    wait = 0.0
                else:
                    wait = 1.0
                connection.flush()
                if selector.select(0.001 if connection.unsent else wait):
                    for frame in connection.receive():
                        link.receive(frame, time.monotonic())
        except DisconnectedError:
            pass  # the manager has all, and has gone
        dialer.close()


def _greet(connection: Connection, selector: selectors.BaseSelector) -> None:
    """Say that we are here, and wait for the other agent."""
    selector.register(connection, selectors.EVENT_READ)
    hello = Link(resend_after=60.0, heartbeat=0.0)
    hello.send(Started(AttemptId(0, 0, 0, 0), 0, 0.0, 0))
    frame = hello.outgoing(0.0)
    assert frame is not None
    connection.send(frame)
    while not connection.receive():
        selector.select(1.0)


def connected(dialer: Dialer) -> Connection:
    """A connection, as soon as there is one."""
    while True:
        try:
            return dialer.connect()
        except UnavailableError:
            time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        _send(Path(sys.argv[2]))
    else:
        finish(figures(options(__doc__).parse_args().rounds))
