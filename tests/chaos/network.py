"""Machines on one: each a network namespace on a switch, with mounts of its own; and a campaign that runs on them.

A namespace lives as long as a process in it, and that ends with us: nothing can stay behind.
"""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import msgspec

from tests.chaos.chaos import PILOTFISH, read, wait_for
from tests.chaos.chaos import pids as all_pids

ROOT = Path(__file__).parents[2]
LEASE, GRACE = 4.0, 1.0
RUNTIME = Path(os.environ.get("PILOTFISH_RUNTIME", "/tmp/pf"))
BY_WORD = "until [ -e go/{index} ] || [ -e go/all ]; do sleep 0.03; done"
"""A task's work: to wait until the test lets it go."""
TASK = """exec 9>locks/{index}; flock -n 9 || echo {index} >> twice
echo {index} $PILOTFISH_NODE >> began; %s; echo {index} >> ended"""
"""Holds a lock while it runs: two copies at once are seen, wherever they run."""


class Machine:
    """One end of a cable, and the mounts behind it."""

    def __init__(self) -> None:
        words = ["unshare", "--net", "--mount", "sh", "-c", "echo; exec cat"]
        self._holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.pid = self._holder.pid

    def words(self, *words: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt", "--wd=.", *words]

    def do(self, *words: str) -> str:
        done = subprocess.run(self.words(*words), check=True, stdout=subprocess.PIPE, text=True, timeout=30)
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()


class Network:
    """A switch with machines: the manager's first."""

    def __init__(self, *names: str) -> None:
        self._names = ("manager", *names)
        self._ends = ExitStack()
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        with self._ends as ends:
            self._switch = ends.enter_context(Machine())
            self._switch.do("ip", "link", "add", "name", "switch", "type", "bridge")
            self._switch.do("ip", "link", "set", "dev", "switch", "up")
            for number, name in enumerate(self._names, 1):
                machine = self.machines[name] = ends.enter_context(Machine())
                cable = ["type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)]
                self._switch.do("ip", "link", "add", "name", name, *cable)
                self._switch.do("ip", "link", "set", "dev", name, "master", "switch", "up")
                machine.do("ip", "link", "set", "dev", "lo", "up")
                machine.do("ip", "addr", "add", f"10.0.0.{number}/24", "dev", "eth0")
                machine.do("ip", "link", "set", "dev", "eth0", "up")
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def cut(self, name: str) -> None:
        """Nothing goes to or from this machine; no connection is closed by that."""
        self._switch.do("ip", "link", "set", "dev", name, "down")

    def mend(self, name: str) -> None:
        self._switch.do("ip", "link", "set", "dev", name, "up")


class FarCampaign:
    """A campaign whose manager and agents are on machines of a network; all that it started ends with it.

    Args:
        folder: for all of it.
        network: with its machines.
        tasks: of its array.
        work: what each does while it holds its lock.
        lease: in seconds.
        keys: more of the job.

    """

    def __init__(
        self, folder: Path, network: Network, *, tasks: int, work: str = BY_WORD, lease: float = LEASE, **keys: object
    ) -> None:
        self.folder, self.tasks, self.network = folder, tasks, network
        for name in ("locks", "go"):
            (folder / name).mkdir()
        job = {"name": "a", "array": tasks, "command": TASK % work, **keys}
        (folder / "c.json").write_bytes(msgspec.json.encode({"name": "far", "jobs": [job]}))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PILOTFISH", "SLURM"))} | {
            "CHAOS": str(folder), "PYTHONPATH": str(ROOT), "PILOTFISH_RUNTIME": str(RUNTIME),
            "PILOTFISH_LEASE": str(lease), "PILOTFISH_GRACE": str(GRACE),
            "PILOTFISH_HEARTBEAT": "0.2", "PILOTFISH_RESEND_AFTER": "0.3",
        }  # fmt: skip
        self.join = folder / ".pilotfish" / "far" / "join"
        self.manager: subprocess.Popen[bytes] | None = None
        self.agents: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let nothing stay, whatever has happened."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (self.manager, *self.agents):
            if process is not None:
                process.wait(30)

    def start(self) -> subprocess.Popen[bytes]:
        """A manager; it tells how to join when this returns."""
        before = self.join.stat().st_ino if self.join.exists() else None
        words = self.network.machines["manager"].words(sys.executable, "-m", "tests.chaos.far", "run", "c.json")
        with (self.folder / "said").open("ab") as said:
            self.manager = run = subprocess.Popen(
                words, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
            )
        wait_for(lambda: run.poll() is not None or (self.join.exists() and self.join.stat().st_ino != before))
        assert run.poll() is None, self.said
        return run

    def agent(
        self, name: str, *, join: Path | None = None, program: Sequence[str] = (PILOTFISH,), env: Mapping[str, str] = {}
    ) -> subprocess.Popen[bytes]:
        """An agent on a machine; it is told on its standard input how to join."""
        words = self.network.machines[name].words(*program, "agent", "--join", "-", "--node", name, "--cores", "2")
        environment = self.env | {"PILOTFISH_RUNTIME": str(self.runtime(name))} | dict(env)
        with (join or self.join).open("rb") as file, (self.folder / f"{name}.said").open("ab") as said:
            process = subprocess.Popen(words, cwd=self.folder, env=environment, stdin=file, stdout=said, stderr=said)
        self.agents.append(process)
        return process

    def runtime(self, name: str) -> Path:
        """Of a machine."""
        path = RUNTIME / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def let_go(self, *tasks: str) -> None:
        """These tasks may end; without any, all."""
        for task in tasks or ("all",):
            (self.folder / "go" / task).touch()

    # What is seen

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def running(self, name: str) -> set[str]:
        """Tasks that began on a machine last, and have not ended."""
        last = dict(line.split() for line in self.lines("began"))
        return {task for task, machine in last.items() if machine == name} - set(self.lines("ended"))

    def ran_again(self) -> set[str]:
        begun = Counter(line.split()[0] for line in self.lines("began"))
        return {task for task, times in begun.items() if times > 1}

    def wait_for_tasks(self, *names: str) -> None:
        """Two tasks run on each of these machines."""
        wait_for(lambda: all(len(self.running(name)) == 2 for name in names) or self.over)
        assert not self.over, self.said

    @property
    def over(self) -> bool:
        """Whether the manager has ended."""
        return self.manager is not None and self.manager.poll() is not None

    def wait_until_said(self, *texts: str, seconds: float = 30.0) -> None:
        wait_for(lambda: all(text in self.said for text in texts) or self.over, seconds)
        assert all(text in self.said for text in texts), self.said

    def processes(self, *words: str) -> list[int]:
        """All processes that belong to this folder, with all of these words on their command lines."""
        mark = f"CHAOS={self.folder}\0".encode()
        found = [pid for pid in all_pids() if mark in read(pid, "environ")]
        return [pid for pid in found if all(word.encode() in read(pid, "cmdline") for word in words)]

    def finish(self, *, seconds: float = 90.0) -> None:
        """The run ends well: every task has succeeded, no two copies ran at once, no process is left."""
        assert self.manager is not None
        self.manager.wait(seconds)
        assert self.manager.returncode == 0, self.said
        assert set(self.lines("ended")) == {str(index) for index in range(self.tasks)}, "a task is lost"
        assert self.lines("twice") == [], "two copies ran at once"
        for process in self.agents:
            process.wait(30)
        wait_for(lambda: not self.processes(), seconds=LEASE + 10)
