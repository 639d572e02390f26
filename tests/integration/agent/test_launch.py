"""The process that runs the manager, and the agent that it has forked."""

import os
from pathlib import Path

import psutil

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.launch import AgentProcess


def test_an_agent_that_was_killed_before_it_began_ends_nobody_else(tmp_path: Path) -> None:
    config = AgentConfig(node="n", campaign=str(tmp_path), folder=str(tmp_path / "n"), scratch=str(tmp_path / "s"))
    agent = AgentProcess(config)
    (forked,) = psutil.Process().children()
    forked.kill()
    os.waitid(os.P_PID, forked.pid, os.WEXITED | os.WNOWAIT)
    agent.go(lambda: tmp_path)
    assert "was killed by signal 9" in next(iter(agent.supervise((), 0.0)))
