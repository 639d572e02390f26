"""Which tasks of a job are the same work as those of an earlier version of it.

The *fingerprint* of a task is what decides its result: the command, its placeholder values, the environment
and the folder that it runs in, as seen from the job file (a folder that was moved keeps its work). Never resources,
limits, priority, retries, dependencies or where its output goes. What belongs here: the comparison, which never
spells a range out. What must not: whether the earlier task succeeded.
"""

from collections.abc import Sequence
from itertools import groupby
from math import gcd
from operator import eq
from typing import NamedTuple

from pilotfish.formats.placeholders import escape
from pilotfish.model.jobs import JobSpec, RangeArray, TableArray

__all__ = ["Match", "matches"]


class Match(NamedTuple):
    """The positions `lo` … `hi`-1 of the new job are the same work as those from `old_lo` on of the old one."""

    lo: int
    hi: int
    old_lo: int


def matches(old: JobSpec, new: JobSpec) -> tuple[Match, ...]:
    """Where a task of `new` has the same index and fingerprint as one of `old`; ascending, disjoint.

    Takes constant time for ranges of one step, else a time that grows with the tasks in common.
    """
    if _work(old) != _work(new):
        return ()
    match old.array, new.array:
        case None, None:
            return (Match(0, 1, 0),)
        case RangeArray() as before, RangeArray() as after:
            return _common_indices(before, after)
        case TableArray() as before, TableArray() as after if before.names == after.names:
            return _equal_places(list(zip(*before.columns, strict=True)), list(zip(*after.columns, strict=True)))
    return ()


def _work(spec: JobSpec) -> tuple[object, ...]:
    """The part of the fingerprint that all tasks of a job share."""
    folder = escape(spec.directory)
    inside = spec.cwd == folder or spec.cwd.startswith(f"{folder.rstrip('/')}/")
    return spec.command, spec.env, inside, spec.cwd[len(folder) :].lstrip("/") if inside else spec.cwd


def _common_indices(old: RangeArray, new: RangeArray) -> tuple[Match, ...]:
    """The indices that two ranges have in common form a range again; its step is their least common multiple."""
    divisor = gcd(old.step, new.step)
    if (new.start - old.start) % divisor:
        return ()
    old_stride, new_stride = new.step // divisor, old.step // divisor
    # The old position of the first common index solves old.start + p * old.step = new.start (mod new.step).
    place = (new.start - old.start) // divisor * pow(new_stride, -1, old_stride) % old_stride
    least = -(-(new.start - old.start) // old.step)
    old_lo = max(0, least) + (place - max(0, least)) % old_stride
    new_lo = (old.index(old_lo) - new.start) // new.step
    count = min((old.count - 1 - old_lo) // old_stride, (new.count - 1 - new_lo) // new_stride) + 1
    if count <= 0:
        return ()
    if old_stride == new_stride == 1:
        return (Match(new_lo, new_lo + count, old_lo),)
    return tuple(
        Match(lo, lo + 1, old_lo + place * old_stride)
        for place, lo in enumerate(range(new_lo, new_lo + count * new_stride, new_stride))
    )


def _equal_places(old: Sequence[tuple[str, ...]], new: Sequence[tuple[str, ...]]) -> tuple[Match, ...]:
    """The longest runs of places that hold the same value."""
    found = []
    lo = 0
    for same, run in groupby(map(eq, old, new)):
        hi = lo + sum(1 for _ in run)
        if same:
            found.append(Match(lo, hi, lo))
        lo = hi
    return tuple(found)
