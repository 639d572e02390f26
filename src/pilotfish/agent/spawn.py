"""Starting the program of an attempt: from a job's spec to a process, at the speed of ``posix_spawn``.

What belongs here: command lines, environments, folders, the start itself. What must not: what becomes of the process.
"""

import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from pilotfish.agent.outputs import Outputs
from pilotfish.formats.placeholders import Template, task_values
from pilotfish.model.attempts import AttemptId
from pilotfish.model.jobs import JobSpec
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots

__all__ = ["Launch", "Program", "lane_environment"]

_THREAD_COUNTS = (b"OMP_NUM_THREADS", b"MKL_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"NUMEXPR_NUM_THREADS")
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_SHELL = "/bin/sh"


def lane_environment(base: Mapping[bytes, bytes], node: str, slots: Slots, scratch: Path) -> dict[bytes, bytes]:
    """The environment of all attempts in a lane, before what their job adds.

    Args:
        base: the agent's own environment.
        node: where the lane is.
        slots: what it holds.
        scratch: its folder for temporary files.

    """
    threads = max(1, slots.amount // ONE)
    ours = {
        "PILOTFISH_NODE": node,
        "PILOTFISH_CORES": str(len(slots.cores)),
        "PILOTFISH_CORE_IDS": ",".join(map(str, slots.cores)),
        "PILOTFISH_MEMORY": "" if slots.memory is None else str(slots.memory),
        "TMPDIR": str(scratch),
        # A pilotfish that a task runs shares out the task's cores, and waits for nobody who has the others.
        "PILOTFISH_RUNTIME": f"{scratch}/pilotfish",
    }
    return dict.fromkeys(_THREAD_COUNTS, b"%d" % threads) | dict(base) | _encoded(ours)


class Launch(msgspec.Struct, frozen=True):
    """A program ready to be started."""

    path: str
    argv: list[str]
    environment: Mapping[bytes, bytes]
    files: Sequence[tuple[int, int, int]]

    def start(self) -> int:
        """The process id of the program, the first of a process group of its own. Raises OSError naming the program."""
        try:
            return self._spawn(self.path, self.argv)
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # a script without a first line that says for whom: as shells do
                return self._spawn(_SHELL, [_SHELL, self.path, *self.argv[1:]])
            raise

    def _spawn(self, path: str, argv: list[str]) -> int:
        return os.posix_spawn(
            path,
            argv,
            self.environment,
            file_actions=self.files,
            setpgroup=0,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )


class Program:
    """A job as a keeper needs it: everything that does not change from task to task is done once.

    Args:
        job: its id.
        spec: the job; the rows of its array may be left out.
        environment: of the lane.

    """

    def __init__(self, job: int, spec: JobSpec, environment: Mapping[bytes, bytes]) -> None:
        """Compile the templates."""
        self.spec = spec
        self._job = job
        self._command = _command(spec)
        self._cwd = Template.compile(spec.cwd, quoted=False)
        self._stdout = None if spec.stdout is None else Template.compile(spec.stdout, quoted=False)
        self._stderr = None if spec.stderr is None else Template.compile(spec.stderr, quoted=False)
        own = {"PILOTFISH_JOB": str(job), "PILOTFISH_NAME": spec.name}
        self._environment = {**environment, **_encoded(spec.env), **_encoded(own)}
        self._paths: dict[str, str] = {}
        """Programs by name, as found on the task's PATH."""

    def prepare(self, attempt: AttemptId, row: tuple[str, ...], outputs: Outputs) -> Launch:
        """Make all ready for the attempt, which runs next. Raises OSError naming what is missing.

        Args:
            attempt: whose it is.
            row: of its task, in the job's array.
            outputs: of the keeper.

        """
        values = task_values(self._job, self.spec, attempt.position, attempt.number, row)
        _enter(self._cwd.render(values))
        out, err = outputs.open(
            None if self._stdout is None else self._stdout.render(values),
            None if self._stderr is None else self._stderr.render(values),
        )
        argv = self._command(values)
        environment = self._environment.copy()
        environment[b"PILOTFISH_TASK"] = values["task"].encode()
        environment[b"PILOTFISH_INDEX"] = values["index"].encode()
        environment[b"PILOTFISH_ATTEMPT"] = b"%d" % attempt.number
        # Standard input stays the keeper's own, which is /dev/null.
        files = ((os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2))
        return Launch(self._found(argv[0]), argv, environment, files)

    def _found(self, name: str) -> str:
        """The path of a program. Raises FileNotFoundError."""
        if "/" in name:
            return name
        return self._paths.get(name) or self._search(name)

    def _search(self, name: str) -> str:
        folders = os.fsdecode(self._environment.get(b"PATH", os.defpath.encode()))
        for folder in folders.split(":"):
            path = f"{folder or '.'}/{name}"
            if Path(path).is_file() and os.access(path, os.X_OK):
                if path.startswith("/"):  # the others depend on the folder that the task runs in
                    self._paths[name] = path
                return path
        raise FileNotFoundError(errno.ENOENT, f"not found on PATH ({folders})", name)


def _command(spec: JobSpec) -> Callable[[Mapping[str, str]], list[str]]:
    """From a task's values to its argument vector."""
    if isinstance(spec.command, str):
        script = Template.compile(spec.command, quoted=True)
        return lambda values: [_SHELL, "-c", script.render(values)]
    arguments = [Template.compile(argument, quoted=False) for argument in spec.command]
    return lambda values: [argument.render(values) for argument in arguments]


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)
        os.chdir(folder)


def _encoded(texts: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(text) for name, text in texts.items()}
