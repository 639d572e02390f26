"""The store of sessions that keep nothing: whatever it is given is durable at once, and gone.

What belongs here: the laws of :mod:`pilotfish.store.base` as far as nothing is remembered. What must not: memory.
"""

from collections.abc import Sequence

from pilotfish.model.changes import Change, Finish, Put, Settle, Snapshot, Submit, Survey
from pilotfish.model.jobs import Span

__all__ = ["ForgetfulStore"]


class ForgetfulStore:
    """Every ticket is durable at once; there is never anything to load."""

    epoch = 1

    def __init__(self) -> None:
        """Begin with nothing, and stay so."""
        self.durable = 0
        self.trouble: str | None = None

    def load(self) -> Snapshot:
        """Nothing."""
        return Snapshot(submits=(), tasks=(), finishes=(), grants=())

    def commit(self, changes: Sequence[Change]) -> int:
        """Let the changes go; a ticket, which is durable."""
        del changes
        self.durable += 1
        return self.durable

    def raise_failure(self) -> None:
        """Nothing can fail."""

    def flush(self) -> None:
        """Nothing waits."""

    def submits(self) -> tuple[Submit, ...]:
        """None."""
        return ()

    def attempts(self, job: int, position: int) -> tuple[Settle, ...]:
        """None."""
        del job, position
        return ()

    def finishes(self, job: int) -> tuple[Finish, ...]:
        """None."""
        del job
        return ()

    def current(self) -> tuple[Submit, ...]:
        """None."""
        return ()

    def survey(self, job: int | None = None, span: Span | None = None) -> Survey:
        """Nothing is known."""
        del job, span
        return Survey(states={}, finishes=(), grants=())

    def results(self, tasks: Sequence[tuple[int, int]]) -> tuple[Settle, ...]:
        """None."""
        del tasks
        return ()

    def calls(self, job: int, span: Span | None = None) -> dict[int, bytes]:
        """None."""
        del job, span
        return {}

    def nodes(self, job: int) -> dict[int, str]:
        """None."""
        del job
        return {}

    def values(self, prefix: str) -> tuple[Put, ...]:
        """None."""
        del prefix
        return ()

    def close(self) -> None:
        """Nothing to release."""
