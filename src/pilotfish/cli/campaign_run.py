"""The run of one campaign from the command line: plan, work, what signals do to it, the exit code.

What belongs here: the order of these steps. What must not: arguments (`run`), words (`run_report`), the loop.
"""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path

from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.run_report import CommandReport, RunReport, say_plan
from pilotfish.manager.start import Campaign, plan_of_new
from pilotfish.model.events import Draining
from pilotfish.model.jobs import JobSpec
from pilotfish.settings import Settings

__all__ = ["run_campaign", "tell_plan"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def tell_plan(folder: Path, specs: Sequence[JobSpec], arguments: argparse.Namespace, settings: Settings) -> int:
    """Say what a run would do, and do nothing."""
    if arguments.fresh or not folder.exists():
        plan = plan_of_new(specs)
    else:
        campaign = Campaign(folder, settings)
        try:
            plan = campaign.plan(specs)
        finally:
            campaign.close()
    say_plan(plan, as_json=arguments.json)
    return 0


def run_campaign(
    folder: Path, specs: Sequence[JobSpec], agent: AgentProcess, arguments: argparse.Namespace, settings: Settings
) -> int:
    """Run a campaign to its end, or until a signal ends it; the exit code."""
    campaign = Campaign(folder, settings, fresh=arguments.fresh)
    try:
        plan = campaign.plan(specs)
        if arguments.files:
            say_plan(plan, as_json=arguments.json)
        campaign.accept(plan)
        if arguments.files or arguments.json:
            return _work(campaign, agent, RunReport(campaign, arguments))
        return _work(campaign, agent, CommandReport(campaign, job=1))
    finally:
        campaign.close()


def _work(campaign: Campaign, agent: AgentProcess, report: RunReport | CommandReport) -> int:
    stops: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stops.append(number)
        campaign.drain(Draining(kill=number == signal.SIGINT or len(stops) > 1, hard=len(stops) > 1))

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        campaign.run(report, agent)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return report.end(interrupted=bool(stops))
