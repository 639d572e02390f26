"""Runs the commands of batch systems beside whatever the caller does: nothing here ever waits unasked.

A command writes into memory, so that there is no pipe to empty, and its end can be selected for.

What belongs here: running one command. What must not: what it means.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from pilotfish.batch.dialect import Errand, Output
from pilotfish.errors import UserError

__all__ = ["Running"]

_PATIENCE = 60.0
"""Seconds that a command has: those of Slurm themselves give up on a silent controller after some tens of them."""


class Running:
    """A command of a batch system on its way.

    Select for its descriptor and `poll`, or `wait`; the output is kept. Closing ends a command that still runs.
    """

    def __init__(self, call: Errand, environ: Mapping[str, str], *, patience: float = _PATIENCE) -> None:
        """Start it. Raises UserError where there is no such command.

        Args:
            call: the command.
            environ: what its own variables are set on top of.
            patience: seconds until it is ended.

        """
        hidden = re.compile(call.hidden or "(?!)")
        environment = {name: text for name, text in environ.items() if not hidden.fullmatch(name)}
        self._memory = [os.memfd_create("batch") for _ in range(3)]
        os.write(self._memory[0], call.stdin.encode())
        os.lseek(self._memory[0], 0, os.SEEK_SET)
        try:
            self._process = _start(call.argv, environment | dict(call.environment), self._memory)
            self._end = os.pidfd_open(self._process.pid)
        except BaseException:
            self._forget_memory()
            raise
        self._deadline = time.monotonic() + patience
        self._output: Output | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended."""
        return self._end

    def poll(self) -> Output | None:
        """What it came to; None while it runs. Ends it where its time is over, so call it at least once a second."""
        if self._output is None:
            late = time.monotonic() >= self._deadline
            code = self._process.poll()
            if code is not None or late:
                self._finish(code)
        return self._output

    def wait(self) -> Output:
        """Wait for its end, or for that of its time."""
        while (output := self.poll()) is None:
            left = max(0.0, self._deadline - time.monotonic())
            waiting = select.poll()
            waiting.register(self._end, select.POLLIN)
            waiting.poll(left * 1000)
        return output

    def close(self) -> None:
        """End it where it still runs, and give back what it held. Idempotent."""
        if self._output is None:
            self._finish(self._process.poll())

    def _finish(self, code: int | None) -> None:
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        out, err = (os.pread(handle, os.fstat(handle).st_size, 0) for handle in self._memory[1:])
        self._output = Output(code, out.decode(errors="replace"), err.decode(errors="replace"))
        os.close(self._end)
        self._forget_memory()

    def _forget_memory(self) -> None:
        for handle in self._memory:
            os.close(handle)


def _start(argv: tuple[str, ...], environment: Mapping[str, str], handles: list[int]) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C is for us, and all that it starts can be ended with it."""
    stdin, stdout, stderr = handles
    try:
        return subprocess.Popen(
            argv, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
    except (FileNotFoundError, PermissionError) as error:
        msg = f"there is no command {argv[0]} here: is this a machine from which jobs are submitted?"
        raise UserError(msg) from error
