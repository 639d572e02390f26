"""Text to plain data, whatever its syntax, with the line of each value for the errors.

What belongs here: YAML, JSON and TOML as syntax, and telling them apart. What must not: the job file's keys.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from pilotfish.errors import JobFileError
from pilotfish.formats.keys import KeyPath, shown
from pilotfish.formats.written import WrittenFloat

__all__ = ["Document", "Format", "guess_format", "parse_document"]


class Format(StrEnum):
    """How a file is written."""

    yaml = "yaml"
    json = "json"
    toml = "toml"
    lines = "lines"
    """One shell command a line."""


class Document(msgspec.Struct, frozen=True):
    """Plain data (str, int, float, bool, None, list, dict with str keys) and where it stood."""

    value: Any
    line: Callable[[KeyPath], int | None]
    """The line of the value at a path, or of the nearest value around it; None where it is not known."""


_SKIPPED = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*")
_TOML = re.compile(r"\[\[?\w[\w.]*\]|\w+[ \t]+=[ \t]|(?:name|jobs)=")
_JSON = re.compile(r"\{\s*[\"}]")
_YAML = re.compile(r"---\s|%YAML|\{?\s*[\"']?[\w-]+[\"']?:(?:\s|$)|-[ \t]+[\w-]+:\s")


def guess_format(text: str) -> Format:
    """The format of a text whose name does not tell it, from its first line that is no comment.

    No shell command begins with ``word: ``, ``[word]`` or ``word = ``: such a line is one of a job file.
    """
    rest = _SKIPPED.sub("", text, count=1)
    for pattern, format_ in ((_TOML, Format.toml), (_JSON, Format.json), (_YAML, Format.yaml)):
        if pattern.match(rest):
            return format_
    return Format.lines


def parse_document(text: str, format_: Format, file: str) -> Document:
    """Read YAML, JSON or TOML. `file` is what errors call it. Raises JobFileError with the line."""
    try:
        return _PARSERS[format_](text, file)
    except RecursionError as error:
        raise JobFileError("nested too deep", file=file) from error


def _parse_yaml(text: str, file: str) -> Document:
    from pilotfish.formats import yaml12

    value, lines = yaml12.parse_yaml(text, file)

    def line(path: KeyPath) -> int | None:
        node, found = value, 1
        for step in path:
            if (id(node), step) not in lines:
                break
            found = lines[id(node), step]
            node = node[step]
        return found

    return Document(value, line)


def _parse_json(text: str, file: str) -> Document:
    import json

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            msg = f"the key {shown(twice)} stands twice in one object"
            raise ValueError(msg)
        return mapping

    def refuse(constant: str) -> None:
        msg = f"{constant} is no JSON"
        raise ValueError(msg)

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_float=WrittenFloat, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise JobFileError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
    except ValueError as error:
        raise JobFileError(f"not valid JSON: {error}", file=file, line=_yaml_complaint(text)) from error
    return Document(value, lambda path: _line_as_yaml(text, path))


def _yaml_complaint(text: str) -> int | None:
    """Where YAML, of which JSON is nearly a part, refuses a text: duplicate keys are the same in both."""
    try:
        _parse_yaml(text, "")
    except JobFileError as error:
        return error.line
    return None


def _line_as_yaml(text: str, path: KeyPath) -> int | None:
    """The line of a value in JSON; its own parser keeps none, and errors may take their time."""
    try:
        return _parse_yaml(text, "").line(path)
    except JobFileError:
        return None


def _parse_toml(text: str, file: str) -> Document:
    import tomllib

    try:
        value = tomllib.loads(text, parse_float=WrittenFloat)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column \d+\)", str(error))
        message = str(error).replace(place[0], "") if place else str(error)
        raise JobFileError(f"not valid TOML: {message}", file=file, line=int(place[1]) if place else None) from error
    return Document(value, lambda path: _line_of_toml(text, value, path))


def _line_of_toml(text: str, value: Mapping[str, Any], path: KeyPath) -> int | None:
    """The line of a job's key where jobs are written as ``[[jobs]]``; its parser keeps no lines."""
    lines = text.split("\n")
    headers = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*jobs\s*\]\]", line)]
    if len(path) < 2 or not isinstance(path[1], int) or len(headers) != len(value["jobs"]):
        return None
    first = headers[path[1]]
    following = [*headers, len(lines)][path[1] + 1]
    if len(path) > 2:
        key = re.compile(rf"\s*(?:\[\s*jobs\s*\.\s*)?[\"']?{re.escape(str(path[2]))}\b")
        return next((number + 1 for number in range(first, following) if key.match(lines[number])), first + 1)
    return first + 1


_PARSERS: Mapping[Format, Callable[[str, str], Document]] = {
    Format.yaml: _parse_yaml,
    Format.json: _parse_json,
    Format.toml: _parse_toml,
}
