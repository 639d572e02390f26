"""The arguments of `map`: from ``:::`` and its kin, files and standard input to one row for each task.

What belongs here: where arguments come from and how they are combined. What must not: what the command makes of them.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from itertools import chain, product
from pathlib import Path

import msgspec

from pilotfish.cli.map_command import Row
from pilotfish.errors import UserError

__all__ = ["Separation", "Source", "combine", "parse_delimiter", "read_rows", "split_words"]

_MARKS = (":::", ":::+", "::::", "::::+")
_STDIN = "-"
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([0nrt\\]))")
_ESCAPED = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Separation(msgspec.Struct, frozen=True):
    """How texts are taken apart."""

    delimiter: str = "\n"
    """Between arguments in files and standard input."""
    columns: re.Pattern[str] | None = None
    """Between the arguments of one task within what the delimiter, or the shell, left together."""


class Source(msgspec.Struct, frozen=True):
    """One list of rows, to be combined with others."""

    rows: Sequence[Row]
    linked: bool = False
    """Row by row with the source before it, instead of each with each."""


def parse_delimiter(text: str) -> str:
    r"""A delimiter as it was typed: ``\n``, ``\t``, ``\0``, ``\r``, ``\\`` and ``\xHH`` stand for what they do in C."""
    if not text:
        raise ValueError("expected a delimiter, such as ',', got nothing")
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _ESCAPED[match[2]], text)


def split_words(words: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The words of a command, and what stands behind each ``:::``, ``:::+``, ``::::`` and ``::::+`` after it.

    Raises UserError for a word that is not UTF-8.
    """
    command: list[str] = []
    groups: list[tuple[str, list[str]]] = []
    target = command
    for word in words:
        if word in _MARKS:
            target = []
            groups.append((word, target))
        elif any("\ud800" <= character <= "\udfff" for character in word):
            raise UserError(f"{word!r} is not UTF-8")
        else:
            target.append(word)
    return command, groups


def read_rows(files: Sequence[str], groups: Sequence[tuple[str, list[str]]], separation: Separation) -> list[Row]:
    """One row for each task, in the order of GNU parallel: the last source changes fastest.

    Args:
        files: of option ``-a``: sources before all others.
        groups: as `split_words` gives them. Without them and without files, standard input is the source.
        separation: how texts are taken apart.

    Raises:
        UserError: what cannot be an argument, and where it is.

    """
    sources = [_of_file(name, separation) for name in files]
    for mark, words in groups:
        linked = mark.endswith("+")
        if mark.startswith("::::"):
            sources += [_of_file(name, separation, linked=linked) for name in words]
        else:
            sources.append(Source([_row(word, separation) for word in words], linked=linked))
    return combine(sources if files or groups else [_of_file(_STDIN, separation)])


def combine(sources: Iterable[Source]) -> list[Row]:
    """The rows of all tasks; a linked source ends with the shorter one, an empty one is one empty argument."""
    sources = list(sources)
    if len(sources) == 1:
        return list(sources[0].rows)
    groups: list[Sequence[Row]] = []
    for source in sources:
        rows = source.rows or [("",)]
        if source.linked and groups:
            groups[-1] = [(*left, *right) for left, right in zip(groups[-1], rows, strict=False)]
        else:
            groups.append(rows)
    return [tuple(chain.from_iterable(rows)) for rows in product(*groups)]


def _of_file(name: str, separation: Separation, *, linked: bool = False) -> Source:
    """A source from a file, or from standard input, which is read to its end."""
    if name == _STDIN and sys.stdin is None:
        raise UserError("standard input is closed: give arguments after :::, or a file with -a")
    try:
        content = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from error
    place = "standard input" if name == _STDIN else name
    return Source([_row(text, separation) for text in _arguments(content, separation.delimiter, place)], linked=linked)


def _arguments(content: bytes, delimiter: str, place: str) -> list[str]:
    """What the delimiter keeps apart; behind the last one there may be nothing."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(delimiter.encode()) + 1
        raise UserError(f"{place}: argument {number} is not UTF-8") from error
    arguments = text.split(delimiter)
    for number, argument in enumerate(arguments, 1) if "\0" in text else ():
        if "\0" in argument:
            raise UserError(f"{place}: argument {number} holds a NUL, as no argument can; with -0 it ends an argument")
    return arguments if arguments[-1] else arguments[:-1]


def _row(text: str, separation: Separation) -> Row:
    if separation.columns is None:
        return (text,)
    return tuple([column.strip() for column in separation.columns.split(text)])
