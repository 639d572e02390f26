"""A campaign that is killed: how it is started, struck, continued, and what must be true of it afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

PILOTFISH = str(Path(sys.executable).with_name("pilotfish"))
TARGETS = ("manager", "agent", "keeper", "all")
LEASE = 2.0


class Campaign:
    """One campaign in a folder of its own; its tasks write down when they begin and end.

    Where it is to be struck, its first task runs until then, so that there is one.
    """

    def __init__(self, folder: Path, *, tasks: int, seconds: float) -> None:
        self.folder = folder
        self.tasks = tasks
        work = f"[ {{index}} = 0 ] && until [ -e struck ]; do sleep 0.02; done; sleep {seconds}"
        command = f"echo {{index}} >> began; {work}; echo {{index}} >> ended"
        job = {"name": "a", "array": tasks, "command": command}
        (folder / "c.json").write_bytes(msgspec.json.encode({"name": "chaos", "jobs": [job]}))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PILOTFISH") or k == "PILOTFISH_RUNTIME"}
        self.env |= {"CHAOS": str(folder), "PILOTFISH_LEASE": str(LEASE), "PILOTFISH_GRACE": "1"}
        self.before: Counter[str] = Counter()

    def start(self, pause_at: str = "") -> subprocess.Popen[str]:
        env = self.env | ({"PILOTFISH_STOP_AT": f"{pause_at}:{self.folder / 'paused'}"} if pause_at else {})
        if not pause_at:
            (self.folder / "struck").touch()
        return subprocess.Popen(
            [PILOTFISH, "run", "c.json"],
            cwd=self.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def count(self, name: str) -> Counter[str]:
        path = self.folder / name
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def wait_until_paused(self, run: subprocess.Popen[str]) -> None:
        marker = self.folder / "paused"
        wait_for(lambda: (marker.exists() and marker.read_text().endswith("\n")) or run.poll() is not None)
        assert run.poll() is None, f"the run ended before the step was reached: {run.communicate()}"

    def strike(self, run: subprocess.Popen[str], target: str, *, while_tasks_run: bool = True) -> None:
        """Kill the target while a task runs, then let a paused survivor go on."""
        if while_tasks_run:
            wait_for(self.task_runs)
        everyone = {"manager": [run.pid], "agent": self.agents(run.pid), "keeper": self.keepers(run.pid)}
        everyone["keeper"] = everyone["keeper"][:1] if target == "keeper" else everyone["keeper"]
        victims = [pid for pids in everyone.values() for pid in pids] if target == "all" else everyone[target]
        assert victims, f"there is no {target} to kill"
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        (self.folder / "struck").touch()
        marker = self.folder / "paused"
        paused = int(marker.read_text()) if marker.exists() else 0
        if paused and paused not in victims:
            os.kill(paused, signal.SIGCONT)
        if run.pid in victims:
            run.communicate()
            self.before = self.recorded()
        else:
            _, said = run.communicate(timeout=60)
            assert run.returncode == 0, said

    def recorded(self) -> Counter[str]:
        """How often the tasks ran that the store says have succeeded."""
        began = self.count("began")
        listed = subprocess.run(
            [PILOTFISH, "tasks", "--state", "succeeded", "--json"],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
        names = [str(task["name"]) for task in msgspec.json.decode(listed)]
        return Counter({name.rpartition(":")[2]: began[name.rpartition(":")[2]] for name in names})

    def finish_and_check(self, *, manager_only: bool) -> None:
        done = self.start()
        _, said = done.communicate(timeout=120)
        assert done.returncode == 0, said
        began, ended = self.count("began"), self.count("ended")
        assert set(ended) == {str(i) for i in range(self.tasks)}, "a task is lost"
        again = {index for index, times in self.before.items() if began[index] != times}
        assert not again, f"recorded as succeeded, yet run again: {sorted(again)}"
        if manager_only:
            twice = {index for index, times in began.items() if times > 1}
            assert not twice, f"ran twice although only the manager died: {sorted(twice)}"
        wait_for(lambda: not self.processes(), seconds=LEASE + 10)

    def processes(self) -> list[int]:
        """All processes that belong to this folder."""
        mark = f"CHAOS={self.folder}\0".encode()
        return [pid for pid in pids() if mark in read(pid, "environ")]

    def task_runs(self) -> bool:
        return sum(self.count("began").values()) > sum(self.count("ended").values())

    def agents(self, manager: int) -> list[int]:
        return [pid for pid in self.processes() if parent(pid) == manager]

    def keepers(self, manager: int) -> list[int]:
        return [pid for agent in self.agents(manager) for pid in self.processes() if parent(pid) == agent]


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.002)


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def parent(pid: int) -> int:
    fields = read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0
