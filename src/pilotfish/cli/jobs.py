"""``pilotfish jobs``: one line for each job, with the states of its tasks."""

import argparse
import sys
from fnmatch import fnmatchcase

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import note_unattended, print_json, table
from pilotfish.manager.answers import JobRow
from pilotfish.manager.api import Jobs
from pilotfish.model.states import TaskState
from pilotfish.ui.words import moment, plural, state_counts

__all__ = ["configure", "jobs_table", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.name for state in TaskState],
        metavar="STATE",
        help="only jobs with tasks in this state; may be given several times",
    )
    parser.add_argument("--name", metavar="GLOB", help="only jobs whose name is like this: 'sim*'")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the list with ``--json``."""
    with Inquiry.about(arguments) as inquiry:
        jobs = [job for job in inquiry.ask(Jobs(), list[JobRow]) if _wanted(job, arguments)]
        live = inquiry.live
    if arguments.json:
        print_json(jobs)
    elif jobs:
        sys.stdout.write(jobs_table(jobs))
        note_unattended({state for job in jobs for state in job.counts}, live=live, way_on=inquiry.way_on)
    else:
        sys.stderr.write("no such jobs\n")
    return 0


def _wanted(job: JobRow, arguments: argparse.Namespace) -> bool:
    if arguments.name is not None and not fnmatchcase(job.name, arguments.name):
        return False
    return not arguments.state or any(state in job.counts for state in arguments.state)


def jobs_table(jobs: list[JobRow]) -> str:
    """A line for each."""
    return table(("name", "id", "tasks", "states", "schedule", "next"), list(map(_row, jobs)), right=("tasks",))


def _row(job: JobRow) -> tuple[str, ...]:
    states = state_counts(job.counts)
    return job.name, str(job.id), plural(job.tasks, "task"), states, job.schedule or "", moment(job.due)
