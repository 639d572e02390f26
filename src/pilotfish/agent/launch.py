"""Starting the agent of this machine and seeing that one lives, from the process that runs the manager.

The first agent is forked before that process has threads, imports what it needs and waits on a pipe while
the manager opens its store, and ends by itself when the pipe closes without a word: so nothing starts for a file
or a store that is refused, and the wait costs no time. Later ones, should it die, are new interpreters.
"""

import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Never

import msgspec

from pilotfish.agent.config import AgentConfig
from pilotfish.errors import UnavailableError

__all__ = ["AgentProcess"]

_BETWEEN_STARTS = 1.0
"""Seconds: an agent that cannot start is not started in a tight loop."""
_MOST_DEATHS = 5
"""In a row, without a connection between them: then nothing will help but a person."""


class AgentProcess:
    """The local agent as its parent sees it."""

    expected = 1
    """Its node is all that there is."""

    def __init__(self, config: AgentConfig, *, fork: bool = True) -> None:
        """Fork the agent, while this process has one thread; without `fork`, `go` starts a new interpreter."""
        self._config = config
        self._started_at = math.inf
        self._deaths = 0
        """Agents that ended in a bad way since one was connected."""
        self._pid: int | None = None
        self._writing: int | None = None
        if fork:
            self._fork()

    def _fork(self) -> None:
        reading, self._writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._writing)
            _wait_and_serve(reading, self._config)
        os.close(reading)

    def go(self, _let_in: Callable[[], Path]) -> None:
        """Let the agent begin: the manager can be reached now, from this machine."""
        self._started_at = time.time()
        if self._writing is None:
            self._spawn()
        else:
            with contextlib.suppress(BrokenPipeError):  # it was killed; `supervise` starts another
                os.write(self._writing, b"go")
            os.close(self._writing)

    def supervise(self, connected: Collection[str], now: float) -> Iterable[str]:
        """Start an agent where ours is not connected and none lives; what a person should know of the last one.

        One of an earlier run may live: then ours ends at once because the node is taken, and the other connects.
        Raises UnavailableError where agents end again and again without having connected.
        """
        if self._config.node in connected:
            self._deaths = 0
            return ()
        note = self._last_words()
        if self._deaths >= _MOST_DEATHS:
            raise UnavailableError(f"the agent of this machine ended {self._deaths} times in a row: {note}")
        if self._pid is None and now >= self._started_at + _BETWEEN_STARTS:
            self._started_at = now
            self._spawn()
        return () if note is None else (note,)

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "pilotfish.agent", msgspec.json.encode(self._config).decode()]
        self._pid = os.posix_spawn(sys.executable, command, os.environ)

    def _last_words(self) -> str | None:
        """Notice that our agent has ended; None where it lives, or ended because the node is taken."""
        if self._pid is None:
            return None
        ended, status = os.waitpid(self._pid, os.WNOHANG)
        if not ended:
            return None
        self._pid = None
        code = os.waitstatus_to_exitcode(status)
        if code in (0, UnavailableError.exit_code):
            return None
        self._deaths += 1
        how = f"was killed by signal {-code}" if code < 0 else f"failed with code {code}"
        return f"the agent {how}, another one takes over; see {self._config.log}"

    def end(self, patience: float) -> None:
        """Wait for our agent to end; KILL it after `patience` seconds."""
        if self._pid is not None:
            handle = os.pidfd_open(self._pid)
            ended, _, _ = select.select([handle], [], [], patience)
            os.close(handle)
            if not ended:
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None


def _wait_and_serve(reading: int, config: AgentConfig) -> Never:
    """Be the agent; never returns into the parent's code."""
    code = 1
    try:
        os.setsid()  # at once, so that an interrupt from the terminal is the parent's alone
        from pilotfish.agent.serve import serve

        code = serve(config) if os.read(reading, 2) else 0
    finally:
        os._exit(code)
