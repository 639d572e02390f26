"""Who is told what happens: the seam between the manager and those who watch it."""

from collections.abc import Sequence
from typing import Protocol

from pilotfish.model.changes import Change

__all__ = ["Observer"]


class Observer(Protocol):
    """Told about a campaign while it runs; called from the manager's loop, so it must be quick."""

    def recorded(self, changes: Sequence[Change]) -> None:
        """These changes are durable now."""

    def note(self, text: str) -> None:
        """Something that a person should read."""

    def tick(self, now: float) -> None:
        """Called often; `now` is in seconds since 1970."""
