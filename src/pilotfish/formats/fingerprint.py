"""Which tasks of a job are the same work as those of an earlier version of it.

A task is known by its index; in a table or a product by the values of its row, wherever the row stands. Its
*fingerprint* is what decides its result: the command, whether it runs once or as ranks, its placeholder values, the
environment, what it reads, what is set up before, and the folder that it runs in, as seen from the job file (a folder
that was moved keeps its work).
Never resources, limits, priority, retries, dependencies or where its output goes. What belongs here: the comparison,
which never spells a range out. What must not: whether the earlier task succeeded.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, product
from math import gcd
from operator import eq
from typing import NamedTuple

from pilotfish.formats.placeholders import Template, escape
from pilotfish.model.jobs import JobSpec, ProductArray, RangeArray, TableArray

__all__ = ["Match", "known", "matches"]

_PLACES = frozenset({"index", "task"})
"""Placeholders that tell where in its array a task stands."""
_PLACE_VARIABLES = ("PILOTFISH_INDEX", "PILOTFISH_TASK")
_Rows = TableArray | ProductArray


class Match(NamedTuple):
    """The positions `lo` … `hi`-1 of the new job stand for those from `old_lo` on of the old one."""

    lo: int
    hi: int
    old_lo: int


def matches(old: JobSpec, new: JobSpec) -> tuple[Match, ...]:
    """Where a task of `new` is known from `old` and has the same fingerprint; ascending, disjoint.

    Takes constant time for ranges of one step, for other ranges a time that grows with the tasks in common, for
    rows one that grows with the rows, and for products that differ little much less.
    """
    if _work(old) != _work(new):
        return ()
    if isinstance(old.array, _Rows) and isinstance(new.array, _Rows) and _tells_its_place(new):
        return _same_rows(old.array, new.array, in_place=True)
    return known(old, new)


def known(old: JobSpec, new: JobSpec) -> tuple[Match, ...]:
    """Where a task of `new` stands for one of `old`, be it the same work or not; as `matches` does."""
    match old.array, new.array:
        case None, None:
            return (Match(0, 1, 0),)
        case RangeArray() as before, RangeArray() as after:
            return _common_indices(before, after)
        case (TableArray() | ProductArray()) as before, (TableArray() | ProductArray()) as after:
            return _same_rows(before, after, in_place=False)
    return ()


def _work(spec: JobSpec) -> tuple[object, ...]:
    """The part of the fingerprint that all tasks of a job share."""
    places = [_from_folder(spec, path) for path in (spec.cwd, spec.stdin, spec.venv)]
    return spec.command, spec.launcher.has_ranks, spec.env, places, spec.modules, spec.setup


def _from_folder(spec: JobSpec, path: str | None) -> tuple[bool, str | None]:
    """A path as seen from the job file's folder, and whether it lies in it."""
    folder = escape(spec.directory)
    if path is None or not (path == folder or path.startswith(f"{folder.rstrip('/')}/")):
        return False, path
    return True, path[len(folder) :].lstrip("/")


def _tells_its_place(spec: JobSpec) -> bool:
    """Whether a task can see where its row stands, so that the same row elsewhere is other work."""
    command = (spec.command,) if isinstance(spec.command, str) else spec.command
    texts = (*command, spec.cwd, spec.stdin or "", spec.venv or "", *spec.setup, *spec.env.values())
    return any(
        not _PLACES.isdisjoint(Template.compile(text, quoted=False).names)
        or any(variable in text for variable in _PLACE_VARIABLES)
        for text in texts
    )


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


def _same_rows(old: _Rows, new: _Rows, *, in_place: bool) -> tuple[Match, ...]:
    """Where the rows hold the same values under the same names, at any place or at their own only."""
    if sorted(old.names) != sorted(new.names):
        return ()
    if old == new:
        return (Match(0, new.count, 0),)
    if in_place:
        return _equal_places(_rows(old), _rows(new))
    if isinstance(old, ProductArray) and isinstance(new, ProductArray) and old.names == new.names:
        choices = list(zip(old.choices, new.choices, strict=True))
        if all(len(set(values)) == len(values) for pair in choices for values in pair):
            return _common_combinations(choices)
    return _paired(_rows(old), _rows(new))


def _rows(array: _Rows) -> Iterator[tuple[str, ...]]:
    """The rows in their order, each with its values by ascending name."""
    order = sorted(range(len(array.names)), key=array.names.__getitem__)
    if isinstance(array, TableArray):
        return zip(*[array.columns[column] for column in order], strict=True)
    combinations = product(*array.choices)
    if order == sorted(order):
        return combinations
    return (tuple([row[column] for column in order]) for row in combinations)


def _equal_places(old: Iterable[tuple[str, ...]], new: Iterable[tuple[str, ...]]) -> tuple[Match, ...]:
    """The longest runs of places that hold the same row."""
    found = []
    lo = 0
    for same, run in groupby(map(eq, old, new)):
        hi = lo + sum(1 for _ in run)
        if same:
            found.append(Match(lo, hi, lo))
        lo = hi
    return tuple(found)


def _common_combinations(choices: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> tuple[Match, ...]:
    """The combinations that two products have in common, from the fastest name to the slowest: runs stay runs.

    `choices` holds for each name the old and the new values, none of them twice.
    """
    inner: tuple[Match, ...] = (Match(0, 1, 0),)
    old_size = new_size = 1
    for old, new in reversed(choices):
        values = _paired(zip(old, strict=True), zip(new, strict=True))
        if inner == (Match(0, new_size, 0),) and old_size == new_size:
            inner = tuple(Match(lo * new_size, hi * new_size, old_lo * old_size) for lo, hi, old_lo in values)
        else:
            inner = _runs(
                Match(place * new_size + lo, place * new_size + hi, (place + shift) * old_size + old_lo)
                for first, last, old_first in values
                for shift in (old_first - first,)
                for place in range(first, last)
                for lo, hi, old_lo in inner
            )
        old_size, new_size = old_size * len(old), new_size * len(new)
    return inner


def _paired(old: Iterable[tuple[str, ...]], new: Iterable[tuple[str, ...]]) -> tuple[Match, ...]:
    """Each new row with the old one of the same values; rows that occur several times in their order."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(old):
        places.setdefault(row, []).append(place)
    for taken in places.values():
        taken.reverse()
    return _runs(Match(place, place + 1, free.pop()) for place, row in enumerate(new) if (free := places.get(row)))


def _runs(found: Iterable[Match]) -> tuple[Match, ...]:
    """Neighbours that go on in both jobs, as one; given in ascending order."""
    merged: list[Match] = []
    lo, hi, shift = 0, 0, 0
    for match in found:
        if match.lo == hi and match.lo - match.old_lo == shift:
            hi = match.hi
            continue
        if hi > lo:
            merged.append(Match(lo, hi, lo - shift))
        lo, hi, shift = match.lo, match.hi, match.lo - match.old_lo
    if hi > lo:
        merged.append(Match(lo, hi, lo - shift))
    return tuple(merged)
