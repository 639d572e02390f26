"""What the values of the job file's keys mean: one reader per key, from plain data to the words of the model.

What belongs here: everything that can be said of one value alone. What must not: arrays (`arrays`), lines, other
keys and other jobs (:mod:`pilotfish.formats.native`). Readers get a value of a kind and within the bounds that
:mod:`pilotfish.formats.keys` gives, and raise ValueError (or EntryError, with the way to the culprit).
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from pilotfish.formats.arrays import read_array
from pilotfish.formats.entries import EntryError, did_you_mean, read_entries, read_mapping, require, shown
from pilotfish.formats.keys import (
    AFTER_KEYS,
    BUILT_IN,
    CORES_KEYS,
    FILE_KEYS,
    JOB_KEYS,
    REQUEST_KEYS,
    RETRIES_KEYS,
    SIGNALS,
    Key,
)
from pilotfish.formats.paths import read_path
from pilotfish.formats.placeholders import escape
from pilotfish.formats.words import read_name, read_text, read_word, require_room, sendable
from pilotfish.model.jobs import Dependency, Launcher, OnLost, OnSilence, Retries, Signal, When
from pilotfish.model.quantities import Amount, parse_amount, parse_bytes, parse_memory, parse_seconds

__all__ = ["Reader", "read_limits", "read_title", "readers_in"]

Reader = Callable[[Any], Any]
"""From a value of one key to what it means."""

_remembered = lru_cache(maxsize=256, typed=True)
"""Many jobs say the same: what it means need not be found out again."""

_WARNING = 60.0
"""Seconds before the end that a signal is sent where the user does not say it."""
_MAX_TITLE = 100

_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def readers_in(folder: str) -> dict[str, Reader]:
    """The reader of each supported key of a job, for a job file in `folder` (absolute).

    What they make of a value is what :class:`~pilotfish.model.jobs.JobSpec` takes under the same name, but for
    what :class:`~pilotfish.model.resources.Request` takes; `cores` (the least and the most); `array` (with its
    `max_parallel`); `variants` (the keys of each); and `start_after` (the name of the field and its value).
    """
    path = partial(read_path, escape(folder))
    return {
        **_READERS,
        "array": partial(read_array, folder=folder),
        "cwd": path,
        "stderr": lambda value: value if value == "stdout" else path(value),
        "stdin": path,
        "stdout": path,
        "venv": path,
    }


def read_title(value: str) -> str:
    """The name of a campaign: any text of one line."""
    if not value.isprintable() or len(value) > _MAX_TITLE:
        msg = f"{shown(value)} is no name: one line of at most {_MAX_TITLE} characters"
        raise ValueError(msg)
    return read_text(value)


def read_limits(value: dict[str, Any]) -> dict[str, int]:
    """How much there is of each name."""
    return _named(value, FILE_KEYS["limits"], int)


def _named(value: dict[str, Any], key: Key, read: Reader) -> dict[str, Any]:
    """A mapping from names to values of the kind that the key takes inside."""
    takes = key.takes["object"]["additionalProperties"]
    examples = tuple(key.examples[0].values())
    read_entries(zip(value, value, strict=True), read_name)
    return dict(
        zip(value, read_entries(value.items(), lambda entry: read(require(entry, takes, examples))), strict=True)
    )


def _command(value: str | list[Any]) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return read_text(value)
    words = tuple(read_entries(enumerate(value), read_word))
    if not words or not words[0]:
        msg = "is empty: the first entry of the list is the program"
        raise EntryError(msg, *([0] if words else []))
    require_room(words, "arguments")
    return words


def _after(value: str | list[Any] | dict[str, Any]) -> tuple[Dependency, ...]:
    if not isinstance(value, list):
        return (_dependency(value),)
    return tuple(dict.fromkeys(read_entries(enumerate(value), _dependency)))


def _dependency(value: object) -> Dependency:
    if isinstance(value, str):
        return Dependency(read_text(value))
    if not isinstance(value, dict):
        msg = f"expected a job's name or a mapping such as {{job: prepare, when: finished}}; got {shown(value)}"
        raise ValueError(msg)
    read = read_mapping(value, AFTER_KEYS, _AFTER_READERS)
    return Dependency(read["job"], read.get("when", When.succeeded), read.get("each", False))


@_remembered
def _share(value: float, thing: str) -> Amount:
    """Below one a share of one, above it whole ones."""
    amount = parse_amount(value)
    if value > 1 and value % 1:
        less = int(value)
        msg = f"more than one {thing} must be a whole number: write {less} or {less + 1}, not {value}"
        raise ValueError(msg)
    return amount


def _cores(value: float | dict[str, Any]) -> tuple[Amount, Amount | None]:
    """The least, and the most where a range was given."""
    if not isinstance(value, dict):
        return _share(value, "core"), None
    span = read_mapping(value, CORES_KEYS, {"max": parse_amount, "min": parse_amount})
    if span["max"] < span["min"]:
        msg = f"{value['max']} is less than min, {value['min']}"
        raise EntryError(msg, "max")
    return span["min"], span["max"] if span["max"] > span["min"] else None


@_remembered
def _size(value: int | str, parse: Callable[[object], int] = parse_bytes) -> int:
    size = parse(value)
    if size == 0:
        msg = "must be more than 0: leave the key out for no limit"
        raise ValueError(msg)
    return size


@_remembered
def _time(value: float | str) -> float:
    seconds = parse_seconds(value)
    if seconds == 0:
        msg = "must be more than 0: leave the key out for no limit"
        raise ValueError(msg)
    return seconds


def _resources(value: dict[str, Any]) -> tuple[tuple[str, Amount], ...]:
    for name in BUILT_IN:
        if name in value:
            msg = f"is no custom resource: write `{name}: {value[name]}` beside resources"
            raise EntryError(msg, name)
    amounts = _named(value, REQUEST_KEYS["resources"], _some_amount)
    return tuple(sorted(amounts.items()))


def _some_amount(value: float) -> Amount:
    amount = parse_amount(value)
    if amount == 0:
        msg = f"{value} is finer than 1/10000"
        raise ValueError(msg)
    return amount


def _labels(value: list[Any]) -> tuple[str, ...]:
    return tuple(sorted(set(_texts(value, read_name, "fast"))))


def _texts(value: list[Any], read: Callable[[str], str], example: str) -> list[str]:
    return read_entries(enumerate(value), lambda entry: read(require(entry, {"string": {}}, (example,))))


def _variants(value: list[Any]) -> tuple[dict[str, Any], ...]:
    """What each says, as it completes the job's own request."""
    if not value:
        msg = "is empty: write, for example, [{gpus: 1}, {cores: 16}]"
        raise ValueError(msg)
    return tuple(read_entries(enumerate(value), lambda entry: read_mapping(entry, REQUEST_KEYS, _READERS)))


def _signal(value: int | str) -> Signal:
    from signal import Signals

    word, at, before = str(value).partition("@")
    name = word.removeprefix("SIG")
    if name in {"KILL", "STOP", "9", "19"}:
        msg = f"no program can handle {word}: write, for example, USR1@90s"
        raise ValueError(msg)
    if name in SIGNALS:
        number = int(Signals[f"SIG{name}"])
    elif word.isascii() and word.isdecimal() and word[0] != "0" and int(word) <= 64:
        number = int(word)
    else:
        msg = f"expected a signal and the time before the end, such as USR1@90s; got {shown(value)}"
        raise ValueError(msg + did_you_mean(name.upper(), SIGNALS))
    seconds = parse_seconds(before) if at else _WARNING
    if seconds == 0:
        msg = f"the time before the end must be more than 0: write, for example, {word}@90s"
        raise ValueError(msg)
    return Signal(number, seconds)


def _retries(value: int | dict[str, Any]) -> Retries:
    if not isinstance(value, dict):
        return Retries(int(value))
    retries = Retries(**read_mapping(value, RETRIES_KEYS, _RETRIES_READERS))
    if retries.max_delay is not None and retries.max_delay < retries.delay:
        msg = f"{value['max_delay']} is less than delay, {value['delay']}"
        raise EntryError(msg, "max_delay")
    return retries


def _retry_on(value: list[Any]) -> tuple[int | str, ...]:
    if not value:
        msg = "is empty: leave the key out to try again whatever the end was"
        raise ValueError(msg)
    takes = RETRIES_KEYS["retry_on"].takes["array"]["items"]

    def end(entry: object) -> int | str:
        found = require(entry, takes, (75, "timed_out"))
        return str(found) if isinstance(found, str) else int(found)

    return tuple(dict.fromkeys(read_entries(enumerate(value), end)))


def _start_after(value: float | str) -> tuple[str, float]:
    """The field of the spec that it is, and its seconds."""
    if isinstance(value, str) and re.match(r"\s*\d{4}-\d\d-", value, re.ASCII):
        return "start_after", _moment(value.strip())
    try:
        return "start_delay", parse_seconds(value)
    except ValueError as error:
        if isinstance(value, str) and "more than ten years" not in (msg := str(error)):
            msg = f"expected a point in time such as 2026-01-01T00:00, or a delay such as 1h; got {shown(value)}"
            raise ValueError(msg) from error
        raise


def _moment(text: str) -> float:
    """Seconds since 1970 of a date, with a time or without, here or at the offset that it says."""
    from datetime import datetime

    try:
        if _DATE.fullmatch(text) is None:
            msg = "not the form that we read"
            raise ValueError(msg)  # noqa: TRY301 - one message for both
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        msg = f"expected a date that exists, such as 2026-01-01T00:00 or 2026-01-01T00:00:00Z; got {shown(text)}"
        raise ValueError(msg) from error


def _variable(name: str) -> str:
    if not name or "=" in name:
        msg = f"{shown(name)} cannot name a variable: it is empty or holds ="
        raise ValueError(msg)
    return sendable(name)


def _env(value: dict[str, Any]) -> dict[str, str]:
    read_entries(zip(value, value, strict=True), _variable)
    env = dict(zip(value, read_entries(value.items(), read_word), strict=True))
    require_room((f"{name}={word}" for name, word in env.items()), "variables")
    return env


def _module(value: str) -> str:
    if not value or value.startswith("-") or re.search(r"\s", value):
        msg = f"{shown(value)} is no name of a module: write, for example, gcc/12"
        raise ValueError(msg)
    return sendable(value)


def _modules(value: list[Any]) -> tuple[str, ...]:
    return tuple(_texts(value, _module, "gcc/12"))


def _setup(value: str | list[Any]) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(read_text(value).strip("\n").split("\n"))
    lines = tuple(_texts(value, sendable, "source env.sh"))
    require_room(lines, "setup")
    return lines


def _flag(value: bool) -> bool:  # noqa: FBT001 - the value of a key has no name here
    return value


_AFTER_READERS: Mapping[str, Reader] = {"each": _flag, "job": read_text, "when": When}

_RETRIES_READERS: Mapping[str, Reader] = {
    "backoff": float,
    "count": int,
    "delay": parse_seconds,
    "max_delay": parse_seconds,
    "retry_on": _retry_on,
}

_READERS: Mapping[str, Reader] = {
    "after": _after,
    "command": _command,
    "cores": _cores,
    "env": _env,
    "estimate": _time,
    "exclusive": _flag,
    "gpus": partial(_share, thing="GPU"),
    "grace": parse_seconds,
    "hold": _flag,
    "labels": _labels,
    "launcher": Launcher,
    "max_fails": int,
    "max_parallel": int,
    "memory": partial(_size, parse=parse_memory),
    "memory_growth": float,
    "modules": _modules,
    "name": read_name,
    "nodes": int,
    "on_lost": OnLost,
    "on_silence": OnSilence,
    "output_limit": _size,
    "priority": int,
    "ranks": int,
    "resources": _resources,
    "retries": _retries,
    "same_node": _flag,
    "setup": _setup,
    "signal": _signal,
    "spread": _flag,
    "start_after": _start_after,
    "threads": int,
    "time": _time,
    "uses": lambda value: _named(value, JOB_KEYS["uses"], int),
    "variants": _variants,
}
"""Of the keys whose meaning does not depend on where the file lies."""
