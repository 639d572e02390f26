"""Where a run works if not on this machine: on all nodes of its allocation, of one that it gets, beside Dask's workers.

What belongs here: that choice, from arguments and allocation. What must not: what agents do there.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pilotfish.errors import UserError

if TYPE_CHECKING:
    from pilotfish.batch.allocation import Allocation
    from pilotfish.manager.start import Agents

__all__ = ["add_wanted", "agents_elsewhere", "asks_allocation", "refuse_without_on", "works_here"]

_DASK = "dask://"


def add_wanted(parser: argparse._ActionsContainer, *, time: bool = True) -> None:
    """The options that say which allocation is wanted; `time` is left out where another option has that name."""
    parser.add_argument("-N", "--nodes", metavar="N", help="nodes of the allocation (default: 1)")
    if time:
        parser.add_argument("-t", dest="time", metavar="TIME", help="for how long, such as 30m or 2h")
    parser.add_argument("-p", "--partition", metavar="NAME", help="the partition or queue")
    parser.add_argument("-A", "--account", metavar="NAME", help="who pays")
    parser.add_argument("--pe", metavar="NAME", help="the parallel environment, which Grid Engine wants to be told")
    parser.add_argument(
        "--batch",
        metavar="OPTION",
        action="append",
        default=[],
        help="one more word for the batch system's own command, as it takes it; may be repeated",
    )


def works_here(arguments: argparse.Namespace, allocation: "Allocation | None") -> bool:
    """Whether a run needs no other machine."""
    if arguments.on is not None or allocation is None:
        return arguments.on is None
    # salloc leaves us where we were; what Slurm starts on a node is told its name.
    on_a_node = allocation.system != "slurm" or "SLURMD_NODENAME" in os.environ
    return on_a_node and len(allocation.nodes) == 1


def asks_allocation(arguments: argparse.Namespace) -> bool:
    """Whether the run gets an allocation for itself: then ``-t`` is for that."""
    return arguments.on is not None and not arguments.on.startswith(_DASK)


def refuse_without_on(arguments: argparse.Namespace) -> None:
    """Refuse what says which allocation is wanted where none is. Raises UserError."""
    asked = asks_allocation(arguments)
    wanted = {"-N": arguments.nodes, "-p": arguments.partition, "-A": arguments.account, "--pe": arguments.pe}
    for option, value in (wanted | {"--batch": arguments.batch}).items():
        if value and not asked:
            raise UserError(f"{option} is for an allocation that the run gets for itself: --on slurm {option} …")


def agents_elsewhere(arguments: argparse.Namespace, folder: Path, allocation: "Allocation | None") -> "Agents":
    """Those who start the agents of a campaign that does not work here. Raises UserError for what cannot be."""
    from pilotfish.cli.machine import machine_words

    if arguments.on is None:
        from pilotfish.agent.fleet import Fleet

        assert allocation is not None  # noqa: S101 - else it would work here
        return Fleet(allocation, machine_words(arguments))
    if arguments.on.startswith(_DASK):
        from pilotfish.agent.beside_dask import DaskAgents

        if words := machine_words(arguments):
            raise UserError(f"{words[0]}: beside Dask's workers there is what these have, cores and memory")
        return DaskAgents(arguments.on)
    from pilotfish.agent.pilots import Pilots
    from pilotfish.cli.batch import broker_for, wanted_of

    wanted = wanted_of(arguments, arguments.on, folder)
    return Pilots(lambda: broker_for(arguments.on, folder, "run"), wanted)
