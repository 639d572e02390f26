"""Whether the end of a lone call is worth staying awake for.

To fall asleep and be woken costs a fifth of the time that a call takes there and back which does nothing. So the
manager stays awake for its end, where there is a core to spare, and where the call before was as short.
"""

import os

__all__ = ["Vigil"]

_LONGEST = 0.001
"""Seconds."""
_CORES = len(os.sched_getaffinity(0))
"""That this process may use."""


class Vigil:
    """What lone calls are like."""

    def __init__(self) -> None:
        """Know of none."""
        self._started_at: float | None = None
        self._short = False
        """Whether the last one was."""
        self._begins = False

    def started(self, now: float) -> None:
        """The start of a lone call has left."""
        self._started_at, self._begins = now, self._short and _CORES > 1

    def ended(self, now: float) -> None:
        """Something has ended: that call, if there was one."""
        if self._started_at is not None:
            self._short = now <= self._started_at + _LONGEST
            self._started_at = None

    def awake(self) -> float:
        """For how many seconds the next wait should be awake."""
        begins, self._begins = self._begins, False
        return _LONGEST if begins else 0.0
