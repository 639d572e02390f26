"""Attempts on several nodes, while they run: which nodes have a part in them, and what is started there.

The first node of an attempt reports how it ended, the others' reports of their parts count for nothing. The launcher of
an MPI program asks, from the first node, that its daemons be started on the others; when the attempt has ended, so must
they.

What belongs here: who has a part, and questions of launchers. What must not: placement, the end of attempts.
"""

from collections.abc import Callable, Iterable

import msgspec

from pilotfish.errors import UserError
from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.changes import Grant, Part, Release, Settle
from pilotfish.model.events import Command, Kill
from pilotfish.model.messages import Host
from pilotfish.model.states import Outcome

__all__ = ["HOST", "Parts"]

HOST = "host"
"""The name of a launcher's question."""


class _Wanted(msgspec.Struct, frozen=True):
    """What a launcher asks for."""

    attempt: AttemptId
    node: str
    command: str
    environment: tuple[bytes, ...]


class Parts:
    """The attempts on several nodes that run now."""

    def __init__(self) -> None:
        """There are none."""
        self._of: dict[AttemptId, tuple[Part, ...]] = {}

    def note(self, command: Command) -> list[Kill]:
        """Learn from what was decided; what must end now on the other nodes of an attempt that has ended."""
        match command:
            case Grant() if command.beside:
                self._of[AttemptId(command.job, command.lo, command.number, command.epoch)] = command.beside
            case Release() if self._of:
                self._of.pop(AttemptId(command.job, command.lo, command.number, command.epoch), None)
            case Settle() if self._of:
                attempt = command.report.attempt
                parts = self._of.pop(attempt, ())
                return [Kill(part.node, part.lane, attempt, Outcome.cancelled, hard=True) for part in parts]
        return []

    def own(self, node: str, reports: tuple[Report, ...], heard: Callable[[str], bool]) -> tuple[Report, ...]:
        """Those reports of a node that tell of more than its part in an attempt.

        What fails while one of its nodes is not `heard` is lost: that is no fault of the user's.
        """
        if not self._of:
            return reports
        return tuple([self._judged(report, heard) for report in reports if self._part(report.attempt, node) is None])

    def _judged(self, report: Report, heard: Callable[[str], bool]) -> Report:
        away = [part.node for part in self._of.get(report.attempt, ()) if not heard(part.node)]
        if not away or report.succeeded or report.outcome not in (Outcome.exited, Outcome.signalled):
            return report
        how = f"{'exit code' if report.outcome is Outcome.exited else 'signal'} {report.code}"
        reason = f"node {away[0]} was away when it ended with {how}"
        return msgspec.structs.replace(report, outcome=Outcome.lost, code=0, reason=reason)

    def own_lanes(self, node: str, lanes: Iterable[LaneState]) -> tuple[LaneState, ...]:
        """Those lanes of a node that hold more than its part in an attempt."""
        return tuple(
            [lane for lane in lanes if not any(self._part(attempt, node) is not None for attempt in lane.attempts)]
        )

    def _part(self, attempt: AttemptId, node: str) -> Part | None:
        return next((part for part in self._of.get(attempt, ()) if part.node == node), None)

    def wanted(self, arguments: dict[str, object]) -> tuple[str, Host]:
        """What a launcher asks for: a node, and what is to run there. Raises UserError where that cannot be."""
        try:
            wanted = msgspec.convert(arguments, _Wanted, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise UserError(f"question `{HOST}`: {error}") from error
        part = self._part(wanted.attempt, wanted.node)
        if part is None:
            raise UserError(f"{wanted.node} has no part in this attempt, or the attempt has ended")
        return wanted.node, Host(part.lane, part.slots, wanted.attempt, wanted.command, wanted.environment)
