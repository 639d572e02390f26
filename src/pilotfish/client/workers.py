"""The workers of an executor or a session, here or of a server: there from the first call, shared by all its views.

What belongs here: when they start and end. What must not: the words of executors and sessions.
"""

import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

from pilotfish.agent.inventory import Declared
from pilotfish.client.backend import Backend
from pilotfish.client.calls import Calls
from pilotfish.client.embedded import Embedded
from pilotfish.client.home import Home
from pilotfish.client.joined import Joined
from pilotfish.manager.start import Agents
from pilotfish.settings import Settings

__all__ = ["Workers"]

_LEASE = 5.0
"""Seconds that agent and workers outlive a session that was killed and keeps nothing."""
_QUEUE_LIMIT = 512
"""Calls that may wait in a lane: they may take a few microseconds each."""


class Workers:
    """An embedded manager that is not there before it is needed; its processes end with it. Or a server's.

    Args:
        declared: what its node has.
        initializer: called first in each worker.
        home: makes the place where it lives.
        limits: the named ones of its queue.
        server: the folder of the server to join instead.
        agents: makes those who start its agents; None: one of this machine.

    """

    def __init__(
        self,
        declared: Declared,
        *,
        initializer: Callable[[], object] | None = None,
        home: Callable[[], Home] = Home.passing,
        limits: Mapping[str, int] | None = None,
        server: Path | None = None,
        agents: Callable[[], Agents] | None = None,
    ) -> None:
        """Nothing starts."""
        self._server, self._agents = server, agents
        self._declared, self._initializer, self._home, self._limits = declared, initializer, home, limits
        self._lock = threading.Lock()
        self.calls: Calls | None = None
        """None before the first call."""
        self.backend: Backend | None = None
        """Likewise."""
        self._own: Embedded | None = None
        self.closed = False

    def start(self) -> Calls:
        """What makes the calls.

        Raises RuntimeError after `close`, BusyError where another session lives there, UnavailableError where a server
        is to be joined and none is there.
        """
        with self._lock:
            self.require_open()
            if self.calls is None:
                self.backend = self._begin() if self._server is None else self._join(self._server)
                weakref.finalize(self, self.backend.close, wait=False)
                self.calls = Calls(self.backend, self._initializer)
            return self.calls

    def _begin(self) -> Embedded:
        home = self._home()
        settings = Settings(queue_limit=_QUEUE_LIMIT)
        if not home.lasting:
            settings = Settings(queue_limit=_QUEUE_LIMIT, lease=_LEASE)
        agents = None if self._agents is None else self._agents()
        self._own = Embedded(self._declared, settings, note=_say, home=home, limits=self._limits, agents=agents)
        return self._own

    @staticmethod
    def _join(server: Path) -> Joined:
        return Joined(server, Settings.from_environment().lease, note=_say)

    def require_open(self) -> None:
        """Raise RuntimeError where nothing may be started any more."""
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self.backend is not None:
            self.backend.require_open()

    def close(self, *, wait: bool = True, cancel: bool = False, cancel_pending: bool = False) -> None:
        """Take no more; `cancel` ends all, `cancel_pending` what no node holds. With `wait`, return at the end."""
        with self._lock:
            self.closed = True
        if self._own is not None and cancel_pending:
            self._own.cancel_pending()
        if self.backend is not None:
            self.backend.close(wait=wait, cancel=cancel)


def _say(text: str) -> None:
    sys.stderr.write(f"pilotfish: {text}\n")
