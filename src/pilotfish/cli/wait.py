"""``pilotfish wait``: until jobs or tasks have ended, whatever becomes of their manager meanwhile.

What belongs here: asking again and again. What must not: anything that changes them.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import print_json
from pilotfish.errors import UnavailableError
from pilotfish.manager.answers import Shown
from pilotfish.manager.api import Show
from pilotfish.model.states import FINAL, TaskState
from pilotfish.settings import Settings

__all__ = ["configure", "run", "wait_for"]

_SHORTEST, _LONGEST = 0.02, 0.5
"""Seconds between two questions: ever longer ones."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="a job or a task: 17, 17:3, sim, sim:3")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Wait; 0 where all have succeeded, else 1."""
    return wait_for(Inquiry.about(arguments).folder, arguments.ids, as_json=arguments.json)


def wait_for(folder: Path, ids: Sequence[str], *, as_json: bool = False, seen: bool = False) -> int:
    """Wait for jobs and tasks of a campaign; 0 where all have succeeded, else 1.

    Raises UnavailableError where no manager works on them, or one that was `seen` has been away for the lease.
    """
    patience, seen_at = Settings.from_environment().lease, time.monotonic() if seen else -math.inf
    pause = _SHORTEST
    ids = list(dict.fromkeys(ids))
    names = list(ids)
    ended: dict[str, Mapping[str, int]] = {}
    with Inquiry(folder) as inquiry:
        while len(ended) < len(ids):
            for place, name in enumerate(names):
                if ids[place] in ended:
                    continue
                shown = inquiry.ask(Show(name), Shown)
                names[place] = _number(shown, name)  # a later job of the name is not meant
                counts = _counts(shown)
                if all(TaskState[state] in FINAL for state in counts):
                    ended[ids[place]] = counts
            now = time.monotonic()
            if inquiry.live:
                seen_at = now
            elif len(ended) < len(ids) and now - seen_at > patience:
                raise UnavailableError(f"no manager is running in {folder}: nobody works on {', '.join(names)}")
            if not inquiry.live:
                inquiry.pause()  # or no manager could begin
            if len(ended) < len(ids):
                time.sleep(pause)
                pause = min(1.2 * pause, _LONGEST)
    if as_json:
        print_json([{"id": name, "counts": ended[name]} for name in ids])
    return 0 if all(set(counts) <= {"succeeded"} for counts in ended.values()) else 1


def _number(shown: Shown, name: str) -> str:
    _, colon, index = name.rpartition(":")
    return f"{shown.job.id}:{index}" if colon and shown.counts is None else str(shown.job.id)


def _counts(shown: Shown) -> Mapping[str, int]:
    if shown.counts is not None:
        return shown.counts
    return {} if shown.task is None else {shown.task.state: 1}
