"""One array of 100 MB for 100 calls that read it: handed over once, against the peers' way of doing that."""

from collections.abc import Iterator
from functools import partial

from benchmarks.pairs import Figure, finish, medians, options
from benchmarks.pools import ask, has

__all__ = ["figures"]

_PEERS = ("dask", "ray")
_BYTES = 100_000_000


def figures(rounds: int, *, size: int = _BYTES) -> Iterator[Figure]:
    """Seconds from handing it over to the last result."""
    for peer in filter(has, _PEERS):
        mine, theirs = medians(partial(ask, "session", "array", size), partial(ask, peer, "array", size), rounds)
        name = f"{size / 1e6:g} MB to 100 calls"
        yield Figure(name, mine, peer, theirs, "s", mine / theirs, 1.0, at_most=True)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--bytes", type=int, default=_BYTES, metavar="N", help="of the array (default: 100000000)")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, size=chosen.bytes))
