"""``run --attach``: following a run that another process has begun, to its end and with its exit code.

What belongs here: its progress, learnt by asking. What must not: anything that changes what runs.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.run_report import Closing, run_code
from pilotfish.manager.answers import Failed, JobRow
from pilotfish.manager.api import Failures, Jobs
from pilotfish.model.states import TaskState
from pilotfish.ui.progress import Progress

__all__ = ["attach"]

_PERIOD = 0.25
"""Seconds between two questions."""


def attach(folder: Path, arguments: argparse.Namespace) -> int | None:
    """Show how far a living run is until it ends, and how it ended; None where none lives: nothing was said then.

    An interrupt ends the following, not the run. A run that ends before all tasks have is taken for interrupted.
    """
    if not folder.exists():
        return None
    with Inquiry(folder) as inquiry:
        totals = _totals(inquiry)
        if not inquiry.live:
            return None
        closing, progress = Closing(arguments), Progress(sys.stderr, totals, time.time())
        if not arguments.json:
            progress.note(f"pilotfish: attached to {folder.name}, which is running; an interrupt leaves it running")
        while inquiry.live:
            if not arguments.json:
                progress.update(totals, time.time())
            time.sleep(_PERIOD)
            totals = _totals(inquiry)
        progress.clear()
        closing.say(totals, lambda: msgspec.to_builtins(inquiry.ask(Failures(), list[Failed])))
    return run_code(totals, interrupted=not totals[TaskState.failed])


def _totals(inquiry: Inquiry) -> Mapping[TaskState, int]:
    jobs = inquiry.ask(Jobs(), list[JobRow])
    return {state: sum(job.counts.get(state.name, 0) for job in jobs) for state in TaskState}
