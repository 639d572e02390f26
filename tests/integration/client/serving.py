"""A server of one's own: `pilotfish serve` as a process, started, killed and started again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PILOTFISH = str(Path(sys.executable).with_name("pilotfish"))


class Server:
    """Serves a store in a folder; ended by its test's end."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.store, self.options = folder / "store", options
        self.said = folder / "said"
        self.process: subprocess.Popen[bytes] | None = None
        self._watch: threading.Thread | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"unix:{self.store}"

    def start(self) -> None:
        env = {name: value for name, value in os.environ.items() if name != "PILOTFISH_LEASE"}
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [PILOTFISH, "serve", "--store", str(self.store), *self.options],
                stdout=subprocess.PIPE, stderr=said, env=env,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().strip()
        if line != self.address:
            self.kill()
        assert line == self.address, self.said.read_text()

    def kill(self) -> None:
        """As a power cut would, but for its agent, which lives on."""
        self._end(signal.SIGKILL)

    def stop(self, number: int = signal.SIGINT) -> int:
        code = self._end(number)
        if self._watch is not None:
            self._watch.join()
        return code

    def restart_when_killed(self) -> None:
        """Start it anew once, as soon as it dies by itself."""
        first = self.process
        assert first is not None

        def watch() -> None:
            if first.wait() == -signal.SIGKILL and self.process is first:
                self._end(signal.SIGKILL)
                self.start()

        self._watch = threading.Thread(target=watch)
        self._watch.start()

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.01)
