"""How long a person waits for the command itself, in multiples of ``python -c pass`` by the same Python."""

import statistics
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.pairs import PILOTFISH, Figure, Run, finish, medians, options

__all__ = ["figures"]

_BARS = {("--version",): 3.0, ("run", "--", "true"): 10.0}
_REPEATS = 5
"""Each side of a pair is the median of so many, for they are short."""


def figures(rounds: int) -> Iterator[Figure]:
    """Milliseconds of each command."""
    for words, bar in _BARS.items():
        mine, theirs = medians(partial(_milliseconds, PILOTFISH, *words), _bare_python, rounds)
        name = " ".join(("pilotfish", *words))
        yield Figure(name, mine, "python -c pass", theirs, "ms", mine / theirs, bar, at_most=True)


def _bare_python() -> float:
    return _milliseconds(sys.executable, "-c", "pass")


def _milliseconds(*command: str) -> float:
    return 1_000 * statistics.median(Run(command).seconds() for _ in range(_REPEATS))


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
