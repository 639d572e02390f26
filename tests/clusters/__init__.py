"""Real batch systems on this machine, for tests of any folder: ``from tests.clusters import slurm`` in its conftest.

A cluster takes seconds to start, so one worker of pytest-xdist keeps one for all tests that are marked with `SLURM` or
`GRID_ENGINE`. Its daemons, and what runs in its jobs, do not have the brand by which leftovers of tests are found: they
outlive the test that came first, and end with the session.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

__all__ = ["GRID_ENGINE", "SLURM", "Cluster", "GridEngine", "SlurmCluster", "grid_engine", "slurm", "torque_commands"]

SLURM = (pytest.mark.needs("slurm"), pytest.mark.xdist_group("slurm"))
"""Marks of a test that has the fixture `slurm`."""
GRID_ENGINE = (pytest.mark.needs("grid-engine"), pytest.mark.xdist_group("grid-engine"))
"""Marks of a test that has the fixture `grid_engine`."""

_REBRANDED = ("prlimit", f"--rttime={2**61}:{2**61}")
"""Lower than any brand that tests give what they start, since a brand can only be lowered."""
_PATIENCE = 120.0


def torque_commands() -> dict[str, str]:
    """What the environment must have so that Torque's commands are those that Slurm imitates."""
    script = Path(__file__).with_name("slurm-torque")
    exports = subprocess.run([script, "env"], capture_output=True, text=True, check=True).stdout
    return dict(word.split("=", 1) for word in exports.split()[1:])


class Cluster:
    """A batch system from entering to leaving."""

    script: str
    prefix: str
    """Of the names of the script's settings."""
    ports: int
    """How many beside each other it listens on."""

    def __init__(self, *size: str, settings: Mapping[str, str] | None = None) -> None:
        self._size = size
        # Short: its daemons make sockets below it. Not in the folder of a test, which it outlives.
        self.folder = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
        ours = {"DIR": str(self.folder), "PORT": str(_free_port(self.ports)), "HOSTS": "0"} | dict(settings or {})
        self.environ = {**os.environ} | {f"{self.prefix}_{name}": text for name, text in ours.items()}

    def __enter__(self) -> Self:
        try:
            exports = self.control("up", *self._size)
            words = [word for line in exports.splitlines() if line.startswith("export ") for word in line.split()[1:]]
            self.told = dict(word.split("=", 1) for word in words)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.environ |= self.told
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.control("down")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def control(self, *words: str) -> str:
        """Run its script: ``kill-node n1``, ``stop-ctld``, …"""
        return self.run(*_REBRANDED, str(Path(__file__).with_name(self.script)), *words)

    def run(self, *words: str, stdin: str = "") -> str:
        """What a command prints that runs with it; it must succeed."""
        done = subprocess.run(
            words, env=self.environ, input=stdin, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait_for(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Look again and again."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain: {condition}"
            time.sleep(0.05)


class SlurmCluster(Cluster):
    """Slurm with nodes n1, n2, … that have two GPUs each."""

    script, prefix = "slurm-cluster", "SLURM_CLUSTER"

    def __init__(self, *, nodes: int = 4, cpus: int = 4, config: str = "") -> None:
        """Say how large; `config` are more lines of its slurm.conf."""
        self.ports = nodes + 1
        super().__init__(str(nodes), str(cpus), settings={"CONF": config})

    def clear(self) -> None:
        """Without jobs, and all nodes ready."""
        self.run("scancel", "--user=root")
        self.wait_for(lambda: not self.run("squeue", "--noheader", "--all").strip())
        self.wait_for(lambda: set(self.run("sinfo", "--noheader", "--Node", "--format=%T").split()) == {"idle"})


class GridEngine(Cluster):
    """Grid Engine with this machine as its only node."""

    script, prefix, ports = "sge-cluster", "SGE_CLUSTER", 2

    def __init__(self, *, slots: int = 8) -> None:
        """Say how large."""
        super().__init__(str(slots))

    def clear(self) -> None:
        """Without jobs."""
        if self.run("qstat").strip():
            self.run("qdel", "-f", "-u", "root")
        self.wait_for(lambda: not self.run("qstat").strip())


@pytest.fixture(scope="session")
def _slurm() -> Iterator[SlurmCluster]:
    partitions = "PartitionName=short Nodes=ALL MaxTime=10:00\nPartitionName=closed Nodes=ALL State=DOWN"
    with SlurmCluster(config=partitions) as cluster:
        yield cluster


@pytest.fixture
def slurm(_slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """Four nodes of four cores and two GPUs, partitions ``debug``, ``short`` (10 minutes) and ``closed``; no jobs."""
    yield from _lent(_slurm, monkeypatch)


@pytest.fixture(scope="session")
def _grid_engine() -> Iterator[GridEngine]:
    with GridEngine() as cluster:
        yield cluster


@pytest.fixture
def grid_engine(_grid_engine: GridEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[GridEngine]:
    """One node of eight slots, the queue ``all.q`` and the parallel environment ``smp``; no jobs."""
    yield from _lent(_grid_engine, monkeypatch)


_Lent = TypeVar("_Lent", SlurmCluster, GridEngine)


def _lent(cluster: _Lent, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Lent]:
    for name, text in cluster.told.items():
        monkeypatch.setenv(name, text)
    yield cluster
    cluster.clear()


def _free_port(count: int) -> int:
    """The first of so many ports beside each other that nobody has; below those that the kernel hands out.

    Any of them: others, who start a cluster at the same moment, would find the same first one.
    """
    for _ in range(1000):
        port = 17000 + 16 * secrets.randbelow(900)
        if all(_is_free(port + beside) for beside in range(count)):
            return port
    pytest.fail("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
