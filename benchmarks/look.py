"""How long a person waits for an answer about a campaign of 100,000 tasks that no manager runs: whole commands.

Nothing is compared with a peer here: the bar is 150 ms.
"""

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.pairs import PILOTFISH, Figure, finish, options, workplace
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.changes import Settle, Submit
from pilotfish.model.jobs import Dependency, Job, JobSpec, RangeArray, Retries
from pilotfish.model.states import Outcome, TaskState
from pilotfish.store.sqlite import SqliteStore

__all__ = ["figures"]

_TASKS = 100_000
_MILLISECONDS = 150.0
_COMMANDS = (
    ("tasks",),
    ("tasks", "--failed"),
    ("tasks", "sim", "--limit", "20"),
    ("show", "sim"),
    ("show", "sim:7"),
    ("explain", "sim:7"),
    ("explain", "after"),
)


def figures(rounds: int) -> Iterator[Figure]:
    """Milliseconds of each command; the ratio is the share of the bar."""
    with workplace() as folder:
        _fill(folder / "campaign")
        for words in _COMMANDS:
            command = [PILOTFISH, *words, "--store", str(folder)]
            taken = statistics.median(_milliseconds(command) for _ in range(5 * rounds))
            name = f"pilotfish {' '.join(words)}"
            yield Figure(name, taken, "limit", _MILLISECONDS, "ms", taken / _MILLISECONDS, 1.0, at_most=True)


def _fill(folder: Path) -> None:
    """An array that has run, one task in a hundred failed after a second try, and a job that can never follow it."""
    spec = partial(JobSpec, directory="/", cwd="/", command="./run {index}")
    sim = Job(1, spec(name="sim", array=RangeArray(0, _TASKS), retries=Retries(1)))
    after = Job(2, spec(name="after", after=(Dependency("sim"),)), depends_on=(1,))
    with closing(SqliteStore(folder)) as store:
        store.commit([Submit(sim), Submit(after)])
        for position in range(_TASKS):
            if position % 100 == 7:
                store.commit([_settled(position, 1, 1, TaskState.ready), _settled(position, 2, 1, TaskState.failed)])
            else:
                store.commit([_settled(position, 1, 0, TaskState.succeeded)])


def _settled(position: int, number: int, code: int, state: TaskState) -> Settle:
    report = Report(
        attempt=AttemptId(1, position, number, 1),
        lane=position % 2,
        outcome=Outcome.exited,
        code=code,
        started_at=1e9 + position,
        ended_at=1e9 + position + 1,
        cpu_seconds=0.5,
        peak_rss=2**21,
        stdout=OutputRef("segment-node-0-0", 10 * position, 10),
    )
    return Settle(report, "node", state, charged=True)


def _milliseconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return 1_000 * (time.perf_counter() - begin)


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
