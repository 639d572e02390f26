"""How long a task that needs all cores waits among 62 that need one, third in the queue: in durations of a narrow one.

Where nothing is reserved for it, it comes last: QCG-PilotJob 0.14 ran it as the 63rd of 63.
"""

import json
import subprocess
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.pairs import PILOTFISH, Figure, finish, options, workplace

__all__ = ["figures"]

_NARROW, _SECONDS = 62, 0.5
_PLACE = 2
"""Of the wide one: so many narrow ones come before it."""
_BAR = 2.0


def figures(rounds: int) -> Iterator[Figure]:
    """Narrow durations from the first start to that of the wide task."""
    waits = median(_wait() for _ in range(rounds))
    yield Figure("a wide task, third of 63", waits, "limit", _BAR, "narrow durations", waits / _BAR, 1.0, at_most=True)


def _wait() -> float:
    jobs: list[dict[str, Any]] = [{"name": f"narrow{n}", "command": ["sleep", str(_SECONDS)]} for n in range(_NARROW)]
    jobs.insert(_PLACE, {"name": "wide", "command": ["sleep", str(_SECONDS)], "cores": 2})
    with workplace() as folder:
        (folder / "jobs.json").write_text(json.dumps({"jobs": jobs}))
        command = (PILOTFISH, "run", "--cores", "2", "--json", "jobs.json")
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
    ends = [line for text in done.stdout.splitlines() if (line := json.loads(text))["event"] == "attempt"]
    starts: dict[str, float] = {line["task"]: line["started_at"] for line in ends}
    return (starts["wide"] - min(starts.values())) / _SECONDS


if __name__ == "__main__":
    finish(figures(options(__doc__).parse_args().rounds))
