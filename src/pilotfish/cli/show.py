"""``pilotfish show``: all that is known of a job, or of a task with its attempts."""

import argparse
import shlex
import sys
from collections.abc import Mapping

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import fields, note_unattended, paint, print_json
from pilotfish.manager.answers import AttemptRow, JobView, Place, Shown, TaskView
from pilotfish.manager.api import Show
from pilotfish.model.quantities import format_bytes, format_seconds
from pilotfish.ui.words import ending_words, moment, plural, state_counts

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", help="a job or a task: 17, 17:3, sim, sim:3")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    with Inquiry(arguments) as inquiry:
        shown = inquiry.ask(Show(arguments.id), Shown)
        live = inquiry.live
    if arguments.json:
        print_json(shown)
        return 0
    if shown.counts is not None:
        sys.stdout.write(fields(_job(shown.job, shown.counts)))
    if shown.task is not None:
        sys.stdout.write(fields(_task(shown.task, shown.job)))
        sys.stdout.write(_attempts(shown.task.attempts))
    note_unattended(shown.counts or ([shown.task.state] if shown.task else []), live=live)
    return 0


def _job(job: JobView, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    after = (f"{row.job} ({'each, ' * row.each}{row.when})" for row in job.after)
    return [
        ("job", f"{job.name} ({job.id})"),
        ("standing", "" if job.current else _retired(job)),
        ("submitted", moment(job.submitted_at)),
        ("tasks", f"{plural(job.tasks, 'task')}: {state_counts(counts)}"),
        ("array", job.array),
        ("command", _command(job.command)),
        ("cwd", job.cwd),
        ("after", ", ".join(after)),
        ("cores", f"{job.cores:g}"),
        ("memory", "" if job.memory is None else format_bytes(job.memory)),
        ("time", "" if job.time is None else format_seconds(job.time)),
        ("retries", str(job.retries or "")),
        ("priority", str(job.priority or "")),
        ("max parallel", "" if job.max_parallel is None else str(job.max_parallel)),
        ("env", " ".join(f"{name}={shlex.quote(value)}" for name, value in job.env.items())),
        ("stdout", job.stdout or ""),
        ("stderr", job.stderr or ""),
    ]


def _retired(job: JobView) -> str:
    return f"replaced by job {job.replaced_by}" if job.replaced_by else "no longer in the file"


def _task(task: TaskView, job: JobView) -> list[tuple[str, str]]:
    own = [
        ("task", f"{task.name} ({task.id})"),
        ("value", task.value or ""),
        ("standing", "" if job.current else _retired(job)),
        ("command", _command(task.command)),
        ("cwd", task.cwd),
    ]
    return [
        *(own if task.index is not None else []),
        ("state", paint(task.state, task.state)),
        ("why", task.why or ("" if task.outcome else task.reason)),
        ("kept from", task.kept_from or ""),
        ("running on", f"{task.node or '?'}, attempt {task.attempt}" if task.state in ("running", "stopping") else ""),
    ]


def _attempts(attempts: list[AttemptRow]) -> str:
    blocks = (
        fields(
            [
                (f"attempt {one.number}", ending_words(one.outcome, one.code, one.reason)),
                ("  charged", "" if one.charged else "no: uses up no retry"),
                ("  started", moment(one.started_at)),
                ("  time", format_seconds(one.ended_at - one.started_at) if one.started_at else ""),
                ("  cpu", format_seconds(one.cpu_seconds)),
                ("  memory", format_bytes(one.peak_rss) if one.peak_rss else ""),
                ("  node", one.node),
                ("  stdout", _place(one.stdout)),
                ("  stderr", _place(one.stderr)),
            ]
        )
        for one in attempts
    )
    return "".join(blocks)


def _command(command: str | list[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _place(place: Place | None) -> str:
    return "" if place is None else f"{format_bytes(place.length or 0)} in {place.path} at {place.offset}"
