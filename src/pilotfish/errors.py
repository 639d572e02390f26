"""Every error that pilotfish raises on purpose, as one tree.

    PilotfishError                     one line for the user, and the exit code of the command
    ├── UserError                (2)   the caller can mend it: nothing has been started
    │   ├── JobFileError               a job file is wrong: file, line, key, value, way out
    │   ├── NotYetSupportedError       a word of the specification that is not built yet
    │   └── UnpicklableError           a function, an argument or a result that cannot travel
    ├── UnavailableError        (75)   try again later: the manager cannot be reached
    │   └── BusyError                  another manager owns this campaign
    ├── StoreError               (1)   the durable memory refused
    │   ├── StoreVersionError    (2)   written by a newer pilotfish
    │   └── StoreFullError             no room left; what was committed is safe
    ├── TaskError                (1)   a task of a session did not succeed, by no fault of its own code
    │   ├── WorkerDiedError            its worker ended while it ran
    │   ├── InitializerError           what is called first in each worker raised
    │   ├── TaskTimeoutError           it ran longer than it may; a TimeoutError
    │   ├── TaskMemoryError            it used more memory than it may; a MemoryError
    │   ├── ImpossibleRequestError     no node has what it asks for
    │   └── RemoteError                what it raised cannot travel: told in words
    └── InternalError            (70)  our bug: an invariant does not hold

What belongs here: classes and their wording. What must not: logic, imports of pilotfish.
"""

from pickle import PicklingError

__all__ = [
    "BusyError",
    "ImpossibleRequestError",
    "InitializerError",
    "InternalError",
    "JobFileError",
    "NotYetSupportedError",
    "PilotfishError",
    "RemoteError",
    "StoreError",
    "StoreFullError",
    "StoreVersionError",
    "TaskError",
    "TaskMemoryError",
    "TaskTimeoutError",
    "UnavailableError",
    "UnpicklableError",
    "UserError",
    "WorkerDiedError",
]


class PilotfishError(Exception):
    """Base of all: ``str(error)`` is one line for a person, ``exit_code`` what the command returns."""

    exit_code = 1


class UserError(PilotfishError):
    """The caller gave something that cannot be done; nothing was started. Mend it and call again."""

    exit_code = 2


class JobFileError(UserError):
    """A job file is wrong. The message names file, line, key path and value, and what to write instead."""

    def __init__(self, message: str, *, file: str = "", line: int | None = None, key: str = "") -> None:
        """Keep the place apart from the message, so that ``--json`` can tell them apart too."""
        self.message, self.file, self.line, self.key = message, file, line, key
        where = f"{file}:{line}" if file and line is not None else file
        super().__init__(": ".join(part for part in (where, key, message) if part))


class NotYetSupportedError(JobFileError):
    """The specification knows this word, this release does not. Listed in ``docs/limits.md``."""


class UnpicklableError(UserError, PicklingError):
    """A function, an argument or a result cannot travel between processes; the message names it and says why."""


class UnavailableError(PilotfishError):
    """The manager cannot be reached now. Calling again later may work."""

    exit_code = 75


class BusyError(UnavailableError):
    """Another living manager owns the campaign; the message names its host and process id."""


class StoreError(PilotfishError):
    """The durable memory refused a request."""


class StoreVersionError(StoreError):
    """The store was written by a newer pilotfish than this one. Upgrade, or use another ``--store``."""

    exit_code = 2


class StoreFullError(StoreError):
    """The disk under the store is full. Nothing that was acknowledged is lost; make room and go on."""


class TaskError(PilotfishError):
    """A task did not succeed, and nothing that its function raised says why."""


class WorkerDiedError(TaskError):
    """The process that called the function ended while the call ran: it crashed, was killed, or ended itself."""


class InitializerError(TaskError):
    """What an executor calls first in each worker raised; the message tells what, a note its traceback."""


class TaskTimeoutError(TaskError, TimeoutError):
    """The task ran longer than its limit, and was ended."""


class TaskMemoryError(TaskError, MemoryError):
    """The task used more memory than it asked for, and was ended."""


class ImpossibleRequestError(TaskError):
    """No node has, even if nothing else ran there, what the task asks for."""


class RemoteError(TaskError):
    """The task raised something that cannot travel; the message tells its type and words, a note its traceback."""


class InternalError(PilotfishError):
    """A law that the code itself must keep does not hold: please report it with the message."""

    exit_code = 70
