"""How long the runs of a group take, and so their limits.

What belongs here: the rule. What must not: measuring, clocks.
"""

import math
from statistics import fmean, stdev
from typing import ClassVar

__all__ = ["RunTimes"]


class RunTimes:
    """Limits that are learned from the first runs of each group, by the rule of Grain 0.17 (``WTime``).

    Runs under 10 s are not looked at. After 8 others, of mean m and standard deviation s (of a sample), the limit is
    m + 5 s and the estimate m + 2 s. Later runs change nothing: the limit ended the long ones among them. Both are
    rounded up to whole seconds, where Grain takes the nearest, which may lie below every run that was measured.
    """

    LEAST: ClassVar = 10.0
    """Seconds of a run that counts."""
    RUNS: ClassVar = 8
    """So many decide."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._runs: dict[str, list[float]] = {}

    def add(self, group: str, seconds: float) -> None:
        """A run of the group has succeeded after so many seconds."""
        runs = self._runs.setdefault(group, [])
        if seconds >= self.LEAST and len(runs) < self.RUNS:
            runs.append(seconds)

    def limits(self, group: str) -> tuple[float, float] | None:
        """The limit and the estimate of the group, in seconds; None as long as too few of its runs are known."""
        runs = self._runs.get(group, [])
        if len(runs) < self.RUNS:
            return None
        mean = fmean(runs)
        deviation = stdev(runs, mean)
        return float(math.ceil(mean + 5 * deviation)), float(math.ceil(mean + 2 * deviation))
