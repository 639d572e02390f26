"""What the values of `array` mean: counts, ranges, lists, files, products; and how large an array may be.

What belongs here: from plain data to the arrays of the model. What must not: the syntax of files (`tables`),
other keys.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pilotfish.formats.entries import EntryError, read_entries, read_mapping, require, shown
from pilotfish.formats.keys import ARRAY_KEYS, MAX_TASKS
from pilotfish.formats.paths import read_path
from pilotfish.formats.words import read_column, read_word
from pilotfish.model.jobs import MOST_TEXT, Array, ProductArray, RangeArray, TableArray

__all__ = ["list_array", "read_array"]

_MAX_INDEX = 2**53
"""Indices stay exact in every reader of JSON."""
_TOO_LONG = f"the values of an array hold at most {MOST_TEXT} characters: put what is long into files, and name these"
_MOST_PARALLEL = 1_000_000_000

_RANGE = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9]+))?")

_Choices = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
"""Names, and the values of each."""


def read_array(value: int | str | list[Any] | dict[str, Any], folder: str) -> tuple[Array, int | None]:
    """The array, and how many of its tasks may run at once where it says so, as in ``0-99%10``.

    `folder` is where paths in it begin. Raises ValueError, and JobFileError for the content of another file.
    """
    if isinstance(value, dict):
        (array,) = read_mapping(value, ARRAY_KEYS, _readers_in(folder)).values()
        return array, None
    if isinstance(value, list):
        return list_array(read_entries(enumerate(value), read_word)), None
    if isinstance(value, str):
        indices, percent, parallel = value.strip().partition("%")
        return _range(indices), _parallel(parallel) if percent else None
    return RangeArray(0, int(value)), None


def list_array(values: Sequence[str]) -> TableArray:
    """One task per value. Raises ValueError for too many or too long ones."""
    _require_size(len(values), (values,))
    return TableArray(("value",), (tuple(values),))


def _readers_in(folder: str) -> dict[str, Callable[[Any], Array]]:
    return {
        "csv": partial(_file, "csv", folder),
        "json": partial(_file, "json", folder),
        "lines": partial(_file, "lines", folder),
        "product": _product,
        "zip": _zip,
    }


def _file(kind: str, folder: str, value: str) -> TableArray:
    from pilotfish.formats.tables import read_table

    table = read_table(kind, Path(read_path(folder, value)))
    _require_size(table.count, table.columns)
    return table


def _product(value: dict[str, Any]) -> ProductArray:
    names, choices = _choices(value)
    _require_size(math.prod(map(len, choices)), choices)
    return ProductArray(names, choices)


def _zip(value: dict[str, Any]) -> TableArray:
    names, columns = _choices(value)
    for name, column in zip(names, columns, strict=True):
        if len(column) != len(columns[0]):
            msg = f"all lists need one length, but {names[0]} has {len(columns[0])} values and {name} {len(column)}"
            raise EntryError(msg, name)
    _require_size(len(columns[0]), columns)
    return TableArray(names, columns)


def _choices(value: dict[str, Any]) -> _Choices:
    if not value:
        msg = "is empty: write, for example, {x: [1, 2], y: 0-9}"
        raise ValueError(msg)
    names = read_entries(zip(value, value, strict=True), read_column)
    return tuple(names), tuple(read_entries(value.items(), _choice))


def _choice(value: object) -> tuple[str, ...]:
    """The values of one name: a list, or a range of numbers."""
    found = require(value, {"array": {}, "string": {}}, ([1, 2], "0-9"))
    if isinstance(found, str):
        span = _range(found.strip())
        if span.count * len(str(span.index(span.count - 1))) > MOST_TEXT:
            raise ValueError(_TOO_LONG)
        return tuple(map(str, range(span.start, span.start + span.count * span.step, span.step)))
    words = tuple(read_entries(enumerate(found), read_word))
    _require_size(len(words), ())
    return words


def _range(text: str) -> RangeArray:
    match = _RANGE.fullmatch(text)
    if match is None:
        msg = f"expected a count such as 1000, a range such as 0-98:2, or a list such as [a, b, c]; got {shown(text)}"
        raise ValueError(f"{msg}; write a count without quotes" if text.isdecimal() else msg)
    if len(text) > 50 or int(match[2]) > _MAX_INDEX:
        msg = f"indices end at {_MAX_INDEX}; got {shown(text)}"
        raise ValueError(msg)
    start, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if step == 0:
        msg = f"the step of {text} must be 1 or more"
        raise ValueError(msg)
    if last < start:
        msg = f"{text} holds no index: write the smaller one first, as in {last}-{start}"
        raise ValueError(msg)
    count = (last - start) // step + 1
    _require_size(count, ())
    return RangeArray(start, count, step)


def _parallel(text: str) -> int:
    """What stands after the percent sign."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 50 or not 1 <= int(text) <= _MOST_PARALLEL:
        msg = f"after % stands how many tasks may run at once, as in 0-99%10; got {shown(text)}"
        raise ValueError(msg)
    return int(text)


def _require_size(count: int, columns: Sequence[Sequence[str]]) -> None:
    if count < 1:
        msg = "an array needs at least one task"
        raise ValueError(msg)
    if count > MAX_TASKS:
        msg = f"an array holds at most {MAX_TASKS} tasks, got {count}: split it into several jobs"
        raise ValueError(msg)
    if sum(len(value) for column in columns for value in column) > MOST_TEXT:
        raise ValueError(_TOO_LONG)
