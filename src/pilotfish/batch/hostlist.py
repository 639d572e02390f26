"""Slurm's short form of many host names: ``n[01-03,7],gpu2`` is n01, n02, n03, n7 and gpu2.

What belongs here: the form, as text in and names out. What must not: where it was read.
"""

import re
from itertools import product

from pilotfish.errors import UserError

__all__ = ["expand_hosts"]

_HOST = re.compile(r"(?:[^\[\],]|\[[^\[\]]*\])+")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_SPAN = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
_MOST = 1_000_000
"""More names than any machine has nodes: the text is wrong, and memory is not to be filled with it."""


def expand_hosts(text: str) -> tuple[str, ...]:
    """The names that a host list stands for, in its order; leading zeros are kept, as ``scontrol show hostnames`` does.

    Several brackets in one name multiply: ``r[1-2]n[1-2]`` is four nodes. Raises UserError where it is none.
    """
    names = [name for part in _parts(text) for name in _names(part, text)]
    if not names:
        raise _wrong(text)
    return tuple(names)


def _parts(text: str) -> list[str]:
    parts = _HOST.findall(text.strip())
    if ",".join(parts) != text.strip():
        raise _wrong(text)
    return parts


def _names(part: str, text: str) -> list[str]:
    pieces = _BRACKETS.split(part)
    # Every other piece stood in brackets.
    choices = [_numbers(piece, text) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in product(*choices)]


def _numbers(spans: str, text: str) -> list[str]:
    numbers = []
    for span in spans.split(","):
        match = _SPAN.fullmatch(span.strip())
        if match is None:
            raise _wrong(text)
        first, last = match[1], match[2] or match[1]
        if not 0 <= int(last) - int(first) < _MOST:
            raise _wrong(text)
        numbers += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return numbers


def _wrong(text: str) -> UserError:
    return UserError(f"expected a list of hosts such as n[01-03,7],gpu2, got {text!r}")
