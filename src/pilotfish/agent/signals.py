"""Signals that reach a keeper from outside. It survives them; a TERM excuses the attempt that it has ended.

Who ends an allocation from outside (``scancel``, preemption) sends TERM to all processes of a node, one after the
other: tasks, keepers and agent. A task that ends of it has not failed. The keeper goes on: its agent tells it to leave.

What belongs here: what a signal to this process means. What must not: signals that it sends.
"""

import math
import signal
from time import sleep, time
from types import FrameType

import msgspec

from pilotfish.model.attempts import Report
from pilotfish.model.states import Outcome

__all__ = ["Signals"]

_ROUND = 0.1
"""Seconds in which a TERM to all processes of a node has reached them all, also where all cores are busy."""
_BY_ITSELF = frozenset({Outcome.exited, Outcome.signalled})
_BY_TERM = frozenset({(Outcome.signalled, signal.SIGTERM), (Outcome.exited, 128 + signal.SIGTERM)})
"""Ends that only TERM explains; the second is a shell's word for the first."""
_REASON = "TERM was sent to all that ran on its node"


class Signals:
    """What this process, a keeper, makes of signals."""

    def __init__(self) -> None:
        """Ignore from now on what means a session's end, and remember TERM."""
        self._term_at = -math.inf
        signal.set_wakeup_fd(-1)  # that of the agent
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def excuse(self, report: Report) -> Report:
        """The report; as interrupted, if the attempt has failed and TERM had come while it ran.

        A TERM excuses what ran as it came, and nothing later: a keeper that it has not ended still tells failures.
        """
        if report.outcome not in _BY_ITSELF or report.succeeded:
            return report
        if (report.outcome, report.code) in _BY_TERM and not self._came(report):
            sleep(_ROUND)  # ours may be still to come
        if not self._came(report):
            return report
        return msgspec.structs.replace(report, outcome=Outcome.interrupted, code=0, reason=_REASON, result=b"")

    def _came(self, report: Report) -> bool:
        return report.started_at - _ROUND <= self._term_at <= report.ended_at + _ROUND

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._term_at = time()
