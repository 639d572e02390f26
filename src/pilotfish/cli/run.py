"""``pilotfish run``: a job file, or one command, to its end; and again, keeping what is done.

What belongs here: arguments, and what they make of the file, the command and the machine. What must not: the run
itself (`campaign_run`), whose modules are imported when the agent's process is on its way.
"""

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.inventory import read_inventory
from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.arguments import add_later
from pilotfish.errors import JobFileError, UserError
from pilotfish.manager import campaigns
from pilotfish.model.jobs import JobSpec, TableArray
from pilotfish.model.quantities import ONE, format_amount, format_bytes, parse_amount, parse_bytes, parse_seconds
from pilotfish.model.resources import Inventory, Request
from pilotfish.runtime import runtime_folder
from pilotfish.settings import Settings

__all__ = ["configure", "run"]

_MOST_TEXT = 15_000_000
"""Characters of one job's array: a job travels as one message."""
_T = TypeVar("_T")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = "pilotfish run [options] FILE | pilotfish run [options] -- COMMAND [ARGUMENT …]"
    parser.add_argument("files", nargs="*", metavar="FILE", help="a job file; - for standard input")
    parser.add_argument("--store", metavar="DIR", default=campaigns.DEFAULT_STORE, help="default: ./.pilotfish")
    parser.add_argument("--fresh", action="store_true", help="archive what the campaign did and start anew")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout for all that happens")
    parser.add_argument("--cores", metavar="N", help="cores of this machine to use (default: all that we may use)")
    parser.add_argument("--memory", metavar="SIZE", help="memory of this machine to use, such as 16GiB")
    command = parser.add_argument_group("for a command")
    command.add_argument("-c", dest="task_cores", metavar="N", help="cores that it needs (default: 1)")
    command.add_argument("--mem", dest="task_memory", metavar="SIZE", help="memory that it needs and may use")
    command.add_argument("-t", dest="time", metavar="TIME", help="limit, such as 90s or 10m")
    command.add_argument("-J", dest="name", metavar="NAME", help="its name (default: that of the program)")
    add_later(parser, "--attach", "--fail-fast", "--gpus", "--keep-failed", "--on", "--resume")


def run(arguments: argparse.Namespace) -> int:
    """Run what the arguments say; exit codes are told in ``docs/reference/exit-codes.md``."""
    settings = Settings.from_environment()
    name, specs = _from_command(arguments) if arguments.command else _from_file(arguments)
    cores = _parsed("--cores", arguments.cores, _whole_cores)
    memory = _parsed("--memory", arguments.memory, parse_bytes)
    inventory = read_inventory(cores, memory)
    _refuse_impossible(specs, inventory)
    folder = Path(arguments.store).absolute() / name
    if arguments.dry_run:
        from pilotfish.cli.campaign_run import tell_plan

        return tell_plan(folder, specs, arguments, settings)
    # The agent's process begins to import what it needs while we do the same for the manager.
    agent = AgentProcess(_agent_config(folder, (cores, memory), _demand(specs), settings))
    from pilotfish.cli.campaign_run import run_campaign

    return run_campaign(folder, specs, agent, arguments, settings)


def _from_file(arguments: argparse.Namespace) -> tuple[str, tuple[JobSpec, ...]]:
    from pilotfish.formats.native import STDIN, load, load_text

    if len(arguments.files) != 1:
        what = "several files in one run are not yet supported" if arguments.files else "name a job file"
        raise UserError(f"{what}; see `pilotfish run --help`")
    for option, value in (("-c", arguments.task_cores), ("--mem", arguments.task_memory),
                          ("-t", arguments.time), ("-J", arguments.name)):  # fmt: skip
        if value is not None:
            raise UserError(f"{option} is for `run -- COMMAND`; a job file says it for each job")
    (file,) = arguments.files
    loaded = load_text(sys.stdin.read(), name=STDIN) if file == STDIN else load(Path(file))
    if loaded.name is not None:
        return campaigns.folder_of_name(loaded.name), loaded.jobs
    return campaigns.folder_of_file(Path(file)), loaded.jobs


def _from_command(arguments: argparse.Namespace) -> tuple[str, tuple[JobSpec, ...]]:
    """One command as a campaign of its own: it starts anew each time."""
    from pilotfish.formats.placeholders import escape

    if arguments.files:
        raise UserError(f"a job file ({arguments.files[0]}) and a command in one run: choose one")
    for word in arguments.command:
        if not word.isprintable() and _not_text(word):
            raise UserError(f"{word!r} is not UTF-8: put the command into a script, and run that")
    here = str(Path.cwd())
    request = Request(
        cores=_parsed("-c", arguments.task_cores, parse_amount) or ONE,
        memory=_parsed("--mem", arguments.task_memory, parse_bytes),
    )
    name = arguments.name or Path(arguments.command[0]).name or "command"
    spec = JobSpec(
        name=name,
        command=tuple(escape(word) for word in arguments.command),
        directory=here,
        cwd=escape(here),
        request=request,
        time=_parsed("-t", arguments.time, parse_seconds),
    )
    moment = time.strftime("%Y%m%d-%H%M%S")
    return campaigns.folder_of_name(f"run-{moment}-{os.getpid()}"), (spec,)


def _agent_config(
    folder: Path, declared: tuple[int | None, int | None], demand: tuple[int, int], settings: Settings
) -> AgentConfig:
    runtime = runtime_folder(campaigns.key(folder))
    return AgentConfig(
        node=socket.gethostname(),
        campaign=str(folder),
        folder=str(runtime),
        scratch=str(runtime / "scratch"),
        cores=declared[0],
        memory=declared[1],
        at_least=demand[0],
        at_most=demand[1],
        settings=settings,
    )


def _demand(specs: Sequence[JobSpec]) -> tuple[int, int]:
    """The cores that the largest task needs, and those that all tasks could use at the same time."""
    each = [(-(-spec.request.cores // ONE), min(spec.count, spec.max_parallel or spec.count)) for spec in specs]
    return max(cores for cores, _ in each), sum(cores * tasks for cores, tasks in each)


def _refuse_impossible(specs: Sequence[JobSpec], inventory: Inventory) -> None:
    """A request beyond the machine is a mistake in the file: refuse it before anything runs."""
    for spec in specs:
        request = spec.request
        if request.cores > len(inventory.cores) * ONE:
            problem = f"{format_amount(request.cores)} cores, and this machine gives us {len(inventory.cores)}"
            raise JobFileError(f"job {spec.name} asks for {problem}; ask for less, or declare more with --cores")
        if isinstance(spec.array, TableArray) and sum(len(v) for c in spec.array.columns for v in c) > _MOST_TEXT:
            raise JobFileError(f"the array of job {spec.name} is longer than 15 million characters: use files")
        if request.memory is not None and request.memory > inventory.memory:
            problem = f"{format_bytes(request.memory)}, and this machine gives us {format_bytes(inventory.memory)}"
            raise JobFileError(f"job {spec.name} asks for {problem}; ask for less, or declare more with --memory")


def _not_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return True
    return False


def _whole_cores(text: str) -> int:
    amount = parse_amount(text)
    if amount % ONE or amount == 0:
        raise ValueError(f"expected a whole number of cores, got {text!r}")
    return amount // ONE


def _parsed(option: str, text: str | None, parse: Callable[[str], _T]) -> _T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error
