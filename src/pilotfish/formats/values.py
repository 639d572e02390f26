"""What the values of the job file's keys mean: one reader per key, from plain data to the words of the model.

What belongs here: everything that can be said of one value alone. What must not: files, lines, other
keys and other jobs (:mod:`pilotfish.formats.native`). Readers get a value of a kind that
:mod:`pilotfish.formats.keys` allows, and raise ValueError (or EntryError, with the way to the culprit).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pilotfish.formats.keys import (
    AFTER_KEYS,
    ARRAY_KEYS,
    CORES_KEYS,
    RETRIES_KEYS,
    EntryError,
    kind_of,
    read_mapping,
    shown,
    similar,
)
from pilotfish.model.jobs import Array, Dependency, RangeArray, Retries, TableArray, When
from pilotfish.model.quantities import ONE, Amount, parse_amount, parse_bytes, parse_seconds

__all__ = ["MAX_TASKS", "READERS", "list_array", "read_name", "read_text", "read_title"]

MAX_TASKS = 10_000_000
"""Of one array: more is a slip of the pen, or wants several jobs."""

_MAX_INDEX = 2**53
"""Indices stay exact in every reader of JSON."""
_MAX_RETRIES = 1_000
_MAX_NUMBER = 1_000_000_000
_MAX_NAME = 100

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RANGE = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9]+))?")
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


def read_text(value: str) -> str:
    """Text that a process can be given: no NUL, no half of a surrogate pair, something in it."""
    if not value.strip():
        msg = "is empty"
        raise ValueError(msg)
    return _sendable(value)


def read_name(value: str) -> str:
    """The name of a job: it stands in ids such as ``sim:3``."""
    if _NAME.fullmatch(value) and len(value) <= _MAX_NAME:
        return value
    better = re.sub(r"[^A-Za-z0-9_.-]+", "_", value).strip("_.-")[: _MAX_NAME - 1]
    better = better if _NAME.match(better) else f"_{better}"
    msg = f"{shown(value)} is no name: letters, digits and _ . - only, a letter or _ first, at most {_MAX_NAME}"
    raise ValueError(f"{msg}; for example {better}" if better != "_" else msg)


def read_title(value: str) -> str:
    """The name of a campaign: any text of one line."""
    if not value.isprintable() or len(value) > _MAX_NAME:
        msg = f"{shown(value)} is no name: one line of at most {_MAX_NAME} characters"
        raise ValueError(msg)
    return read_text(value)


def list_array(values: Sequence[str]) -> TableArray:
    """One task per value."""
    _require_count(len(values))
    return TableArray(("value",), (tuple(values),))


def _sendable(value: str) -> str:
    if _UNSENDABLE.search(value):
        msg = f"{shown(value)} holds a NUL or half a surrogate pair, which no process can be given"
        raise ValueError(msg)
    return value


def _word(value: object) -> str:
    """Text or a number, as written: an argument, a value of an array, a variable."""
    if isinstance(value, str):
        return _sendable(value)
    kind = kind_of(value)
    if kind in {"integer", "number"}:
        return str(value)
    if kind in {"boolean", "null"}:
        msg = f"expected text, got {shown(value)}; to make it text, put it in quotes"
    else:
        msg = f"expected text or a number, got {shown(value)}"
    raise ValueError(msg)


def _words(values: Sequence[object]) -> tuple[str, ...]:
    words = []
    for place, value in enumerate(values):
        try:
            words.append(_word(value))
        except ValueError as error:
            raise EntryError.under(place, error) from error
    return tuple(words)


def _command(value: str | list[Any]) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return read_text(value)
    if not value:
        msg = "is empty: the first entry of the list is the program"
        raise ValueError(msg)
    words = _words(value)
    if not words[0]:
        msg = "is empty: the first entry of the list is the program"
        raise EntryError(msg, 0)
    return words


def _array(value: int | str | list[Any] | dict[str, Any]) -> Array:
    if isinstance(value, dict):
        read_mapping(value, ARRAY_KEYS, {})
        msg = "is empty: write a count, a range such as 0-98:2, or a list"
        raise ValueError(msg)
    if isinstance(value, list):
        _require_count(len(value))
        return list_array(_words(value))
    if isinstance(value, int):
        _require_count(int(value))
        return RangeArray(0, int(value))
    return _range(value)


def _range(text: str) -> RangeArray:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        msg = f"expected a count such as 1000, a range such as 0-98:2, or a list such as [a, b, c]; got {shown(text)}"
        if text.strip().isdecimal():
            msg += "; write a count without quotes"
        elif "%" in text:
            msg += "; how many run at once is the key max_parallel"
        raise ValueError(msg)
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
    _require_count(count)
    return RangeArray(start, count, step)


def _require_count(count: int) -> None:
    if count < 1:
        msg = "an array needs at least one task" + (f", got {count}" if count else "")
        raise ValueError(msg)
    if count > MAX_TASKS:
        msg = f"an array holds at most {MAX_TASKS} tasks, got {count}: split it into several jobs"
        raise ValueError(msg)


def _after(value: str | list[Any] | dict[str, Any]) -> tuple[Dependency, ...]:
    if not isinstance(value, list):
        return (_dependency(value),)
    found = []
    for place, entry in enumerate(value):
        try:
            found.append(_dependency(entry))
        except ValueError as error:
            raise EntryError.under(place, error) from error
    return tuple(dict.fromkeys(found))


def _dependency(value: object) -> Dependency:
    if isinstance(value, str):
        return Dependency(value)
    if not isinstance(value, dict):
        msg = f"expected a job's name or a mapping such as {{job: prepare, when: finished}}; got {shown(value)}"
        raise ValueError(msg)
    read = read_mapping(value, AFTER_KEYS, _AFTER_READERS)
    return Dependency(read["job"], read.get("when", When.succeeded), read.get("each", False))


def _when(value: str) -> When:
    if value == "started":
        msg = "`started` is not yet supported; see docs/limits.md"
        raise EntryError(msg, later=True)
    if value not in When.__members__:
        meant = similar(value, When.__members__)
        msg = f"expected succeeded, failed or finished; got {shown(value)}" + (
            f"; did you mean {meant}?" if meant else ""
        )
        raise ValueError(msg)
    return When(value)


def _cores(value: float | dict[str, Any]) -> Amount:
    if isinstance(value, dict):
        read_mapping(value, CORES_KEYS, {})
        msg = "is empty: write a number such as 4 or 0.5"
        raise ValueError(msg)
    amount = parse_amount(value)
    if amount > ONE and amount % ONE:
        msg = f"more than one core must be a whole number: write {amount // ONE} or {amount // ONE + 1}, not {value}"
        raise ValueError(msg)
    return amount


def _memory(value: int | str) -> int:
    size = parse_bytes(value)
    if size == 0:
        msg = "no program runs in 0 bytes: leave the key out for no limit"
        raise ValueError(msg)
    return size


def _time(value: float | str) -> float:
    seconds = parse_seconds(value)
    if seconds == 0:
        msg = "must be more than 0: leave the key out for no limit"
        raise ValueError(msg)
    return seconds


def _retries(value: int | dict[str, Any]) -> Retries:
    if isinstance(value, dict):
        read_mapping(value, RETRIES_KEYS, {})
        msg = "is empty: write a whole number such as 2"
        raise ValueError(msg)
    return Retries(_whole(value, 0, _MAX_RETRIES))


def _priority(value: int) -> int:
    return _whole(value, -_MAX_NUMBER, _MAX_NUMBER)


def _max_parallel(value: int) -> int:
    return _whole(value, 1, _MAX_NUMBER)


def _whole(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        msg = f"expected a whole number from {least} to {most}, got {shown(value)}"
        raise ValueError(msg)
    return int(value)


def _variable(name: str) -> str:
    if not name or "=" in name:
        msg = f"{shown(name)} cannot name a variable: it is empty or holds ="
        raise ValueError(msg)
    return _sendable(name)


def _env(value: dict[str, Any]) -> dict[str, str]:
    read = {}
    for name, entry in value.items():
        try:
            read[_variable(name)] = _word(entry)
        except ValueError as error:
            raise EntryError.under(name, error) from error
    return read


def _flag(value: bool) -> bool:  # noqa: FBT001 - the value of a key has no name here
    return value


_AFTER_READERS: Mapping[str, Callable[[Any], Any]] = {"each": _flag, "job": read_text, "when": _when}

READERS: Mapping[str, Callable[[Any], Any]] = {
    "after": _after,
    "array": _array,
    "command": _command,
    "cores": _cores,
    "cwd": read_text,
    "env": _env,
    "max_parallel": _max_parallel,
    "memory": _memory,
    "name": read_name,
    "priority": _priority,
    "retries": _retries,
    "stderr": read_text,
    "stdout": read_text,
    "time": _time,
}
"""The reader of each supported key of a job."""
