"""The agents of allocations: what the script of one runs, and the allocation that a run gets for itself.

The script starts an agent on each of its nodes; these join the manager by themselves, and carry the id of their
allocation in their names, so that it is known whose they are.

What belongs here: agents of allocations, what a run makes of its own. What must not: words of batch systems, the book.
"""

import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from pilotfish.batch.allocations import Allocations, Pilot
from pilotfish.batch.broker import Broker
from pilotfish.batch.dialect import AllocationRequest, State
from pilotfish.model.events import Draining, Event

__all__ = ["Pilots", "allocation_suffix", "meet", "with_agents"]

_GOODBYE = 60.0
"""Seconds in which a batch system must have heard that an allocation is needed no more."""


def with_agents(wanted: AllocationRequest, join: Path) -> AllocationRequest:
    """That allocation, with an agent on each of its nodes; what it was to run is more words for these."""
    agent = (sys.executable, "-m", "pilotfish", "agent", "--join", str(join), "--each-node")
    return msgspec.structs.replace(wanted, argv=(*agent, *wanted.argv))


def allocation_suffix(native: str) -> str:
    """What the names of agents in the allocation with this id end with: names are short, and some ids name a server."""
    return f"-{native.partition('.')[0]}"


def meet(book: Allocations, connected: Collection[str], now: float) -> dict[int, set[str]]:
    """Tell a book which nodes' agents are with the manager; those of each living allocation, by its key."""
    here = {
        pilot.key: {node for node in connected if pilot.id and node.endswith(allocation_suffix(pilot.id))}
        for pilot in book.living
    }
    for key, nodes in here.items():
        known = set(book[key].agents)
        for node in nodes - known:
            book.joined(key, node, now)
        for node in known - nodes:
            book.left(key, node)
    return here


class Pilots:
    """The allocation that a run gets for itself.

    Args:
        broker: makes the one who asks for it; closed at the end.
        wanted: what is asked for; what it runs are more words for its agents.

    """

    def __init__(self, broker: Callable[[], Broker], wanted: AllocationRequest) -> None:
        """Ask for nothing yet."""
        self._make, self._wanted = broker, wanted
        self._broker: Broker | None = None
        self._join = Path()
        self._told: set[tuple[int, State, str]] = set()
        self._others: set[int] = set()
        """Keys of those that a run before this one has asked for with other options; told of once."""
        self._served = self._drained = False
        """Whether this run has had an allocation, or has asked for one; whether nothing more comes."""

    @property
    def expected(self) -> int:
        """Those of the allocation."""
        return self._wanted.nodes

    def go(self, let_in: Callable[[], Path]) -> None:
        """Ask for the allocation: the manager can be reached now."""
        self._broker = self._make()
        self._told = {(pilot.key, pilot.state, pilot.reason) for pilot in self._broker.book if pilot.state.final}
        self._join = let_in()
        wanted = with_agents(self._wanted, self._join)
        self._others = {pilot.key for pilot in self._broker.book.staying if _is_other(pilot.wanted, wanted)}
        if not self._broker.book.staying:  # else that of a run before this one waits, or still runs
            self._ask(self._broker)

    def _ask(self, broker: Broker) -> None:
        self._served = True
        broker.ask(with_agents(self._wanted, self._join), time.time())

    def supervise(self, connected: Collection[str], now: float) -> Iterator[str | Event]:
        """Follow it; once it is over and its agents have gone, what is left waits for the next run."""
        assert self._broker is not None  # noqa: S101 - `go` made it
        book = self._broker.book
        meet(book, connected, now)
        self._served |= bool(connected)
        yield from self._broker.step(now)
        for pilot in book:
            told = (pilot.key, pilot.state, pilot.reason)
            if not pilot.cancelled and not pilot.failure and told not in self._told:
                self._told.add(told)
                yield from _tidings(pilot)
                if pilot.key in self._others and not pilot.state.final:
                    self._others.discard(pilot.key)
                    yield (
                        f"allocation {pilot.id} is what the run before asked for, with other options; for another one, "
                        "interrupt this run and `pilotfish alloc cancel --all`"
                    )
        for pilot in book.staying:
            if pilot.failure:
                book.cancel(pilot.key)
        if not book.staying and not self._served:  # that of the run before was over, as only the system knew
            self._ask(self._broker)
        elif not book.staying and not connected and not self._drained:
            self._drained = True
            yield Draining(kill=True)

    def end(self, patience: float) -> None:  # noqa: ARG002 - agents have ended; a batch system takes its own time
        """Give back what is still held or waits; what becomes of it, nobody waits for."""
        if self._broker is None:
            return
        book, deadline = self._broker.book, time.monotonic() + _GOODBYE
        for pilot in book.staying:
            book.cancel(pilot.key)
        while book.unrevoked and time.monotonic() < deadline:
            for note in self._broker.step(time.time()):
                sys.stderr.write(f"pilotfish: {note}\n")
            time.sleep(0.05)
        for pilot in book.unrevoked:
            name = pilot.id or pilot.wanted.name
            sys.stderr.write(f"pilotfish: allocation {name} could not be given back: `pilotfish alloc cancel --all`\n")
        self._broker.close()


def _is_other(asked: AllocationRequest, wanted: AllocationRequest) -> bool:
    """Whether what was asked for differs from what is wanted in more than names and places."""
    here = {name: getattr(wanted, name) for name in ("name", "log", "folder", "environment")}
    return msgspec.structs.replace(asked, **here) != wanted


def _tidings(pilot: Pilot) -> Iterator[str]:
    """What a person should know of it that its failure does not tell."""
    reason = f" ({pilot.reason})" if pilot.reason else ""
    match pilot.state:
        case State.QUEUED:
            yield f"allocation {pilot.id} is in the queue{reason}"
        case State.HELD:
            yield f"allocation {pilot.id} is held{reason}"
        case State.RUNNING:
            yield f"allocation {pilot.id} runs{f' on {pilot.nodes}' if pilot.nodes else ''}"
        case State.ENDED | State.FAILED | State.GONE:
            yield f"allocation {pilot.id} is over{reason}"
