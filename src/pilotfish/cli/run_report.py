"""What `run` says: the plan before, progress and notes while, the summary and the exit code after.

What belongs here: words and streams of one run. What must not: anything that changes what runs.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

import msgspec

from pilotfish.agent.outputs import StreamName, live_output
from pilotfish.cli.output import print_line
from pilotfish.manager.campaigns import DEFAULT_STORE
from pilotfish.manager.intake import Plan
from pilotfish.manager.start import Campaign
from pilotfish.model.attempts import OutputRef
from pilotfish.model.changes import Change, Finish, Settle
from pilotfish.model.jobs import task_name
from pilotfish.model.states import FINAL, Outcome, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.ui.progress import Progress, summary
from pilotfish.ui.words import counted, plural

__all__ = ["Closing", "CommandReport", "Idle", "RunReport", "command_code", "plan_words", "run_code", "say_plan"]

_INTERRUPTED = 130
_STANDS_STILL = 1.0
"""Seconds without a running task after which it is worth a word."""
_CODES = {
    Outcome.timed_out: 124,
    Outcome.start_failed: 127,
    Outcome.interrupted: _INTERRUPTED,
    Outcome.cancelled: _INTERRUPTED,
}
"""What a shell, or `timeout`, would return."""


def plan_words(plan: Plan) -> str:
    """``3 changed, 12 new, 40 dependants, 945 kept``: what a run will do, in tasks."""
    parts = [
        f"{counted(plan.changed)} changed" if plan.changed else "",
        f"{counted(plan.new)} new" if plan.new else "",
        plural(plan.dependants, "dependant") if plan.dependants else "",
        f"{counted(plan.again)} to run again" if plan.again else "",
        f"{counted(plan.left)} left as {'it is' if plan.left == 1 else 'they are'}" if plan.left else "",
        f"{counted(plan.unfinished)} unfinished" if plan.unfinished else "",
        f"{counted(plan.kept)} kept" if plan.kept else "",
        f"{plural(plan.forgotten, 'job')} no longer in the file" if plan.forgotten else "",
    ]
    return ", ".join(part for part in parts if part)


def say_plan(plan: Plan, *, as_json: bool) -> None:
    """Tell what a run will do, before it does it."""
    if as_json:
        numbers = msgspec.structs.asdict(plan)
        del numbers["changes"]
        print_line("plan", numbers)
    else:
        sys.stderr.write(f"{plural(plan.total, 'task')}: {plan_words(plan)}\n")
        sys.stderr.flush()


def command_code(settle: Settle | None) -> int:
    """What ``run -- CMD`` returns: the command's own code, 128 + n for signal n, as shells do."""
    if settle is None:
        return 1
    report = settle.report
    if report.outcome is Outcome.exited:
        return report.code
    return 128 + report.code if report.outcome is Outcome.signalled else _CODES.get(report.outcome, 1)


def run_code(totals: Mapping[TaskState, int], *, interrupted: bool) -> int:
    """What ``run FILE`` returns, given the number of tasks in each state at its end."""
    if interrupted and any(totals[state] for state in TaskState if state not in FINAL):
        return _INTERRUPTED
    # What a failure has skipped comes with that failure; and a handler of failures that never came is none.
    done = totals[TaskState.succeeded] + totals[TaskState.skipped]
    return 0 if done == sum(totals.values()) else 1


class Closing:
    """What is said at the end of a run: a summary, or with ``--json`` a line."""

    def __init__(self, arguments: argparse.Namespace, command: str = "run") -> None:
        """The run begins now; `command`, with the words of `arguments.files`, is what runs the rest."""
        self._json = bool(arguments.json)
        self._place = "" if arguments.store == DEFAULT_STORE else f" --store {quote(arguments.store)}"
        self._again = self.command(command, arguments.files)
        self._began = time.time()

    def command(self, name: str, words: Iterable[str]) -> str:
        """A command about the same store, to be typed."""
        return f"pilotfish {name}{self._place} {' '.join(map(quote, words))}"

    def say(self, totals: Mapping[TaskState, int], failures: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Tell what became of it all.

        Args:
            totals: the number of tasks in each state.
            failures: asks the question of that name, where there are any.

        """
        seconds = time.time() - self._began
        if self._json:
            print_line("end", {"counts": {state.name: totals[state] for state in TaskState}, "seconds": seconds})
            return
        first = failures() if totals[TaskState.failed] else []
        sys.stderr.write(summary(totals, first, seconds=seconds, again=self._again, place=self._place) + "\n")


class Idle:
    """Notices that a campaign stands still because of held tasks; says so once for each time that it does."""

    def __init__(self, scheduler: Scheduler) -> None:
        """It does not."""
        self._scheduler = scheduler
        self._since: float | None = None
        self._told = False

    def news(self, now: float) -> Sequence[str]:
        """The names of jobs with held tasks, once nothing has run for a moment."""
        if self._scheduler.running or not self._scheduler.unfinished or self._scheduler.waits_for_time:
            self._since, self._told = None, False
        elif self._since is None:
            self._since = now
        elif not self._told and now - self._since >= _STANDS_STILL:
            self._told = True
            return [job.spec.name for job in self._scheduler.jobs.values() if self._some_held(job.id)]
        return ()

    def _some_held(self, job: int) -> bool:
        states = self._scheduler.states(job)
        return any(state not in FINAL and self._scheduler.is_held(job, at) for at, state in enumerate(states))


class RunReport:
    """An observer of one campaign: it speaks on stderr, or with ``--json`` on stdout."""

    def __init__(self, campaign: Campaign, arguments: argparse.Namespace, command: str = "run") -> None:
        """Begin to measure; nothing is said yet. `command` as in `Closing`."""
        self._campaign, self._json = campaign, bool(arguments.json)
        self._closing = Closing(arguments, command)
        self._progress: Progress | None = None
        self._idle = Idle(campaign.scheduler)

    def recorded(self, changes: Sequence[Change]) -> None:
        """Tell each end, where machines listen."""
        if not self._json:
            return
        jobs = self._campaign.scheduler.jobs
        for change in changes:
            if isinstance(change, Settle):
                report, attempt = change.report, change.report.attempt
                line = {"task": task_name(jobs[attempt.job], attempt.position), "attempt": attempt.number}
                line |= {"state": change.state.name, "outcome": report.outcome.value, "code": report.code}
                line |= {"started_at": report.started_at, "ended_at": report.ended_at, "reason": report.reason}
                print_line("attempt", line)
            elif isinstance(change, Finish):
                for position in range(change.lo, change.hi):
                    line = {"task": task_name(jobs[change.job], position), "state": change.state.name}
                    print_line("task", line | {"reason": change.reason})

    def note(self, text: str) -> None:
        """Pass something on that a person should read."""
        if self._json:
            print_line("note", {"text": text})
        elif self._progress is None:  # not begun
            sys.stderr.write(f"pilotfish: {text}\n")
        else:
            self._progress.note(f"pilotfish: {text}")

    def tick(self, now: float) -> None:
        """Tell how far it is, when it is time to."""
        if self._progress is None:
            self._progress = Progress(sys.stderr, self._campaign.scheduler.totals(), now)
        if not self._json and self._progress.due(now):
            self._progress.update(self._campaign.scheduler.totals(), now)
        if held := self._idle.news(now):
            self.note(f"nothing runs, and tasks are held: `{self._closing.command('release', held)}` lets them go")

    def end(self, *, interrupted: bool) -> int:
        """Tell what became of it all; the exit code."""
        if self._progress is not None:
            self._progress.clear()
        totals = self._campaign.scheduler.totals()
        self._closing.say(totals, lambda: self._campaign.ask("failures", {"limit": 10}))
        return run_code(totals, interrupted=interrupted)


class CommandReport:
    """An observer of one command: it passes its output on, and returns its code."""

    def __init__(self, campaign: Campaign, job: int) -> None:
        """Begin with nothing passed on; `job` is the command's."""
        self._campaign, self._job = campaign, job
        self._outputs = campaign.folder / "outputs"
        self._passed: dict[StreamName, int] = {"out": 0, "err": 0}

    def recorded(self, changes: Sequence[Change]) -> None:
        """Pass on what is left of the output of an attempt that has ended."""
        for change in changes:
            if isinstance(change, Settle):
                self._pass_on("out", change.report.stdout)
                self._pass_on("err", change.report.stderr)

    def note(self, text: str) -> None:
        """Pass something on that a person should read."""
        sys.stderr.write(f"pilotfish: {text}\n")

    def tick(self, now: float) -> None:  # noqa: ARG002 - whatever the time is, what was written is passed on
        """Pass on what the command has written meanwhile."""
        holder = self._campaign.scheduler.holder(self._job, 0)
        if holder is not None:
            node, lane, _ = holder
            for stream in self._passed:
                self._copy(stream, live_output(self._outputs, node, lane, stream), 0, None)

    def end(self, *, interrupted: bool) -> int:
        """The exit code of the command."""
        attempts = self._campaign.store.attempts(self._job, 0)
        if not attempts and self._campaign.scheduler.state(self._job, 0) is TaskState.succeeded:
            return 0  # an earlier run has done it
        if not attempts:
            return _INTERRUPTED if interrupted else 1
        if attempts[-1].report.reason:
            sys.stderr.write(f"pilotfish: {attempts[-1].report.reason}\n")
        return command_code(attempts[-1])

    def _pass_on(self, stream: StreamName, ref: OutputRef | None) -> None:
        if ref is not None:
            self._copy(stream, self._outputs / ref.file, ref.offset, ref.offset + ref.length)

    def _copy(self, stream: StreamName, path: Path, start: int, end: int | None) -> None:
        """Copy what was not passed on yet of an output that lies between `start` and `end` of a file."""
        target: BinaryIO = sys.stdout.buffer if stream == "out" else sys.stderr.buffer
        try:
            source = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # it has not started, or has just ended
            return
        with os.fdopen(source, "rb") as file:
            file.seek(start + self._passed[stream])
            while piece := file.read(65_536 if end is None else min(65_536, end - file.tell())):
                target.write(piece)
                self._passed[stream] += len(piece)
        target.flush()
