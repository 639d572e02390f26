"""The JSON Schema of the job file, derived from the table of keys.

What belongs here: from the table to the language of JSON Schema. What must not: a second list of keys, or a rule that
the table does not hold; the one between `jobs` and their names stands here because the table has no words for it.
"""

from collections.abc import Mapping
from typing import Any

from pilotfish.formats.keys import FILE_KEYS, Table, Takes

__all__ = ["json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """What a job file may hold, as far as JSON Schema can say it: see `docs/reference/job-file.md` for the rest."""
    schema = {"$schema": _DIALECT, "title": "A job file of pilotfish", **_schema({"object": FILE_KEYS})}
    schema["properties"]["jobs"].update({"if": {"minItems": 2}, "then": {"items": {"required": ["name"]}}})
    return schema


def _schema(takes: Takes) -> dict[str, Any]:
    """The bounds of each kind stand beside each other: but for `enum`, no word of theirs speaks of another kind."""
    if len(takes) > 1 and any("enum" in bounds for bounds in takes.values()):
        return {"anyOf": [_schema({kind: bounds}) for kind, bounds in takes.items()]}
    kinds = list(takes)
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    for bounds in takes.values():
        schema.update(_of_table(bounds) if isinstance(bounds, Table) else _of_bounds(bounds))
    return schema


def _of_bounds(bounds: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(bounds)
    for word in {"items", "additionalProperties"} & set(bounds):
        schema[word] = _schema(bounds[word])
    if "prefixItems" in bounds:
        schema["prefixItems"] = [_schema(takes) for takes in bounds["prefixItems"]]
    return schema


def _of_table(table: Table) -> dict[str, Any]:
    properties = {
        key.name: {**_schema(key.takes), "description": key.meaning, "examples": list(key.examples)}
        for key in table.values()
        if key.takes
    }
    schema: dict[str, Any] = {"properties": properties, "additionalProperties": False}
    if table.required:
        schema["required"] = [key.name for key in table.required]
    if table.one_of:
        schema.update(minProperties=1, maxProperties=1)
    return schema
