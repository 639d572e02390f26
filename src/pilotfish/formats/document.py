"""Text to plain data, whatever its syntax, with the line of each value for the errors.

What belongs here: YAML, JSON and TOML as syntax, and telling them apart. What must not: the job file's keys.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from pilotfish.errors import JobFileError
from pilotfish.formats.entries import KeyPath, shown
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


_MOST_VALUES = 4_000_000
"""In a JSON file: each takes 100 bytes."""
_MOST_OF_TOML = 10_000_000
"""Characters: its parser takes a second for each million."""

_FIRST = re.compile(r"^[ \t]*[^\s#]", re.MULTILINE)
"""In the first line that is neither blank nor a comment."""
_TOML = re.compile(r"\[\[?\w[\w.]*\]|\w+[ \t]+=[ \t]|(?:name|jobs)=")
_JSON = re.compile(r"\{\s*[\"}]")
_YAML = re.compile(r"---\s|%YAML|\{?\s*[\"']?[\w-]+[\"']?:(?:\s|$)|-[ \t]+[\w-]+:\s")


def guess_format(text: str) -> Format:
    """The format of a text whose name does not tell it, from its first line that is no comment.

    No shell command begins with ``word: ``, ``[word]`` or ``word = ``: such a line is one of a job file.
    """
    first = _FIRST.search(text)
    for pattern, format_ in ((_TOML, Format.toml), (_JSON, Format.json), (_YAML, Format.yaml)):
        if first and pattern.match(text, first.start()):
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

    value, line = yaml12.parse_yaml(text, file)
    return Document(value, line)


def _parse_json(text: str, file: str) -> Document:
    import json

    if text.count(",") + text.count("[") + text.count("{") > _MOST_VALUES:
        raise JobFileError(f"holds more than {_MOST_VALUES} values: split it, or use arrays from files", file=file)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            raise _twice_in_json(text, file)
        return mapping

    def refuse(constant: str) -> None:
        msg = f"{constant} is no JSON"
        raise ValueError(msg)

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_float=WrittenFloat, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise JobFileError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
    except ValueError as error:
        raise JobFileError(f"not valid JSON: {_without_advice(error)}", file=file) from error
    return Document(value, lambda path: text.count("\n", 0, _offset_in_json(text, path)) + 1)


def _without_advice(error: ValueError) -> str:
    """What Python says of a number with thousands of digits, without how a program could read it."""
    return str(error).partition(";")[0]


_DOTTED = re.compile(r"""(?:\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*){50}""")
"""A key of so many parts: the parser of TOML needs the square of their number in time and memory."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?|[{}]', re.DOTALL)
_GAP = re.compile(r"[\s,:]*")


def _twice_in_json(text: str, file: str) -> JobFileError:
    """Which key stands twice in one object, and where: the parser does not tell."""
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            objects.append(set())
        elif token[0] == "}":
            objects.pop()
        elif token[1]:
            name = token[0].removesuffix(token[1]).strip('"')
            if name in objects[-1]:
                line = text.count("\n", 0, token.start()) + 1
                return JobFileError(
                    f"not valid JSON: the key {shown(name)} stands twice in one object", file=file, line=line
                )
            objects[-1].add(name)
    return JobFileError("not valid JSON: a key stands twice in one object", file=file)


def _offset_in_json(text: str, path: KeyPath) -> int:
    """Where the value at a path or its key begins, or the nearest around it; the parser skips what comes before."""
    import json

    decode = json.JSONDecoder().raw_decode

    def after_gap(offset: int) -> int:
        return next(_GAP.finditer(text, offset)).end()

    at = found = after_gap(0)
    for step in path:
        if text[at] != ("[" if isinstance(step, int) else "{"):
            break
        at, place, here = after_gap(at + 1), 0, None
        while text[at] not in "]}":
            entry, here = at, place
            if isinstance(step, str):
                here, at = decode(text, at)
                at = after_gap(at)
            if here == step:
                found = entry
                break
            at, place = after_gap(decode(text, at)[1]), place + 1
        else:
            break
    return found


def _parse_toml(text: str, file: str) -> Document:
    import tomllib

    if len(text) > _MOST_OF_TOML:
        raise JobFileError(f"is longer than {_MOST_OF_TOML // 1_000_000} million characters: write JSON", file=file)
    if dotted := _DOTTED.search(text):
        line = text.count("\n", 0, dotted.start()) + 1
        raise JobFileError("a key of more than 50 parts", file=file, line=line)
    try:
        value = tomllib.loads(text, parse_float=WrittenFloat)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column \d+\)", str(error))
        message = str(error).replace(place[0], "") if place else str(error)
        raise JobFileError(f"not valid TOML: {message}", file=file, line=int(place[1]) if place else None) from error
    except ValueError as error:
        raise JobFileError(f"not valid TOML: {_without_advice(error)}", file=file) from error
    return Document(_without_dates(value), lambda path: _line_of_toml(text, value, path))


def _without_dates(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Dates and times, which only TOML has, as the text that they are in YAML and JSON."""
    if isinstance(value, dict):
        return {key: _without_dates(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_dates(entry) for entry in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _line_of_toml(text: str, value: Mapping[str, Any], path: KeyPath) -> int | None:
    """The line of a key of the file, of `defaults`, or of a job written as ``[[jobs]]``; its parser keeps no lines."""
    lines = text.split("\n")
    first, following, parent, rest = 0, len(lines), "", path
    if path[:1] == ("jobs",) and len(path) > 1:
        headers = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*jobs\s*\]\]", line)]
        if len(headers) != len(value["jobs"]):
            return None
        place = int(path[1])
        first, following, parent, rest = headers[place], [*headers, len(lines)][place + 1], r"jobs\s*\.\s*", path[2:]
    for step in rest[:2]:
        key = re.compile(rf"\s*(?:\[+\s*{parent})?[\"']?{re.escape(str(step))}\b")
        found = next((number for number in range(first, following) if key.match(lines[number])), None)
        if found is None:
            break
        first = found
        if not lines[found].lstrip().startswith("["):
            break
        first, parent = found, ""
        following = next((n for n in range(found + 1, following) if lines[n].lstrip().startswith("[")), following)
    return first + 1 if path else None


_PARSERS: Mapping[Format, Callable[[str, str], Document]] = {
    Format.yaml: _parse_yaml,
    Format.json: _parse_json,
    Format.toml: _parse_toml,
}
