"""1,280 tasks of 0.5 s on 1, 2, 4, 8 and 16 nodes of four cores, on a real Slurm on this machine: core4's claim.

A server whose allocation has joined is given all tasks at once; what counts is the time from there to the last end. So
the start of agents does not count: here all nodes share two real cores, on a cluster each has its own.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from statistics import median

from benchmarks.pairs import PILOTFISH, Figure, finish, options, workplace
from tests.clusters import SlurmCluster

__all__ = ["figures"]

_TASKS, _SECONDS, _CORES = 1280, 0.5, 4
_SIZES = (1, 2, 4, 8, 16)
_BARS = {8: 0.95, 16: 0.9}
"""By nodes, of the efficiency against one node; core4's own chart has 0.95 at 8."""


def figures(rounds: int) -> Iterator[Figure]:
    """How much of each node's time does work, against one node."""
    with SlurmCluster(nodes=max(_SIZES), cpus=_CORES) as cluster:
        taken = {size: median(_seconds(cluster, size) for _ in range(rounds if size > 1 else 1)) for size in _SIZES}
    for size in _SIZES[1:]:
        efficiency = taken[1] / (size * taken[size])
        print(f"  {size} nodes: {taken[size]:.2f} s, efficiency {efficiency:.3f}", file=sys.stderr)
        if size in _BARS:
            name = f"{_TASKS:,} tasks of {_SECONDS:g} s on {size} nodes"
            yield Figure(name, efficiency, "one node", 1.0, "of the time", efficiency, _BARS[size])


def _seconds(cluster: SlurmCluster, nodes: int) -> float:
    with workplace() as folder:
        environ = {**cluster.environ, "PILOTFISH_SERVER": str(folder)}
        server = subprocess.Popen((PILOTFISH, "serve", "--no-agent", "--store", str(folder)), env=environ,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            assert server.stdout is not None
            server.stdout.readline()
            _run(environ, "alloc", "submit", "slurm", "-N", str(nodes), "-t", "30m")
            _wait_for_nodes(environ, nodes)
            began = time.time()
            _run(environ, "submit", "--wait", "-a", f"0-{_TASKS - 1}", "-J", "a", "--", "sleep", str(_SECONDS))
            ended = max(
                float(task["ended_at"])
                for task in json.loads(_run(environ, "tasks", "a", "--json", "--limit", str(_TASKS)))
            )
        finally:
            _run(environ, "alloc", "cancel", "--all")
            server.terminate()
            server.wait(60.0)
            cluster.clear()
    print(f"  {nodes} nodes: {ended - began:.2f} s", file=sys.stderr)
    return ended - began


def _wait_for_nodes(environ: Mapping[str, str], nodes: int) -> None:
    """Wait until each node has run a task that holds it whole."""
    spread = ("submit", "--wait", "-c", str(_CORES), "-a", f"0-{nodes - 1}", "-J", "warm", "--", "sleep", "1")
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        _run(environ, *spread)
        found = {task["node"] for task in json.loads(_run(environ, "tasks", "warm", "--json"))}
        if len(found) == nodes:
            return
    sys.exit(f"{nodes} nodes did not come")


def _run(environ: Mapping[str, str], *words: str) -> str:
    done = subprocess.run((PILOTFISH, *words), env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"pilotfish {' '.join(words)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
