"""What the values of `array` become, but for those in files."""

from typing import Any

import pytest

from pilotfish.formats.arrays import read_array
from pilotfish.formats.document import Format
from pilotfish.formats.native import load_text
from pilotfish.formats.placeholders import Template, task_values
from pilotfish.model.jobs import Array, ProductArray, RangeArray, TableArray


@pytest.mark.parametrize(
    ("value", "array", "parallel"),
    [
        (10, RangeArray(0, 10), None),
        ("0-99%10", RangeArray(0, 100), 10),
        ("0-98:2%5", RangeArray(0, 50, 2), 5),
        (" 5-5 ", RangeArray(5, 1), None),
        ({"zip": {"x": [1, 2], "y": ["a", "b"]}}, TableArray(("x", "y"), (("1", "2"), ("a", "b"))), None),
        ({"zip": {"x": "0-4:2", "y": [1, 2, 3]}}, TableArray(("x", "y"), (("0", "2", "4"), ("1", "2", "3"))), None),
        ({"product": {"x": [1, 2], "y": "8-10"}}, ProductArray(("x", "y"), (("1", "2"), ("8", "9", "10"))), None),
        ({"product": {"x": ["a b"]}}, ProductArray(("x",), (("a b",),)), None),
    ],
)
def test_array(value: Any, array: Array, parallel: int | None) -> None:
    assert read_array(value, "/work") == (array, parallel)


def test_a_product_holds_every_combination() -> None:
    array, _ = read_array({"product": {"x": [1, 2], "y": "0-2"}}, "/work")
    assert isinstance(array, ProductArray)
    assert [array.row(position) for position in range(array.count)] == [
        ("1", "0"), ("1", "1"), ("1", "2"), ("2", "0"), ("2", "1"), ("2", "2"),
    ]  # fmt: skip


def test_a_product_may_be_as_large_as_an_array() -> None:
    array, _ = read_array({"product": {"x": "0-9999", "y": "0-999"}}, "/work")
    assert array.count == 10_000_000


def test_a_huge_range_is_refused_without_being_spelt_out() -> None:
    for value in ("0-999999999999", {"product": {"x": "0-999999999999"}}, {"zip": {"x": "0-9999999"}}):
        with pytest.raises(ValueError, match="at most"):
            read_array(value, "/work")


def test_columns_are_placeholders() -> None:
    text = "jobs: [{command: 'run {x} {y}', array: {zip: {x: [1, 2], y: [a b, c]}}, stdout: '{y}.txt'}]"
    (spec,) = load_text(text, name="/work/jobs.yaml", format=Format.yaml).jobs
    values = task_values(1, spec, 0, 1)
    assert Template.compile(str(spec.command), quoted=True).render(values) == "run 1 'a b'"
    assert Template.compile(str(spec.stdout), quoted=False).render(values) == "/work/a b.txt"
