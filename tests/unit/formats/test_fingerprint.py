"""Fingerprints: which tasks of a changed job are still the same work."""

import random
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.formats.fingerprint import Match, known, matches
from pilotfish.model.jobs import (
    Array,
    CallArray,
    Dependency,
    JobSpec,
    OnLost,
    ProductArray,
    RangeArray,
    Retries,
    Signal,
    TableArray,
)
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request

BASE = JobSpec(name="sim", command="run", directory="/work", cwd="/work/runs", env={"A": "1"})

letters = st.sampled_from("abc")
names = st.sampled_from([("x", "y"), ("y", "x"), ("x", "z")])
ranges = st.builds(RangeArray, st.integers(0, 30), st.integers(1, 30), st.integers(1, 8))
tables = st.builds(
    lambda names, rows: TableArray(names, tuple(zip(*rows, strict=True))),
    names,
    st.lists(st.tuples(letters, letters), min_size=1, max_size=12),
)
choices = st.lists(letters, min_size=1, max_size=4).map(tuple)
products = st.builds(ProductArray, names, st.tuples(choices, choices))
arrays = st.none() | ranges | tables | products


def having(**changes: Any) -> JobSpec:
    return msgspec.structs.replace(BASE, **changes)


def array_of(*values: str) -> TableArray:
    return TableArray(("value",), (values,))


def keys_of(array: Array | None) -> list[object]:
    """By what each task is known, in their order; spelt out."""
    if array is None:
        return ["alone"]
    if isinstance(array, RangeArray | CallArray):
        return [array.index(position) for position in range(array.count)]
    return [frozenset(zip(array.names, array.row(position), strict=True)) for position in range(array.count)]


def paired(old: Array | None, new: Array | None) -> list[tuple[int, int]]:
    """New and old position of each task that is known, the same ones in their order."""
    before = list(enumerate(keys_of(old)))
    found = []
    for position, key in enumerate(keys_of(new)):
        free = next((entry for entry in before if entry[1] == key), None)
        if free is not None:
            before.remove(free)
            found.append((position, free[0]))
    return found


def in_place(old: Array | None, new: Array | None) -> list[tuple[int, int]]:
    """The positions at which both hold the same row."""
    return [(at, at) for at, keys in enumerate(zip(keys_of(old), keys_of(new), strict=False)) if keys[0] == keys[1]]


def spelt_out(found: tuple[Match, ...]) -> list[tuple[int, int]]:
    return [(lo + shift, old_lo + shift) for lo, hi, old_lo in found for shift in range(hi - lo)]


@given(arrays, arrays)
def test_tasks_are_known_by_index_or_row_wherever_they_stand(old: Array | None, new: Array | None) -> None:
    found = matches(having(array=old), having(array=new))
    assert spelt_out(found) == paired(old, new)
    assert found == known(having(array=old), having(array=new, command="other"))


@given(arrays, arrays)
def test_where_the_place_matters_a_row_elsewhere_is_other_work(old: Array | None, new: Array | None) -> None:
    found = matches(having(array=old, command="run {index}"), having(array=new, command="run {index}"))
    expected = paired if old is None or isinstance(old, RangeArray) else in_place
    assert spelt_out(found) == expected(old, new)


@given(st.integers(0, 2**40), st.integers(1, 10**7), st.integers(0, 2**40), st.integers(1, 10**7), st.integers(1, 100))
def test_ranges_of_one_step_have_at_most_one_match(start: int, count: int, other: int, more: int, step: int) -> None:
    found = matches(having(array=RangeArray(start, count, step)), having(array=RangeArray(other, more, step)))
    assert len(found) <= 1


def test_growth_at_the_end_keeps_what_was() -> None:
    assert matches(having(array=RangeArray(0, 10**6)), having(array=RangeArray(0, 10**7))) == (Match(0, 10**6, 0),)


def test_a_later_start_shifts_the_positions() -> None:
    assert matches(having(array=RangeArray(0, 100)), having(array=RangeArray(40, 100))) == (Match(0, 60, 40),)


def test_an_inserted_row_shifts_those_behind_it() -> None:
    found = matches(having(array=array_of("a", "b", "c")), having(array=array_of("a", "new", "b", "c")))
    assert found == (Match(0, 1, 0), Match(2, 4, 1))


def test_a_product_is_the_table_that_spells_it_out() -> None:
    rows = tuple(zip(*product("ab", "cd"), strict=True))
    old, new = (
        having(array=ProductArray(("x", "y"), (("a", "b"), ("c", "d")))),
        having(array=TableArray(("x", "y"), rows)),
    )
    assert matches(old, new) == matches(new, old) == (Match(0, 4, 0),)


def test_products_of_millions_are_compared_by_their_names() -> None:
    axis = tuple(map(str, range(200)))
    old = having(array=ProductArray(("x", "y", "z"), (axis, axis, axis)))
    new = having(array=ProductArray(("x", "y", "z"), (("new", *axis), axis[:150], axis)))
    found = matches(old, new)
    assert found[0] == Match(150 * 200, 300 * 200, 0)
    assert len(found) == 200


def test_a_hundred_thousand_rows_in_another_order_are_found() -> None:
    values = [f"row {number}" for number in range(100_000)]
    shuffled = random.Random(1).sample(values, len(values))
    found = matches(having(array=array_of(*values)), having(array=array_of(*shuffled)))
    assert all(shuffled[new] == values[old] for new, old in spelt_out(found))
    assert sum(hi - lo for lo, hi, _ in found) == len(values)


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "run  "},
        {"command": ("run",)},
        {"env": {"A": "2"}},
        {"env": {}},
        {"cwd": "/work"},
        {"cwd": "/runs"},
        {"directory": "/elsewhere"},
        {"stdin": "/work/in"},
        {"modules": ("gcc/12",)},
        {"venv": "/work/.venv"},
        {"setup": ("ulimit -c 0",)},
        {"array": RangeArray(0, 1)},
    ],
)
def test_other_work_is_no_match(changes: dict[str, Any]) -> None:
    assert matches(BASE, having(**changes)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"request": Request(Amount(20_000), 2**30, gpus=Amount(1))},
        {"variants": (Request(),)},
        {"time": 5.0, "estimate": 3.0, "grace": 1.0, "signal": Signal(10, 5.0)},
        {"retries": Retries(3, delay=1.0), "memory_growth": 2.0, "on_lost": OnLost.fail},
        {"priority": 1, "max_parallel": 4, "max_fails": 1, "uses": {"licence": 1}},
        {"hold": True, "start_after": 5.0, "start_delay": 1.0},
        {"stdout": "/work/out", "stderr": "stdout", "output_limit": 10},
        {"after": (Dependency("prepare"),)},
        {"directory": "/moved", "cwd": "/moved/runs"},
    ],
)
def test_the_same_work_is_a_match(changes: dict[str, Any]) -> None:
    assert matches(BASE, having(**changes)) == (Match(0, 1, 0),)


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "run {index}"},
        {"command": ("run", "{task:raw}")},
        {"command": 'run "$PILOTFISH_INDEX"'},
        {"cwd": "/work/{index}"},
        {"stdin": "/work/{index}.txt"},
        {"env": {"TASK": "{task}"}},
        {"setup": ("cp $PILOTFISH_TASK.txt .",)},
        {"venv": "/work/{index}"},
    ],
)
def test_a_row_that_moved_is_other_work_where_it_tells_its_place(changes: dict[str, Any]) -> None:
    old, new = having(array=array_of("a", "b", "c"), **changes), having(array=array_of("b", "a", "c"), **changes)
    assert matches(old, new) == (Match(2, 3, 2),)


@pytest.mark.parametrize("command", ["run {value} {attempt} {cores} {job}", "echo {{index}}", "run ${index}"])
def test_a_row_that_moved_is_the_same_work_where_it_does_not(command: str) -> None:
    old, new = having(array=array_of("a", "b"), command=command), having(array=array_of("b", "a"), command=command)
    assert matches(old, new) == (Match(0, 1, 1), Match(1, 2, 0))


def test_a_moved_folder_keeps_its_work_even_with_braces_in_its_name() -> None:
    old = having(directory="/a{x}", cwd="/a{{x}}/runs", stdin="/a{{x}}/in", venv="/a{{x}}/venv")
    assert matches(old, having(directory="/", cwd="/runs", stdin="/in", venv="/venv")) == (Match(0, 1, 0),)
    assert matches(old, having(directory="/b", cwd="/b/runs", stdin="/b/in2", venv="/b/venv")) == ()


def test_a_folder_elsewhere_is_not_moved_along() -> None:
    assert matches(having(cwd="/scratch"), having(directory="/moved", cwd="/scratch")) == (Match(0, 1, 0),)
    assert matches(having(cwd="/worker"), having(directory="/moved", cwd="/moved/er")) == ()
