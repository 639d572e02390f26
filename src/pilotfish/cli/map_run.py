"""The run of one campaign of `map`: from its job to its exit code, and what of it stays.

What belongs here: the order of these steps. What must not: options (`map`), what is printed (`map_report`).
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote

from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.campaign_run import FailFast, interruptible
from pilotfish.cli.map_command import Commands
from pilotfish.cli.map_joblog import JobLog
from pilotfish.cli.map_report import INTERRUPTED, MOST_FAILURES, MapReport, Turns
from pilotfish.cli.run_report import say_plan
from pilotfish.errors import UserError
from pilotfish.manager.records import Records
from pilotfish.manager.start import Campaign
from pilotfish.model.jobs import JobSpec
from pilotfish.model.states import FINAL
from pilotfish.settings import Settings
from pilotfish.ui.words import plural

__all__ = ["run_map"]


def run_map(
    folder: Path,
    spec: JobSpec,
    commands: Commands,
    agent: AgentProcess,
    *,
    arguments: argparse.Namespace,
    settings: Settings,
) -> int:
    """Run the job to its end, or until a signal or a closed pipe ends it; the exit code.

    Of a run that went well nothing stays, unless its user has named a store.
    """
    log = None if arguments.joblog is None else _begun(arguments.joblog, go_on=arguments.resume)
    stays = True
    try:
        campaign = Campaign(folder, settings)
        try:
            plan = campaign.plan([spec])
            if arguments.resume:
                say_plan(plan, as_json=False)
            campaign.accept(plan)
            report = _report(campaign, commands, arguments, log)
            observer = FailFast(report, campaign) if arguments.fail_fast else report
            code = report.end(interrupted=interruptible(campaign, observer, agent, {}))
        finally:
            campaign.close()
        stays = code != 0
    except BrokenPipeError:  # whoever read our output has enough, so the user has too
        stays = False
        raise
    finally:
        if not stays and arguments.store is None:
            _remove(folder)
    if code:
        place = "" if arguments.store is None else f" --store {quote(arguments.store)}"
        sys.stderr.write(f"pilotfish: {_what_happened(code)}; `pilotfish tasks{place}` tells which\n")
    return code


def _report(campaign: Campaign, commands: Commands, arguments: argparse.Namespace, log: JobLog | None) -> MapReport:
    return MapReport(
        campaign,
        commands,
        turns=Turns(keep_order=arguments.keep_order, ended=_ended(campaign) if arguments.resume else ()),
        tag=arguments.tag,
        as_json=arguments.json,
        bar=arguments.bar,
        log=log,
    )


def _ended(campaign: Campaign) -> list[int]:
    """The positions of tasks that earlier runs have done."""
    (job,) = (submit.job.id for submit in campaign.store.current())
    return [position for position, state in enumerate(Records(campaign.store).states(job)) if state in FINAL]


def _what_happened(code: int) -> str:
    if code == INTERRUPTED:
        return "some tasks have not ended"
    return "more than 100 tasks failed" if code == MOST_FAILURES else f"{plural(code, 'task')} failed"


def _begun(path: str, *, go_on: bool) -> JobLog:
    try:
        return JobLog(path, go_on=go_on)
    except OSError as error:
        raise UserError(f"--joblog: {path}: {error.strerror}") from error


def _remove(folder: Path) -> None:
    """Leave nothing behind; the store, too, goes with the last that was in it."""
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
