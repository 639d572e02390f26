"""Text that a process can be given, and names that can stand in ids.

What belongs here: what is true of any text of the job file, whichever key it stands under. What must not: keys.
"""

import re
from collections.abc import Iterable

from pilotfish.formats.entries import kind_of, shown
from pilotfish.formats.keys import LONGEST
from pilotfish.formats.placeholders import ALWAYS

__all__ = ["read_column", "read_name", "read_text", "read_word", "require_room", "sendable"]

_MOST_TOGETHER = 2_000_000
"""Characters of all arguments, or of all variables: it gives no more of them together."""
_MAX_NAME = 100

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


def sendable(value: str) -> str:
    """Text without NUL or half of a surrogate pair, and not too long for one argument."""
    if _UNSENDABLE.search(value):
        msg = f"{shown(value)} holds a NUL or half a surrogate pair, which no process can be given"
        raise ValueError(msg)
    if len(value) > LONGEST:
        msg = f"no program can be given more than {LONGEST} characters in one piece, these are {len(value)}: use a file"
        raise ValueError(msg)
    return value


def read_text(value: str) -> str:
    """Likewise, with something in it."""
    if not value or value.isspace():
        msg = "is empty"
        raise ValueError(msg)
    return sendable(value)


def read_word(value: object) -> str:
    """Text or a number, as written: an argument, a value of an array, a variable."""
    if isinstance(value, str):
        return sendable(value)
    kind = kind_of(value)
    if kind in {"integer", "number"}:
        return str(value)
    if kind in {"boolean", "null"}:
        msg = f"expected text, got {shown(value)}; to make it text, put it in quotes"
    else:
        msg = f"expected text or a number, got {shown(value)}"
    raise ValueError(msg)


def read_name(value: str) -> str:
    """The name of a job, a limit, a resource or a label: it stands in ids such as ``sim:3``."""
    if _NAME.fullmatch(value) and len(value) <= _MAX_NAME:
        return value
    better = re.sub(r"[^A-Za-z0-9_.-]+", "_", value).strip("_.-")[: _MAX_NAME - 1]
    better = better if _NAME.match(better) else f"_{better}"
    msg = f"{shown(value)} is no name: letters, digits and _ . - only, a letter or _ first, at most {_MAX_NAME}"
    raise ValueError(f"{msg}; for example {better}" if better != "_" else msg)


def read_column(value: str) -> str:
    """The name of what the rows of an array hold: it is a placeholder."""
    if value in ALWAYS:
        msg = f"{value} cannot name a column: every job has a placeholder {{{value}}}; for example {value}_"
        raise ValueError(msg)
    if not (value.isascii() and value.isidentifier()):
        better = re.sub(r"[^A-Za-z0-9_]+", "_", value).strip("_")
        better = better if better[:1].isalpha() or not better else f"_{better}"
        msg = f"{shown(value)} cannot name a column: letters, digits and _ only, no digit first"
        raise ValueError(f"{msg}; for example {better}" if better else msg)
    return value


def require_room(words: Iterable[str], what: str) -> None:
    """Refuse more text than a program can be given in all; `what` the words are, for the message."""
    size = sum(len(word) + 1 for word in words)
    if size > _MOST_TOGETHER:
        msg = f"no program can be given more than {_MOST_TOGETHER} characters of {what}, these are {size}: use a file"
        raise ValueError(msg)
