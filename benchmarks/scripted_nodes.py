"""Many agents in one process, over the real transport: ``scripted_nodes JOIN FIRST COUNT SLOTS SECONDS``.

They say what agents say; their keepers are a clock: each attempt takes so many seconds, and succeeds.

What belongs here: this script of an agent. What must not: what is measured.
"""

import heapq
import math
import selectors
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from benchmarks.transport import connected
from pilotfish import __version__
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.messages import End, Hello, Message, Reports, Start, Stop, TakeBack, TakenBack
from pilotfish.model.resources import Inventory
from pilotfish.model.states import Outcome
from pilotfish.settings import Settings
from pilotfish.transport.base import Connection, DisconnectedError
from pilotfish.transport.carrier import Dialer
from pilotfish.transport.link import Link

__all__: list[str] = []


class _Node:
    """One agent."""

    def __init__(self, name: str, slots: int, seconds: float, connection: Connection) -> None:
        self.connection, self._seconds = connection, seconds
        choices = Settings()
        resend, heartbeat = choices.resend_after, choices.heartbeat
        self.link = Link(resend_after=resend, heartbeat=heartbeat, acknowledge_after=heartbeat, now=time.monotonic())
        self._lanes: dict[int, deque[AttemptId]] = {}
        self._ends: list[tuple[float, int, float]] = []
        """A heap of what runs: when it ends, its lane, when it began."""
        self.over = False
        inventory = Inventory(tuple(range(slots)), 2**30, pinned=False)
        self.link.send(Hello(__version__, name, 0, inventory, (), (), leased=True))

    @property
    def due(self) -> float:
        """When something is to be done, on the monotonic clock."""
        return min(self.link.next_due(), self._ends[0][0] if self._ends else math.inf)

    def hear(self, now: float) -> None:
        """Do what the manager says."""
        try:
            self.connection.flush()
            for frame in self.connection.receive():
                for message in self.link.receive(frame, now):
                    self._understand(message, now)
        except DisconnectedError:
            self.over = True
        self.link.handled(self.link.received)

    def _understand(self, message: Message, now: float) -> None:
        match message:
            case Start(lane=lane, job=job, lo=lo, hi=hi, number=number, epoch=epoch):
                queue = self._lanes.setdefault(lane, deque())
                idle = not queue
                queue.extend(AttemptId(job, position, number, epoch) for position in range(lo, hi))
                if idle:
                    heapq.heappush(self._ends, (now + self._seconds, lane, now))
            case TakeBack(lane, attempts):
                queue = self._lanes.get(lane, deque())
                taken = [one for one in list(queue)[1:] if one in attempts]
                for one in taken:
                    queue.remove(one)
                self.link.send(TakenBack(lane, tuple(taken)))
            case End():
                raise NotImplementedError("nothing is cancelled here")
            case Stop():
                self.over = True

    def look(self, now: float) -> None:
        """Tell what has ended, together; begin what waits behind it."""
        reports = []
        while self._ends and self._ends[0][0] <= now:
            _, lane, began = heapq.heappop(self._ends)
            queue = self._lanes[lane]
            reports.append(Report(queue.popleft(), lane, Outcome.exited, 0, began, now, 0.0, 0))
            if queue:
                heapq.heappush(self._ends, (now + self._seconds, lane, now))
        if reports:
            self.link.send(Reports(tuple(reports)))
        frame = self.link.outgoing(now)
        if frame is not None:
            self.connection.send(frame)


def _main(join: Path, first: int, count: int, slots: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as folder:
        dialer = Dialer((join,), Path(folder, "door"), Path(folder))
        selector = selectors.DefaultSelector()
        nodes = []
        for number in range(first, first + count):
            node = _Node(f"s{number}", slots, seconds, connected(dialer))
            selector.register(node.connection, selectors.EVENT_READ, node)
            nodes.append(node)
        while living := [node for node in nodes if not node.over]:
            wait = min(node.due for node in living) - time.monotonic()
            ready = selector.select(max(0.0, wait))
            now = time.monotonic()
            for key, _ in ready:
                key.data.hear(now)
                if key.data.over:
                    selector.unregister(key.fileobj)
            for node in living:
                if node.due <= now and not node.over:
                    node.look(now)
        dialer.close()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
