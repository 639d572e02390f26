"""Starting the program of an attempt: from a job's spec to a process, at the speed of ``posix_spawn``.

What belongs here: what a job adds to its lane's environment, folders, streams, the start itself. What must not: what
becomes of the process.
"""

import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from pilotfish.agent.commands import SHELL, command_of, launched
from pilotfish.agent.environment import encoded, thread_counts
from pilotfish.agent.launchers import Launching, Site
from pilotfish.agent.outputs import Outputs
from pilotfish.errors import InternalError
from pilotfish.formats.placeholders import Template, task_values
from pilotfish.functions.wire import Assignment
from pilotfish.model.attempts import AttemptId
from pilotfish.model.jobs import JobSpec
from pilotfish.model.resources import Slots

__all__ = ["Launch", "Program"]

_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class Launch(msgspec.Struct, frozen=True):
    """A program ready to be started."""

    path: str
    argv: list[str]
    environment: Mapping[bytes, bytes]
    files: Sequence[tuple[int, int, int]]
    stdin: str | None = None
    """Absolute path; None: standard input stays the keeper's own, which is /dev/null."""

    def start(self) -> int:
        """The process id of the program, the first of a process group of its own. Raises OSError naming the program."""
        if self.stdin is None:
            return self._start(self.files)
        descriptor = _open_input(self.stdin)
        try:
            return self._start((*self.files, (os.POSIX_SPAWN_DUP2, descriptor, 0)))
        finally:
            os.close(descriptor)

    def _start(self, files: Sequence[tuple[int, int, int]]) -> int:
        try:
            return self._spawn(self.path, self.argv, files)
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # a script without a first line that says for whom: as shells do
                return self._spawn(SHELL, [SHELL, self.path, *self.argv[1:]], files)
            raise

    def _spawn(self, path: str, argv: list[str], files: Sequence[tuple[int, int, int]]) -> int:
        return os.posix_spawn(
            path,
            argv,
            self.environment,
            file_actions=files,
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
        slots: what the lane holds.
        site: where it is.
        beside: of an attempt on several nodes, the others and what it holds there.
        hosted: another node leads the attempt; what is left of it here when its first process has ended goes on.

    """

    def __init__(
        self,
        job: int,
        spec: JobSpec,
        environment: Mapping[bytes, bytes],
        slots: Slots,
        *,
        site: Site,
        beside: Sequence[tuple[str, Slots]] = (),
        hosted: bool = False,
    ) -> None:
        """Compile the templates."""
        self.spec, self.slots, self.beside, self.hosted = spec, slots, beside, hosted
        self._job = job
        self._launching: Launching | None = None
        self._folder = Path(os.fsdecode(environment[b"TMPDIR"]), ".pilotfish")
        if spec.launcher.has_ranks:
            self._launching = Launching(spec, slots, beside, site, self._folder)
            environment = self._launching.environment(environment)
        elif spec.threads is not None:
            environment = {**environment, **thread_counts(spec.threads)}
        self._command = command_of(spec)
        self._launched = launched(spec)
        self._cwd = Template.compile(spec.cwd, quoted=False)
        self._stdin = None if spec.stdin is None else Template.compile(spec.stdin, quoted=False)
        self._stdout = None if spec.stdout is None else Template.compile(spec.stdout, quoted=False)
        self._stderr = None if spec.stderr is None else Template.compile(spec.stderr, quoted=False)
        nodes = ",".join((site.node, *(node for node, _ in beside)))
        own = {"PILOTFISH_JOB": str(job), "PILOTFISH_NAME": spec.name, "PILOTFISH_NODES": nodes}
        self._wanted = encoded(spec.env)
        self._environment: dict[bytes, bytes] = {**environment, **encoded(own), **self._wanted}
        self._paths: dict[str, str] = {}
        """Programs by name, as found on the task's PATH."""

    def assignment(self, cores: tuple[int, ...]) -> Assignment:
        """What a worker must know to call the job's function, bound to these cores."""
        if self.spec.function is None:
            raise InternalError(f"{self.spec.name} is not a function")
        return Assignment(
            job=self._job,
            name=self.spec.name,
            function=self.spec.function,
            slots=self.slots,
            cores=cores,
            time=self.spec.time,
            cwd=self.spec.cwd,
            env=self._environment,
        )

    def prepare(self, attempt: AttemptId, row: tuple[str, ...], outputs: Outputs) -> Launch:
        """Make all ready for the attempt, which runs next. Raises OSError naming what is missing.

        Args:
            attempt: whose it is.
            row: of its task, in the job's array.
            outputs: of the keeper.

        """
        cores = len(self.slots.cores)
        values = task_values(self._job, self.spec, attempt.position, attempt.number, row, cores=cores)
        _enter(self._cwd.render(values))
        out, err = outputs.open(
            None if self._stdout is None else self._stdout.render(values),
            None if self._stderr is None else self._stderr.render(values),
            self.spec.output_limit,
        )
        argv = self._command(values) if self._launching is None else self._laid_out(self._launching, attempt, values)
        environment = self._environment.copy()
        environment[b"PILOTFISH_TASK"] = values["task"].encode()
        environment[b"PILOTFISH_INDEX"] = values["index"].encode()
        environment[b"PILOTFISH_ATTEMPT"] = b"%d" % attempt.number
        environment.update(self._wanted)
        files = ((os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2))
        stdin = None if self._stdin is None else self._stdin.render(values)
        return Launch(self._found(argv[0]), argv, environment, files, stdin)

    def _laid_out(self, launching: Launching, attempt: AttemptId, values: Mapping[str, str]) -> list[str]:
        """Put the files of a launcher where it finds them; its argument vector."""
        self._folder.mkdir(exist_ok=True)
        for name, text in launching.files(attempt).items():
            path = self._folder / name
            path.write_text(text)
            path.chmod(0o700)
        ends = launching.ends(attempt)
        if ends is not None:
            ends.mkdir(parents=True)
        return self._launched(values, launching.script(), partial(launching.rank, attempt=attempt))

    def untold(self, attempt: AttemptId) -> str:
        """Why the success of an attempt that is over is not to be believed: some ranks have not told of theirs."""
        ends = None if self._launching is None else self._launching.ends(attempt)
        if self._launching is None or ends is None:
            return ""
        told = os.listdir(ends)  # noqa: PTH208 - opening it makes a network file system look again
        for name in told:
            (ends / name).unlink()
        ends.rmdir()
        missing = self._launching.ranks - len(told)
        return f"its launcher has ended, and {missing} of its ranks never told of their end" if missing else ""

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


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)
        os.chdir(folder)


def _open_input(path: str) -> int:
    # Without O_NONBLOCK a pipe that nobody writes to would hold the keeper up.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    os.set_blocking(descriptor, True)
    return descriptor
