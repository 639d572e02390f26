"""The run of one campaign from the command line: plan, work, what signals do to it, the exit code.

What belongs here: the order of these steps. What must not: arguments (`run`), words (`run_report`), the loop.
"""

import argparse
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pilotfish.cli.run_report import CommandReport, RunReport, say_plan
from pilotfish.manager.notify import Observer
from pilotfish.manager.start import Agents, Campaign, plan_of_new
from pilotfish.model.changes import Change, Finish, Settle
from pilotfish.model.events import Draining
from pilotfish.model.jobs import JobSpec, task_name
from pilotfish.model.states import TaskState
from pilotfish.settings import Settings

if TYPE_CHECKING:  # only a manager that stays loads it
    from pilotfish.manager.desk import Desk

__all__ = ["FailFast", "interruptible", "run_campaign", "tell_plan"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Batch systems announce the end of an allocation by TERM, or by what users ask them for: mostly USR1."""


def tell_plan(folder: Path, specs: Sequence[JobSpec], arguments: argparse.Namespace, settings: Settings) -> int:
    """Say what a run would do, and do nothing."""
    if arguments.fresh or not folder.exists():
        plan = plan_of_new(specs)
    else:
        campaign = Campaign(folder, settings)
        try:
            plan = campaign.plan(specs, keep_failed=arguments.keep_failed)
        finally:
            campaign.close()
    say_plan(plan, as_json=arguments.json)
    return 0


def run_campaign(
    folder: Path,
    specs: Sequence[JobSpec],
    agents: Agents,
    arguments: argparse.Namespace,
    settings: Settings,
    *,
    limits: Mapping[str, int],
) -> int:
    """Run a campaign to its end, or until a signal ends it; the exit code. `limits` are the named ones of its queue."""
    campaign = Campaign(folder, settings, fresh=arguments.fresh)
    try:
        plan = campaign.plan(specs, keep_failed=arguments.keep_failed)
        if arguments.files or arguments.resume:
            say_plan(plan, as_json=arguments.json)
        campaign.accept(plan)
        report: RunReport | CommandReport
        if arguments.files or arguments.json:
            report = RunReport(campaign, arguments)
        else:
            report = CommandReport(campaign, job=campaign.store.current()[-1].job.id)
        observer = FailFast(report, campaign) if arguments.fail_fast else report
        interrupted = interruptible(campaign, observer, agents, limits)
        return report.end(interrupted=interrupted)
    finally:
        campaign.close()


def interruptible(
    campaign: Campaign,
    observer: Observer,
    agents: Agents,
    limits: Mapping[str, int],
    *,
    desk: "Desk | None" = None,
) -> bool:
    """Work until the campaign is done, or a signal has ended it; whether one has. With a `desk`, only a signal does.

    An interrupt ends what runs, a second signal of any kind kills it; the others let it end.
    """
    stops: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stops.append(number)
        if len(stops) > 1:
            campaign.drain(Draining(kill=True, hard=True), "killing what runs")
        elif number == signal.SIGINT:
            campaign.drain(Draining(kill=True), "interrupted: ending what runs; once more kills it")
        else:
            campaign.drain(Draining(), "stopping: what runs may end; an interrupt ends it")

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    # What our children find out, or that they have died, is to be looked at soon.
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: campaign.wake())
    try:
        campaign.run(observer, agents, limits, desk=desk)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return bool(stops)


class FailFast:
    """An observer that ends a run at the first task that fails, and passes on to another one what it is told."""

    def __init__(self, observer: Observer, campaign: Campaign) -> None:
        """Nothing has failed yet; what had failed before the run is not looked at."""
        self._observer, self._campaign = observer, campaign
        self._failed = False

    def recorded(self, changes: Sequence[Change]) -> None:
        """Look for the failure."""
        self._observer.recorded(changes)
        for change in changes:
            if not self._failed and isinstance(change, Settle | Finish) and change.state is TaskState.failed:
                self._failed = True
                job, position = _first(change)
                name = task_name(self._campaign.scheduler.jobs[job], position)
                self._campaign.drain(Draining(kill=True), f"{name} has failed: ending what runs, starting nothing more")

    def note(self, text: str) -> None:
        """Pass it on."""
        self._observer.note(text)

    def tick(self, now: float) -> None:
        """Pass it on."""
        self._observer.tick(now)


def _first(change: Settle | Finish) -> tuple[int, int]:
    if isinstance(change, Finish):
        return change.job, change.lo
    return change.report.attempt.job, change.report.attempt.position
