"""Every error that pilotfish raises on purpose, as one tree.

    PilotfishError                     one line for the user, and the exit code of the command
    ├── UserError                (2)   the caller can mend it: nothing has been started
    │   ├── JobFileError               a job file is wrong: file, line, key, value, way out
    │   └── NotYetSupportedError       a word of the specification that is not built yet
    ├── UnavailableError        (75)   try again later: the manager cannot be reached
    │   └── BusyError                  another manager owns this campaign
    ├── StoreError               (1)   the durable memory refused
    │   ├── StoreVersionError    (2)   written by a newer pilotfish
    │   └── StoreFullError             no room left; what was committed is safe
    └── InternalError            (70)  our bug: an invariant does not hold

What belongs here: classes and their wording. What must not: logic, imports of pilotfish.
"""

__all__ = [
    "BusyError",
    "InternalError",
    "JobFileError",
    "NotYetSupportedError",
    "PilotfishError",
    "StoreError",
    "StoreFullError",
    "StoreVersionError",
    "UnavailableError",
    "UserError",
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


class InternalError(PilotfishError):
    """A law that the code itself must keep does not hold: please report it with the message."""

    exit_code = 70
