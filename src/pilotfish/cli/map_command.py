"""The command of `map`: from replacement strings, as GNU parallel knows them, to a template and an array.

What belongs here: what ``{}`` and its kin stand for. What must not: where arguments come from, what runs.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat, zip_longest
from shlex import quote

from pilotfish.errors import NotYetSupportedError
from pilotfish.formats.placeholders import Template, escape
from pilotfish.model.jobs import TableArray

__all__ = ["SLOT", "Commands", "Row"]

Row = tuple[str, ...]
"""The arguments of one task; tasks may differ in how many they have."""

_REPLACEMENT = re.compile(r"\{(?P<number>-?[1-9]\d*)?(?P<part>//|/\.|/|\.)?\}|\{(?P<own>[#%])\}|\{=.*?=\}", re.DOTALL)
_OPENING = re.compile(r"[${]+\Z")
"""What would give a placeholder behind it another meaning."""
SLOT = "$((PILOTFISH_CORE_IDS + 1))"
"""For the shell. Cores of `map` are names, numbered from 0; a task that has just one is numbered by it."""


def _stem(path: str) -> str:
    return re.sub(r"\.[^/.]*\Z", "", path)


def _base(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def _folder(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0].rstrip("/") or ("/" if path.startswith("/") else ".")


_PARTS: dict[str | None, Callable[[str], str]] = {
    None: str,
    ".": _stem,
    "/": _base,
    "//": _folder,
    "/.": lambda path: _stem(_base(path)),
}
"""What of an argument a replacement string stands for."""


class Commands:
    """The command lines of all tasks: one template, and the values that are put into it.

    Args:
        command: for the shell. Arguments are appended where it has no replacement string; where it is empty they
            are the command themselves.
        rows: one for each task, at least one, each of at least one argument.

    Raises:
        NotYetSupportedError: the command holds a Perl expression.

    """

    template: str
    """For the shell: what a job has as its command."""
    array: TableArray
    """What a job has as its array. It begins with the arguments, as ``value``, or ``value1``, ``value2`` …, so that
    tasks can be told apart; then comes what replacement strings make of them."""

    def __init__(self, command: str, rows: Sequence[Row]) -> None:
        """Read the command once for all tasks."""
        self._rows = rows
        self._fewest, most = min(map(len, rows)), max(map(len, rows))
        self._arguments = ["value"] if most == 1 else [f"value{number}" for number in range(1, most + 1)]
        self._columns = dict(zip(self._arguments, zip_longest(*rows, fillvalue=""), strict=True))
        self._made: dict[tuple[str, str], str] = {}
        """Names of further columns, by what they hold."""
        if not command:
            self.template = self._column("command", "", (" ".join(row) for row in rows))
        elif _REPLACEMENT.search(command):
            self.template = self._replaced(command)
        else:
            self.template = self._replaced(f"{command} {{}}")
        self.array = TableArray(tuple(self._columns), tuple(self._columns.values()))
        self._line = Template.compile(self.template, quoted=True)

    def line(self, position: int) -> str:
        """The command line of one task."""
        return self._line.render(dict(zip(self.array.names, self.array.row(position), strict=True)))

    def arguments(self, position: int) -> Row:
        """The arguments of one task."""
        return self._rows[position]

    def _replaced(self, command: str) -> str:
        """The template of a command."""
        pieces = []
        done = 0
        for match in _REPLACEMENT.finditer(command):
            text = command[done : match.start()]
            opening = _OPENING.search(text)
            if opening is None:
                pieces.append(escape(text))
            else:
                pieces.append(escape(text[: opening.start()]))
                pieces.append(self._column("text", opening[0], repeat(opening[0], len(self._rows))))
            pieces.append(self._placeholder(match))
            done = match.end()
        return "".join([*pieces, escape(command[done:])])

    def _placeholder(self, match: re.Match[str]) -> str:
        """What the template has in the place of a replacement string."""
        if match["own"] == "%":
            return SLOT
        if match["own"] == "#":
            return self._column("number", "", map(str, range(1, len(self._rows) + 1)))
        if match[0].startswith("{="):
            raise NotYetSupportedError(f"{match[0]}: Perl expressions are not supported; let the command work it out")
        number = int(match["number"] or 0)
        single = 1 if number == 0 and len(self._arguments) == 1 else number
        if match["part"] is None and 0 < single <= self._fewest:  # an argument of every task, as it is
            return f"{{{self._arguments[single - 1]}}}"
        part = _PARTS[match["part"]]
        texts = (" ".join(quote(part(argument)) for argument in _chosen(row, number)) for row in self._rows)
        return self._column("replaced", match[0], texts)

    def _column(self, kind: str, what: str, texts: Iterable[str]) -> str:
        """A placeholder for texts that are inserted as they are, one for each task."""
        name = self._made.get((kind, what))
        if name is None:
            name = self._made[kind, what] = f"{kind}{len(self._made) + 1}"
            self._columns[name] = tuple(texts)
        return f"{{{name}:raw}}"


def _chosen(row: Row, number: int) -> Row:
    """The arguments that a replacement string means: all for 0, else the n-th, from the end where negative."""
    if number == 0:
        return row
    place = number - 1 if number > 0 else len(row) + number
    return row[place : place + 1] if place >= 0 else ()
