"""``pilotfish tasks``: one line for each task, or a line for each job where there are very many."""

import argparse
import sys

import msgspec

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.jobs import jobs_table
from pilotfish.cli.output import note_unattended, print_json, table
from pilotfish.manager.answers import JobRow, TaskPage, TaskRow
from pilotfish.manager.api import MOST_ROWS, Jobs, Tasks
from pilotfish.model.quantities import format_bytes, format_seconds
from pilotfish.model.states import TaskState
from pilotfish.ui.words import moment, outcome_words, shortened

__all__ = ["configure", "run"]

_MANY = 1000
"""Tasks above which a person who asks for nothing particular gets a summary by job."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", nargs="?", metavar="JOB", help="a job or a task: 17, sim, sim:3 (default: all jobs)")
    parser.add_argument("--failed", action="store_true", help="only failed tasks: --state failed")
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.name for state in TaskState],
        metavar="STATE",
        help="only tasks in this state; may be given several times",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many tasks")
    parser.add_argument(
        "--name", metavar="GLOB", help="only tasks whose name, or whose job's, is like this: 'sim*', 'sim:1?'"
    )
    parser.add_argument("--held", action="store_true", help="only tasks that are held back")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the list with ``--json``."""
    states = (arguments.state or []) + (["failed"] if arguments.failed else [])
    wanted = Tasks(arguments.id, tuple(states) or None, arguments.name, arguments.held)
    particular = wanted != Tasks() or arguments.limit is not None or arguments.json
    with Inquiry.about(arguments) as inquiry:
        jobs = [] if particular else inquiry.ask(Jobs(), list[JobRow])
        summarised = sum(job.tasks for job in jobs) > _MANY
        tasks = [] if summarised else _tasks(inquiry, wanted, arguments.limit)
        live = inquiry.live
    if arguments.json:
        print_json(tasks)
    elif summarised:
        sys.stdout.write(jobs_table(jobs))
        sys.stderr.write("by job, for they are many: `pilotfish tasks JOB`, `--state` and `--limit` list tasks\n")
    elif tasks:
        sys.stdout.write(_tasks_table(tasks))
    else:
        sys.stderr.write("no such tasks\n")
    if not arguments.json:
        note_unattended(
            {state for job in jobs for state in job.counts} | {task.state for task in tasks},
            live=live,
            way_on=inquiry.way_on,
        )
    return 0


def _tasks(inquiry: Inquiry, wanted: Tasks, limit: int | None) -> list[TaskRow]:
    """All of them, page by page."""
    found: list[TaskRow] = []
    following: tuple[int, int] | None = (0, 0)
    while following is not None and (limit is None or len(found) < limit):
        room = MOST_ROWS if limit is None else min(MOST_ROWS, limit - len(found))
        page = inquiry.ask(msgspec.structs.replace(wanted, start=following, limit=room), TaskPage)
        found += page.tasks
        following = page.next
    return found


_TITLES = ("name", "id", "state", "try", "outcome", "started", "time", "cpu", "memory", "node", "value", "note")
_RIGHT = ("try", "time", "cpu", "memory")


def _tasks_table(tasks: list[TaskRow]) -> str:
    return table(_TITLES, [_cells(task) for task in tasks], right=_RIGHT)


def _cells(task: TaskRow) -> tuple[str, ...]:
    lasted = task.ended_at - task.started_at if task.ended_at and task.started_at else None
    return (
        task.name,
        task.id,
        task.state,
        "" if task.attempt is None else str(task.attempt),
        "" if task.outcome is None or task.code is None else outcome_words(task.outcome, task.code),
        moment(task.started_at),
        "" if lasted is None else format_seconds(lasted),
        "" if task.cpu_seconds is None else format_seconds(task.cpu_seconds),
        format_bytes(task.peak_rss) if task.peak_rss else "",
        task.node or "",
        shortened(task.value or ""),
        _note(task),
    )


def _note(task: TaskRow) -> str:
    if task.kept_from:
        return f"kept from {task.kept_from}"
    if task.held is None:
        return task.reason
    return task.held if task.held.startswith(("held", "hold:")) else f"held: {task.held}"
