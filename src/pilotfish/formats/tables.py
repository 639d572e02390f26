"""Files of an array's rows: lines, CSV, JSON. They are read when the job file is, and their values travel with it.

What belongs here: what a row is in each, and errors with the file and the line. What must not: how many rows
there may be (:mod:`pilotfish.formats.arrays`).
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pilotfish.errors import JobFileError
from pilotfish.formats import textfile
from pilotfish.formats.document import Format, parse_document
from pilotfish.formats.entries import EntryError, read_entries, shown, shown_path
from pilotfish.formats.keys import MAX_TASKS
from pilotfish.formats.lines import filled_lines
from pilotfish.formats.words import read_column, read_word, sendable
from pilotfish.model.jobs import TableArray

__all__ = ["read_table"]


def read_table(kind: str, path: Path) -> TableArray:
    """The rows of a file: `kind` is ``lines``, ``csv`` or ``json``.

    Raises ValueError where the file cannot be read or has no rows, and JobFileError, which names the file and the
    line, where its content is wrong.
    """
    file = str(path)
    try:
        data = textfile.read_bytes(path)
    except ValueError as error:
        msg = f"{file}: {error}"
        raise ValueError(msg) from error
    names, columns = _READERS[kind](textfile.decode(data, file), file)
    if not columns or not columns[0]:
        msg = f"{file}: holds no row"
        raise ValueError(msg)
    return TableArray(names, tuple(map(tuple, columns)))


_Columns = tuple[tuple[str, ...], Sequence[Sequence[str]]]
"""The names of the columns, and the values of each; if more than an array may have, then one more at least."""


def _lines(text: str, file: str) -> _Columns:
    """One row per line that is not blank."""
    column = []
    for place, line in islice(filled_lines(text), MAX_TASKS + 1):
        try:
            column.append(sendable(line))
        except ValueError as error:
            raise JobFileError(str(error), file=file, line=text.count("\n", 0, place) + 1) from error
    return ("line",), [column]


def _csv(text: str, file: str) -> _Columns:
    """One row per record after the first, which names the columns; blank lines are left out."""
    records = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: tuple[str, ...] = ()
    columns: list[list[str]] = []
    first = 1
    try:
        for record in records:
            if not names:
                names = _columns(record)
                columns = [[] for _ in names]
            elif record:
                _append(columns, record, names)
                if len(columns[0]) > MAX_TASKS:
                    break
            first = records.line_num + 1
    except csv.Error as error:
        raise JobFileError(f"not valid CSV: {error}", file=file, line=first) from error
    except ValueError as error:
        raise JobFileError(str(error), file=file, line=first) from error
    return names, columns


def _append(columns: list[list[str]], record: list[str], names: tuple[str, ...]) -> None:
    if len(record) != len(names):
        number = f"{len(record)} value{'s' * (len(record) > 1)}"
        msg = f"{number}, and the first row names {len(names)} columns"
        raise ValueError(msg)
    for column, value in zip(columns, record, strict=True):
        column.append(value)


def _columns(names: Iterable[str]) -> tuple[str, ...]:
    """Names that can be placeholders, each once."""
    found: dict[str, None] = {}
    for name in names:
        if name in found:
            msg = f"the column {shown(name)} stands here twice"
            raise ValueError(msg)
        found[read_column(name)] = None
    return tuple(found)


def _json(text: str, file: str) -> _Columns:
    """One row per entry: mappings with the same keys, or values, which are the column `value`."""
    document = parse_document(text, Format.json, file)
    try:
        if not isinstance(document.value, list):
            msg = f"expected a list of mappings with the same keys, or of values; got {shown(document.value)}"
            raise EntryError(msg)
        first = next(iter(document.value), None)
        if not isinstance(first, dict):
            return ("value",), [read_entries(enumerate(document.value), read_word)]
        names = tuple(read_entries(((0, name) for name in first), read_column))
        if not names:
            msg = "is empty: each of its keys is a column"
            raise EntryError(msg, 0)
        rows = read_entries(enumerate(document.value), lambda entry: _row(entry, names))
        return names, list(zip(*rows, strict=True))
    except ValueError as error:
        path = error.path if isinstance(error, EntryError) else ()
        raise JobFileError(str(error), file=file, line=document.line(path), key=shown_path(path)) from error


def _row(entry: object, names: tuple[str, ...]) -> list[str]:
    if not isinstance(entry, dict):
        msg = f"expected a mapping as the first entry is; got {shown(entry)}"
        raise EntryError(msg)
    if len(entry) != len(names) or not entry.keys() >= set(names):
        missing, more = [name for name in names if name not in entry], [name for name in entry if name not in names]
        problem = f"{shown(missing[0])} is missing" if missing else f"{shown(more[0])} is not in the first entry"
        msg = f"the key {problem}: all need the same keys"
        raise EntryError(msg)
    return read_entries(((name, entry[name]) for name in names), read_word)


_READERS: Mapping[str, Callable[[str, str], _Columns]] = {"csv": _csv, "json": _json, "lines": _lines}
