"""A manager that does what a test says, and a real agent with real keepers under it."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pilotfish import __version__
from pilotfish.agent.config import AgentConfig
from pilotfish.agent.journal import read_journal
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.jobs import JobSpec
from pilotfish.model.messages import (
    Describe,
    Frame,
    Hello,
    Message,
    Reports,
    Start,
    TakeBack,
    TakenBack,
    Welcome,
)
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.settings import Settings
from pilotfish.transport.base import Connection
from pilotfish.transport.link import Link
from pilotfish.transport.local import LocalListener

Predicate = Callable[[], object]


class Node:
    """One node's agent, and the test in the place of its manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.campaign = folder / "campaign"
        self.runtime = Path(tempfile.mkdtemp(prefix="node-"))  # short, as a socket's path must be
        self.scratch = self.runtime / "scratch"
        self.campaign.mkdir(parents=True)
        self.settings = Settings(lease=5.0, grace=0.5, started_after=0.05, resend_after=0.3)
        self.options: dict[str, Any] = {"cores": 64}
        """More cores than there are: nothing is pinned or claimed, unless a test says so."""
        self.env = {name: text for name, text in os.environ.items() if not name.startswith("PILOTFISH")}
        self.env["PILOTFISH_RUNTIME"] = str(folder / "claims")
        self.wrapper: list[str] = []
        """Words before the agent's command line."""
        self.listener: LocalListener | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self.link = Link(resend_after=0.3, heartbeat=1.0)
        self.hellos: list[Hello] = []
        self.messages: list[Message] = []
        self.reports: dict[AttemptId, list[Report]] = {}
        self.recording = True
        """False: reports are heard and never acknowledged."""
        self.epoch = 1
        self._specs: dict[int, JobSpec] = {}
        self._described: set[int] = set()

    # The agent

    def start_agent(self, **env: str) -> None:
        config = AgentConfig(
            node="n1",
            campaign=str(self.campaign),
            folder=str(self.runtime),
            scratch=str(self.scratch),
            settings=self.settings,
            **self.options,
        )
        command = [*self.wrapper, sys.executable, "-m", "pilotfish.agent", msgspec.json.encode(config).decode()]
        self._agent = subprocess.Popen(command, env=self.env | env, stdin=subprocess.DEVNULL)

    def listen(self) -> None:
        self.listener = LocalListener(self.folder / "manager.sock")
        access = {"socket": str(self.listener.path), "pid": os.getpid(), "host": "n1"}
        (self.campaign / "access").write_bytes(msgspec.json.encode(access))

    def up(self, **env: str) -> Hello:
        """Start everything, and return the agent's first words."""
        self.listen()
        self.start_agent(**env)
        return self.wait_hello(1)

    def wait_hello(self, count: int) -> Hello:
        self.wait(lambda: len(self.hellos) >= count)
        return self.hellos[-1]

    @property
    def agent(self) -> subprocess.Popen[bytes]:
        """The one that was started last."""
        assert self._agent is not None
        return self._agent

    @agent.setter
    def agent(self, agent: subprocess.Popen[bytes]) -> None:
        self._agent = agent

    def wait_ended(self) -> int:
        """Wait until the agent has ended by itself; its exit code."""
        self.wait(lambda: self.agent.poll() is not None)
        return self.agent.wait()

    def keeper(self, lane: int = 0) -> int:
        """Process id of the keeper of a lane."""
        (journal,) = self.runtime.glob(f"k{lane}.*.journal")
        past = read_journal(journal)
        assert past is not None
        return past.keeper.pid

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait()

    def vanish(self) -> None:
        """Be a manager that has died."""
        if self.listener is not None:
            self.listener.close()
        self.listener = self.connection = None

    # Talking

    def pump(self, seconds: float = 0.02) -> None:
        if self.listener is None:
            time.sleep(seconds)
            return
        for connection, frames in self.listener.poll(seconds):
            if frames is None:
                self.connection = None if connection is self.connection else self.connection
                continue
            if connection is not self.connection:
                self.connection, self.link = connection, Link(resend_after=0.3, heartbeat=1.0, now=time.monotonic())
                self._described.clear()
            self._hear(frames)
        self.push()

    def push(self) -> None:
        frame = self.link.outgoing(time.monotonic()) if self.connection is not None else None
        if frame is not None and self.connection is not None:
            self.connection.send(frame)

    def _hear(self, frames: Any) -> None:
        frame: Frame
        for frame in frames:
            for message in self.link.receive(frame, time.monotonic()):
                self.messages.append(message)
                if isinstance(message, Hello):
                    assert message.version == __version__
                    self.hellos.append(message)
                    self.send(Welcome(self.epoch, self.settings.lease))
                if isinstance(message, Hello | Reports):
                    for report in message.reports:
                        self.reports.setdefault(report.attempt, []).append(report)
        if self.recording:
            self.link.handled(self.link.received)

    def send(self, *messages: Message) -> None:
        self.link.send(*messages)
        self.push()

    def wait(self, condition: Predicate, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain; log: {self.log()}; {self.messages[-5:]}"
            self.pump()

    def log(self) -> str:
        path = self.campaign / "agent.log"
        return path.read_text() if path.exists() else ""

    # Work

    def run(
        self, spec: JobSpec, *, lane: int = 0, lo: int = 0, hi: int = 1, slots: Slots | None = None, number: int = 1,
        job: int | None = None,
    ) -> list[AttemptId]:  # fmt: skip
        """Grant tasks of a job to a lane."""
        job = job if job is not None else next((i for i, s in self._specs.items() if s == spec), len(self._specs) + 1)
        self._specs[job] = spec
        if job not in self._described:
            self._described.add(job)
            self.send(Describe(job, spec))
        held = slots if slots is not None else Slots((lane,), ONE, spec.request.memory)
        self.send(Start(lane, held, job, lo, hi, number, self.epoch))
        return [AttemptId(job, position, number, self.epoch) for position in range(lo, hi)]

    def settle(self) -> None:
        """Wait until the agent has heard all that was recorded, and has passed it on."""
        count = len(self.heard(TakenBack))
        self.send(TakeBack(999, ()))
        self.wait(lambda: len(self.heard(TakenBack)) > count)

    def waiting(self, words: str) -> str:
        """A command that writes some words, and ends when the test says `go`."""
        return f"echo {words}; while [ ! -e go ]; do sleep 0.01; done"

    def go(self) -> None:
        (self.folder / "go").touch()

    def result(self, attempt: AttemptId, seconds: float = 20.0) -> Report:
        self.wait(lambda: attempt in self.reports, seconds)
        return self.reports[attempt][0]

    def command(self, command: str | tuple[str, ...], **spec: Any) -> JobSpec:
        folder = str(self.folder)
        return JobSpec(**{"name": "job", "command": command, "directory": folder, "cwd": folder} | spec)

    def finish(self, spec: JobSpec) -> Report:
        """Run one task to its end."""
        (attempt,) = self.run(spec)
        return self.result(attempt)

    def heard(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def output(self, report: Report, stream: str = "stdout") -> bytes:
        ref: OutputRef | None = getattr(report, stream)
        if ref is None:
            return b""
        content = (self.campaign / "outputs" / ref.file).read_bytes()
        assert len(content) >= ref.offset + ref.length
        return content[ref.offset : ref.offset + ref.length]

    # Looking

    def journals(self) -> list[Path]:
        return sorted(self.runtime.glob("k*.journal"))

    def processes(self, words: str) -> list[int]:
        """Living processes of this test whose command line holds these words."""
        brand = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
        return [
            pid
            for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
            if words in _read(pid, "cmdline").replace("\0", " ")
            and _brand(pid) == brand
            and _read(pid, "stat").rpartition(")")[2].split()[0] not in "ZX"
        ]

    def end_agent(self) -> None:
        """Terminate the agent, if it lives, and hear it to its end."""
        if self._agent is None or self.agent.poll() is not None:
            return
        self.agent.send_signal(signal.SIGCONT)
        self.agent.terminate()
        self.wait_ended()

    def close(self) -> None:
        try:
            self.end_agent()
        finally:
            if self._agent is not None:
                self.kill_agent()
            self.vanish()
            shutil.rmtree(self.runtime, ignore_errors=True)


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ")X"


def _brand(pid: int) -> int | None:
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except (ProcessLookupError, PermissionError):
        return None
