"""The agent: one process per node between the manager and the keepers.

It passes on: what the manager wants to the keepers, what these witness to the manager. It knows nothing that keepers
and their journals do not know, so that its death costs nothing: the next one adopts its keepers. Each connection begins
with the whole truth about the node (Hello), told when all living keepers of an earlier agent are heard, all
dead ones buried, and the node's cores and GPUs are claimed.

What belongs here: this passing on, the connection, the lease, the claim. What must not: processes of tasks.
"""

import contextlib
import fcntl
import math
import os
import selectors
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, strftime

import msgspec

from pilotfish import __version__
from pilotfish.agent.claims import Claims, claim_path
from pilotfish.agent.config import AgentConfig
from pilotfish.agent.crew import Crew
from pilotfish.agent.handle import KeeperHandle
from pilotfish.agent.inventory import read_machine
from pilotfish.agent.orders import Manned
from pilotfish.agent.processes import become_subreaper
from pilotfish.agent.push import Pusher
from pilotfish.agent.scratch import Scratch
from pilotfish.agent.share import share_of
from pilotfish.errors import UnavailableError
from pilotfish.faults import reached
from pilotfish.model.jobs import JobSpec
from pilotfish.model.messages import (
    Describe,
    End,
    Hello,
    Host,
    Left,
    Message,
    Note,
    Refusal,
    Reports,
    Start,
    Stop,
    TakeBack,
    Welcome,
)
from pilotfish.model.resources import Inventory
from pilotfish.transport.base import Connection, DisconnectedError
from pilotfish.transport.join import JOIN
from pilotfish.transport.link import Link

__all__ = ["Agent"]

_RECONNECT = 0.1
"""Seconds between two attempts to reach the manager; on another machine each is twice as long as the one before."""
_LONGEST_PAUSE = 2.0
"""Seconds between two such attempts at most."""
_IDLE_LEASE = 2.0
"""Seconds that an agent without attempts stays when no manager is on its machine: the next one starts an agent."""
_RENEWALS = 4
"""How often in a lease keepers hear that the manager on another machine lives: an agent may be stopped at any time."""
_CLAIM_AGAIN = 0.5
"""Seconds between two attempts to claim cores and GPUs."""
_LONGEST_WAIT = 3600.0
"""Seconds of one wait where nothing is due."""
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FAREWELL = 5.0
"""Seconds that an agent without keepers waits until what they told is recorded."""


class _Told(msgspec.Struct, frozen=True):
    """Reports on their way to the manager."""

    number: int
    """Of the message."""
    handle: KeeperHandle
    count: int


class Agent:
    """The agent of one node; owns the node's folder while it runs.

    Args:
        config: what it is told.
        connect: reaches the manager, raises UnavailableError while it cannot.

    """

    def __init__(self, config: AgentConfig, connect: Callable[[], Connection]) -> None:
        """Become the node's agent. Raises UnavailableError where another one lives."""
        self._config, self._connect = config, connect
        self._lock = _own(config.lock)
        self._join = Path(config.folder, JOIN)
        self._joined_by = self._join.stat() if self._join.exists() else None
        become_subreaper()
        self._selector = selectors.DefaultSelector()
        self._crew = Crew(config, self._selector, self._tell)
        bulk = config.bulk
        self._pusher = None if bulk is None else Pusher(bulk, self._selector, lambda text: self._tell(Note(text), None))
        self._inventory: Inventory | None = None
        """None until it is known."""
        self._claims = Claims.open(claim_path())
        self._claim_at = 0.0
        self._waits = False
        self._specs: dict[int, JobSpec] = {}
        self._connection: Connection | None = None
        self._link = self._new_link()
        self._greeted = False
        self._told: deque[_Told] = deque()
        self._lease = config.settings.lease
        self._far = bool(config.joins)
        """Whether the manager is on another machine, from which silence is all that a cut network lets through."""
        self._welcomed = False
        self._lost_at = self._connect_at = self._renew_at = monotonic()
        self._pause = _RECONNECT
        self._leaving = False
        self._reason: str | None = None
        """Why it leaves, where the manager does not know."""
        self._last_word = 0
        """Number of the message that tells that."""
        self._farewell_at = math.inf

    def serve(self) -> None:
        """Pass on until there is no more to do, or the lease is over."""
        with self._signals():
            while not self._settled():
                for key, _ in self._selector.select(max(0.0, self._due() - monotonic())):
                    key.data()
        self._depart()

    def _settled(self) -> bool:
        """Do what is due; True when there is nothing more to wait for."""
        self._look(monotonic())
        if not self._leaving or self._crew.living:
            return False
        if self._farewell_at == math.inf:
            self._farewell_at = monotonic() + _FAREWELL
        recorded = not any(self._crew.unrecorded())
        if recorded and self._greeted and self._reason is not None and not self._last_word:
            self._last_word = self._link.send(Left(self._reason))  # not earlier: whoever has left tells no more
            self._look(monotonic())
        heard = recorded and self._link.acknowledged >= self._last_word
        return self._connection is None or heard or monotonic() >= self._farewell_at

    def _due(self) -> float:
        """When to look at the latest."""
        due = [monotonic() + _LONGEST_WAIT, self._crew.due, self._farewell_at]
        if self._pusher is not None:
            due.append(self._pusher.due)
        if self._connection is not None:
            due.append(self._link.next_due())
            if self._far and self._greeted:
                due += [self._silent_at, self._renew_at if self._welcomed else math.inf]
        elif not self._leaving:
            due += [self._connect_at, self._lease_end]
        if self._inventory is None and self._crew.ready:
            due.append(self._claim_at)
        return min(due)

    @property
    def _lease_end(self) -> float:
        # What has been told and not recorded is in journals; an agent that holds nothing else keeps cores from others.
        stays = self._crew.busy or self._far
        return self._lost_at + (self._lease if stays else min(self._lease, _IDLE_LEASE))

    @property
    def _silent_at(self) -> float:
        settings = self._config.settings
        return self._link.last_heard + settings.misses * settings.heartbeat

    def _look(self, now: float) -> None:
        """Do what is due."""
        self._crew.look(now)
        if self._pusher is not None:
            self._pusher.look(now)
        if self._far and self._greeted:
            self._look_far(now)
        if self._connection is None and not self._leaving:
            if now >= self._lease_end:
                self._leave(f"there was no manager for {now - self._lost_at:.1f} s")
            elif now >= self._connect_at:
                self._reach_manager(now)
        if self._inventory is None and self._crew.ready and now >= self._claim_at:
            self._take_inventory(now)
        self._crew.flush()
        if self._connection is not None:
            if self._inventory is not None and not self._greeted and (self._pusher is None or self._pusher.idle):
                self._greet(self._inventory)
            self._push(self._connection, now)

    def _look_far(self, now: float) -> None:
        """Take the silence of a manager on another machine for what it is; let keepers know where there is none."""
        if now >= self._silent_at:
            self._hear()  # it may be this process that was stopped
        if self._connection is not None and now >= self._silent_at:
            self._lose_manager(self._connection, now)
        elif self._welcomed and now >= self._renew_at:
            self._renew(now)

    def _leave(self, reason: str) -> None:
        if not self._leaving:
            self._leaving = True
            _log(reason)
            self._crew.dismiss(reason)

    # The node's inventory

    def _take_inventory(self, now: float) -> None:
        """Know what the node has: what keepers of the agent before us use, and what else can be claimed."""
        adopted = self._crew.adopted
        if self._crew.adopted_claim is not None:
            self._claims = Claims(self._crew.adopted_claim)
        share = share_of(read_machine(), self._config, self._claims, None if adopted is None else adopted.inventory)
        if isinstance(share, Inventory):
            self._inventory = share
            self._crew.open(share, self._claims.descriptor)
            if self._pusher is not None:  # nobody knows what of theirs the agent before us has brought away
                for handle in self._crew.unrecorded():
                    self._pusher.push(handle.reports, lambda: None)
            return
        self._claim_at = now + _CLAIM_AGAIN
        if not self._waits and self._connection is not None:
            self._waits = True
            self._tell(Note(share), None)

    # The manager

    def _reach_manager(self, now: float) -> None:
        self._connect_at = now + self._pause
        try:
            self._connection = self._connect()
        except UnavailableError:
            return
        self._link = self._new_link()
        self._selector.register(self._connection, selectors.EVENT_READ, self._hear)

    def _new_link(self) -> Link:
        """Nobody waits for what we acknowledge: that travels with reports, or with the next heartbeat."""
        resend, heartbeat = self._config.settings.resend_after, self._config.settings.heartbeat
        return Link(resend_after=resend, heartbeat=heartbeat, acknowledge_after=heartbeat, now=monotonic())

    def _greet(self, inventory: Inventory) -> None:
        """Tell the whole truth about the node."""
        self._greeted = True
        keepers = list(self._crew.unrecorded())
        reports = tuple(report for handle in keepers for report in handle.reports)
        lanes = self._crew.lane_states()
        node, pid = self._config.node, os.getpid()
        number = self._link.send(Hello(__version__, node, pid, inventory, lanes, reports, leased=self._far))
        self._told.extend(_Told(number, handle, len(handle.reports)) for handle in keepers)

    def _tell(self, message: Message, handle: KeeperHandle | None) -> None:
        """Pass a message on. What no manager hears now is in the next Hello, or no longer matters."""
        if isinstance(message, Reports) and self._pusher is not None and handle is not None:
            self._pusher.push(message.reports, lambda: self._pass_on(message, handle))
        else:
            self._pass_on(message, handle)

    def _pass_on(self, message: Message, handle: KeeperHandle | None) -> None:
        if isinstance(message, Note):
            _log(message.text)
        elif not self._greeted:
            return
        if self._connection is not None:
            number = self._link.send(message)
            if isinstance(message, Reports) and handle is not None:
                self._told.append(_Told(number, handle, len(message.reports)))

    def _push(self, connection: Connection, now: float) -> None:
        frame = self._link.outgoing(now)
        if frame is not None:
            connection.send(frame)
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        if self._selector.get_key(connection).events != wanted:
            self._selector.modify(connection, wanted, self._hear)

    def _hear(self) -> None:
        connection = self._connection
        if connection is None:
            return
        now = monotonic()
        try:
            connection.flush()
            for frame in connection.receive():
                messages = self._link.receive(frame, now)
                self._acknowledge()
                for message in messages:
                    self._understand(message)
        except DisconnectedError:
            self._lose_manager(connection, now)
            return
        self._link.handled(self._link.received)

    def _acknowledge(self) -> None:
        """Pass on what the manager has recorded."""
        while self._told and self._told[0].number <= self._link.acknowledged:
            told = self._told.popleft()
            reached("agent.recorded")
            self._crew.recorded(told.handle, told.count)

    def _understand(self, message: Message) -> None:
        match message:
            case Start():
                reached("agent.start")
                if not self._leaving:
                    self._crew.start(message, self._specs[message.job])
            case Host():
                if not self._leaving:
                    self._crew.host(message)
            case Describe(job, spec):
                self._specs[job] = spec
            case TakeBack() | End():
                self._crew.pass_on(message)
            case Welcome():
                self._lease, self._welcomed, self._pause = message.lease, True, _RECONNECT
                self._renew(monotonic())
            case Stop():
                self._leave("the manager has no more work")
            case Refusal(reason):
                self._leave(f"refused by the manager: {reason}")

    def _lose_manager(self, connection: Connection, now: float) -> None:
        self._selector.unregister(connection)
        connection.close()
        self._connection, self._greeted = None, False
        self._told.clear()
        self._specs.clear()
        if self._far:  # many of us may have lost the same manager
            self._connect_at = now + self._pause * (1.0 + os.urandom(1)[0] / 255) / 2
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self._connect_at = now
        if self._welcomed:  # else it was no manager
            self._welcomed = False
            self._lost_at = self._link.known_to_live if self._far else now
            self._crew.man(Manned(self._lease, self._lost_at))

    def _renew(self, now: float) -> None:
        """Let keepers know that there is a manager."""
        self._renew_at = now + self._lease / _RENEWALS
        # The lease counts from what the manager has heard of us, as on its side: what we hear of it may be old.
        self._crew.man(Manned(self._lease, self._link.known_to_live if self._far else None))

    # Coming and going

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Let TERM end this agent, and the end of a child wake it."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._signalled(os.read(reading, 256)))
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in (*_ENDING, signal.SIGCHLD)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _ENDING:
                self._reason = f"its agent was ended by {signal.Signals(number).name}"
                self._leave(f"ended by {signal.Signals(number).name}")
            else:
                self._crew.reap()

    def _depart(self) -> None:
        if self._connection is not None:
            self._push(self._connection, monotonic())
            self._connection.close()
        with contextlib.suppress(OSError):  # a full disk, or rights that tasks took away: nothing that matters
            Scratch(Path(self._config.scratch)).remove()
        if not any(self._crew.unrecorded()):
            self._clear()
        self._config.socket.unlink(missing_ok=True)
        self._config.lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # journals that somebody must still be told of, or the manager's socket
            Path(self._config.folder).rmdir()

    def _clear(self) -> None:
        """Leave nothing on a node that is not the manager's: no key, and no output that it has."""
        if not self._config.shared:
            shutil.rmtree(self._config.outputs, ignore_errors=True)
        mine = self._joined_by
        with contextlib.suppress(FileNotFoundError):
            if mine is not None and os.path.samestat(self._join.stat(), mine):  # else it is that of the agent after us
                self._join.unlink()


def _own(lock: Path) -> int:
    """Hold the lock as long as this process lives. Raises UnavailableError where another agent has it."""
    while True:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue  # a departing agent has just removed the folder
        except BlockingIOError:
            raise UnavailableError(f"another agent owns {lock.parent}") from None
        if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
            return descriptor
        os.close(descriptor)  # or the file, after we had opened it


def _log(text: str) -> None:
    with contextlib.suppress(OSError):  # its disk is full: what is to be told may be just that
        sys.stderr.write(f"{strftime('%Y-%m-%d %H:%M:%S')} agent {os.getpid()}: {text}\n")
        sys.stderr.flush()
