"""The remote shell of launchers: ``ssh HOST COMMAND``, through our own manager.

``mpiexec`` on the first node of an attempt runs this for each of the others, in the place of ssh. The manager has the
command run by a keeper of that node, in the attempt's own lane there: bound to its cores, and ended with it.

What belongs here: this one program. What must not: launchers (:mod:`pilotfish.agent.launchers`).
"""

import os
import sys
from pathlib import Path

from pilotfish.agent.address import manager_socket
from pilotfish.agent.commands import SHELL
from pilotfish.agent.launchers import forwarded
from pilotfish.errors import PilotfishError
from pilotfish.model.attempts import AttemptId
from pilotfish.transport.caller import Caller

__all__ = ["run_elsewhere"]

_PATIENCE = 10.0
"""Seconds for a manager that is away."""
_FAILED = 255
"""As ssh exits where there is no connection."""


def run_elsewhere(arguments: list[str]) -> int:
    """Start a command on a node; exits when it has been ordered, not when it has ended.

    Args:
        arguments: the manager's access file or socket, the name of this node, the four numbers of the attempt; then
            what a launcher says to ssh: options, the node, the words of the command.

    """
    place, here, *rest = arguments
    attempt, said = AttemptId(*map(int, rest[:4])), rest[4:]
    while said and said[0].startswith("-"):
        said.pop(0)
    if not said:
        sys.stderr.write("pilotfish: error: the launcher names no node\n")
        return _FAILED
    node, command = said[0], " ".join(said[1:])
    if node == here:  # a node may have names that the launcher does not know for its own
        os.execv(SHELL, [SHELL, "-c", command])  # noqa: S606 - it is one
    address = Path(place)
    caller = Caller(lambda: address if address.is_socket() else manager_socket(address), patience=_PATIENCE)
    environment = forwarded(os.environb)
    wanted = {"attempt": attempt, "node": node, "command": command, "environment": environment}
    try:
        caller.ask("host", wanted, again=False)
    except PilotfishError as error:
        sys.stderr.write(f"pilotfish: error: {node}: {error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(run_elsewhere(sys.argv[1:]))
