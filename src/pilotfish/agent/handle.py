"""One keeper as its agent remembers it: what it was given, what it has said, what of that is not yet recorded.

What belongs here: this memory and the conclusions from a keeper's death. What must not: other keepers, waiting.
"""

from pathlib import Path
from time import time

import msgspec

from pilotfish.agent.journal import Past
from pilotfish.agent.orders import Channel, Introduction, Order, Recorded, Work
from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.jobs import JobSpec, TableArray
from pilotfish.model.messages import End, Host, Reports, Start, Started, TakenBack
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome

__all__ = ["KeeperHandle"]


class KeeperHandle:
    """One keeper.

    Args:
        lane: that it runs.
        mark: of its processes.
        journal: where it writes.

    """

    def __init__(self, lane: int, mark: int, journal: Path) -> None:
        """Begin with a keeper that holds nothing, as far as known."""
        self.lane, self.mark, self.journal = lane, mark, journal
        self.pid: int | None = None
        """None for one that an earlier agent has forked."""
        self.channel: Channel | None = None
        """None before its introduction and after its death."""
        self.held: dict[AttemptId, None] = {}
        """Given to it and not ended, in their order."""
        self.reports: list[Report] = []
        """That no manager has recorded, in their order."""
        self._slots = Slots((), Amount(0), None)
        self._started_at: float | None = None
        """When the first that it holds was started, once it has said so."""
        self._ends: dict[AttemptId, Outcome] = {}
        """What to call the end of attempts that it was told to end."""
        self._job: int | None = None
        """Whose spec it has."""
        self.orders: list[Order] = []
        """Given, not yet sent: until its introduction, and then until the next `flush`."""
        self.introduced = False
        """True once it has spoken."""

    def start(self, start: Start, spec: JobSpec) -> None:
        """Give it tasks."""
        self._slots = start.slots
        attempts = [AttemptId(start.job, position, start.number, start.epoch) for position in range(start.lo, start.hi)]
        self.held.update(dict.fromkeys(attempts))
        rows: tuple[tuple[str, ...], ...] = ()
        if spec.columns:
            # A long table is not copied into each keeper: it gets the rows that it needs.
            rows = tuple([spec.row(position) for position in range(start.lo, start.hi)])
            spec = msgspec.structs.replace(spec, array=TableArray(spec.columns, ((),) * len(spec.columns)))
        self.give(Work(start, None if start.job == self._job else spec, rows))
        self._job = start.job

    def host(self, host: Host) -> None:
        """Give it a part of an attempt."""
        self._slots = host.slots
        self.held[host.attempt] = None
        self.give(host)

    def give(self, order: Order) -> None:
        """Give it an order, with the next `flush`."""
        if isinstance(order, End) and order.attempt in self.held:
            self._ends[order.attempt] = order.outcome
        if self.channel is not None or not self.introduced:
            self.orders.append(order)

    def flush(self) -> None:
        """Send what was given, if it has introduced itself; at once, because each piece wakes a busy core."""
        if self.channel is not None and self.orders:
            self.channel.send(*self.orders)
            self.orders.clear()

    def introduce(self, channel: Channel, introduction: Introduction) -> None:
        """It has come: remember what it holds."""
        self.channel, self.introduced = channel, True
        self.held = dict.fromkeys((*introduction.state.attempts, *self.held))
        self._started_at = introduction.state.started_at
        if introduction.state.attempts:
            self._slots = introduction.state.slots
        self.reports.extend(introduction.reports)

    def note(self, message: Order) -> None:
        """Remember what it says."""
        match message:
            case Reports(reports):
                self.reports.extend(reports)
                self._started_at = None
                for report in reports:
                    self._forget(report.attempt)
            case Started():
                self._started_at = message.started_at
            case TakenBack(_, attempts):
                for attempt in attempts:
                    self._forget(attempt)

    def recorded(self, count: int) -> None:
        """A manager has recorded so many more of its reports."""
        del self.reports[:count]
        self.give(Recorded(count))

    def state(self) -> LaneState:
        """What its lane holds."""
        return LaneState(self.lane, self._slots, tuple(self.held), self._started_at)

    def bury(self, past: Past | None) -> tuple[tuple[Report, ...], tuple[AttemptId, ...]]:
        """It is dead, and no process of it is left: attempts whose end it cannot tell any more, and those not begun.

        What its journal knows and this agent has not heard was witnessed; what has begun there and has no end is
        lost; the rest was never started.

        Args:
            past: what its journal tells, None where it has left none.

        """
        ended = [report for report in past.reports if self._wants(report.attempt)] if past is not None else []
        for report in ended:
            self._forget(report.attempt)
        begun = [attempt for attempt in past.open if self._wants(attempt)] if past is not None else []
        ended += [self._verdict(attempt, Outcome.lost, "its keeper died") for attempt in begun]
        ended += [self._verdict(attempt, outcome, "") for attempt, outcome in list(self._ends.items())]
        untouched = tuple(self.held)
        self.held.clear()
        self.reports.extend(ended)
        return tuple(ended), untouched

    def _wants(self, attempt: AttemptId) -> bool:
        """True where the end of this attempt is news; for a keeper that was never heard, all is."""
        return attempt in self.held or not self.introduced

    def _verdict(self, attempt: AttemptId, outcome: Outcome, reason: str) -> Report:
        outcome = self._ends.get(attempt, outcome)
        self._forget(attempt)
        return Report(attempt, self.lane, outcome, 0, self._started_at or 0.0, time(), 0.0, 0, reason=reason)

    def _forget(self, attempt: AttemptId) -> None:
        self.held.pop(attempt, None)
        self._ends.pop(attempt, None)
