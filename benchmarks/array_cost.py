"""What a task of a large array costs, against one of a small array: nothing may grow with what waits.

The cost of starting and ending the command is measured with an array of one and taken off both.
"""

import statistics
from collections.abc import Iterator

from benchmarks.pairs import PILOTFISH, Figure, Run, finish, medians, options

__all__ = ["figures"]

_SMALL = 1_000
_REPEATS = 5
"""Small arrays are short: each of their figures is a median of so many."""
_BAR = 1.1


def figures(rounds: int, *, large: int = 100_000) -> Iterator[Figure]:
    """Microseconds per task of both."""
    start = statistics.median(_array(1).seconds() for _ in range(_REPEATS))

    def of_large() -> float:
        return (_array(large).seconds() - start) / large

    def of_small() -> float:
        return (statistics.median(_array(_SMALL).seconds() for _ in range(_REPEATS)) - start) / _SMALL

    mine, theirs = medians(of_large, of_small, rounds)
    name, peer = f"a task of {large:,}", f"one of {_SMALL:,}"
    yield Figure(name, mine * 1e6, peer, theirs * 1e6, "µs", mine / theirs, _BAR, at_most=True)


def _array(tasks: int) -> Run:
    jobs = f"name: array\njobs:\n  - {{name: work, array: {tasks}, command: [/bin/true]}}\n"
    return Run((PILOTFISH, "run", "--cores", "2", "jobs.yaml"), files={"jobs.yaml": jobs})


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, metavar="N", help="of the large array (default: 100000)")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, large=chosen.tasks))
