"""Attempts on several nodes, while they run: which nodes have a part in them, and what is started there.

The launcher of an MPI program asks, from the first node of an attempt, that its daemons be started on the others.

What belongs here: who has a part, and questions of launchers. What must not: placement, the end of attempts.
"""

from collections.abc import Callable

import msgspec

from pilotfish.errors import UserError
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Grant, Part, Release, Settle
from pilotfish.model.events import Command, Hosted
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
        self.of: dict[AttemptId, tuple[Part, ...]] = {}
        """What each holds on other nodes than its first; empty: there are none."""

    def note(self, command: Command) -> None:
        """Learn from what was decided."""
        match command:
            case Grant() if command.beside:
                self.of[AttemptId(command.job, command.lo, command.number, command.epoch)] = command.beside
            case Release():
                self.of.pop(AttemptId(command.job, command.lo, command.number, command.epoch), None)
            case Settle():
                self.of.pop(command.report.attempt, None)

    def judged(self, reports: tuple[Report, ...], heard: Callable[[str], bool]) -> tuple[Report, ...]:
        """Reports, in which what failed while one of its nodes is not `heard` is lost: no fault of the user's."""
        if not self.of:
            return reports
        return tuple([self._judged(report, heard) for report in reports])

    def _judged(self, report: Report, heard: Callable[[str], bool]) -> Report:
        away = [part.node for part in self.of.get(report.attempt, ()) if not heard(part.node)]
        if not away or report.succeeded or report.outcome not in (Outcome.exited, Outcome.signalled):
            return report
        how = f"{'exit code' if report.outcome is Outcome.exited else 'signal'} {report.code}"
        reason = f"node {away[0]} was away when it ended with {how}"
        return msgspec.structs.replace(report, outcome=Outcome.lost, code=0, reason=reason)

    def wanted(self, arguments: dict[str, object]) -> tuple[Hosted, Host]:
        """What a launcher asks for: what happens then, and what is to run. Raises UserError where that cannot be."""
        try:
            wanted = msgspec.convert(arguments, _Wanted, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise UserError(f"question `{HOST}`: {error}") from error
        part = next((part for part in self.of.get(wanted.attempt, ()) if part.node == wanted.node), None)
        if part is None:
            raise UserError(f"{wanted.node} has no part in this attempt, or the attempt has ended")
        host = Host(part.lane, part.slots, wanted.attempt, wanted.command, wanted.environment)
        return Hosted(wanted.attempt, wanted.node), host
