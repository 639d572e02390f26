"""From what people say of the allocation that they want, and of its batch system, to values.

What belongs here: that. What must not: asking for anything.
"""

import argparse
import os
import re
import secrets
import shutil
from pathlib import Path

from pilotfish.agent.pilots import with_agents
from pilotfish.batch.broker import Broker
from pilotfish.batch.dialect import AllocationRequest, Dialect
from pilotfish.cli.machine import declared_of, machine_words, parsed, parsed_limit
from pilotfish.errors import UserError
from pilotfish.model.quantities import parse_seconds

__all__ = ["SYSTEMS", "broker_for", "dialect_of", "new_name", "parse_count", "wanted_of"]

SYSTEMS = ("slurm", "pbs", "torque", "sge", "htcondor")
"""As users write them."""
_MOST = 100_000


def wanted_of(arguments: argparse.Namespace, system: str, folder: Path) -> AllocationRequest:
    """The allocation that these options want of a batch system for the campaign in a folder.

    What it runs are the words with which its agents declare what of a node nobody else tells them.

    Raises:
        UserError: an option is wrong, the system has no word for what is wanted, or it is not here.

    """
    dialect = dialect_of(system)
    if arguments.pe is not None and system != "sge":
        raise UserError(f"--pe is for sge alone: leave it out for {system}")
    seconds = parsed_limit("-t", arguments.time, parse_seconds)
    if seconds is None:
        raise UserError("-t TIME says for how long the allocation is wanted, such as -t 2h")
    declared = declared_of(arguments)
    name = new_name()
    wanted = AllocationRequest(
        argv=tuple(word for word in machine_words(arguments) if word.startswith(("--resource", "--label"))),
        name=name,
        folder=str(Path.cwd()),
        log=str(folder / "allocations" / f"{name}.log"),
        seconds=seconds,
        nodes=parsed("-N", arguments.nodes, parse_count) or 1,
        cores=declared.cores,
        memory=declared.memory,
        gpus=declared.gpus or 0,
        queue=arguments.partition,
        account=arguments.account,
        pe=arguments.pe,
        environment=_environment(),
        options=tuple(arguments.batch),
    )
    command = dialect.submit(with_agents(wanted, Path("join"))).argv[0]
    if shutil.which(command) is None:
        raise UserError(
            f"there is no command {command} here: is this a machine from which jobs of {system} are submitted?"
        )
    return wanted


def new_name() -> str:
    """A name for an allocation that no other one has."""
    return f"pf-{secrets.token_hex(4)}"


def dialect_of(name: str) -> Dialect:
    """A batch system by its name. Raises UserError naming those that there are."""
    if name == "slurm":
        from pilotfish.batch.slurm import Slurm

        return Slurm()
    if name in ("pbs", "torque"):
        from pilotfish.batch.pbs import Pbs, Torque

        return Pbs() if name == "pbs" else Torque()
    if name == "sge":
        from pilotfish.batch.sge import Sge

        return Sge()
    if name == "htcondor":
        from pilotfish.batch.htcondor import HTCondor

        return HTCondor()
    raise UserError(f"there is no batch system `{name}`; there are: {', '.join(SYSTEMS)}")


def broker_for(system: str, folder: Path, purpose: str) -> Broker:
    """Who asks a batch system for allocations of the campaign in a folder. Raises BusyError where another one does."""
    return Broker(dialect_of(system), folder / "allocations" / f"{system}-{purpose}.json", os.environ)


def _environment() -> tuple[tuple[str, str], ...]:
    """Private folders lie at the same place on nodes, unless that is a task's own. Settings travel with `join`."""
    place = os.environ.get("PILOTFISH_RUNTIME")
    return () if place is None or "PILOTFISH_TASK" in os.environ else (("PILOTFISH_RUNTIME", place),)


def parse_count(text: str) -> int:
    """A number of nodes, or of allocations. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= _MOST:
        raise ValueError(f"expected a whole number from 1 to {_MOST}, got {text!r}")
    return int(text)
