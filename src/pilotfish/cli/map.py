"""``pilotfish map``: one task per argument, in the manner of GNU parallel.

What belongs here: options, and what they make of the command and its arguments: one job of one campaign. What must
not: where arguments come from (`map_arguments`), replacement strings (`map_command`), what is printed (`map_report`).
"""

import argparse
import re
import sys
from itertools import chain
from pathlib import Path

from pilotfish.agent.inventory import Declared, Machine, inventory_of, read_machine
from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.arguments import refuse_contrary
from pilotfish.cli.machine import MOST_UNITS, demand_of, parsed, parsed_limit
from pilotfish.cli.map_arguments import Separation, parse_delimiter, read_rows, split_words
from pilotfish.cli.map_command import SLOT, Commands, Row
from pilotfish.cli.run import agent_config
from pilotfish.errors import UserError
from pilotfish.formats.placeholders import escape
from pilotfish.manager import campaigns
from pilotfish.model.jobs import MOST_TEXT, JobSpec, Retries
from pilotfish.model.quantities import ONE, Amount, parse_amount, parse_memory, parse_seconds
from pilotfish.model.resources import Request
from pilotfish.settings import Settings

__all__ = ["configure", "parse_slots", "run"]

_MANY, _MOST = 250, 1000
"""Tasks at once where many are wanted, and at most: each has a process that watches it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = "pilotfish map [options] COMMAND [::: ARGUMENT …] [:::: FILE …]"
    parser.epilog = (
        "Without ::: and :::: each line of standard input is an argument. {} {.} {/} {//} {/.} {1} {2.} … in COMMAND "
        "stand for arguments, {#} for the number of the task, {%} for its slot; without any of them arguments are "
        "appended. Options stand before COMMAND."
    )
    add = parser.add_argument
    add("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="for the shell, one word or several")
    add(
        "-j",
        "--jobs",
        "-P",
        "--max-procs",
        metavar="N",
        help="tasks at once: 4, 150%%, +2, -1, 0 for many (default: one per core)",
    )
    add("-k", "--keep-order", action="store_true", help="print outputs in the order of the arguments")
    add("--tag", action="store_true", help="print the arguments before each line of output")
    add("-n", "-N", "--max-args", dest="most", metavar="N", help="give each task N arguments")
    add(
        "-a",
        "--arg-file",
        action="append",
        default=[],
        metavar="FILE",
        help="arguments, one a line; - for standard input",
    )
    between = parser.add_mutually_exclusive_group()
    between.add_argument("-0", "--null", action="store_true", help="arguments in files and standard input end with NUL")
    between.add_argument("-d", "--delimiter", metavar="TEXT", help=r"likewise with TEXT, such as , or \t")
    add("-C", "--colsep", metavar="REGEX", help="split each argument there into {1}, {2}, …")
    add("-t", "--timeout", metavar="TIME", help="limit of a task, such as 90s or 10m")
    add("--retries", metavar="N", help="run a task that fails up to N times in all")
    add("--fail-fast", action="store_true", help="end it all when a task fails")
    add("-c", dest="task_cores", metavar="N", help="cores that a task needs (default: 1)")
    add("--mem", dest="task_memory", metavar="SIZE", help="memory that a task needs and may use")
    add("--bar", "--progress", "--eta", action="store_true", help="tell on stderr how far it is")
    add("--joblog", metavar="FILE", help="write a line for each task there")
    add("--dry-run", action="store_true", help="print the command lines, and stop")
    add("--json", action="store_true", help="print one JSON object a line for each task, its output in it")
    add("--store", metavar="DIR", help="keep what is known of the run there (default: only of one that failed)")
    add("--resume", action="store_true", help="go on where the same command was left, if it was")


def run(arguments: argparse.Namespace) -> int:
    """Run what the arguments say; the exit code counts failed tasks, 101 stands for more than 100."""
    refuse_contrary(arguments, ("dry_run", "json"), ("dry_run", "resume"), ("json", "tag"))
    settings = Settings.from_environment()
    words = _words(arguments)
    command, groups = split_words(words)
    if not groups and not arguments.arg_file and sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write("pilotfish: arguments are read from the terminal, one a line; Ctrl-D ends them\n")
    rows = _bundled(read_rows(arguments.arg_file, groups, _separation(arguments)), arguments)
    if not rows:
        return 0
    commands = Commands(" ".join(command), rows)
    if sum(len(text) for column in commands.array.columns for text in column) > MOST_TEXT:
        raise UserError(f"arguments of more than {MOST_TEXT:,} characters: share them out among several runs")
    if arguments.dry_run:
        sys.stdout.writelines(f"{commands.line(position)}\n" for position in range(len(rows)))
        return 0
    machine = read_machine()
    spec, declared = _job(arguments, commands, machine)
    inventory = inventory_of(machine, declared)
    lack = inventory.lacks(spec.request)
    if lack is not None:
        raise UserError(f"each task asks this machine for {lack}; ask for less")
    store = Path(arguments.store or campaigns.DEFAULT_STORE).absolute()
    known_by, here = ("map", *words), Path.cwd()
    earlier = campaigns.newest_of_command(store, known_by, here) if arguments.resume else None
    folder = store / (earlier or campaigns.folder_of_command(known_by, here))
    # The agent's process begins to import what it needs while we do the same for the manager.
    agent = AgentProcess(agent_config(folder, declared, demand_of([spec], inventory), settings))
    from pilotfish.cli.map_run import run_map

    return run_map(folder, spec, commands, agent, arguments=arguments, settings=settings)


def parse_slots(text: str, cores: int) -> int:
    """How many tasks run at once: ``4``, ``150%`` of the cores, ``+2`` or ``-1`` beside them, ``0`` for many.

    Raises ValueError.
    """
    match = re.fullmatch(r"([+-]?)([0-9]{1,6})(%?)", text)
    if match is None:
        raise ValueError(f"expected a number such as 4, 150%, +2 or -1, got {text!r}")
    number = int(match[2])
    if match[3]:
        number = cores * number // 100
    if match[1]:
        number = cores + number if match[1] == "+" else cores - number
    elif not number and not match[3]:
        return _MANY
    if number > _MOST:
        raise ValueError(f"expected at most {_MOST} tasks at once, got {text!r}")
    return max(1, number)


def _words(arguments: argparse.Namespace) -> list[str]:
    """The command with its arguments; what stands behind ``--`` among them."""
    if arguments.command is None:
        return list(arguments.words)
    return [*arguments.words, *["--"] * bool(arguments.words), *arguments.command]


def _separation(arguments: argparse.Namespace) -> Separation:
    try:
        columns = None if arguments.colsep is None else re.compile(arguments.colsep)
    except re.error as error:
        raise UserError(f"--colsep: {arguments.colsep!r} is no regular expression: {error}") from error
    delimiter = "\0" if arguments.null else parsed("--delimiter", arguments.delimiter, parse_delimiter)
    return Separation(delimiter or "\n", columns)


def _bundled(rows: list[Row], arguments: argparse.Namespace) -> list[Row]:
    """Rows of as many arguments as each task is to have."""
    most = parsed("--max-args", arguments.most, _positive)
    if most is None:
        return rows
    if max(map(len, rows), default=1) > 1:
        raise UserError("--max-args is for arguments from one source, and here each task has several")
    everything = list(chain.from_iterable(rows))
    return [tuple(everything[first : first + most]) for first in range(0, len(everything), most)]


def _job(arguments: argparse.Namespace, commands: Commands, machine: Machine) -> tuple[JobSpec, Declared]:
    """The job of all tasks, and the names of cores that let as many of them run at once as is wanted."""
    cores = parsed("-c", arguments.task_cores, _cores)
    cores = ONE if cores is None else cores
    if SLOT in commands.template and cores != ONE:
        raise UserError("{%} numbers tasks by their core, so each needs just one: leave -c out")
    slots = parsed("--jobs", arguments.jobs, lambda text: parse_slots(text, machine.at_most))
    names = machine.at_most if slots is None else max(1, -(-min(slots, commands.array.count) * cores // ONE))
    if names > MOST_UNITS:
        raise UserError(f"-c times --jobs: {names} cores, and there may be {MOST_UNITS} at most")
    here = str(Path.cwd())
    spec = JobSpec(
        name="map",
        command=commands.template,
        directory=here,
        cwd=escape(here),
        array=commands.array,
        request=Request(cores, parsed_limit("--mem", arguments.task_memory, parse_memory)),
        # Names are whole: without this, more tasks would run than are wanted where each takes less than one.
        max_parallel=(slots or machine.at_most) if cores < ONE else None,
        time=parsed_limit("--timeout", arguments.timeout, parse_seconds),
        retries=Retries((parsed("--retries", arguments.retries, _positive) or 1) - 1),
    )
    return spec, Declared(cores=names, pinned=False)


def _cores(text: str) -> Amount:
    amount = parse_amount(text)
    if amount > ONE and amount % ONE:
        raise ValueError(f"expected a whole number, or less than 1, got {text!r}")
    return amount


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
        raise ValueError(f"expected a whole number, at least 1, got {text!r}")
    return int(text)
