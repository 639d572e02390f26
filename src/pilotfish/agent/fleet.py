"""The agents of an allocation's nodes, as the process that runs the manager sees them: started once, watched, ended.

One command of the batch system starts them all, one on each node. Nodes that have not come within half a minute are
told, with the reason where somebody knows it, and the others go on without them. Of a node that has come and gone it is
asked whether it is dead; if so, its tasks need not wait for the end of its lease. Else an agent is started there again:
it takes over what lives, or finds that the one before lives and leaves it word where the manager is.

What belongs here: this watching. What must not: the words of batch systems, what agents do.
"""

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pilotfish.batch.allocation import Allocation, allocation_here
from pilotfish.batch.launch import launch_commands
from pilotfish.batch.nodes import dead_nodes, node_query
from pilotfish.model.events import Event, Expected, NodeLost

__all__ = ["Fleet", "word_about"]

_PATIENCE = 30.0
"""Seconds in which the agents of all nodes should have come."""
_LIVING = 5.0
"""Seconds in which agents should have come that live already; of them, nobody has to start."""
_ASK_AGAIN = 0.4
"""Seconds between two questions whether a node is dead, at first; later a twentieth of the time that has gone by."""
_START_AGAIN = 5.0
"""Seconds that a node has been away before an agent is started there again; each time it waits twice as long."""
_GOODBYE = 2.0
"""Seconds that a launcher has to end its remote processes when it is told to."""
_LONGEST_WAIT = 60.0
"""Seconds between two of either."""


class _Away(msgspec.Struct):
    """A node that has come and gone."""

    since: float
    start_at: float
    pause: float = _START_AGAIN


class Fleet:
    """The agents of an allocation.

    Args:
        allocation: whose nodes they are for.
        declared: options of each agent that say what its node has.

    """

    def __init__(self, allocation: Allocation, declared: Sequence[str] = ()) -> None:
        """Start nothing yet."""
        self._allocation, self._declared = allocation, declared
        self._join = self._log = Path()
        """What tells agents how to join; where launchers tell what went wrong."""
        self._launches: list[subprocess.Popen[bytes]] = []
        self._late_at = 0.0
        """When nodes that have not come are told; infinite afterwards."""
        self._joined: set[str] = set()
        """Nodes whose agents have been connected."""
        self._away: dict[str, _Away] = {}
        self._dead: set[str] = set()
        self._question: subprocess.Popen[str] | None = None
        self._ask_at = 0.0

    @property
    def expected(self) -> int:
        """Those of the allocation; fewer, once some are known not to come."""
        return len(self._allocation.nodes)

    def go(self, let_in: Callable[[], Path]) -> None:
        """Start all agents: the manager can be reached now."""
        self._join = let_in()
        self._log = self._join.with_name("launch.log")
        self._log.write_bytes(b"")
        self._launch(self._allocation)

    def supervise(self, connected: Collection[str], now: float) -> Iterator[str | Event]:
        """See that they come, and come back; what a person should know of them, and which nodes are dead."""
        if self._late_at == 0.0:
            self._late_at = now + _PATIENCE
        self._joined |= set(connected)
        self._dead -= set(connected)
        yield from self._tell_missing(now)
        missing = self._joined - set(connected) - self._dead
        self._away = {node: self._away.get(node) or _Away(now, now + _START_AGAIN) for node in missing}
        yield from self._bury(now)
        for node, away in self._away.items():
            if now >= away.start_at:
                away.pause = min(2 * away.pause, _LONGEST_WAIT)
                away.start_at = now + away.pause
                yield f"starting the agent of {node} again"
                self._launch(msgspec.structs.replace(self._allocation, nodes=(node,)))

    def end(self, patience: float) -> None:
        """Wait for the agents to end; end their launchers after `patience` seconds."""
        if self._question is not None:
            self._question.kill()
            self._question.communicate()
        _end(self._launches, patience)

    def _launch(self, allocation: Allocation) -> None:
        """Start an agent on each node; no secret is on a command line, which everybody can read."""
        # Slurm's brings standard input to each node; with the others, nodes must see the folder.
        place = "-" if allocation.system == "slurm" else str(self._join)
        words = [sys.executable, "-m", "pilotfish", "agent", "--join", place, *self._declared]
        for command in launch_commands(allocation, words, os.environ):
            with self._join.open("rb") as join, self._log.open("ab") as log:
                self._launches.append(
                    subprocess.Popen(command, stdin=join, stdout=log, stderr=log, start_new_session=True)
                )

    def _tell_missing(self, now: float) -> Iterator[str | Event]:
        """Tell which nodes have not come, and why, once they are late or nobody is on the way any more."""
        missing = [node for node in self._allocation.nodes if node not in self._joined]
        if not missing:
            self._late_at = math.inf
        if self._late_at == math.inf:
            return
        on_the_way = any(launch.poll() is None for launch in self._launches)
        if now < self._late_at - (0.0 if on_the_way else _PATIENCE - _LIVING):
            return
        self._late_at = math.inf
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        for node in missing:
            why = word_about(node, lines) or f"nobody has told why; see {self._log}"
            yield f"node {node} did not come: {why}"
        if not self._joined:
            self._start_over(now)
        yield self._remaining()

    def _start_over(self, now: float) -> None:
        """Nobody has come: one command for all nodes waits for ever where one of them fell out just before."""
        left = allocation_here(os.environ)
        if left is not None and set(left.nodes) < set(self._allocation.nodes):
            _end(self._launches, 0.0)
            self._launches.clear()
            self._allocation, self._late_at = left, now + _PATIENCE
            self._launch(left)

    def _remaining(self) -> Expected:
        """How many nodes there will be, now that some are known to be none."""
        coming = self._joined if self._late_at == math.inf else self._allocation.nodes
        return Expected(len(set(coming) - self._dead))

    def _bury(self, now: float) -> Iterator[str | Event]:
        """Ask whether nodes that are away are dead, and tell of those that are."""
        if self._question is not None and self._question.poll() is not None:
            answer, _ = self._question.communicate()
            self._question = None
            for node, state in dead_nodes(self._allocation.system, answer).items():
                if self._away.pop(node, None) is not None:
                    self._dead.add(node)
                    yield NodeLost(node, f"{self._allocation.system} says that it is {state}")
                    yield self._remaining()
        if self._question is None and self._away and now >= self._ask_at:
            command = node_query(self._allocation.system, sorted(self._away))
            youngest = max(away.since for away in self._away.values())
            self._ask_at = now + min(_LONGEST_WAIT, max(_ASK_AGAIN, (now - youngest) / 20))
            if command is not None:
                self._question = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )


def word_about(node: str, lines: Sequence[str]) -> str:
    """The line that tells the most about a node, of all that launchers have said; empty where there is none."""
    named = [line for line in lines if re.search(rf"\b{re.escape(node)}\b", line)]
    own = [line for line in named if f"node {node}: " in line]  # an agent says more of itself than its launcher does
    return "".join((own or named or lines)[-1:])


def _end(processes: Iterable[subprocess.Popen[bytes]], patience: float) -> None:
    """Wait for processes to end; TERM those that still live after `patience` seconds, and KILL them soon after that."""
    deadline = time.monotonic() + patience
    for process in processes:
        for end in (process.terminate, process.kill):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                end()
                deadline = max(deadline, time.monotonic() + _GOODBYE)
        process.wait()
