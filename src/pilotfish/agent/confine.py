"""One attempt while it runs: its limits, its processes down to the last, its end.

An attempt is over when its keeper has no child left: orphans come to the keeper, which is their subreaper.
What the main process leaves behind gets a moment to end by itself, then TERM, then KILL.

What belongs here: limits, signals, waiting for processes, what they used. What must not: why an end is wanted,
outputs, reports. Time is seconds of the monotonic clock, and comes in as an argument.
"""

import math
import os
import signal
import time

import msgspec

from pilotfish.agent.processes import descendants, marked, proportional_memory, resident_memory, send_signal
from pilotfish.model.jobs import Signal
from pilotfish.model.quantities import format_bytes, format_seconds
from pilotfish.model.states import Outcome

__all__ = ["Bounds", "Execution"]

_MOMENT = 0.2
"""Seconds in which leftovers may end by themselves, such as the reader of a pipe, also where all cores are busy."""
_LEFTOVER_GRACE = 1.0
"""Seconds between TERM and KILL for leftovers."""
_KILL_AGAIN = 0.1
"""Seconds between two rounds of KILL: a process may have forked meanwhile."""
_REAP_EVERY = 1.0
"""Seconds between two looks for orphans that have ended while the main process runs."""
_REAP_LEFTOVERS = (0.001, 0.05)
"""The shortest and the longest pause between two looks at leftovers."""
_SAMPLE_OFTEN, _SAMPLE_SELDOM = 0.1, 1.0
"""Seconds between two looks at memory: often above half of the limit."""
_SAMPLE_SHARE = 0.02
"""Of a core that these looks may cost."""
_PREPARED = 1.0
"""Seconds that a program has, from its start on, until it is ready for a warning."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Of one attempt."""

    time: float | None
    """The most seconds that it may run; None: no limit."""
    memory: int | None
    """The most bytes that it may use; None: no limit."""
    grace: float
    """Seconds between TERM and KILL."""
    warning: Signal | None = None
    """Sent so long before its time is over, or its node's."""
    node_time: float = math.inf
    """Seconds until the end of the allocation that its node belongs to, counted from its start."""
    lingers: bool = False
    """Whether what its main process leaves behind goes on."""


class Execution:
    """A running attempt.

    Args:
        pid: of its main process, a child of this process.
        mark: that its processes carry.
        bounds: of it.
        now: when it started.

    """

    def __init__(self, pid: int, mark: int, bounds: Bounds, now: float) -> None:
        """Watch from now on."""
        self._pid, self._mark, self.bounds = pid, mark, bounds
        self.limit_at = math.inf if bounds.time is None else now + bounds.time
        """When its time is over."""
        self._warn_at = math.inf
        if bounds.warning is not None:
            over_at = min(self.limit_at, now + bounds.node_time)
            self._warn_at = max(over_at - bounds.warning.before, now + _PREPARED)
        self._sample_at = math.inf if bounds.memory is None else now + _SAMPLE_OFTEN
        self._sample_pause = _SAMPLE_OFTEN
        self._reap_at = now + _REAP_EVERY
        self._reap_pause = _REAP_LEFTOVERS[0]
        self._term_at = self._kill_at = math.inf
        self._status: int | None = None
        self._verdict: Outcome | None = None
        self.reason = ""
        """Why we ended it, for people; empty where we did not."""
        self.cpu_seconds = 0.0
        """Of all its processes that have been waited for."""
        self.peak_rss = 0
        """Bytes of the largest of them; the kernel counts the keeper's own at the time of the start as the least."""

    @property
    def due(self) -> float:
        """When to call `look` at the latest."""
        return min(self.limit_at, self._warn_at, self._sample_at, self._reap_at, self._term_at, self._kill_at)

    @property
    def main_ended(self) -> bool:
        """True when only leftovers keep it from being over."""
        return self._status is not None

    @property
    def ending(self) -> bool:
        """True once we have begun to end it."""
        return self._verdict is not None

    @property
    def outcome(self) -> tuple[Outcome, int]:
        """How it ended, with exit code or signal number; our own reasons come before what the process did."""
        if self._verdict is not None:
            return self._verdict, 0
        code = os.waitstatus_to_exitcode(self._status or 0)
        return (Outcome.exited, code) if code >= 0 else (Outcome.signalled, -code)

    def gather(self) -> bool:
        """Wait for children that have ended; True when there is none left."""
        try:
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return False
                self.cpu_seconds += usage.ru_utime + usage.ru_stime
                self.peak_rss = max(self.peak_rss, usage.ru_maxrss * 1024)
                if pid == self._pid:
                    self._status = status
                    self.limit_at = self._warn_at = self._sample_at = math.inf
        except ChildProcessError:
            return True

    def look(self, now: float) -> None:
        """Do what is due."""
        if now >= self.limit_at:
            self.limit_at = math.inf
            self.end(Outcome.timed_out, f"ran longer than its limit of {format_seconds(self.bounds.time or 0)}", now)
        if now >= self._warn_at:
            self._warn()
        if now >= self._sample_at:
            self._sample(now)
        if self.main_ended and self._term_at == self._kill_at == math.inf and not self.bounds.lingers:
            self._term_at = now + _MOMENT
        if now >= self._term_at:
            self._term_at = math.inf
            self._terminate(now + _LEFTOVER_GRACE)
        if now >= self._kill_at:
            self._kill_at = now + _KILL_AGAIN
            send_signal(descendants([os.getpid()]), signal.SIGKILL)
        self._reap_at = now + self._pause()

    def end(self, outcome: Outcome, reason: str, now: float, *, hard: bool = False) -> None:
        """Begin to end it, for the first reason given; `hard` without TERM and grace.

        When only leftovers are there to end, the main process has said how it ended.
        """
        if self._verdict is None and not self.main_ended:
            self._verdict, self.reason = outcome, reason
            self._warn_at = math.inf
        if hard:
            self._kill_at = now
            self.look(now)
        elif self._kill_at == math.inf:
            self._terminate(now + self.bounds.grace)

    def hurry(self, grace: float, now: float) -> None:
        """Give it no more than so many seconds between TERM and KILL."""
        self.bounds = msgspec.structs.replace(self.bounds, grace=min(grace, self.bounds.grace))
        if self._kill_at < math.inf:
            self._kill_at = min(self._kill_at, now + grace)

    def _pause(self) -> float:
        if not self.main_ended:
            return _REAP_EVERY
        self._reap_pause = min(2 * self._reap_pause, _REAP_LEFTOVERS[1])
        return self._reap_pause

    def _terminate(self, kill_at: float) -> None:
        everyone = descendants([os.getpid()])
        send_signal(everyone, signal.SIGTERM)
        send_signal(everyone, signal.SIGCONT)  # a stopped process would not hear it
        self._kill_at = kill_at

    def _warn(self) -> None:
        self._warn_at = math.inf
        if self.bounds.warning is not None:
            send_signal(descendants([os.getpid()]), self.bounds.warning.number)

    def _sample(self, now: float) -> None:
        limit = self.bounds.memory or 0
        began = time.monotonic()
        everyone = [pid for pid in marked(self._mark) if pid != os.getpid()]
        used = resident_memory(everyone)
        if used > limit:
            used = proportional_memory(everyone) or used
        if used > limit:
            self._sample_at = math.inf
            reason = f"ran out of memory: used {format_bytes(used)} of {format_bytes(limit)}"
            self.end(Outcome.out_of_memory, reason, now, hard=True)
            return
        calm = min(2 * self._sample_pause, _SAMPLE_SELDOM)
        self._sample_pause = _SAMPLE_OFTEN if 2 * used > limit else calm
        self._sample_at = now + max(self._sample_pause, (time.monotonic() - began) / _SAMPLE_SHARE)
