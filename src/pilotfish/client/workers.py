"""The workers of an executor or a session: started by the first call, shared by all its views.

What belongs here: when they start and end. What must not: the words of executors and sessions.
"""

import sys
import threading
import weakref
from collections.abc import Callable, Mapping

from pilotfish.agent.inventory import Declared
from pilotfish.client.calls import Calls
from pilotfish.client.embedded import Embedded
from pilotfish.client.home import Home
from pilotfish.settings import Settings

__all__ = ["Workers"]

_LEASE = 5.0
"""Seconds that agent and workers outlive a session that was killed and keeps nothing."""
_QUEUE_LIMIT = 512
"""Calls that may wait in a lane: they may take a few microseconds each."""


class Workers:
    """An embedded manager that is not there before it is needed; its processes end with it.

    Args:
        declared: what its node has.
        initializer: called first in each worker.
        home: makes the place where it lives.
        limits: the named ones of its queue.

    """

    def __init__(
        self,
        declared: Declared,
        *,
        initializer: Callable[[], object] | None = None,
        home: Callable[[], Home] = Home.passing,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """Nothing starts."""
        self._declared, self._initializer, self._home, self._limits = declared, initializer, home, limits
        self._lock = threading.Lock()
        self.calls: Calls | None = None
        """None before the first call."""
        self.embedded: Embedded | None = None
        """Likewise."""
        self.closed = False

    def start(self) -> Calls:
        """What makes the calls. Raises RuntimeError after `close`, BusyError where another session lives there."""
        with self._lock:
            self.require_open()
            if self.calls is None:
                home = self._home()
                settings = Settings(queue_limit=_QUEUE_LIMIT)
                if not home.lasting:
                    settings = Settings(queue_limit=_QUEUE_LIMIT, lease=_LEASE)
                self.embedded = Embedded(self._declared, settings, note=_say, home=home, limits=self._limits)
                weakref.finalize(self, self.embedded.close, wait=False)
                self.calls = Calls(self.embedded, self._initializer)
            return self.calls

    def require_open(self) -> None:
        """Raise RuntimeError where nothing may be started any more."""
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self.embedded is not None:
            self.embedded.require_open()

    def close(self, *, wait: bool = True, cancel: bool = False, cancel_pending: bool = False) -> None:
        """Take no more; `cancel` ends all, `cancel_pending` what no node holds. With `wait`, return at the end."""
        with self._lock:
            self.closed = True
        if self.embedded is not None:
            if cancel_pending:
                self.embedded.cancel_pending()
            self.embedded.close(wait=wait, cancel=cancel)


def _say(text: str) -> None:
    sys.stderr.write(f"pilotfish: {text}\n")
