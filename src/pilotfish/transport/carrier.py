"""The processes in which Dask carries: a gateway beside the manager, a dialer beside an agent on another machine.

Both end with whoever has started them, whatever ends that: their standard input is a pipe that it holds.

What belongs here: starting them, seeing that they live. What must not: Dask, which their interpreters alone import.
"""

import select
import subprocess
import sys
from pathlib import Path

import msgspec

from pilotfish import __version__
from pilotfish.errors import UnavailableError, UserError
from pilotfish.settings import Settings
from pilotfish.transport.base import Connection
from pilotfish.transport.join import JOIN, Join, read_join, write_join
from pilotfish.transport.local import connect

__all__ = ["Dialer", "Gateway"]


class _Told(msgspec.Struct, frozen=True):
    """What a gateway tells when it listens."""

    addresses: tuple[str, ...]
    authority: str
    certificate: str
    secret: str


class Gateway:
    """Lets agents of other machines reach a manager; while it lives, a file in its folder tells them how.

    Args:
        folder: of the campaign, where credentials and that file lie.
        key: of the campaign.
        manager: its Unix socket.
        settings: that agents shall keep to.
        values: folder for values of a session, and one for those that it has no room for: agents that do not see them
            are brought what they need. None: there are none.

    """

    def __init__(
        self, folder: Path, key: str, manager: Path, settings: Settings, *, values: tuple[Path, Path] | None = None
    ) -> None:
        """Start it, and wait until it listens. Raises UserError where Dask is missing or it cannot listen."""
        self.file = folder / JOIN
        self._campaign, self._key, self._settings = folder, key, settings
        self._paths, self._values = (folder / "credentials", manager, folder / "outputs"), values or ()
        self._start()
        self._hear()
        if not self._told:
            raise UserError(
                "agents of other machines cannot join; `pip install 'pilotfish[dask]'` brings what it takes"
            )

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def tend(self) -> str | None:
        """Start it again where it has died, and say so; agents come back by themselves.

        Raises UnavailableError where it has died as it began.
        """
        if self._process.poll() is None:
            if not self._told and select.select([self._stdout], [], [], 0.0)[0]:
                self._hear()
            return None
        ended = f"the gateway for agents of other machines ended with {self._process.returncode}"
        if not self._told:
            raise UnavailableError(ended)
        self.close()
        self._start()
        return f"{ended}; it is started again"

    def _start(self) -> None:
        """At the port of the one before, which is what agents know that do not see the file."""
        try:
            port = read_join(self.file).addresses[0].rpartition(":")[2]
        except (UserError, IndexError):
            port = "0"
        self._told = False
        words = [*map(str, self._paths), port, *map(str, self._values)]
        self._process = _spawn("gateway", *words, stdout=subprocess.PIPE)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self._stdout = self._process.stdout

    def _hear(self) -> None:
        """Hear where it listens, and tell agents; nothing, where it has ended."""
        line = self._stdout.readline()
        if not line:
            self.close()
            return
        self._told = True
        told = msgspec.structs.asdict(msgspec.json.decode(line, type=_Told))
        join = Join(version=__version__, campaign=str(self._campaign), key=self._key, settings=self._settings, **told)
        write_join(self.file, join)

    def close(self) -> None:
        """Let no more in, and end all connections. Idempotent."""
        _end(self._process)


class Dialer:
    """Reaches a manager on another machine for an agent and its workers.

    Args:
        joins: files that tell where it is; the first that is there counts.
        door: Unix socket to be made, at which whatever connects is passed on.
        outputs: folder whose files `bulk` is told to bring.

    """

    def __init__(self, joins: tuple[Path, ...], door: Path, outputs: Path) -> None:
        """Start nothing yet."""
        self._joins, self._door, self._outputs = joins, door, outputs
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> Connection:
        """A connection that reaches the manager or ends. Raises UnavailableError while there is not even that."""
        if self._process is None or self._process.poll() is not None:
            self._process = _spawn("dialer", str(self._door), str(self._outputs), *map(str, self._joins))
        return connect(self._door)

    def close(self) -> None:
        """End it with all its connections. Idempotent."""
        if self._process is not None:
            _end(self._process)
            for door in self._door.parent.glob(f"{self._door.name}*"):  # it does not itself: one that is killed later
                door.unlink(missing_ok=True)  # than its agent would remove those of its successor


def _spawn(role: str, *arguments: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    # -P: no file of the user's, who may have a dask.py here, is one of our modules. Dask warns of machines that reach
    # nothing but each other.
    words = [sys.executable, "-P", "-W", "ignore", "-m", "pilotfish.transport", role, *arguments]
    # In a session of its own: an interrupt from the terminal is for whoever has started us.
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=stdout, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
