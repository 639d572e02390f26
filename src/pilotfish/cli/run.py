"""``pilotfish run``: a job file, or one command, to its end; and again, keeping what is done.

What belongs here: arguments, and what they make of the file, the command and the machine. What must not: the run
itself (`campaign_run`), whose modules are imported when the agent's process is on its way.
"""

import argparse
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.inventory import Declared, read_inventory
from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.allocated import found_allocation, in_allocation
from pilotfish.cli.arguments import refuse_contrary
from pilotfish.cli.elsewhere import add_wanted, agents_elsewhere, asks_allocation, refuse_without_on, works_here
from pilotfish.cli.machine import (
    Demand,
    add_machine,
    declared_of,
    demand_of,
    parsed,
    parsed_limit,
    refuse_impossible,
)
from pilotfish.errors import UserError
from pilotfish.manager import campaigns
from pilotfish.model.jobs import JobSpec
from pilotfish.model.quantities import ONE, parse_amount, parse_memory, parse_seconds
from pilotfish.model.resources import Inventory, Request
from pilotfish.runtime import runtime_folder
from pilotfish.settings import Settings

if TYPE_CHECKING:
    from pilotfish.manager.start import Agents

__all__ = ["agent_config", "configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = "pilotfish run [options] FILE … | pilotfish run [options] -- COMMAND [ARGUMENT …]"
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a job file; - for standard input; several are one campaign"
    )
    parser.add_argument("--store", metavar="DIR", default=campaigns.DEFAULT_STORE, help="default: ./.pilotfish")
    parser.add_argument("--fresh", action="store_true", help="archive what the campaign did and start anew")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    parser.add_argument(
        "--fail-fast", action="store_true", help="when a task fails, end what runs and start nothing more"
    )
    parser.add_argument("--keep-failed", action="store_true", help="do not run again what failed")
    parser.add_argument("--attach", action="store_true", help="if it is running already, follow it to its end")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout for all that happens")
    add_machine(parser)
    command = parser.add_argument_group("for a command")
    command.add_argument("-c", dest="task_cores", metavar="N", help="cores that it needs (default: 1)")
    command.add_argument("--mem", dest="task_memory", metavar="SIZE", help="memory that it needs and may use")
    command.add_argument(
        "-t", dest="time", metavar="TIME", help="limit, such as 90s; with --on slurm: of the allocation"
    )
    command.add_argument("-J", dest="name", metavar="NAME", help="its name (default: that of the program)")
    command.add_argument("--resume", action="store_true", help="go on where the same command was left, if it was")
    away = parser.add_argument_group("elsewhere")
    away.add_argument("--on", metavar="WHERE", help="slurm, pbs, …: get an allocation; dask://HOST:PORT: beside Dask")
    add_wanted(away, time=False)


def run(arguments: argparse.Namespace) -> int:
    """Run what the arguments say; exit codes are told in ``docs/reference/exit-codes.md``."""
    settings = Settings.from_environment()
    refuse_contrary(
        arguments, ("attach", "dry_run"), ("attach", "fresh"), ("fresh", "keep_failed"), ("fresh", "resume")
    )
    allocation = found_allocation(os.environ)
    declared = in_allocation(declared_of(arguments), allocation, os.environ)
    refuse_without_on(arguments)
    # Of other nodes, only the scheduler will know what they have.
    inventory = read_inventory(declared) if works_here(arguments, allocation) else None
    asked = _from_command if arguments.command else _from_files
    name, specs, limits = asked(arguments, inventory)
    folder = Path(arguments.store).absolute() / name
    if arguments.dry_run:
        from pilotfish.cli.campaign_run import tell_plan

        return tell_plan(folder, specs, arguments, settings)
    if arguments.attach:
        from pilotfish.cli.attach import attach

        code = attach(folder, arguments)
        if code is not None:
            return code
    agents: Agents
    if inventory is None:
        agents = agents_elsewhere(arguments, folder, allocation)
    else:
        # The agent's process begins to import what it needs while we do the same for the manager.
        agents = AgentProcess(agent_config(folder, declared, demand_of(specs, inventory), settings))
    from pilotfish.cli.campaign_run import run_campaign

    return run_campaign(folder, specs, agents, arguments, settings, limits=limits)


_Asked = tuple[str, tuple[JobSpec, ...], Mapping[str, int]]
"""The campaign's folder, its jobs, its named limits."""


def _from_files(arguments: argparse.Namespace, inventory: Inventory | None) -> _Asked:
    from pilotfish.formats.native import STDIN, load_all

    if not arguments.files:
        raise UserError("name a job file; see `pilotfish run --help`")
    if arguments.resume:
        raise UserError("--resume is for `run -- COMMAND`; a job file always goes on where it was left")
    for option, value in (("-c", arguments.task_cores), ("--mem", arguments.task_memory),
                          ("-t", arguments.time), ("-J", arguments.name)):  # fmt: skip
        if value is not None and not (option == "-t" and asks_allocation(arguments)):
            raise UserError(f"{option} is for `run -- COMMAND`; a job file says it for each job")
    files = arguments.files
    if files.count(STDIN) > 1:
        raise UserError("standard input (-) can be read once only")
    loaded = load_all([(file, sys.stdin.read() if file == STDIN else None) for file in files])
    if inventory is not None:
        refuse_impossible(loaded.jobs, inventory, loaded.refusal)
    if loaded.name is not None:
        return campaigns.folder_of_name(loaded.name), loaded.jobs, loaded.limits
    return campaigns.folder_of_files([Path(file) for file in files]), loaded.jobs, loaded.limits


def _from_command(arguments: argparse.Namespace, inventory: Inventory | None) -> _Asked:
    """One command as a campaign of its own: it starts anew each time, unless it is to go on."""
    from pilotfish.formats.placeholders import escape

    if arguments.files:
        raise UserError(f"a job file ({arguments.files[0]}) and a command in one run: choose one")
    for word in arguments.command:
        if not word.isprintable() and _not_text(word):
            raise UserError(f"{word!r} is not UTF-8: put the command into a script, and run that")
    if arguments.attach:
        raise UserError("--attach is for job files: a command starts anew each time")
    here = Path.cwd()
    request = Request(
        cores=parsed("-c", arguments.task_cores, parse_amount) or ONE,
        memory=parsed_limit("--mem", arguments.task_memory, parse_memory),
    )
    name = arguments.name or Path(arguments.command[0]).name or "command"
    spec = JobSpec(
        name=name,
        command=tuple(escape(word) for word in arguments.command),
        directory=str(here),
        cwd=escape(str(here)),
        request=request,
        time=None if asks_allocation(arguments) else parsed_limit("-t", arguments.time, parse_seconds),
    )
    if inventory is not None:
        refuse_impossible([spec], inventory, lambda _, message: UserError(message))
    words, store = arguments.command, Path(arguments.store)
    earlier = campaigns.newest_of_command(store, words, here) if arguments.resume else None
    return earlier or campaigns.folder_of_command(words, here), (spec,), {}


def agent_config(folder: Path, declared: Declared, demand: Demand, settings: Settings) -> AgentConfig:
    """What the agent of this machine is told that runs the campaign in a folder."""
    runtime = runtime_folder(campaigns.key(folder))
    return AgentConfig(
        **msgspec.structs.asdict(declared),
        **msgspec.structs.asdict(demand),
        node=socket.gethostname(),
        campaign=str(folder),
        folder=str(runtime),
        scratch=str(runtime / "scratch"),
        settings=settings,
    )


def _not_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return True
    return False
