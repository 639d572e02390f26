"""``pilotfish show``: all that is known of a job, or of a task with its attempts."""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping
from signal import Signals

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import fields, note_unattended, paint, print_json
from pilotfish.manager.answers import AttemptRow, JobView, Place, RetriesRow, Shown, SignalRow, TaskView
from pilotfish.manager.api import Show
from pilotfish.model.quantities import format_bytes, format_seconds
from pilotfish.ui.words import ending_words, moment, plural, start_words, state_counts

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", help="a job or a task: 17, 17:3, sim, sim:3")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    with Inquiry.about(arguments) as inquiry:
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
    note_unattended(shown.counts or ([shown.task.state] if shown.task else []), live=live, way_on=inquiry.way_on)
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
        ("asks for", "; or ".join(request.words for request in job.requests)),
        ("time", _seconds(job.time)),
        ("estimate", _seconds(job.estimate)),
        ("signal", _signal(job.signal)),
        ("grace", _seconds(job.grace)),
        ("retries", _retries(job.retries)),
        ("memory growth", f"{job.memory_growth:g}" if job.memory_growth else ""),
        ("on lost", "" if job.on_lost == "rerun" else job.on_lost),
        ("priority", str(job.priority or "")),
        ("max parallel", "" if job.max_parallel is None else str(job.max_parallel)),
        ("max fails", "" if job.max_fails is None else str(job.max_fails)),
        ("uses", ", ".join(f"{amount} {name}" for name, amount in job.uses.items())),
        ("start after", moment(job.start_after)),
        ("schedule", ", next at ".join(filter(None, (job.schedule, moment(job.due))))),
        ("hold", "by the file" if job.hold else ""),
        ("modules", " ".join(job.modules)),
        ("venv", job.venv or ""),
        ("setup", "; ".join(job.setup)),
        ("env", " ".join(f"{name}={shlex.quote(value)}" for name, value in job.env.items())),
        ("stdin", job.stdin or ""),
        ("stdout", job.stdout or ""),
        ("stderr", job.stderr or ""),
        ("output limit", "" if job.output_limit is None else format_bytes(job.output_limit)),
    ]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else format_seconds(seconds)


def _signal(signal: SignalRow | None) -> str:
    return (
        "" if signal is None else f"{Signals(signal.number).name.removeprefix('SIG')} {_seconds(signal.before)} before"
    )


def _retries(retries: RetriesRow) -> str:
    """``3, after 10s growing by 2 up to 10m, on 75, timed_out``."""
    if not retries.count:
        return ""
    growth = f" growing by {retries.backoff:g}" if retries.backoff != 1 else ""
    limit = f" up to {format_seconds(retries.max_delay)}" if growth and retries.max_delay is not None else ""
    delay = f", after {format_seconds(retries.delay)}{growth}{limit}" if retries.delay else ""
    reasons = f", on {', '.join(map(str, retries.retry_on))}" if retries.retry_on else ""
    return f"{retries.count}{delay}{reasons}"


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
        ("held", task.held or ""),
        ("expected start", start_words(task.starts_at, time.time())),
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
