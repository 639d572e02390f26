"""A real manager with several real agents, each of which takes this machine for a node of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.processes import descendants
from pilotfish.formats.native import load_text
from pilotfish.manager.start import Campaign
from pilotfish.model.attempts import OutputRef
from pilotfish.model.changes import Change, Settle
from pilotfish.model.events import Event
from pilotfish.settings import Settings

_SETTINGS = Settings(lease=5.0, grace=0.5, started_after=0.05)


class Nodes:
    """Several nodes, and what became of a campaign on them."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder, self.names = folder, names
        self.campaign = folder / "campaign"
        self.runtime = Path(tempfile.mkdtemp(prefix="nodes-"))  # short, as a socket's path must be
        self.settles: list[Settle] = []
        self.notes: list[str] = []
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.hostnames = False
        """Whether each is a host of its own name, which nobody can look up."""
        self.now: Callable[[], None] = lambda: None
        """Called now and then while the manager works."""

    def run(self, jobs: str) -> list[Settle]:
        """Run the jobs of a job file to their end."""
        campaign = Campaign(self.campaign, _SETTINGS)
        try:
            campaign.accept(campaign.plan(load_text(f"jobs:\n{jobs}", name=str(self.folder / "jobs.yaml")).jobs))
            campaign.run(self, self, {})
        finally:
            campaign.close()
        return self.settles

    def output(self, settle: Settle, stream: str = "stdout") -> str:
        ref: OutputRef | None = getattr(settle.report, stream)
        if ref is None:
            return ""
        content = (self.campaign / "outputs" / ref.file).read_bytes()
        return str(content[ref.offset : ref.offset + ref.length], "utf-8")

    def close(self) -> None:
        for agent in self.agents.values():
            agent.kill()
            agent.wait()
        shutil.rmtree(self.runtime, ignore_errors=True)

    def kill_other(self) -> str:
        """Let a node die that does not lead the attempt that runs; its name."""
        held = {name: [self._command(pid) for pid in self._tree(agent.pid)] for name, agent in self.agents.items()}
        (other,) = [name for name, commands in held.items() if not any("mpiexec" in one for one in commands)]
        for pid in [self.agents[other].pid, *self._tree(self.agents[other].pid)]:
            with suppress(ProcessLookupError):  # it ends by itself when those before it have
                os.kill(pid, signal.SIGKILL)
        return other

    @staticmethod
    def _tree(pid: int) -> set[int]:
        return descendants([pid])

    @staticmethod
    def _command(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_text()

    # The agents

    def go(self, let_in: object) -> None:
        del let_in  # they are on this machine
        for name in self.names:
            config = AgentConfig(
                node=name,
                campaign=str(self.campaign),
                folder=str(self.runtime / name),
                scratch=str(self.runtime / name / "scratch"),
                settings=_SETTINGS,
            )
            env = os.environ | {"PILOTFISH_RUNTIME": str(self.runtime / f"claims-{name}")}
            command = [sys.executable, "-m", "pilotfish.agent", msgspec.json.encode(config).decode()]
            if self.hostnames:
                command = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', name, *command]
            self.agents[name] = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)

    @property
    def expected(self) -> int:
        return len(self.names)

    def supervise(self, connected: Collection[str], now: float) -> Iterable[str | Event]:
        del connected, now
        return ()

    def end(self, patience: float) -> None:
        for agent in self.agents.values():
            agent.wait(patience + 10)

    # The observer

    def recorded(self, changes: Sequence[Change]) -> None:
        self.settles += [change for change in changes if isinstance(change, Settle)]

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tick(self, now: float) -> None:
        del now
        self.now()
