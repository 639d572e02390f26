"""Placeholders: ``{index}`` and its kin in commands and paths, compiled once, rendered per attempt.

``{x}`` is inserted shell-quoted where the text is for a shell, else unchanged; ``{x:raw}`` is inserted unchanged;
``{{x}}`` stands for a literal ``{x}``; braces without an identifier, and ``${x}``, are left alone. What belongs
here: the syntax and the values. What must not: files; it is imported by every keeper.
"""

import re
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Self

from pilotfish.model.jobs import JobSpec
from pilotfish.model.quantities import ONE

__all__ = ["ALWAYS", "Template", "escape", "names_in", "task_values"]

_PLACEHOLDER = re.compile(
    r"""
      \$\{+                                             # a shell's own variable
    | \{ (?P<literal> \{ [A-Za-z_]\w* (?: :raw )? \} ) \}
    | \{ (?P<name> [A-Za-z_]\w* ) (?P<raw> :raw )? \}
    """,
    re.VERBOSE | re.ASCII,
)

ALWAYS = ("index", "name", "job", "task", "attempt", "cores", "dir")
"""The placeholders of every job; an array with columns adds their names."""


class Template:
    """One text with placeholders, compiled."""

    __slots__ = ("_format", "_inserts", "_text", "names")

    names: frozenset[str]
    """The placeholders that it uses."""

    def __init__(self, pattern: str, inserts: tuple[tuple[str, bool], ...]) -> None:
        """Use :meth:`compile`. `pattern` is a ``%`` format, `inserts` its names and whether each is quoted."""
        self._format = pattern
        self._inserts = inserts
        self._text = None if inserts else pattern % ()
        self.names = frozenset(name for name, _ in inserts)

    @classmethod
    def compile(cls, text: str, *, quoted: bool) -> Self:
        """Read a text once. `quoted`: it is for a shell, so that values are inserted as one word each."""
        pieces: list[str] = []
        inserts: list[tuple[str, bool]] = []
        done = 0
        for match in _PLACEHOLDER.finditer(text) if "{" in text else ():
            pieces.append(text[done : match.start()].replace("%", "%%"))
            done = match.end()
            if match["name"]:
                pieces.append("%s")
                inserts.append((match["name"], quoted and not match["raw"]))
            else:
                pieces.append(match["literal"] or match[0])
        pieces.append(text[done:].replace("%", "%%"))
        return cls("".join(pieces), tuple(inserts))

    def render(self, values: Mapping[str, str]) -> str:
        """The text with the values in their places. Raises KeyError for a name that has none."""
        if self._text is not None:
            return self._text
        return self._format % tuple([quote(values[name]) if quoted else values[name] for name, quoted in self._inserts])


def names_in(text: str) -> set[str]:
    """The placeholders that a text uses, without compiling it."""
    return {match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"]}


def escape(text: str) -> str:
    """A template that renders as just this text, whatever braces it holds."""
    return _PLACEHOLDER.sub(lambda match: match[0] if match[0].startswith("$") else f"{{{match[0]}}}", text)


def task_values(
    job_id: int,
    spec: JobSpec,
    position: int,
    number: int,
    row: Sequence[str] | None = None,
    *,
    cores: int | None = None,
) -> dict[str, str]:
    """The value of every known placeholder for attempt `number` of the task at `position`.

    ``{cores}`` counts the cores that the attempt is bound to: 1 for a fraction, 0 for none; without `cores`, which
    were given, those that the job asks for. ``{index}`` of a job without an array is 0, its ``{task}`` the job's id.
    `row` is that of the array where `spec` lacks the rows.
    """
    index = spec.index(position)
    job = str(job_id)
    values = {
        "index": "0" if index is None else str(index),
        "name": spec.name,
        "job": job,
        "task": job if index is None else f"{job}:{index}",
        "attempt": str(number),
        "cores": str(-(-spec.request.cores // ONE) if cores is None else cores),
        "dir": spec.directory,
    }
    values.update(zip(spec.columns, spec.row(position) if row is None else row, strict=True))
    return values
