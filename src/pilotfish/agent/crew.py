"""The keepers of a node, as their agent sees them: started, heard, adopted from an earlier agent, and buried.

The agent remembers of each keeper what it gave and what no manager has recorded, so that it can tell a new manager;
should the agent die, its successor learns the same from keepers that live and from the journals of those that do not.

What belongs here: keepers and what they hold. What must not: the manager, claims.
"""

import contextlib
import errno
import gc
import math
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.handle import KeeperHandle
from pilotfish.agent.journal import read_journal, remove_journal
from pilotfish.agent.keeper import Post, keep
from pilotfish.agent.orders import Channel, ChannelClosedError, Introduction, Leave, Manned, Order
from pilotfish.agent.outputs import sync_outputs
from pilotfish.agent.processes import (
    Identity,
    close_descriptors,
    descendants,
    marked,
    new_mark,
    raise_descriptor_limit,
    send_signal,
    still_lives,
)
from pilotfish.faults import reached
from pilotfish.functions.wire import Afar
from pilotfish.model.attempts import LaneState
from pilotfish.model.jobs import JobSpec
from pilotfish.model.messages import End, Host, Message, Note, Reports, Start, Started, TakeBack, TakenBack
from pilotfish.model.resources import Inventory

__all__ = ["Crew"]

_PATIENCE = 5.0
"""Seconds in which a living keeper must introduce itself to a new agent; it tries five times each second."""
_STILL_THERE = 0.1
"""Seconds between two looks whether those that are awaited still live."""
_GONE_YET = 0.01
"""Seconds between two looks whether the processes of a dead keeper are gone."""
_FORK_AGAIN = 1.0
"""Seconds between two attempts to fork where the machine allows no more processes."""


_OTHER_DESCRIPTORS = 32
"""Open descriptors of an agent that are not of keepers, and some to spare."""


class Crew:
    """All keepers of a node: those that live, and the dead that have left something to tell.

    Args:
        config: of the agent.
        selector: of the agent's loop; here each key's data is called when its descriptor is ready.
        tell: passes a message on to the manager; with the keeper that keeps the reports in it.

    """

    def __init__(
        self,
        config: AgentConfig,
        selector: selectors.BaseSelector,
        tell: Callable[[Message, KeeperHandle | None], None],
    ) -> None:
        """Listen for keepers, and learn from their journals which ones live and which have died."""
        self._config, self._selector, self._tell = config, selector, tell
        self._lanes: dict[int, KeeperHandle] = {}
        """Keepers that live, by lane; also those that have not yet introduced themselves, or are being buried."""
        self._expected: dict[KeeperHandle, Identity] = {}
        """Keepers of an earlier agent that live and have not been heard."""
        self._late_at = monotonic() + _PATIENCE
        """When they should have been."""
        self._dying: list[KeeperHandle] = []
        """Dead ones whose processes must end before anything is said of their attempts."""
        self._dead: list[KeeperHandle] = []
        """Dead ones that left reports which no manager has recorded."""
        self._slow: set[KeeperHandle] = set()
        """Those that could not take all that they were given."""
        self._unforked: list[KeeperHandle] = []
        self._fork_from = 0.0
        """No keeper is forked earlier."""
        self._fork_at = math.inf
        """When to fork those that wait."""
        self._manned = Manned(config.settings.lease, None)
        self._farewell: Leave | None = None
        """What keepers are told when the agent is about to leave."""
        self._inventory = Inventory((), 0)
        self._claim: int | None = None
        self.adopted: Introduction | None = None
        """What the first keeper of an earlier agent said; None where there was none."""
        self.adopted_claim: int | None = None
        """The descriptor that came with it."""
        self._task_descriptors, descriptors = raise_descriptor_limit()
        self._room = descriptors - _OTHER_DESCRIPTORS
        """Keepers that can be heard at the same time."""
        self._find_keepers()
        self._listener = self._listen()

    # Beginning

    def _find_keepers(self) -> None:
        for path in sorted(Path(self._config.folder).glob("k*.journal")):
            past = read_journal(path)
            if past is None:
                remove_journal(path)
                continue
            handle = KeeperHandle(past.lane, past.mark, path)
            if still_lives(past.keeper):
                self._expected[handle] = past.keeper
            else:
                self._dying.append(handle)

    def _listen(self) -> socket.socket:
        path = self._config.socket
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(0.0)
        listener.bind(str(path))
        listener.listen(4096)  # as many keepers may come before we look
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        return listener

    @property
    def ready(self) -> bool:
        """True when the truth about this node is known: all living keepers are heard, all dead ones buried."""
        return not self._expected and not self._dying

    def open(self, inventory: Inventory, claim: int | None) -> None:
        """Know what keepers are given on their way.

        Args:
            inventory: of the node.
            claim: a descriptor that they shall inherit.

        """
        self._inventory, self._claim = inventory, claim

    # What the manager wants

    def start(self, start: Start, spec: JobSpec) -> None:
        """Give tasks to the keeper of their lane; it is forked where there is none."""
        self._keeper(start.lane).start(start, spec)

    def host(self, host: Host) -> None:
        """Give the keeper of a lane a part of an attempt that another node leads."""
        self._keeper(host.lane).host(host)

    def _keeper(self, lane: int) -> KeeperHandle:
        handle = self._lanes.get(lane)
        if handle is None:
            mark = new_mark()
            journal = Path(self._config.folder, f"k{lane}.{mark:x}.journal")
            handle = self._lanes[lane] = KeeperHandle(lane, mark, journal)
            handle.give(self._manned)
            self._unforked.append(handle)
            self._fork()
        return handle

    def pass_on(self, order: TakeBack | End) -> None:
        """Give an order to the keeper of its lane; answer for one that is no more."""
        handle = self._lanes.get(order.lane)
        if handle is not None:
            handle.give(order)
        elif isinstance(order, TakeBack):
            self._tell(TakenBack(order.lane, ()), None)

    def man(self, manned: Manned) -> None:
        """Tell keepers whether there is a manager."""
        self._manned = manned
        for handle in self._lanes.values():
            handle.give(manned)

    def dismiss(self, reason: str) -> None:
        """Let keepers end what they run, and themselves."""
        self._farewell = Leave(reason)
        self._lanes = {lane: handle for lane, handle in self._lanes.items() if handle not in self._unforked}
        self._unforked.clear()
        for handle in self._lanes.values():
            handle.give(self._farewell)

    # What the manager must know

    @property
    def living(self) -> bool:
        """True while there is a keeper, or a process of one."""
        return bool(self._lanes or self._expected or self._dying)

    @property
    def busy(self) -> bool:
        """True while there is, or may be, an attempt that has not ended."""
        return bool(self._expected or self._dying) or any(handle.held for handle in self._lanes.values())

    def lane_states(self) -> tuple[LaneState, ...]:
        """What the lanes hold that hold something."""
        return tuple(handle.state() for _, handle in sorted(self._lanes.items()) if handle.held)

    def unrecorded(self) -> Iterator[KeeperHandle]:
        """Keepers that have reports which no manager has recorded, the dead first."""
        return (handle for handle in (*self._dead, *self._lanes.values()) if handle.reports)

    def recorded(self, handle: KeeperHandle, count: int) -> None:
        """A manager has recorded so many more of a keeper's reports."""
        handle.recorded(count)
        if handle in self._dead and not handle.reports:
            self._dead.remove(handle)
            remove_journal(handle.journal)

    # What time brings

    @property
    def due(self) -> float:
        """When to call `look` at the latest, on the monotonic clock."""
        now = monotonic()
        return min(
            now + _GONE_YET if self._dying else math.inf,
            now + _STILL_THERE if self._expected else math.inf,
            self._fork_at,
        )

    def look(self, now: float) -> None:
        """Do what is due."""
        for handle, identity in list(self._expected.items()):
            # One that lives and does not speak is ended too: nothing can be known of its attempts but so.
            if now >= self._late_at or not still_lives(identity):
                del self._expected[handle]
                self._dying.append(handle)
        for handle in self._dying[:]:
            left = marked(handle.mark)
            send_signal({*left, *descendants(left)}, signal.SIGKILL)
            if not left:
                self._dying.remove(handle)
                self._bury(handle)
        if now >= self._fork_at:
            self._fork()

    def reap(self) -> None:
        """Wait for children that have ended: keepers, and orphans of dead ones."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for handle in self._lanes.values():
                    if handle.pid == pid and handle.channel is None and handle not in self._dying:
                        self._dying.append(handle)  # it died before it could introduce itself

    def _bury(self, handle: KeeperHandle) -> None:
        """Tell how the attempts of a dead keeper ended, now that none of its processes is left."""
        ended, untouched = handle.bury(read_journal(handle.journal))
        with contextlib.suppress(OSError):  # nothing better can be done for what a dead keeper wrote
            sync_outputs(self._config.outputs, ended)
        if self._lanes.get(handle.lane) is handle:
            del self._lanes[handle.lane]
        if handle.reports:
            self._dead.append(handle)
        else:
            remove_journal(handle.journal)
        if handle.pid is not None and not handle.introduced:
            self._fork_from = monotonic() + _FORK_AGAIN
            self._tell(Note(f"the keeper of lane {handle.lane} died as it began; see {self._config.log}"), None)
        if ended:
            self._tell(Reports(ended), handle)
        if untouched and self._farewell is None:
            self._tell(TakenBack(handle.lane, untouched), None)

    # Keepers

    def _fork(self) -> None:
        """Fork the keepers that wait to be; later, where the machine does not allow it now."""
        while self._unforked and monotonic() >= self._fork_from:
            try:
                self._fork_one(self._unforked[0])
            except OSError as error:
                self._fork_from = monotonic() + _FORK_AGAIN
                self._tell(Note(f"no keeper can be started: {error.strerror}; tried again each second"), None)
            else:
                del self._unforked[0]
        self._fork_at = self._fork_from if self._unforked else math.inf

    def _fork_one(self, handle: KeeperHandle) -> None:
        if len(self._lanes) - len(self._unforked) >= self._room:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        post = Post(
            node=self._config.node,
            lane=handle.lane,
            mark=handle.mark,
            journal=handle.journal,
            socket=str(self._config.socket),
            access=self._config.access,
            door=self._config.door,
            afar=_afar(self._config),
            outputs=self._config.outputs,
            shared=self._config.shared,
            scratch=Path(self._config.scratch, str(handle.lane)),
            inventory=self._inventory,
            claim=self._claim,
            descriptors=self._task_descriptors,
            settings=self._config.settings,
        )
        gc.freeze()  # so that the child's collector does not touch, and so copy, what is the parent's
        handle.pid = os.fork()
        if handle.pid == 0:
            close_descriptors(kept=() if self._claim is None else (self._claim,))
            keep(post)
        reached("agent.forked")

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except BlockingIOError:
            return
        channel = Channel(stream)
        self._selector.register(channel, selectors.EVENT_READ, partial(self._greet, channel))

    def _greet(self, channel: Channel) -> None:
        """Hear the first words of a keeper."""
        try:
            messages = channel.receive()
        except ChannelClosedError:
            self._selector.unregister(channel)
            channel.close()
            return
        if not messages:
            return  # they are long, and not yet here to the end
        introduction = messages[0]
        if not isinstance(introduction, Introduction) or (handle := self._introduced(introduction)) is None:
            channel.send(Leave("another keeper has its lane"))
            return
        handle.introduce(channel, introduction)
        if self.adopted is None and handle.pid is None:
            self.adopted = introduction
            self.adopted_claim = channel.descriptors.pop() if channel.descriptors else None
        self._selector.modify(channel, selectors.EVENT_READ, partial(self._hear, handle))
        self._understand(handle, messages[1:])

    def _introduced(self, introduction: Introduction) -> KeeperHandle | None:
        """Whose introduction it is; None where another keeper has the lane."""
        lane, path = introduction.state.lane, Path(self._config.folder, introduction.journal)
        present = self._lanes.get(lane)
        if present is not None:
            return present if present.journal == path else None
        handle = next((expected for expected in self._expected if expected.journal == path), None)
        if handle is not None:
            del self._expected[handle]
        elif (past := read_journal(path)) is not None:  # forked by the agent before us in its last moment
            handle = KeeperHandle(lane, past.mark, path)
        else:
            return None
        self._lanes[lane] = handle
        handle.give(self._manned)
        if self._farewell is not None:
            handle.give(self._farewell)
        return handle

    def _hear(self, handle: KeeperHandle) -> None:
        channel = handle.channel
        if channel is None:
            return
        channel.flush()
        try:
            self._understand(handle, channel.receive())
        except ChannelClosedError:
            self._selector.unregister(channel)
            channel.close()
            handle.channel = None
            self._slow.discard(handle)
            self._dying.append(handle)

    def _understand(self, handle: KeeperHandle, messages: list[Order]) -> None:
        for message in messages:
            handle.note(message)
            if isinstance(message, Reports):
                reached("agent.heard")
                self._tell(message, handle)
            elif isinstance(message, Started | TakenBack | Note):
                self._tell(message, None)

    def flush(self) -> None:
        """Send all that keepers were given. Call at the end of each turn of the loop."""
        for handle in self._lanes.values():
            channel = handle.channel
            if channel is None:
                continue
            handle.flush()
            if channel.unsent != (handle in self._slow):
                self._slow ^= {handle}
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.unsent else 0)
                self._selector.modify(channel, events, partial(self._hear, handle))


def _afar(config: AgentConfig) -> Afar | None:
    """How values are had that lie on another machine; None: the manager is on this one, and so are they."""
    if config.values is None:
        return None
    memory = () if config.copies is None else (Path(config.copies),)
    copies = (*memory, Path(config.scratch, "values"))
    return Afar(config.values, copies, shared=config.shared, patience=config.settings.lease)
