"""Limits are learned once, from runs that are long enough to tell."""

import math
from statistics import fmean, stdev

from pilotfish.client.times import RunTimes


def test_limits_are_learned_from_the_first_eight_runs_that_are_long_enough() -> None:
    times, runs = RunTimes(), [60.0, 62.5, 58.0, 61.0, 59.5, 60.5, 63.0, 57.0]
    for seconds in [9.9, *runs[:7]]:
        times.add("fit", seconds)
        assert times.limits("fit") is None
    times.add("fit", runs[7])
    learned = times.limits("fit")
    mean, deviation = fmean(runs), stdev(runs)
    assert learned == (math.ceil(mean + 5 * deviation), math.ceil(mean + 2 * deviation))
    times.add("fit", 1_000.0)
    assert times.limits("fit") == learned
    assert times.limits("other") is None
