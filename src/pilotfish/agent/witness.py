"""What a keeper has seen and must tell: in the journal first, then to the agent, until a manager has recorded it.

What belongs here: the journal and the reports that are not recorded. What must not: how attempts come to an end.
"""

import contextlib
import math
import os
from collections.abc import Callable
from time import monotonic, time

from pilotfish.agent.journal import Journal
from pilotfish.agent.orders import Order
from pilotfish.agent.outputs import Outputs
from pilotfish.faults import reached
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.messages import Note, Reports
from pilotfish.model.states import Outcome

__all__ = ["Witness", "reason_of", "unstarted"]

_GATHER = 0.01
"""Seconds for which a report waits for others while there is more to run."""
_RETRY = 1.0
"""Seconds between two attempts to write what the disk had no room for."""


class Witness:
    """The memory of one keeper.

    Args:
        journal: of the keeper.
        outputs: whose files must be on the disk before a report names them.
        lane: of the keeper.
        send: passes on to the agent, if there is one.

    """

    def __init__(self, journal: Journal, outputs: Outputs, lane: int, send: Callable[[Order], None]) -> None:
        """Begin with nothing to tell."""
        self._journal, self._outputs, self._lane, self._send = journal, outputs, lane, send
        self._reports: list[Report] = []
        """Not recorded by the manager, as far as known."""
        self._delivered = 0
        """How many of them have left."""
        self._complained = False
        self.due = math.inf
        """When to call `deliver` at the latest, on the monotonic clock."""

    @property
    def waits(self) -> bool:
        """True while something is not recorded, as far as known."""
        return bool(self._reports)

    @property
    def delivered(self) -> tuple[Report, ...]:
        """What has left and is not recorded, as far as known."""
        return tuple(self._reports[: self._delivered])

    def intend(self, *attempts: AttemptId) -> None:
        """Write that these are going to be started. Raises OSError."""
        self._journal.intend(*attempts)
        reached("keeper.intent")

    def withdraw(self, attempt: AttemptId) -> None:
        """Note that this attempt, if it was intended, was not started after all."""
        self._journal.withdraw(attempt)

    def flush(self) -> None:
        """Write what was noted, if there is room."""
        with contextlib.suppress(OSError):
            self._journal.flush()

    def tell(self, report: Report, *, at_once: bool) -> None:
        """Let a report leave soon, with those that follow; or at once, where nothing else is to be done."""
        self._journal.note(report)
        self._reports.append(report)
        if at_once:
            self.deliver()
        elif self.due == math.inf:
            self.due = monotonic() + _GATHER

    def deliver(self, *, leaving: bool = False) -> None:
        """Let reports leave: their outputs on the disk and themselves in the journal, then to the agent."""
        try:
            self._outputs.sync()
            self._journal.flush()
        except OSError as error:
            self.complain(error)
            if not leaving:  # then a witness by word is better than none
                self.due = monotonic() + _RETRY
                return
        else:
            self._complained = False
        self.due = math.inf
        reached("keeper.journaled")
        self._send(Reports(tuple(self._reports[self._delivered :])))
        self._delivered = len(self._reports)
        reached("keeper.reported")

    def recorded(self, count: int) -> None:
        """The manager has recorded so many more, in the order in which they left."""
        del self._reports[:count]
        self._delivered -= count
        with contextlib.suppress(OSError):  # a long journal does no harm
            self._journal.trim(self._reports)

    def complain(self, error: OSError) -> None:
        """Tell people, once, why it does not go on."""
        if not self._complained:
            self._complained = True
            self._send(Note(f"lane {self._lane} waits: {reason_of(error)}; tried again each second"))


def reason_of(error: Exception) -> str:
    """What to tell people of an error: the thing and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def unstarted(attempt: AttemptId, lane: int, outcome: Outcome, started_at: float, reason: str) -> Report:
    """The report of an attempt that never became a process."""
    return Report(attempt, lane, outcome, 0, started_at, time(), 0.0, 0, reason=reason)
