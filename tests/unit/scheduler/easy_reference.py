"""EASY backfill as its papers tell it, for reading and not for speed: what the scheduler must equal.

D. Lifka, The ANL/IBM SP Scheduling System (1995); A. Mu'alem and D. Feitelson, Utilization, Predictability, Workloads,
and User Runtime Estimates in Scheduling the IBM SP2 with Backfilling (2001). Nothing of pilotfish is used here.
"""

from collections.abc import Sequence
from typing import NamedTuple

Amounts = tuple[int, ...]
"""Of each kind that the pool has: cores, or cores and memory, or nodes."""


class Work(NamedTuple):
    """One job of a queue."""

    needs: Amounts
    seconds: float
    arrives: float = 0.0


def easy(pool: Amounts, queue: Sequence[Work]) -> list[float]:
    """When each job starts. Of those that have arrived, whoever stands before another in `queue` comes before it."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    now = 0.0
    while True:
        arrived = [number for number, work in enumerate(queue) if work.arrives <= now and number not in starts]
        running = [(ends[number], queue[number].needs) for number in starts if ends[number] > now]
        for number in _to_start(pool, running, [(number, queue[number]) for number in arrived], now):
            starts[number], ends[number] = now, now + queue[number].seconds
        later = [moment for moment in (*ends.values(), *(work.arrives for work in queue)) if moment > now]
        if not later:
            return [starts[number] for number in range(len(queue))]
        now = min(later)


def _to_start(
    pool: Amounts, running: list[tuple[float, Amounts]], waiting: list[tuple[int, Work]], now: float
) -> list[int]:
    """Those of `waiting` that start now. `running` has the end of each running job, and what it holds until then."""
    free = pool
    for _, held in running:
        free = _minus(free, held)
    started: list[int] = []
    reserved: tuple[float, Amounts] | None = None
    for number, work in waiting:
        if not _fits(work.needs, free):
            if reserved is None:
                reserved = _reservation(work.needs, free, running)
            continue
        end = now + work.seconds
        if reserved is not None and end > reserved[0]:
            shadow, extra = reserved
            if not _fits(work.needs, extra):
                continue
            reserved = shadow, _minus(extra, work.needs)
        free = _minus(free, work.needs)
        running = [*running, (end, work.needs)]
        started.append(number)
    return started


def _reservation(needs: Amounts, free: Amounts, running: list[tuple[float, Amounts]]) -> tuple[float, Amounts]:
    """The shadow time, when there will be enough for `needs`, and the extra amounts that are left beside it then."""
    for shadow in sorted({end for end, _ in running}):
        then = free
        for end, held in running:
            if end <= shadow:
                then = _plus(then, held)
        if _fits(needs, then):
            return shadow, _minus(then, needs)
    raise AssertionError(f"{needs} is more than the pool has")


def _fits(needs: Amounts, free: Amounts) -> bool:
    return all(need <= some for need, some in zip(needs, free, strict=True))


def _plus(some: Amounts, more: Amounts) -> Amounts:
    return tuple(a + b for a, b in zip(some, more, strict=True))


def _minus(some: Amounts, less: Amounts) -> Amounts:
    return tuple(a - b for a, b in zip(some, less, strict=True))
