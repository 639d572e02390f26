"""What a session works with: a manager of its own in this process, or a server that it has joined.

What belongs here: the Protocol of both, and the tasks that they are asked for. What must not: how either works.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from pilotfish.client.earlier import EarlierCalls
from pilotfish.client.home import Home
from pilotfish.client.printing import Printer
from pilotfish.functions.line import Line
from pilotfish.model.changes import Finish, Settle
from pilotfish.model.events import Explanation
from pilotfish.model.jobs import JobSpec
from pilotfish.model.states import TaskState

__all__ = ["Backend", "Conclusion", "Ticket"]

Conclusion: TypeAlias = Settle | Finish | BaseException
"""How a task ended: after an attempt, without one, or because this session has broken down."""


class Ticket:
    """A task that was asked for.

    Args:
        job: its id.
        ended: called in a thread of the backend, once, with how it ended.

    """

    __slots__ = ("arguments", "ended", "job", "position", "progressed")

    def __init__(self, job: int, arguments: bytes, ended: Callable[[Conclusion], None]) -> None:
        """Not yet taken up."""
        self.job, self.arguments, self.ended = job, arguments, ended
        self.position = -1
        """Among the tasks of its job, once it is taken up."""
        self.progressed: Callable[[float, str], object] | None = None
        """Is told, in a thread of the backend, what the task says of itself."""


class Backend(Protocol):
    """Where the jobs of a session go. Every method may be called from any thread."""

    broken: BaseException | None
    """Why nothing more can be asked for, although nobody has closed it."""

    @property
    def home(self) -> Home:
        """Where outputs and large values lie."""

    @property
    def folder(self) -> Path:
        """Of the campaign."""

    @property
    def limits(self) -> Mapping[str, int]:
        """The named ones of the queue."""

    @property
    def line(self) -> Line:
        """To the manager, for values that are shared by key."""

    @property
    def printer(self) -> Printer:
        """Shows what calls have printed."""

    def earlier_calls(self) -> EarlierCalls | None:
        """What earlier sessions have left to be taken up; None: nothing is kept for that."""

    def require_open(self) -> None:
        """Raise where no more can be asked for: RuntimeError after `close`."""

    def open_job(self, spec: JobSpec, depends_on: tuple[int, ...] = ()) -> int:
        """Submit a job that calls are added to; its id."""

    def watch_job(self, spec: JobSpec, depends_on: tuple[int, ...], ended: Callable[[Conclusion], None]) -> int:
        """Submit a job of commands; its id. `ended` is told in a thread of the backend of each end in it."""

    def add(self, ticket: Ticket) -> None:
        """Add a call to its job. Raises RuntimeError after `close`."""

    def take_up(self, ticket: Ticket, position: int) -> None:
        """Ask for a task of an earlier session again."""

    def cancel(self, ticket: Ticket) -> None:
        """End a task, running or not; what it is told then is nobody's business any more."""

    def cancel_job(self, job: int, count: int) -> None:
        """End all tasks of a job."""

    def state(self, ticket: Ticket) -> TaskState:
        """Of a task, as the scheduler knows it."""

    def explain(self, ticket: Ticket) -> Explanation:
        """Why a task is where it is."""

    def counts(self) -> dict[str, int]:
        """How many tasks of this session are in each state that there is."""

    def close(self, *, wait: bool = True, cancel: bool = False) -> None:
        """Take no more; end when all tasks have, or at once with `cancel`. Idempotent."""
