"""``pilotfish agent``: the process that runs on each node and joins a manager on another one.

What belongs here: its arguments, and what they and the node's surroundings say of it. What must not: what it does.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilotfish import __version__
from pilotfish.agent.config import AgentConfig
from pilotfish.agent.inventory import Declared
from pilotfish.agent.pilots import allocation_suffix
from pilotfish.agent.processes import end_with_parent
from pilotfish.agent.serve import serve
from pilotfish.agent.witness import reason_of
from pilotfish.cli.allocated import found_allocation, in_allocation
from pilotfish.cli.machine import add_machine, declared_of, machine_words
from pilotfish.errors import UserError
from pilotfish.functions.cache import cache_name
from pilotfish.runtime import memory_folder, private_folder, runtime_folder
from pilotfish.transport.join import JOIN, Join, parse_join, read_join, write_join

if TYPE_CHECKING:
    from pilotfish.batch.allocation import Allocation

__all__ = ["configure", "run"]

_STDIN = "-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--join", metavar="FILE", required=True, help="what tells where the manager is: its file `join`; - for stdin"
    )
    parser.add_argument("--node", metavar="NAME", help="name of this node (default: that of the batch system, or host)")
    parser.add_argument(
        "--each-node", action="store_true", help="in the script of an allocation: start one on each of its nodes"
    )
    parser.add_argument("--of-allocation", action="store_true", help="carry the id of the allocation in its name")
    parser.add_argument("--with-parent", action="store_true", help="end when the process ends that has started it")
    add_machine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Be an agent until there is nothing more to do."""
    allocation = found_allocation(os.environ, ask="SLURM_JOB_END_TIME" not in os.environ)
    if arguments.each_node:
        return _start_each(arguments, allocation)
    declared = in_allocation(declared_of(arguments), allocation, os.environ)
    node = arguments.node or os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    if arguments.of_allocation and allocation is not None:
        node += allocation_suffix(allocation.id)
    if _NAME.fullmatch(node) is None:
        raise UserError(f"--node: expected a name of letters, digits, ., _ and -, at most 64; got {node!r}")
    try:
        config = _config(_joined(arguments.join), node, declared)
    except (UserError, OSError) as error:  # whoever starts many of us must know which one it was
        raise UserError(f"node {node}: {reason_of(error)}") from error
    if arguments.with_parent:
        end_with_parent()
        config = msgspec.structs.replace(config, pinned=False)  # others of that parent's may be beside it
    return serve(config)


def _joined(place: str) -> Join:
    """What tells how to join. Raises UserError, also where it is of another version."""
    join = parse_join(sys.stdin.buffer.read(), "standard input") if place == _STDIN else read_join(Path(place))
    if join.version != __version__:
        raise UserError(f"the manager is pilotfish {join.version}, here is {__version__}: install the same")
    return join


def _start_each(arguments: argparse.Namespace, allocation: "Allocation | None") -> int:
    """Have an agent started on each node, and wait until all have ended."""
    from pilotfish.batch.launch import launch_commands

    if allocation is None:
        raise UserError("--each-node is for the script of an allocation, and this is in none")
    if arguments.join == _STDIN:
        raise UserError("--each-node needs a file that all nodes see, not standard input")
    file = Path(arguments.join).absolute()
    sys.stdout.write(f"agents on {len(allocation.nodes)} nodes tell more in {read_join(file).campaign}/agent-*.log\n")
    sys.stdout.flush()
    words = [sys.executable, "-m", "pilotfish", "agent", "--join", str(file)]
    words += ["--of-allocation", *machine_words(arguments)]
    commands = launch_commands(allocation, words, os.environ)
    launchers = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for command in commands]

    def end(_number: int, _frame: object) -> None:
        for launcher in launchers:
            launcher.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the end is known: nothing starts that would not end in time
    return max(abs(launcher.wait()) for launcher in launchers)


def _config(join: Join, node: str, declared: Declared) -> AgentConfig:
    """What the agent of this node is told; leaves there how to join, for it and for one that lives here already."""
    folder = runtime_folder(f"{join.key}-{node}")
    own = folder / JOIN
    write_join(own, join)
    shared = _sees(join)
    memory = memory_folder()
    campaign = Path(join.campaign) if shared else private_folder(folder / "campaign")
    return AgentConfig(
        **msgspec.structs.asdict(declared),
        node=node,
        campaign=str(campaign),
        folder=str(folder),
        scratch=str(folder / "scratch"),
        settings=join.settings,
        # What lies at that place on a node that does not see ours is not ours.
        joins=(f"{join.campaign}/{JOIN}", str(own)) if shared else (str(own),),
        shared=shared,
        copies=None if memory is None else str(memory / cache_name(join.key)),
    )


def _sees(join: Join) -> bool:
    """Whether the campaign's folder is there on this node too, and the same."""
    try:
        return read_join(Path(join.campaign, JOIN)).authority == join.authority
    except UserError:
        return False
