"""Being the agent's process: its session, streams and limits; then the agent itself.

What belongs here: what surrounds the agent in its process. What must not: what it does.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path

from pilotfish.agent.address import manager_socket
from pilotfish.agent.agent import Agent
from pilotfish.agent.config import AgentConfig
from pilotfish.agent.processes import close_descriptors
from pilotfish.errors import PilotfishError
from pilotfish.transport.local import connect

__all__ = ["serve"]


def serve(config: AgentConfig) -> int:
    """Be the agent of a node until there is nothing more to do; the exit code of the process.

    The process gets a session of its own, so that no key pressed in a terminal reaches it, and the campaign's
    ``agent.log`` for what it cannot tell the manager.
    """
    with contextlib.suppress(PermissionError):  # it leads a group, as whoever starts it wants
        os.setsid()
    close_descriptors(kept=())  # one of them might be the very socket that this process is to connect to
    try:
        _redirect(config.log)
    except OSError as error:  # there is no log to say it in
        sys.stderr.write(f"pilotfish: the agent cannot write to {config.log}: {error.strerror}\n")
        return 70
    try:
        _serve(config)
    except PilotfishError as error:
        sys.stderr.write(f"agent {os.getpid()}: {error}\n")
        return error.exit_code
    except BaseException:  # noqa: BLE001 - whatever ends the process belongs in its log
        traceback.print_exc()
        return 70
    finally:
        sys.stderr.flush()
    return 0


def _serve(config: AgentConfig) -> None:
    if config.door is None:
        Agent(config, lambda: connect(manager_socket(config.access))).serve()
        return
    from pilotfish.functions.cache import Tenancy
    from pilotfish.transport.carrier import Dialer  # not for an agent beside its manager

    tenancy = None if config.copies is None else Tenancy(Path(config.copies))
    dialer = Dialer(tuple(map(Path, config.joins)), config.door, config.outputs)
    try:
        Agent(config, dialer.connect).serve()
    finally:
        dialer.close()
        with contextlib.suppress(OSError):  # what somebody must still be told of
            Path(config.folder).rmdir()
        if tenancy is not None:
            tenancy.end()


def _redirect(log: Path) -> None:
    """Read nothing, and write to the log; whoever started the process keeps streams of its own."""
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, stream in ((null, 0), (file, 1), (file, 2)):
        os.dup2(descriptor, stream)
    os.close(null)
    os.close(file)
