"""`kill -9` at each named durable or send step, of the manager, an agent, a keeper, or all of them.

A step pauses the process that comes to it; then the target is killed, the campaign is run again, and
the record must be whole: every task succeeded, nothing that was recorded as succeeded ran again, with the
manager's death alone nothing ran twice, and no process is left.
"""

import re
from pathlib import Path

import pytest

from tests.chaos.chaos import TARGETS, Campaign

SOURCE = Path(__file__).parents[2] / "src" / "pilotfish"
STEPS = sorted(
    {step for file in SOURCE.rglob("*.py") for step in re.findall(r'reached\("([\w.]+)"\)', file.read_text())}
)

LATER = {"agent": 8, "manager": 8, "store": 8}
"""By process, how often a step is passed before the one that counts, so that tasks run by then; else 3."""
RARE = {"agent.forked"}
"""Steps that are only reached when nothing runs yet."""


def test_there_are_steps_in_every_process() -> None:
    assert {step.split(".")[0] for step in STEPS} >= {"manager", "agent", "keeper"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_lost_or_repeated(tmp_path: Path, step: str, target: str) -> None:
    campaign = Campaign(tmp_path, tasks=30, seconds=0.1)
    times = 1 if step in RARE else LATER.get(step.split(".", maxsplit=1)[0], 3)
    run = campaign.start(pause_at=f"{step}:{times}")
    campaign.wait_until_paused(run)
    campaign.strike(run, target, while_tasks_run=step not in RARE)
    campaign.finish_and_check(manager_only=target == "manager")
