"""``pilotfish submit``: files, single commands (`submit_jobs`) and jobs of classes (`submit_class`) enter a queue.

What belongs here: arguments, which of these they mean, whose queue it is. What must not: making jobs of them.
"""

import argparse
from pathlib import Path

from pilotfish.agent.inventory import Declared
from pilotfish.cli.arguments import add_server
from pilotfish.cli.machine import add_machine, declared_of
from pilotfish.errors import UserError
from pilotfish.manager import campaigns
from pilotfish.manager.servers import living_server

__all__ = ["configure", "run"]

_CAMPAIGN = "jobs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = (
        "pilotfish submit [options] FILE … | pilotfish submit [options] -- COMMAND [ARGUMENT …] | "
        "pilotfish submit [options] MODULE:CLASS [KEY=VALUE …]"
    )
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="FILE",
        help="a job file; - for standard input; or MODULE:CLASS, a pilotfish.JobClass",
    )
    parser.add_argument(
        "words", nargs="*", metavar="KEY=VALUE", help="arguments of its `execute`: JSON where they are JSON, else text"
    )
    add_server(parser)
    parser.add_argument("--wait", action="store_true", help="wait until what was submitted has ended")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout for all that happens")
    command = parser.add_argument_group("for a command")
    command.add_argument("-c", dest="job_cores", metavar="N", help="cores that a task needs (default: 1)")
    command.add_argument("--mem", dest="job_memory", metavar="SIZE", help="memory that a task needs and may use")
    command.add_argument("-G", dest="job_gpus", metavar="N", help="GPUs that a task needs")
    command.add_argument("-t", dest="job_time", metavar="TIME", help="limit of a task, such as 90s or 10m")
    command.add_argument("-a", dest="job_array", metavar="RANGE", help="an array of tasks: 0-99, 0-98:2, 0-99%%10")
    command.add_argument(
        "-d", dest="job_after", metavar="KIND:JOB", help="what it comes after: afterok:17,afterany:sim"
    )
    command.add_argument("-J", dest="job_name", metavar="NAME", help="its name (default: that of the program)")
    alone = parser.add_argument_group("for a class, where there is no server")
    alone.add_argument("--store", metavar="DIR", help="default: ./.pilotfish")
    alone.add_argument("--campaign", metavar="NAME", help=f"which queue of the store (default: {_CAMPAIGN})")
    add_machine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Give what the arguments say to whoever works on the queue; exit codes as those of `pilotfish run`."""
    own = arguments.store or arguments.campaign
    if own and arguments.server:
        raise UserError(f"--server and {own} are two places: choose one")
    server = None if own else living_server(arguments.server, Path.cwd())
    if arguments.command is None and arguments.kind is None:
        raise UserError("name a job file, a class (MODULE:CLASS), or a command behind --")
    if arguments.command is None and any(
        value is not None for name, value in vars(arguments).items() if name.startswith("job_")
    ):
        from pilotfish.cli.submit_jobs import refuse_options

        refuse_options(arguments)
    if arguments.command is None and _means_class(arguments.kind):
        from pilotfish.cli.submit_class import submit_class  # it loads what pickles functions

        arguments.store = arguments.store or campaigns.DEFAULT_STORE
        folder = Path(arguments.store).absolute() / campaigns.folder_of_name(arguments.campaign or _CAMPAIGN)
        return submit_class(server, folder, arguments)
    if arguments.command is None and arguments.kind.endswith(".py"):
        raise UserError(f"{arguments.kind}: is a module, no job file: name a class in it, as in {arguments.kind}:Count")
    if declared_of(arguments) != Declared() or own:
        raise UserError("files and commands go to a server, which says what its machines have: --server names one")
    from pilotfish.cli.submit_jobs import submit_command, submit_files

    return (submit_files if arguments.command is None else submit_command)(server, arguments)


def _means_class(text: str) -> bool:
    """Whether it is ``MODULE:CLASS``, not a file."""
    return ":" in text and not Path(text).exists()
