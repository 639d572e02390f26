"""The agents beside a Dask cluster's workers, as the process that runs the manager sees them.

What belongs here: the process that has Dask start them, and that it lives. What must not: Dask, which that imports.
"""

import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from pilotfish.errors import UserError
from pilotfish.model.events import Event

__all__ = ["DaskAgents"]

_SCHEME = "dask://"
_PATIENCE = 30.0
"""Seconds in which a first agent should have come."""
_AGAIN = 10.0
"""Seconds between two attempts to reach a Dask scheduler that has gone."""


class DaskAgents:
    """Agents beside all workers of a Dask cluster, also of those that come later.

    Args:
        scheduler: the cluster's, as ``dask://HOST:PORT``, or ``dask://`` before one of Dask's own addresses or before
            the path of a scheduler file.

    """

    expected = None
    """Any number may come."""

    def __init__(self, scheduler: str) -> None:
        """Start nothing yet. Raises UserError for what names no scheduler."""
        self._scheduler = scheduler.removeprefix(_SCHEME)
        if not self._scheduler or not scheduler.startswith(_SCHEME):
            raise UserError(f"expected a Dask scheduler such as dask://127.0.0.1:8786, got {scheduler!r}")
        self._join = Path()
        self._registrar: subprocess.Popen[str] | None = None
        self._late_at = 0.0
        self._again_at = 0.0

    def go(self, let_in: Callable[[], Path]) -> None:
        """Have them started: the manager can be reached now. Raises UserError where no scheduler answers."""
        self._join = let_in()
        self._registrar = self._start()
        trouble = _trouble_of(self._registrar)
        if trouble is not None:
            self.end(0.0)
            raise UserError(f"no Dask scheduler answers at {self._scheduler}: {trouble or 'see above'}")

    def supervise(self, connected: Collection[str], now: float) -> Iterator[str | Event]:
        """See that agents are started."""
        assert self._registrar is not None  # noqa: S101 - `go` made it
        if self._late_at == 0.0:
            self._late_at = now + _PATIENCE
        if now >= self._late_at and not connected:
            self._late_at = now + _PATIENCE
            yield f"no agent is here: the Dask cluster at {self._scheduler} has no worker, or pilotfish is not on them"
        if self._registrar.poll() is not None and now >= self._again_at:
            self._again_at = now + _AGAIN
            trouble = _trouble_of(self._registrar)
            yield f"no Dask scheduler answers at {self._scheduler}: {trouble or 'it has gone'}; tried again"
            self._registrar = self._start()

    def end(self, patience: float) -> None:
        """Have the agents ended that have not ended by themselves."""
        if self._registrar is not None and self._registrar.stdin is not None:
            self._registrar.stdin.close()
            try:
                self._registrar.wait(patience)
            except subprocess.TimeoutExpired:
                self._registrar.kill()
                self._registrar.wait()

    def _start(self) -> subprocess.Popen[str]:
        """Have Dask start agents."""
        # -P: a dask.py of the user's is not Dask.
        words = [sys.executable, "-P", "-m", "pilotfish.agent.dask", self._scheduler, str(self._join)]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _trouble_of(registrar: subprocess.Popen[str]) -> str | None:
    """What is wrong, None where nothing was when it began; waits until it has begun."""
    assert registrar.stdout is not None  # noqa: S101 - it is a pipe
    word, _, trouble = registrar.stdout.readline().strip().partition(" ")
    return None if word.isdigit() else trouble
