"""The job log of `map`: a line for each task in a file, in the form of GNU parallel.

What belongs here: this form. What must not: when something is logged.
"""

from pathlib import Path

from pilotfish.model.attempts import Report
from pilotfish.model.states import Outcome

__all__ = ["JobLog", "log_line"]

_HEAD = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
_ENDED_BY_US = (-1, 15)
_OTHERS = {Outcome.start_failed: (127, 0), Outcome.out_of_memory: (-1, 9)}


def log_line(report: Report, command: str) -> str:
    """What the log tells of a task, by the report of its last attempt and its command line."""
    match report.outcome:
        case Outcome.exited:
            code, signal = report.code, 0
        case Outcome.signalled:
            code, signal = 0, report.code
        case outcome:
            code, signal = _OTHERS.get(outcome, _ENDED_BY_US)
    seconds = report.ended_at - report.started_at if report.started_at else 0.0
    received = 0 if report.stdout is None else report.stdout.length
    began = f"{report.attempt.position + 1}\t:\t{report.started_at:.3f}\t{seconds:10.3f}"
    return f"{began}\t0\t{received}\t{code}\t{signal}\t{command}\n"


class JobLog:
    """A log that is written while tasks end, in that order."""

    def __init__(self, path: str, *, go_on: bool = False) -> None:
        """Begin the file anew, or with `go_on` add to what it holds. Raises OSError."""
        mode = "a" if go_on else "w"
        self._file = Path(path).open(mode, encoding="utf-8")  # noqa: SIM115 - it stays open as long as the process
        if not self._file.tell():
            self._file.write(_HEAD)
        self._file.flush()

    def add(self, report: Report, command: str) -> None:
        """Tell of one task; `flush` lets others read it."""
        self._file.write(log_line(report, command))

    def flush(self) -> None:
        """Let others read what was told. Raises OSError."""
        self._file.flush()
