"""YAML by the core schema of YAML 1.2: plain values and the line of each, nothing clever.

``on`` and ``yes`` are words, ``0o17`` is 15, ``017`` is 17, ``2:00:00`` is text. Refused: duplicate keys, keys that
are not scalars, tags, several documents, nesting and aliases that would blow up. What belongs here: the
syntax. What must not: the job file's keys. The only module that imports PyYAML: it costs 30 ms.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from pilotfish.errors import JobFileError
from pilotfish.formats.entries import KeyPath, shown
from pilotfish.formats.written import WrittenFloat, WrittenInt

__all__ = ["parse_yaml"]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its events are used; the C one is ten times as fast."""

_MAX_DEPTH = 50
_MAX_VALUES = 3_000_000
_MAX_ALIASED = 1_000_000
"""Values that all aliases of a file may stand for together."""
_MAX_NUMBER = 100
"""Characters; a longer run of digits is text."""

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"0|-?[1-9][0-9]*"), int),
    (re.compile(r"[-+]?[0-9]+"), WrittenInt),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), WrittenInt),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), WrittenFloat),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)


def parse_yaml(text: str, file: str) -> tuple[Any, Callable[[KeyPath], int]]:
    """The value of a text, and what tells the line of the value at a path, or of the nearest around it.

    An empty text is None. Raises JobFileError with the line.
    """
    composer = _Composer(text, file)
    try:
        value = composer.document()
    except yaml.MarkedYAMLError as error:
        message = ": ".join(part for part in (error.context, error.problem) if part)
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise JobFileError(f"not valid YAML: {message}{_hint(message)}", file=file, line=line) from error
    except yaml.reader.ReaderError as error:
        character = chr(error.character) if isinstance(error.character, int) else error.character
        line = text.count("\n", 0, text.find(character)) + 1
        message = f"not valid YAML: the character U+{ord(character):04X} is not allowed"
        raise JobFileError(message, file=file, line=line) from error
    return value, lambda path: _line_of(value, composer.lines, path)


def _line_of(value: Any, lines: dict[int, "array[int]"], path: KeyPath) -> int:  # noqa: ANN401 - whatever the file holds
    found = 1
    for step in path:
        places: list[Any] = (
            list(value) if isinstance(value, dict) else [*range(len(value))] if isinstance(value, list) else []
        )
        if step not in places:
            break
        found = lines[id(value)][places.index(step)]
        value = value[step]
    return found


def _hint(message: str) -> str:
    if "mapping values are not allowed" in message:
        return "; text that holds ': ' must stand in quotes"
    if "cannot start any token" in message:
        return "; indent with spaces, not tabs, and put text that begins with % @ or ` in quotes"
    if "scanning an alias" in message or "scanning an anchor" in message:
        return "; text that begins with * or & must stand in quotes"
    return ""


class _Composer:
    """Builds values from events, one document only."""

    def __init__(self, text: str, file: str) -> None:
        self.lines: dict[int, array[int]] = {}
        """By the id of each list and mapping, the lines of its entries in their order."""
        self._file = file
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, tuple[object, int]] = {}
        self._values = 0
        self._aliased = 0

    def document(self) -> object:
        """The value of the only document."""
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), 0)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._error("several documents in one file: keep one, without `---` in between", event)
        return value

    def _value(self, event: Any, depth: int) -> object:  # noqa: ANN401 - the stubs know no events with tags
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._values
        self._values += 1
        if self._values > _MAX_VALUES:
            raise self._error(f"more than {_MAX_VALUES} values: write JSON, or arrays from files", event)
        if event.tag is not None:
            hint = "text that begins with ! must stand in quotes"
            raise self._error(f"the tag {shown(event.tag)} is not allowed here; {hint}", event)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event.value) if event.implicit[0] else event.value
        elif depth == _MAX_DEPTH:
            raise self._error(f"nested more than {_MAX_DEPTH} deep", event)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(depth + 1)
        else:
            value = self._sequence(depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _alias(self, event: yaml.AliasEvent) -> object:
        if event.anchor not in self._anchors:
            hint = "text that begins with * must stand in quotes"
            raise self._error(f"the alias *{event.anchor} stands for nothing; {hint}", event)
        value, size = self._anchors[event.anchor]
        self._values += size
        self._aliased += size
        if self._aliased > _MAX_ALIASED:
            raise self._error(f"aliases stand for more than {_MAX_ALIASED} values", event)
        return value

    def _mapping(self, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        lines = self.lines[id(mapping)] = array("I")
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise self._error(
                    "a key must be a plain word; text that begins with { [ * & or ! must stand in quotes", event
                )
            key = event.value
            if key in mapping:
                first = lines[list(mapping).index(key)]
                raise self._error(f"the key {shown(key)} stands here twice, first in line {first}", event)
            lines.append(_line(event))
            mapping[key] = self._value(next(self._events), depth)
        return mapping

    def _sequence(self, depth: int) -> list[object]:
        sequence: list[object] = []
        lines = self.lines[id(sequence)] = array("I")
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            lines.append(_line(event))
            sequence.append(self._value(event, depth))
        return sequence

    def _error(self, message: str, event: yaml.Event) -> JobFileError:
        return JobFileError(message, file=self._file, line=_line(event))


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else mark.line + 1


def _scalar(text: str) -> object:
    """What a plain scalar means; numbers that are not written the usual way keep their text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_NUMBER:
        return text
    for pattern, number in _NUMBERS:
        if pattern.fullmatch(text):
            return number(text)
    return text
