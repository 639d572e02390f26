"""Reading by the table of keys: is a key known, is its value of a kind and within the bounds that the table gives.

What belongs here: the checks that need a table and nothing else, and the errors that follow from it. What must
not: the table itself (:mod:`pilotfish.formats.keys`), and what the values of one key mean (`values`).
"""

import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pilotfish.formats.keys import Key, Table, Takes, displayed

__all__ = [
    "EntryError",
    "KeyPath",
    "did_you_mean",
    "kind_of",
    "read_entries",
    "read_mapping",
    "require",
    "shown",
    "shown_path",
    "similar",
]

KeyPath = tuple[str | int, ...]
"""From the top of the file to a value: ``("jobs", 2, "cores")`` is shown as ``jobs[2].cores``."""


class EntryError(ValueError):
    """A value cannot be read: the message says why and what to write instead.

    `path` leads from the value that was being read to the culprit inside it. `later` is true where
    the specification allows it and this release does not.
    """

    def __init__(self, message: str, *path: str | int, later: bool = False) -> None:
        """Take the message without the place: readers do not know where their value stands."""
        super().__init__(message)
        self.path: KeyPath = path
        self.later = later

    @classmethod
    def under(cls, step: str | int, error: ValueError) -> "EntryError":
        """The same error, seen from the list or mapping that holds the value at `step`."""
        if isinstance(error, cls):
            return cls(str(error), step, *error.path, later=error.later)
        return cls(str(error), step)


_KINDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def read_mapping(value: object, table: Table, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """What each key of a mapping says, read by its own reader.

    Raises EntryError for anything but a mapping, for an unknown, missing or unsupported key, for a value of
    a kind or beyond the bounds that the key takes, and with whatever a reader finds.
    """
    if not isinstance(value, dict):
        msg = f"expected a mapping with the keys {_listed(table)}; got {shown(value)}"
        raise EntryError(msg)
    if table.one_of and len(value) != 1:
        got = f"got {len(value)}" if value else "it is empty"
        msg = f"expected one of the keys {_listed(table)}; {got}"
        raise EntryError(msg)
    read = {}
    for name, entry in value.items():
        key = table.get(name)
        if key is None or not key.takes:
            raise _refusal(name, table)
        try:
            read[name] = readers[name](require(entry, key.takes, key.examples))
        except ValueError as error:
            raise EntryError.under(name, error) from error
    for key in table.required:
        if key.name not in value:
            msg = f"the key {key.name} is missing: write, for example, {key.name}: {displayed(key.examples[0])}"
            raise EntryError(msg)
    return read


def read_entries(entries: Iterable[tuple[Any, Any]], read: Callable[[Any], Any]) -> list[Any]:
    """What `read` makes of each value of a list or mapping, given as pairs of its place and itself."""
    found = []
    for place, value in entries:
        try:
            found.append(read(value))
        except ValueError as error:
            raise EntryError.under(place, error) from error
    return found


def _refusal(name: str, table: Table) -> EntryError:
    """Why a key is not taken."""
    if name in table or ("defer_*" in table and name.startswith("defer_") and name.isidentifier()):
        return EntryError(f"`{name}` is not yet supported; see docs/limits.md", name, later=True)
    if name in table.elsewhere:
        return EntryError(table.elsewhere[name], name)
    if name == "<<":
        return EntryError("YAML 1.2 has no merge key `<<`: write the keys out", name)
    supported = [key for key in table.values() if key.takes]
    meant = next((key.name for key in supported if name.lower() in key.aliases), None) or similar(name, table)
    hint = f"did you mean {meant}?" if meant else f"known here are {_listed(table)}"
    return EntryError(f"unknown key; {hint}", name)


def _listed(table: Table) -> str:
    return ", ".join(key.name for key in table.values() if key.takes)


def require(value: Any, takes: Takes, examples: tuple[Any, ...]) -> Any:  # noqa: ANN401 - whatever the file holds
    """`value`, where it is of a kind and within the bounds that `takes` gives; ``2.0`` is a whole number too.

    Raises EntryError. What lies inside lists and mappings is left to their readers.
    """
    kind = kind_of(value)
    bounds = takes.get(kind)
    if bounds is None:
        if kind == "integer" and "number" in takes:
            bounds = takes["number"]
        elif kind == "number" and "integer" in takes and value.is_integer():
            value, bounds = int(value), takes["integer"]
        else:
            raise _wrong_kind(value, kind, takes, examples)
    if bounds and kind in {"integer", "number", "string"}:
        _require_bounds(value, bounds)
    return value


def _require_bounds(value: Any, bounds: Mapping[str, Any]) -> None:  # noqa: ANN401 - a number or text
    if "enum" in bounds and value not in bounds["enum"]:
        *most, last = bounds["enum"]
        msg = f"expected {', '.join(most)} or {last}; got {shown(value)}{did_you_mean(value, bounds['enum'])}"
        raise EntryError(msg)
    if "maximum" not in bounds:
        return
    least, most_ = bounds.get("minimum", bounds.get("exclusiveMinimum")), bounds["maximum"]
    if not least <= value <= most_ or (value == least and "minimum" not in bounds):
        number = "a whole number" if isinstance(value, int) else "a number"
        span = f"from {least} to {most_}" if "minimum" in bounds else f"more than {least} and at most {most_}"
        msg = f"expected {number} {span}, got {shown(value)}" + ("; or leave the key out" if value == 0 else "")
        raise EntryError(msg)


def _wrong_kind(value: object, kind: str, takes: Takes, examples: tuple[Any, ...]) -> EntryError:
    such_as = Key.shown_examples(examples)
    if kind == "null":
        return EntryError(f"no value: write, for example, {such_as}, or leave the key out")
    words = " or ".join(_WORDS[each] for each in takes)
    hint = ""
    if kind == "object" and "string" in takes:
        hint = "; text that begins with { must stand in quotes"
    elif "string" in takes and kind in {"boolean", "integer", "number"}:
        hint = "; to make it text, put it in quotes"
    elif kind == "string" and isinstance(value, str) and _looks_like_number(value):
        hint = "; write it without quotes"
    return EntryError(f"expected {words}, such as {such_as}; got {shown(value)}{hint}")


def _looks_like_number(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def kind_of(value: object) -> str:
    """What JSON Schema calls the kind of a value."""
    kind = _KINDS.get(type(value))
    if kind is None:  # a subclass: a number that remembers its text
        kind = next(_KINDS[base] for base in type(value).__mro__ if base in _KINDS)
    return kind


def similar(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    from difflib import get_close_matches

    words = list(known)
    found = get_close_matches(word.lower().replace("-", "_"), words, n=1) or get_close_matches(word, words, n=1)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message that names the known word that was probably meant; nothing where none is near."""
    meant = similar(word, known)
    return f"; did you mean {meant}?" if meant else ""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """A value in a message: as a job file would have it, and cut short however large it is."""
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else _SHORT.repr(value)


def shown_path(path: KeyPath) -> str:
    """A way in a message: ``jobs[2].cores``, and in quotes what would not be readable so."""
    return "".join(map(_shown_step, path)).lstrip(".")


def _shown_step(step: str | int) -> str:
    if isinstance(step, str) and step.isprintable() and 0 < len(step) <= 100:
        return f".{step}"
    return f"[{shown(step)}]"
