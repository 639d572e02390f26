"""``pilotfish explain``: why a task is in its state, in the scheduler's own words."""

import argparse
import sys
import time

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import note_unattended, paint, print_json
from pilotfish.manager.answers import Explained, Plight
from pilotfish.manager.api import Explain
from pilotfish.ui.words import ending_words, plural, start_words

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", help="a job or a task: 17, 17:3, sim, sim:3")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each state that tasks are in."""
    with Inquiry.about(arguments) as inquiry:
        explained = inquiry.ask(Explain(arguments.id), Explained)
    if arguments.json:
        print_json(explained)
        return 0
    for plight in explained.plights:
        sys.stdout.write(_line(plight, time.time()))
    note_unattended({plight.state for plight in explained.plights}, live=explained.live, way_on=inquiry.way_on)
    return 0


def _line(plight: Plight, now: float) -> str:
    """``sim:3 failed: …``, or ``12 tasks waiting; sim:3: …``."""
    state = paint(plight.state, plight.state)
    head = f"{plural(plight.tasks, 'task')} {state}; {plight.first}" if plight.tasks > 1 else f"{plight.first} {state}"
    how = ending_words(plight.outcome, plight.code, plight.reason)
    attempt = f", attempt {plight.attempt}" if plight.outcome else ""
    kept = f"; kept from {plight.kept_from} of an earlier run" if plight.kept_from else ""
    start = start_words(plight.starts_at, now)
    return f"{head}: {how}{attempt}{kept}{start and f'; expected to start {start}'}\n"
