"""``pilotfish alloc auto``: keeps the queue of a living manager served with allocations, until it is interrupted.

What belongs here: asking the manager what waits, the policy's answers carried out, words. What must not: the policy
(`batch.auto`).
"""

import argparse
import math
import os
import re
import signal
import sys
import time
from pathlib import Path

import msgspec

from pilotfish.agent.pilots import meet, with_agents
from pilotfish.batch.auto import Caps, Decision, Drop, Offer, Propose, Stay, Waiting, decide
from pilotfish.batch.broker import Broker
from pilotfish.batch.commands import Running
from pilotfish.batch.dialect import AllocationRequest, Away, Refused
from pilotfish.cli.batch import broker_for, dialect_of, new_name, parse_count, wanted_of
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.machine import declared_of, parsed, parsed_limit
from pilotfish.errors import UnavailableError, UserError
from pilotfish.manager.start import BACKLOG, LET_IN
from pilotfish.model.events import Backlog, Unstarted
from pilotfish.model.quantities import parse_seconds
from pilotfish.model.resources import Gpu, Inventory

__all__ = ["add_limits", "serve_queue"]

_PERIOD = 1.0
"""Seconds between two looks at the queue; the batch system is asked far less often."""
_LEAST = 600.0
"""Seconds of the shortest allocation that is worth asking for, where nobody has said it."""
_WITHOUT_END = 2**62
"""Bytes of a node whose memory nobody has told."""


def add_limits(parser: argparse.ArgumentParser) -> None:
    """The options that say what all allocations together may be."""
    parser.add_argument(
        "--max-nodes", metavar="N", help="nodes at once, with those in the queue (default: those of -N)"
    )
    parser.add_argument("--backlog", metavar="N", help="allocations in the queue at once (default: 1)")
    parser.add_argument("--node-hours", metavar="H", help="of all allocations together (default: no limit)")
    parser.add_argument(
        "--idle", metavar="TIME", help="give back an allocation without a task after that (default: 5m)"
    )
    parser.add_argument("--least", metavar="TIME", help="the shortest allocation worth asking for (default: 10m)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be asked for now, and stop")


def serve_queue(inquiry: Inquiry, arguments: argparse.Namespace) -> int:
    """Ask for allocations as they are needed; they stay when this ends."""
    wanted = wanted_of(arguments, arguments.system, inquiry.folder)
    limits = _limits(arguments, wanted.nodes)
    offer = _offer(inquiry, arguments, wanted)
    broker = broker_for(arguments.system, inquiry.folder, "auto")
    try:
        keeper = _Keeper(inquiry, broker, offer, limits)
        if arguments.dry_run:
            return keeper.rehearse(arguments.system)
        _serve(keeper)
        for note in broker.settle(time.time):  # what was asked for is to be known by its id
            _say(note)
    finally:
        broker.close()
    return 0


def _offer(inquiry: Inquiry, arguments: argparse.Namespace, wanted: AllocationRequest) -> Offer:
    declared = declared_of(arguments)
    least = parsed_limit("--least", arguments.least, parse_seconds) or min(_LEAST, wanted.seconds)
    if least > wanted.seconds:
        raise UserError(f"--least {arguments.least}: is more than the longest allocation, -t {arguments.time}")
    if declared.cores is None:
        raise UserError("say what a node has for tasks: --cores 64, and --memory and --gpus where tasks ask for them")
    join = inquiry.ask_living(LET_IN, {}, str)
    if join is None:
        raise UnavailableError(f"no manager runs in {inquiry.folder}, whose queue could be served: `pilotfish serve`")
    node = Inventory(
        cores=tuple(range(declared.cores)),
        memory=_WITHOUT_END if declared.memory is None else declared.memory,
        gpus=tuple(Gpu(str(number)) for number in range(declared.gpus or 0)),
        resources=declared.resources,
        labels=declared.labels,
    )
    return Offer(
        wanted=with_agents(wanted, Path(join)),
        node=node,
        least=least,
        chains=dialect_of(arguments.system).chains,
    )


def _limits(arguments: argparse.Namespace, nodes: int) -> Caps:
    idle = parsed("--idle", arguments.idle, parse_seconds)
    hours = parsed("--node-hours", arguments.node_hours, _hours)
    return Caps(
        nodes=parsed("--max-nodes", arguments.max_nodes, parse_count) or nodes,
        queued=parsed("--backlog", arguments.backlog, parse_count) or 1,
        node_seconds=math.inf if hours is None else hours * 3600,
        idle=300.0 if idle is None else idle,
    )


def _hours(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) or not float(text):
        raise ValueError(f"expected a number of hours such as 100, got {text!r}")
    return float(text)


class _Keeper:
    """Keeps the queue served."""

    def __init__(self, inquiry: Inquiry, broker: Broker, offer: Offer, limits: Caps) -> None:
        self._inquiry, self._broker, self._offer, self._limits = inquiry, broker, offer, limits
        self._idle: dict[int, float] = {}
        """By key, since when none of a pilot's agents has had a task."""
        # Whoever starts this has looked at what failed before.
        self._forgiven = broker.book.next_key - 1
        self._said = ""

    def step(self, now: float) -> None:
        """One look at the queue and at the allocations, and what follows from them."""
        backlog = self._backlog()
        if backlog is not None:
            self._know(backlog, now)
        for note in self._broker.step(now):
            _say(note)
        if backlog is None:  # nobody knows what waits
            return
        match self._decide(backlog, now):
            case Propose(wanted, why):
                self._tell(f"asking for {_size(wanted)}: {why}")
                name = new_name()
                log = str(Path(wanted.log).with_name(f"{name}.log"))
                self._broker.ask(msgspec.structs.replace(wanted, name=name, log=log), now)
            case Drop(key, why, failed):
                self._tell(f"giving back allocation {self._broker.book[key].id}: {why}")
                if failed:
                    self._broker.book.fail(key, why, now)
                self._broker.book.cancel(key)
            case Stay(why, _, paused):
                self._tell(f"{why}; start `pilotfish alloc auto` again when that is mended" if paused else why)

    def rehearse(self, system: str) -> int:
        """Say what would be asked for now."""
        decision = self._decide(self._backlog() or Backlog((), {}), time.time())
        match decision:
            case Propose(wanted, why):
                sys.stdout.write(f"would ask for {_size(wanted)}: {why}\n")
                dialect = dialect_of(system)
                call = dialect.rehearse(wanted)
                if call is not None:
                    with Running(call, os.environ) as running:
                        told = dialect.rehearsed(running.wait())
                    sys.stdout.write(f"{system}: {told.why if isinstance(told, Refused | Away) else told}\n")
            case Drop(key, why):
                sys.stdout.write(f"would give back allocation {self._broker.book[key].id}: {why}\n")
            case Stay(why):
                sys.stdout.write(f"would ask for nothing: {why}\n")
        return 0

    def _decide(self, backlog: Backlog, now: float) -> Decision:
        waiting = [self._waiting(work) for work in backlog.work]
        pilots = list(self._broker.book)
        return decide(self._offer, self._limits, waiting, pilots, now, idle=self._idle, forgiven=self._forgiven)

    def _waiting(self, work: Unstarted) -> Waiting:
        """Of variants, the first that the nodes could hold."""
        able = [request for request in work.requests if self._offer.node.lacks(request) is None]
        request = (able or work.requests)[0]
        return Waiting(request=request, ready=work.ready, later=work.later, seconds=work.seconds, path=work.path)

    def _backlog(self) -> Backlog | None:
        try:
            backlog = self._inquiry.ask_living(BACKLOG, {}, Backlog)
        except UnavailableError as error:
            self._tell(f"{error}; waiting")
            return None
        if backlog is None:
            self._inquiry.pause()  # its next manager needs the store
            self._tell(f"no manager runs in {self._inquiry.folder}: waiting for one")
        return backlog

    def _know(self, backlog: Backlog, now: float) -> None:
        """Tell the book which agents are with the manager, and note which have nothing to do."""
        for key, here in meet(self._broker.book, backlog.busy, now).items():
            busy = any(backlog.busy[node] for node in here)
            if busy:
                self._broker.book.use(key)
            if here and not busy:
                self._idle.setdefault(key, now)
            else:
                self._idle.pop(key, None)

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            _say(text)


def _serve(keeper: _Keeper) -> None:
    stops: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: stops.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not stops:
            keeper.step(time.time())
            time.sleep(_PERIOD)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _say("ended; its allocations stay: `pilotfish alloc cancel --all` gives them back")


def _size(wanted: AllocationRequest) -> str:
    minutes = round(wanted.seconds / 60)
    return f"{wanted.nodes} node{'s' * (wanted.nodes != 1)} for {minutes} minutes"


def _say(text: str) -> None:
    sys.stderr.write(f"pilotfish: {text}\n")
    sys.stderr.flush()
