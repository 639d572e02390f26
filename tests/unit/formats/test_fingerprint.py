"""Fingerprints: which tasks of a changed job are still the same work."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.formats.fingerprint import Match, matches
from pilotfish.model.jobs import Array, Dependency, JobSpec, RangeArray, TableArray
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request

BASE = JobSpec(name="sim", command="run {index}", directory="/work", cwd="/work/runs", env={"A": "1"})

ranges = st.builds(RangeArray, st.integers(0, 30), st.integers(1, 30), st.integers(1, 8))
lists = st.builds(
    lambda values: TableArray(("value",), (tuple(values),)), st.lists(st.sampled_from("abc"), min_size=1, max_size=12)
)
arrays = st.none() | ranges | lists


def having(**changes: Any) -> JobSpec:
    return msgspec.structs.replace(BASE, **changes)


def of_each_task(array: Array | None) -> dict[object, tuple[int, str | None]]:
    """Index, position and value of every task, spelt out."""
    if array is None:
        return {None: (0, None)}
    values = array.columns[0] if isinstance(array, TableArray) else [None] * array.count
    kind = type(array)
    return {(kind, array.index(position)): (position, values[position]) for position in range(array.count)}


def naive(old: Array | None, new: Array | None) -> list[tuple[int, int]]:
    """New and old position of each task with the same index and value."""
    before, after = of_each_task(old), of_each_task(new)
    return sorted(
        (position, before[index][0])
        for index, (position, value) in after.items()
        if index in before and before[index][1] == value
    )


@given(arrays, arrays)
def test_the_arithmetic_agrees_with_spelling_it_out(old: Array | None, new: Array | None) -> None:
    found = matches(having(array=old), having(array=new))
    assert [(lo + shift, old_lo + shift) for lo, hi, old_lo in found for shift in range(hi - lo)] == naive(old, new)


@given(st.integers(0, 2**40), st.integers(1, 10**7), st.integers(0, 2**40), st.integers(1, 10**7), st.integers(1, 100))
def test_ranges_of_one_step_have_at_most_one_match(start: int, count: int, other: int, more: int, step: int) -> None:
    found = matches(having(array=RangeArray(start, count, step)), having(array=RangeArray(other, more, step)))
    assert len(found) <= 1


def test_growth_at_the_end_keeps_what_was() -> None:
    assert matches(having(array=RangeArray(0, 10**6)), having(array=RangeArray(0, 10**7))) == (Match(0, 10**6, 0),)


def test_a_later_start_shifts_the_positions() -> None:
    assert matches(having(array=RangeArray(0, 100)), having(array=RangeArray(40, 100))) == (Match(0, 60, 40),)


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "run  {index}"},
        {"command": ("run", "{index}")},
        {"env": {"A": "2"}},
        {"env": {}},
        {"cwd": "/work"},
        {"cwd": "/runs"},
        {"directory": "/elsewhere"},
        {"array": RangeArray(0, 1)},
    ],
)
def test_other_work_is_no_match(changes: dict[str, Any]) -> None:
    assert matches(BASE, having(**changes)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"request": Request(Amount(20_000), 2**30)},
        {"time": 5.0, "retries": 3, "priority": 1, "max_parallel": 4},
        {"stdout": "/work/out", "stderr": "stdout"},
        {"after": (Dependency("prepare"),)},
        {"directory": "/moved", "cwd": "/moved/runs"},
    ],
)
def test_the_same_work_is_a_match(changes: dict[str, Any]) -> None:
    assert matches(BASE, having(**changes)) == (Match(0, 1, 0),)


def test_a_moved_folder_keeps_its_work_even_with_braces_in_its_name() -> None:
    old = having(directory="/a{x}", cwd="/a{{x}}/runs")
    assert matches(old, having(directory="/", cwd="/runs")) == (Match(0, 1, 0),)
    assert matches(old, having(directory="/b", cwd="/b/runs/c")) == ()


def test_a_folder_elsewhere_is_not_moved_along() -> None:
    assert matches(having(cwd="/scratch"), having(directory="/moved", cwd="/scratch")) == (Match(0, 1, 0),)
    assert matches(having(cwd="/worker"), having(directory="/moved", cwd="/moved/er")) == ()
