"""Spans behave as the sets of positions that they stand for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.model.jobs import Span
from pilotfish.model.spans import intersection, size, spans_of, subtraction, union

POSITIONS = st.sets(st.integers(0, 30))


def positions(spans: list[Span]) -> set[int]:
    return {position for span in spans for position in range(span.lo, span.hi)}


def well_formed(spans: list[Span]) -> bool:
    return all(a.hi < b.lo for a, b in pairwise(spans)) and all(len(span) > 0 for span in spans)


@given(POSITIONS)
def test_spans_of_positions_hold_just_these(wanted: set[int]) -> None:
    spans = spans_of(wanted)
    assert positions(spans) == wanted
    assert size(spans) == len(wanted)
    assert well_formed(spans)


@given(POSITIONS, POSITIONS)
def test_algebra_is_that_of_sets(left: set[int], right: set[int]) -> None:
    a, b = spans_of(left), spans_of(right)
    for spans, wanted in (
        (union([*a, *b]), left | right),
        (intersection(a, b), left & right),
        (subtraction(a, b), left - right),
    ):
        assert positions(spans) == wanted
        assert well_formed(spans)


def test_union_takes_overlaps_in_any_order() -> None:
    assert union([Span(5, 9), Span(0, 3), Span(2, 6), Span(4, 4)]) == [Span(0, 9)]
