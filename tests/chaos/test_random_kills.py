"""`kill -9` at random moments in a campaign of 2,000 tasks."""

import random
import time
from pathlib import Path

import pytest

from tests.chaos.chaos import TARGETS, Campaign, wait_for


def strike_at_random(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    campaign = Campaign(tmp_path, tasks=2_000, seconds=0.005)
    target = chance.choice(TARGETS)
    moment = chance.uniform(0.05, 0.7) * campaign.tasks
    run = campaign.start()
    wait_for(lambda: sum(campaign.count("ended").values()) >= moment)
    time.sleep(chance.uniform(0, 0.02))
    campaign.strike(run, target)
    if target in {"manager", "all"}:
        assert campaign.before, "nothing was recorded before the kill, so nothing is proved"
    campaign.finish_and_check(manager_only=target == "manager")


def test_a_random_kill(tmp_path: Path) -> None:
    strike_at_random(tmp_path, seed=random.randrange(10**6))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_twenty_random_kills(tmp_path: Path, seed: int) -> None:
    strike_at_random(tmp_path, seed)
