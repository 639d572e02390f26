"""The work on a queue of job classes by the command that has submitted to it: to its end, with the result.

What belongs here: the order of these steps, and what is printed. What must not: arguments (`submit`).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pilotfish.agent.inventory import Declared, read_inventory
from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.campaign_run import interruptible
from pilotfish.cli.machine import Demand, demand_of
from pilotfish.cli.output import print_line, say_submitted
from pilotfish.cli.run import agent_config
from pilotfish.cli.run_report import RunReport
from pilotfish.functions.envelope import unpack_exception, unpack_value
from pilotfish.functions.values import Values
from pilotfish.manager.start import Campaign
from pilotfish.model.changes import Change, Finish, Settle
from pilotfish.model.jobs import JobSpec
from pilotfish.model.states import FINAL, TaskState
from pilotfish.settings import Settings

__all__ = ["work_off"]

_BAD = (TaskState.failed, TaskState.cancelled)


def work_off(
    folder: Path,
    spec: JobSpec,
    call: bytes,
    declared: Declared,
    *,
    arguments: argparse.Namespace,
    settings: Settings,
) -> int:
    """Enqueue a call and work until the queue is empty, or a signal ends it; the exit code. Raises BusyError."""
    campaign = Campaign(folder, settings)
    try:
        task = campaign.enqueue(spec, call)
        say_submitted(campaign.name(*task), as_json=arguments.json)
        # The class was imported here, and may have started threads: the agent must not be a fork.
        agent = AgentProcess(agent_config(folder, declared, _demand(spec, declared), settings), fork=False)
        words = argparse.Namespace(**{**vars(arguments), "files": [arguments.kind, *arguments.words]})
        report = _Report(campaign, words, "submit")
        interrupted = interruptible(campaign, report, agent, {})
        code = report.end(interrupted=interrupted)
        _say_end(campaign, task, as_json=arguments.json)
    finally:
        campaign.close()
    return code


class _Report(RunReport):
    """Tells of what has happened since it began: what had failed before is no failure of this run."""

    _failed = 0

    def recorded(self, changes: Sequence[Change]) -> None:
        """Count the failures."""
        super().recorded(changes)
        for change in changes:
            if isinstance(change, Settle) and change.state in _BAD:
                self._failed += 1
            elif isinstance(change, Finish) and change.state in _BAD:
                self._failed += change.hi - change.lo

    def end(self, *, interrupted: bool) -> int:
        """Tell what became of it all; the exit code."""
        code = super().end(interrupted=interrupted)
        return int(self._failed > 0) if code == 1 else code


def _demand(spec: JobSpec, declared: Declared) -> Demand:
    """As much as there is: nobody knows what the job will enqueue."""
    least = demand_of([spec], read_inventory(declared))
    return msgspec.structs.replace(least, at_most=None, gpus_at_most=None)


def _say_end(campaign: Campaign, task: tuple[int, int], *, as_json: bool) -> None:
    """Print what the job has returned, or what it has raised."""
    function = campaign.scheduler.jobs[task[0]].spec.function
    for settle in campaign.store.results([task]):
        if function is None or settle.state not in FINAL or not settle.report.result:
            return
        values = Values(Path(function.values), spill=Path(function.spill), limit=function.limit)
        if settle.state is TaskState.succeeded:
            _say_result(unpack_value(settle.report.result, values), as_json=as_json)
        elif not as_json:
            error = unpack_exception(settle.report.result, values)
            sys.stderr.write("".join(f"{note}\n" for note in getattr(error, "__notes__", ())))


def _say_result(value: object, *, as_json: bool) -> None:
    """As JSON where it is such, else in the words of Python; nothing for None."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = json.dumps(repr(value)) if as_json else repr(value)
    if as_json:
        print_line("result", {"value": json.loads(text)})
    elif value is not None:
        sys.stdout.write(f"{text}\n")
