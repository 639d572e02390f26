"""Tasks per second of an array of ``/bin/true`` on two cores: whole command, every default on, against each peer."""

from collections.abc import Iterable, Iterator

from benchmarks.pairs import PILOTFISH, Figure, Run, finish, medians, options
from benchmarks.peers import ARRAYS

__all__ = ["BARS", "figures"]

BARS = {"xargs": 0.9, "hyperqueue": 3.0, "parallel": 3.0}
"""How many times the peer's rate we must reach."""

_CORES = 2


def figures(rounds: int, *, peers: Iterable[str] = BARS, tasks: int = 5_000) -> Iterator[Figure]:
    """Our rate beside that of each peer."""
    jobs = f"name: throughput\njobs:\n  - {{name: work, array: {tasks}, command: [/bin/true]}}\n"
    ours = Run((PILOTFISH, "run", "--cores", str(_CORES), "jobs.yaml"), files={"jobs.yaml": jobs})
    for peer in peers:
        mine, theirs = medians(ours.seconds, ARRAYS[peer](tasks, _CORES).seconds, rounds)
        name = f"{tasks:,} x /bin/true"
        yield Figure(name, tasks / mine, peer, tasks / theirs, "tasks/s", theirs / mine, BARS[peer])


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--peer", choices=BARS, action="append", help="only this one; may be repeated")
    parser.add_argument("--tasks", type=int, default=5_000, metavar="N", help="default: 5000")
    chosen = parser.parse_args()
    finish(figures(chosen.rounds, peers=chosen.peer or BARS, tasks=chosen.tasks))
