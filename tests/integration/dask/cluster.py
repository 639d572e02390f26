"""A Dask cluster for as long as standard input is open: ``python cluster.py local|ssh|slurm …``; prints its address."""

import sys
from collections.abc import Callable
from typing import Any

from distributed import LocalCluster, SSHCluster


def _local() -> Any:
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")


def _ssh(port: str, key: str) -> Any:
    options = {"port": int(port), "username": "root", "client_keys": [key], "known_hosts": None}
    return SSHCluster(
        ["127.0.0.1"] * 3,
        connect_options=options,
        worker_options={"nthreads": 1},
        scheduler_options={"port": 0, "dashboard_address": ":0"},
        remote_python=sys.executable,
    )


def _slurm(folder: str) -> Any:
    from dask_jobqueue.slurm import SLURMCluster

    cluster = SLURMCluster(
        cores=2, processes=1, memory="1GB", walltime="00:05:00", python=sys.executable, local_directory=folder,
        log_directory=folder, shared_temp_directory=folder, interface="lo",
        scheduler_options={"dashboard_address": ":0"},
    )  # fmt: skip
    cluster.scale(jobs=2)  # type: ignore[no-untyped-call]
    return cluster


def main() -> None:
    kind, *words = sys.argv[1:]
    make: dict[str, Callable[..., Any]] = {"local": _local, "ssh": _ssh, "slurm": _slurm}
    with make[kind](*words) as cluster:
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
