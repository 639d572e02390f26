"""pilotfish runs very many jobs, each on exactly the cores, memory and GPUs that it asks for.

The Python face: sessions that run functions and commands, a ``concurrent.futures.Executor``, delayed functions with
resources. Its names are loaded when they are first used, so that the command line waits for none of them.
"""

TYPE_CHECKING = False  # of `typing`, which takes half as long to import as the interpreter to start
if TYPE_CHECKING:
    from pilotfish.client.commands import CommandFuture, TaskResult
    from pilotfish.client.delayed import WaitGroup, delayed, open_waitgroup
    from pilotfish.client.executor import Executor
    from pilotfish.client.futures import TaskFuture
    from pilotfish.client.placeholders import Delayed, delayedval, each
    from pilotfish.client.resources import (
        Capacity,
        Cores,
        GPUs,
        Kind,
        Memory,
        Resource,
        Token,
        WallTime,
    )
    from pilotfish.client.resources import node as Node  # noqa: N812 - it makes a resource, as kinds do
    from pilotfish.client.session import AsyncSession, Session
    from pilotfish.client.stock import Stock
    from pilotfish.functions.context import current
    from pilotfish.functions.jobclass import JobClass

_HOMES = {
    "AsyncSession": "client.session",
    "Capacity": "client.resources",
    "CommandFuture": "client.commands",
    "Cores": "client.resources",
    "Delayed": "client.placeholders",
    "Executor": "client.executor",
    "GPUs": "client.resources",
    "JobClass": "functions.jobclass",
    "Kind": "client.resources",
    "Memory": "client.resources",
    "Node": "client.resources:node",
    "Resource": "client.resources",
    "Session": "client.session",
    "Stock": "client.stock",
    "TaskFuture": "client.futures",
    "TaskResult": "client.commands",
    "Token": "client.resources",
    "WaitGroup": "client.delayed",
    "WallTime": "client.resources",
    "current": "functions.context",
    "delayed": "client.delayed",
    "delayedval": "client.placeholders",
    "each": "client.placeholders",
    "open_waitgroup": "client.delayed",
}
"""Where each name comes from."""

__all__ = [
    "AsyncSession",
    "Capacity",
    "CommandFuture",
    "Cores",
    "Delayed",
    "Executor",
    "GPUs",
    "JobClass",
    "Kind",
    "Memory",
    "Node",
    "Resource",
    "Session",
    "Stock",
    "TaskFuture",
    "TaskResult",
    "Token",
    "WaitGroup",
    "WallTime",
    "__version__",
    "current",
    "delayed",
    "delayedval",
    "each",
    "open_waitgroup",
]

__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> object:
    """Load what is used for the first time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, other = _HOMES[name].partition(":")
    found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), other or name)
    return found


def __dir__() -> list[str]:
    """All that there is."""
    return sorted({*globals(), *__all__})
