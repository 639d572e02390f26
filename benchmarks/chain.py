"""A chain of jobs, each after the one before: what one link costs, against QCG-PilotJob."""

import json
from collections.abc import Iterator

from benchmarks.pairs import PILOTFISH, Figure, Run, finish, medians, options
from benchmarks.peers import qcg_chain

__all__ = ["figures"]

_CORES = 2
_BAR = 10.0


def figures(rounds: int, *, length: int = 2_000) -> Iterator[Figure]:
    """Milliseconds per link; both read the chain from a JSON file."""
    jobs = [{"name": "job0", "command": ["/bin/true"]}]
    jobs += [{"name": f"job{i}", "command": ["/bin/true"], "after": f"job{i - 1}"} for i in range(1, length)]
    chain = json.dumps({"name": "chain", "jobs": jobs})
    ours = Run((PILOTFISH, "run", "--cores", str(_CORES), "chain.json"), files={"chain.json": chain})
    mine, theirs = medians(ours.seconds, qcg_chain(length, cores=_CORES).seconds, rounds)
    link = 1_000 / length
    yield Figure(f"chain of {length:,}", mine * link, "qcg", theirs * link, "ms per link", theirs / mine, _BAR)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--length", type=int, default=2_000, metavar="N", help="default: 2000")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, length=chosen.length))
