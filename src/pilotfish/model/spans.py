"""Sets of positions as sorted lists of disjoint spans: what an array of a million tasks needs instead of sets.

All functions take and give lists of ``(lo, hi)`` spans, ascending, disjoint and not touching.
"""

from collections.abc import Iterable

from pilotfish.model.jobs import Span

__all__ = ["intersection", "size", "spans_of", "subtraction", "union"]


def spans_of(positions: Iterable[int]) -> list[Span]:
    """The spans that hold just these positions, given in any order."""
    return union(Span(position, position + 1) for position in positions)


def union(spans: Iterable[Span]) -> list[Span]:
    """The spans that cover the same positions, given in any order and with overlaps."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.lo <= merged[-1].hi:
            if span.hi > merged[-1].hi:
                merged[-1] = Span(merged[-1].lo, span.hi)
        elif span.hi > span.lo:
            merged.append(span)
    return merged


def intersection(left: list[Span], right: list[Span]) -> list[Span]:
    """The positions that lie in both."""
    common: list[Span] = []
    i = j = 0
    while i < len(left) and j < len(right):
        lo, hi = max(left[i].lo, right[j].lo), min(left[i].hi, right[j].hi)
        if lo < hi:
            common.append(Span(lo, hi))
        if left[i].hi < right[j].hi:
            i += 1
        else:
            j += 1
    return common


def subtraction(left: list[Span], right: list[Span]) -> list[Span]:
    """The positions of `left` that do not lie in `right`."""
    if not left:
        return []
    gaps: list[Span] = []
    at = left[0].lo
    for span in right:
        if span.lo > at:
            gaps.append(Span(at, span.lo))
        at = max(at, span.hi)
    if at < left[-1].hi:
        gaps.append(Span(at, left[-1].hi))
    return intersection(left, gaps)


def size(spans: Iterable[Span]) -> int:
    """How many positions the spans hold together."""
    return sum(span.hi - span.lo for span in spans)
