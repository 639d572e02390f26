"""Calls of Python functions on two workers: how many a second, how long one takes, how long until the first.

The bars are against the standard's process pool and against Dask; of the other peers the rate is only told.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks.pairs import Figure, finish, medians, options
from benchmarks.pools import ask, has

__all__ = ["figures"]

_STANDARD = "ProcessPoolExecutor"
_RATES = {_STANDARD: (20_000, 2.0)} | dict.fromkeys(("loky", "ray", "dask", "parsl", "grain"), (2_000, 0.0))
"""By peer: calls, and how many times its rate we must reach."""
_TRIPS = 1_000
_TRIP = 2.5
"""Times the standard's."""
_MILLISECOND = 1.0
_START = 0.5
"""Times Dask's."""


def figures(rounds: int) -> Iterator[Figure]:
    """Calls per second, milliseconds of a round trip, seconds to the first result."""
    for peer, (calls, bar) in _RATES.items():
        if has(peer):
            mine, theirs = medians(partial(ask, "pilotfish", "rate", calls), partial(ask, peer, "rate", calls), rounds)
            yield Figure(f"{calls:,} calls that do nothing", mine, peer, theirs, "calls/s", mine / theirs, bar)
    yield from _trips(rounds)
    if has("dask"):
        mine, theirs = medians(partial(ask, "pilotfish", "first", 1), partial(ask, "dask", "first", 1), rounds)
        yield Figure("first result", mine, "dask", theirs, "s", mine / theirs, _START, at_most=True)


def _trips(rounds: int) -> Iterator[Figure]:
    def trip(pool: str) -> float:
        return 1_000 * ask(pool, "trip", _TRIPS)

    mine, theirs = medians(partial(trip, "pilotfish"), partial(trip, _STANDARD), rounds)
    yield Figure("one call, there and back", mine, _STANDARD, theirs, "ms", mine / theirs, _TRIP, at_most=True)
    yield Figure("likewise", mine, "limit", _MILLISECOND, "ms", mine / _MILLISECOND, 1.0, at_most=True)


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
