"""How commands print: tables, fields, JSON, colours where there is a terminal.

What belongs here: layout of what any command prints. What must not: words (:mod:`pilotfish.ui.words`), questions.
"""

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pilotfish.model.states import FINAL, TaskState

__all__ = ["fields", "note_unattended", "paint", "print_json", "print_line", "say_submitted", "table"]

_COLOURS = {
    "succeeded": "32",
    "failed": "31",
    "cancelled": "33",
    "skipped": "33",
    "running": "36",
    "stopping": "36",
    "waiting": "2",
    "title": "1",
}
"""Codes that terminals know (SGR)."""


def paint(text: str, meaning: str) -> str:
    """A text for stdout in the colour of a state or of a ``title``; as it is where stdout is no terminal."""
    colour = _COLOURS.get(meaning)
    if colour is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Rows below their titles, as wide as they need; columns that are empty in every row are left out.

    Args:
        titles: one for each column; the cells of ``state`` are painted.
        rows: cells as texts.
        right: titles of columns that are aligned to the right.

    """
    columns = []
    for title, cells in zip(titles, zip(*rows, strict=True), strict=False):
        if any(cells):
            width = max(len(title), *map(len, cells))
            texts = [cell.rjust(width) if title in right else cell.ljust(width) for cell in (title, *cells)]
            meanings = ("title", *(cells if title == "state" else ("",) * len(cells)))
            columns.append([paint(text, meaning) for text, meaning in zip(texts, meanings, strict=True)])
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*columns, strict=True))


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """``name  value`` line by line, values below each other; what has no value is left out."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    return "".join(f"{paint(name.ljust(width), 'title')}  {value}\n" for name, value in known)


def print_json(value: object) -> None:
    """One JSON document on stdout: lists with one element a line, anything else for people to read."""
    if isinstance(value, list):
        text = ",\n".join(msgspec.json.encode(element).decode() for element in value)
        sys.stdout.write(f"[\n{text}\n]\n" if value else "[]\n")
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def print_line(event: str, fields: Mapping[str, Any]) -> None:
    """One line of JSON on stdout, at once: something that has happened."""
    sys.stdout.write(msgspec.json.encode({"event": event, **fields}).decode() + "\n")
    sys.stdout.flush()


def say_submitted(name: str, *, as_json: bool) -> None:
    """The name of a task that is in a queue now, alone on a line of stdout."""
    if as_json:
        print_line("submitted", {"task": name})
    else:
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()


def note_unattended(states: Collection[str], *, live: bool, way_on: str = "`pilotfish run` with the same file") -> None:
    """Say on stderr that nothing will happen to tasks that have not ended, where no manager runs, and what goes on."""
    if not live and any(TaskState[state] not in FINAL for state in states):
        sys.stderr.write(f"no manager is running; {way_on} goes on\n")
