"""An agent that is stopped for longer than the heartbeat, and continued."""

import os
import signal
from pathlib import Path

from tests.chaos.chaos import Campaign, wait_for


def test_a_stopped_agent_is_waited_for_and_nothing_runs_twice(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, tasks=60, seconds=0.05)
    campaign.env["PILOTFISH_HEARTBEAT"] = "0.1"
    run = campaign.start()
    wait_for(lambda: sum(campaign.count("ended").values()) > 5)
    (agent,) = campaign.agents(run.pid)
    wait_for(campaign.task_runs)
    os.kill(agent, signal.SIGSTOP)
    assert run.stderr is not None
    said = ""
    while "silent" not in said:
        said = run.stderr.readline()
        assert said, "the run ended without a word about its silent agent"
    os.kill(agent, signal.SIGCONT)
    _, rest = run.communicate(timeout=60)
    assert run.returncode == 0, rest
    assert "is back" in rest
    assert sorted(campaign.count("began").values()) == [1] * 60
