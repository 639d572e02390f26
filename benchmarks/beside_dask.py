"""No-op functions a second on agents beside a Dask cluster's workers, against Dask's own tasks on the same workers."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from distributed import Client, LocalCluster

import pilotfish as pf
from benchmarks.pairs import Figure, finish, options

__all__ = ["figures"]

_WORKERS, _OURS, _THEIRS = 2, 20_000, 2_000
_BAR = 15.0


def figures(rounds: int) -> Iterator[Figure]:
    """Thousands of calls submitted, all results awaited; in turns on one cluster."""
    mine, theirs = [], []
    with LocalCluster(n_workers=_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster:
        place = f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"
        with pf.Session(on=place) as session, Client(cluster) as client:
            session.submit(_nothing).result()
            client.submit(_nothing).result()
            for _ in range(rounds):
                mine.append(_rate(_OURS, partial(_gather, session)))
                theirs.append(_rate(_THEIRS, partial(_gather_dask, client)))
                print(f"  {mine[-1]:,.0f} {theirs[-1]:,.0f}", file=sys.stderr)
    ours, peer = median(mine), median(theirs)
    yield Figure("calls beside Dask's workers", ours, "dask", peer, "a second", ours / peer, _BAR)


def _rate(calls: int, do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return calls / (time.perf_counter() - began)


def _gather(session: pf.Session) -> list[None]:
    return [one.result() for one in [session.submit(_nothing) for _ in range(_OURS)]]


def _gather_dask(client: Client) -> object:
    return client.gather([client.submit(_nothing, pure=False) for _ in range(_THEIRS)])


def _nothing() -> None:
    """Do nothing."""


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
