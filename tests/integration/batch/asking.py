"""Asking a real batch system for an allocation and about it, in the words of its dialect."""

import os
from pathlib import Path
from typing import Any

from pilotfish.batch.commands import Running
from pilotfish.batch.dialect import AllocationRequest, Away, Dialect, Errand, Output, Seen, State, Taken
from tests.clusters import Cluster


def run(errand: Errand) -> Output:
    with Running(errand, os.environ) as running:
        return running.wait()


class Asking:
    """A dialect, and what its allocations are unless a test says otherwise."""

    def __init__(self, dialect: Dialect, *, cores: int | None = None) -> None:
        self._dialect, self._cores = dialect, cores

    def wanted(self, folder: Path, *argv: str, **more: Any) -> AllocationRequest:
        usual: dict[str, Any] = {"name": "pf-1", "cores": self._cores, "seconds": 300.0}
        where = {"folder": str(folder), "log": str(folder / "log")}
        return AllocationRequest(argv=argv or ("sleep", "60"), **where | usual | more)

    def submit(self, wanted: AllocationRequest) -> str:
        answer = self._dialect.submitted(run(self._dialect.submit(wanted)))
        assert isinstance(answer, Taken), answer
        return answer.id

    def look(self, *ids: str) -> dict[str, Seen]:
        seen = self._dialect.seen(ids, run(self._dialect.look(ids)))
        assert not isinstance(seen, Away), seen
        return dict(seen)

    def until(self, cluster: Cluster, job: str, state: State) -> Seen:
        cluster.wait_for(lambda: self.look(job)[job].state is state)
        return self.look(job)[job]
