"""The keeper: the small blocking process that runs the attempts of one lane, one after the other.

It is forked from the agent and outlives it: what it was given it runs, what it has seen it tells, to the next
agent if need be. Without any agent, or with one that has no manager, it goes on for the lease, then ends its
task and itself. It survives signals that mean a session's end: it ends when told to, or when its lease is over.

Laws: an intent is in the journal before the program starts; an outcome is in the journal, and the outputs that it names
are on the disk, before it is reported; a report is kept until the manager has recorded it.

What belongs here: the order of these things. What must not: how each is done.
"""

import contextlib
import errno
import math
import os
import select
import socket
import sys
import traceback
from collections import deque
from collections.abc import Container, Sequence
from pathlib import Path
from time import monotonic, time
from typing import Never

import msgspec

from pilotfish.agent.address import manager_socket
from pilotfish.agent.bench import Bench, Task
from pilotfish.agent.confine import Bounds, Execution
from pilotfish.agent.journal import Journal, remove_journal
from pilotfish.agent.launchers import Site
from pilotfish.agent.orders import Channel, ChannelClosedError, Introduction, Leave, Manned, Order, Recorded, Work
from pilotfish.agent.outputs import Outputs, Stream
from pilotfish.agent.processes import be_killed_first, become_subreaper, carry_mark, identify, limit_descriptors
from pilotfish.agent.scratch import Scratch
from pilotfish.agent.signals import Signals
from pilotfish.agent.spawn import Program
from pilotfish.agent.witness import Witness, reason_of, unstarted
from pilotfish.agent.workplace import Workplace
from pilotfish.faults import reached
from pilotfish.functions.wire import Afar
from pilotfish.model.attempts import AttemptId, LaneState, OutputRef, Report
from pilotfish.model.messages import End, Host, Note, Started, TakeBack, TakenBack
from pilotfish.model.resources import Inventory
from pilotfish.model.states import Outcome
from pilotfish.settings import Settings
from pilotfish.transport.caller import Caller

__all__ = ["Keeper", "Post", "keep"]

_RECONNECT = 0.2
"""Seconds between two attempts to find an agent."""
_RETRY = 1.0
"""Seconds between two attempts to do what the machine lacked room for."""
_ROOM_LASTS = 1.0
"""Seconds for which a disk that has room is trusted to have some."""
_SHORTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors that say something about the machine at this moment, and nothing about the task."""
_LOST, _ENDS, _STOPPED = "another node that it ran on is lost", "the allocation ends", "the run was interrupted"
_ORDERED = {Outcome.lost: _LOST, Outcome.preempted: _ENDS, Outcome.interrupted: _STOPPED}
"""What to tell people of an end that the manager ordered; the others speak for themselves."""
_LONGEST_WAIT = 3600.0
"""Seconds of one wait where nothing is due."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent gives a keeper on its way."""

    node: str
    lane: int
    mark: int
    journal: Path
    socket: str
    """Where agents of this node listen, one after the other."""
    access: Path
    """The file that tells where the manager is."""
    door: Path | None
    """The socket behind which it is, where it is on another machine."""
    afar: Afar | None
    """How values are had that lie there."""
    outputs: Path
    shared: bool
    """Whether other nodes see that folder."""
    scratch: Path
    inventory: Inventory
    claim: int | None
    """Descriptor that holds the node's cores and GPUs as long as one process has it."""
    descriptors: int
    """Limit of open descriptors for tasks."""
    settings: Settings


class _Running(msgspec.Struct):
    attempt: AttemptId
    pid: int
    started_at: float
    execution: Execution
    program: Program


def keep(post: Post) -> Never:
    """Be a keeper; the process is a fresh fork of its agent, with no descriptor open but the claim."""
    code = 1
    try:
        os.setsid()
        signals = Signals()
        become_subreaper()
        carry_mark(post.mark)
        limit_descriptors(post.descriptors)
        be_killed_first()
        Keeper(post, signals).serve()
        code = 0
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it is belongs in the log
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Keeper:
    """The one lane of this process."""

    def __init__(self, post: Post, signals: Signals) -> None:
        """Begin with nothing to run."""
        self._post, self._signals = post, signals
        self._outputs = Outputs(post.outputs, post.node, post.lane, alone=not post.shared)
        journal = Journal(post.journal, post.lane, identify(os.getpid()), post.mark)
        self._witness = Witness(journal, self._outputs, post.lane, self._send)
        self._scratch = Scratch(post.scratch)
        site = Site(
            node=post.node,
            host=os.uname().nodename,
            slurm=os.environ.get("SLURMD_NODENAME", ""),
            address=post.door or post.access,
            ends=post.outputs.parent / "ends",
            shared=post.shared,
            pinned=post.inventory.pinned,
            root=os.geteuid() == 0,
        )
        self._place = Workplace(site, post.inventory, self._scratch.path)
        self._queue: deque[Task] = deque()
        self._bench = Bench(
            post.lane,
            post.mark,
            self._outputs,
            kept=self._kept,
            started=self._send,
            started_after=post.settings.started_after,
            line=Caller(lambda: post.door or manager_socket(post.access), patience=post.settings.lease),
            afar=post.afar,
        )
        """Where functions are called."""
        self._running: _Running | None = None
        self._room_until = 0.0
        self._leaving = self._expired = False
        self._channel: Channel | None = None
        self._poll = select.poll()
        self._manned = Manned(post.settings.lease, None)
        self._lost_at = self._connect_at = monotonic()

    def serve(self) -> None:
        """Run what comes until there is nothing to stay for."""
        self._connect()
        while not self._done():
            if self._bench.worker is not None or (self._queue and self._queue[0].program.spec.function is not None):
                self._work()
            elif self._queue:
                self._attempt()
            else:
                self._listen(math.inf)
        self._depart()

    def _done(self) -> bool:
        if self._queue or not self._bench.idle or self._witness.due < math.inf:
            return False
        return self._leaving or (self._channel is None and not self._witness.waits)

    # Calls of functions

    def _work(self) -> None:
        """Make calls, one step: give what waits, hear what has ended. An idle worker stays as long as we do."""
        bench = self._bench
        self._give_calls()
        if bench.idle and (self._queue or self._leaving):
            bench.dismiss()
        worker = bench.rings
        if worker is not None:
            self._poll.register(worker, select.POLLIN | (select.POLLOUT if worker.unsent else 0))
        rung = self._listen(min(bench.due, self._outputs.due))
        if worker is not None:
            self._poll.unregister(worker)
        now = monotonic()
        self._outputs.look(now)
        if rung or now >= bench.due:
            for report in bench.look(now):
                self._tell(report)
            self._reclaim(bench.orphans())

    def _give_calls(self) -> None:
        """Give the worker the calls of one program that are next."""
        calls: list[Task] = []
        while self._queue and (not calls or self._queue[0].program is calls[0].program):
            program = self._queue[0].program
            if program.spec.function is None or not self._bench.accepts(program):
                break
            calls.append(self._queue.popleft())
        if not calls:
            return
        try:
            self._require_room()
            self._witness.intend(*(task.attempt for task in calls))
            self._bench.give(calls, self._bounds(calls[0].program, time()), self._place.cores)
        except OSError as error:
            self._reclaim(calls)
            self._witness.complain(error)
            self._listen(monotonic() + _RETRY)
        else:
            reached("keeper.started")

    def _reclaim(self, tasks: Sequence[Task]) -> None:
        """These have not begun, and come first again; in a keeper that leaves they never will."""
        for task in reversed(tasks):
            self._witness.withdraw(task.attempt)
            if not self._leaving:
                self._queue.appendleft(task)

    # The life of an attempt

    def _attempt(self) -> None:
        attempt, row, program = self._queue[0].attempt, self._queue[0].row, self._queue[0].program
        started_at = time()
        try:
            self._require_room()
            launch = program.prepare(attempt, row, self._outputs)
            self._witness.intend(attempt)
            pid = launch.start()
        except (OSError, ValueError) as error:
            self._witness.withdraw(attempt)
            if isinstance(error, OSError) and error.errno in _SHORTAGES:
                self._witness.complain(error)
                self._listen(monotonic() + _RETRY)
            else:
                self._queue.popleft()
                self._tell(unstarted(attempt, self._post.lane, Outcome.start_failed, started_at, reason_of(error)))
            return
        self._queue.popleft()
        reached("keeper.started")
        execution = Execution(pid, self._post.mark, self._bounds(program, started_at), monotonic())
        self._running = _Running(attempt, pid, started_at, execution, program)
        self._watch(self._running)
        self._conclude(self._running)
        self._running = None

    def _bounds(self, program: Program, started_at: float) -> Bounds:
        spec, ends_at = program.spec, self._post.inventory.ends_at
        return Bounds(
            time=spec.time,
            memory=program.slots.memory,
            grace=self._post.settings.grace if spec.grace is None else spec.grace,
            warning=spec.signal,
            node_time=math.inf if ends_at is None else ends_at - started_at,
            lingers=program.hosted,
        )

    def _require_room(self) -> None:
        now = monotonic()
        if now >= self._room_until:
            self._outputs.require_room()
            self._room_until = now + _ROOM_LASTS

    def _watch(self, running: _Running) -> None:
        """Wait until no process of the attempt is left."""
        execution = running.execution
        announce_at = monotonic() + self._post.settings.started_after
        handle = os.pidfd_open(running.pid)
        self._poll.register(handle, select.POLLIN)
        while True:
            self._listen(min(execution.due, self._outputs.due, announce_at))
            over = execution.gather()
            if execution.main_ended:
                break
            now = monotonic()
            execution.look(now)
            self._outputs.look(now)
            if now >= announce_at:
                announce_at = math.inf
                self._send(Started(running.attempt, self._post.lane, running.started_at, running.pid))
        self._poll.unregister(handle)
        os.close(handle)
        while not over:
            now = monotonic()
            execution.look(now)
            self._outputs.look(now)
            self._listen(min(execution.due, self._outputs.due))
            over = execution.gather()

    def _conclude(self, running: _Running) -> None:
        """Report an attempt that is over."""
        reached("keeper.ended")
        execution = running.execution
        outcome, code = execution.outcome
        untold = running.program.untold(running.attempt)
        if untold and outcome is Outcome.exited and code == 0:
            outcome, execution.reason = Outcome.lost, untold
        report = Report(
            attempt=running.attempt,
            lane=self._post.lane,
            outcome=outcome,
            code=code,
            started_at=running.started_at,
            ended_at=max(running.started_at, time()),
            cpu_seconds=execution.cpu_seconds,
            peak_rss=execution.peak_rss,
            stdout=self._kept(self._outputs.out, running.attempt),
            stderr=self._kept(self._outputs.err, running.attempt),
            reason=execution.reason,
        )
        with contextlib.suppress(OSError):  # the next attempt will find a full folder, not a missing one
            self._scratch.empty()
        self._tell(report)

    def _kept(self, stream: Stream, attempt: AttemptId) -> OutputRef | None:
        """Where the output lies from now on; waits while there is no room for it."""
        while True:
            try:
                return stream.collect(attempt)
            except OSError as error:
                if self._leaving or error.errno not in _SHORTAGES:
                    self._send(Note(f"the output of {attempt} is lost: {reason_of(error)}"))
                    return None
                self._witness.complain(error)
            self._listen(monotonic() + _RETRY)

    # What is told

    def _tell(self, report: Report) -> None:
        """Let a report leave soon: at once where nothing else is to be done, else with those that follow."""
        self._witness.tell(self._signals.excuse(report), at_once=not self._queue and self._bench.idle)

    def _send(self, message: Order) -> None:
        if self._channel is not None:
            self._channel.send(message)
            if self._channel.unsent:
                self._await(self._channel)

    # What is heard

    def _listen(self, until: float) -> bool:
        """Wait until then, or until something happens; hear the agent, do what is due. True where others call."""
        now = monotonic()
        until = min(until, self._witness.due, now + _LONGEST_WAIT)
        until = min(until, self._lease_end, self._connect_at if self._channel is None else until)
        others = False
        for descriptor, _ in self._poll.poll(max(0.0, until - now) * 1000):
            if self._channel is not None and descriptor == self._channel.fileno():
                self._hear(self._channel)
            else:
                others = True
        now = monotonic()
        if now >= self._witness.due:
            self._witness.deliver(leaving=self._leaving)
        if now >= self._lease_end:
            self._expired = True
            # The manager counts on its own grace, whatever that of the job is.
            (self._bench if self._running is None else self._running.execution).hurry(self._post.settings.grace, now)
            self._leave(f"there was no manager for {self._manned.lease:g} s")
        elif self._channel is None and now >= self._connect_at:
            self._connect()
        return others

    @property
    def _lease_end(self) -> float:
        lost_at = self._manned.lost_at
        if lost_at is None:
            lost_at = self._lost_at if self._channel is None else math.inf
        return math.inf if self._expired else lost_at + self._manned.lease

    def _await(self, channel: Channel) -> None:
        self._poll.register(channel, select.POLLIN | (select.POLLOUT if channel.unsent else 0))

    def _hear(self, channel: Channel) -> None:
        if channel.unsent:
            channel.flush()
            self._await(channel)
        try:
            for message in channel.receive():
                self._understand(message)
        except ChannelClosedError:
            self._poll.unregister(channel)
            channel.close()
            self._channel = None
            self._lost_at = self._connect_at = monotonic()

    def _understand(self, message: Order) -> None:
        match message:
            case Work():
                self._queue.extend(self._place.tasks(message))
            case Host():
                self._queue.append(self._place.hosted(message))
            case Recorded(count):
                self._witness.recorded(count)
            case TakeBack(_, attempts):
                self._give_back(frozenset(attempts))
            case End():
                self._end(message)
            case Manned():
                self._manned = message
            case Leave(reason):
                self._leave(reason)

    def _give_back(self, wanted: Container[AttemptId]) -> None:
        if any(attempt in wanted for attempt in self._bench.attempts):
            self._reclaim(self._bench.take_back())
        back = [task for task in self._queue if task.attempt in wanted]
        self._queue = deque(task for task in self._queue if task.attempt not in wanted)
        self._witness.flush()
        self._send(TakenBack(self._post.lane, tuple(task.attempt for task in back)))

    def _end(self, order: End) -> None:
        reason = _ORDERED.get(order.outcome, "")
        if self._running is not None and self._running.attempt == order.attempt:
            self._running.execution.end(order.outcome, reason, monotonic(), hard=order.hard)
            return
        if order.attempt in self._bench.attempts:
            self._reclaim(self._bench.take_back())
        if order.attempt == self._bench.running:
            self._bench.end(order.outcome, reason, hard=order.hard)
            return
        for task in self._queue:
            if task.attempt == order.attempt:
                self._queue.remove(task)
                self._tell(unstarted(order.attempt, self._post.lane, order.outcome, 0.0, reason))
                return

    def _leave(self, reason: str) -> None:
        """Run nothing more, end what runs, and go."""
        self._leaving = True
        self._reclaim(self._bench.take_back())
        self._witness.flush()
        self._queue.clear()
        if self._running is not None:
            self._running.execution.end(Outcome.interrupted, reason, monotonic())
        elif self._bench.running is not None:
            self._bench.end(Outcome.interrupted, reason, hard=False)

    # Coming and going

    def _connect(self) -> None:
        """Find an agent and tell it everything."""
        self._connect_at = monotonic() + _RECONNECT
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(0.0)
        try:
            stream.connect(self._post.socket)
        except OSError:
            stream.close()
            return
        self._channel = Channel(stream)
        introduction = self._introduction()
        if self._post.claim is None:
            self._channel.send(introduction)
        else:
            self._channel.send_with(self._post.claim, introduction)
        self._await(self._channel)

    def _introduction(self) -> Introduction:
        attempts = [*self._bench.attempts, *(task.attempt for task in self._queue)]
        started_at = None
        if self._running is not None:
            attempts.insert(0, self._running.attempt)
            started_at = self._running.started_at
        return Introduction(
            journal=self._post.journal.name,
            state=LaneState(self._post.lane, self._place.slots, tuple(attempts), started_at),
            reports=self._witness.delivered,
            inventory=self._post.inventory,
        )

    def _depart(self) -> None:
        """Leave nothing behind but what must still be told."""
        while self._bench.worker is not None:
            self._work()
        until = monotonic() + self._post.settings.grace
        while self._channel is not None and self._channel.unsent and monotonic() < until:
            self._listen(until)
        self._outputs.close()
        self._scratch.remove()
        if not self._witness.waits:
            remove_journal(self._post.journal)
