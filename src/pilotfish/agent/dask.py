"""Agents beside the workers of any Dask cluster: ``python -m pilotfish.agent.dask SCHEDULER JOIN``.

A plugin of Dask's starts one agent beside each worker, also beside those that come later, with as many cores and as
much memory as the worker has; it joins our manager by itself. Dask runs none of our tasks.

What belongs here: this plugin and the process that registers it. What must not: what an agent does, when this is used.
"""

import asyncio
import logging
import re
import select
import subprocess
import sys
from pathlib import Path

from distributed import Client, Worker, WorkerPlugin

from pilotfish.transport.join import read_join

__all__ = ["AgentPlugin", "register"]

_GOODBYE = 30.0
"""Seconds that an agent has to end its tasks when its worker ends."""
_LOOK_AFTER = 1.0
"""Seconds between two looks whether the scheduler is still the same: another one knows nothing of us."""


class AgentPlugin(WorkerPlugin):
    """Starts an agent beside a Dask worker, and ends it with the worker.

    Args:
        name: under which Dask knows the plugin.
        join: what tells an agent where its manager is.

    """

    def __init__(self, name: str, join: bytes) -> None:
        """Nothing is started before Dask calls `setup`."""
        self.name = name
        self._join = join
        self._agent: subprocess.Popen[bytes] | None = None

    def setup(self, worker: Worker) -> None:
        """Start the agent."""
        node = re.sub(r"[^A-Za-z0-9._-]+", "-", f"dask-{worker.ip}-{worker.port}")
        words = [sys.executable, "-m", "pilotfish", "agent", "--join", "-", "--node", node, "--with-parent"]
        words += ["--cores", str(worker.state.nthreads)]
        limit = worker.memory_manager.memory_limit
        if limit:
            words += ["--memory", str(limit)]
        self._agent = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        assert self._agent.stdin is not None  # noqa: S101 - it is a pipe
        self._agent.stdin.write(self._join)
        self._agent.stdin.close()

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's words
        """End the agent."""
        if self._agent is not None:
            self._agent.terminate()
            try:
                await asyncio.to_thread(self._agent.wait, _GOODBYE)
            except subprocess.TimeoutExpired:
                self._agent.kill()


def register(scheduler: str, join: Path) -> None:
    """Have agents started beside all workers of a cluster until standard input ends; then have them ended.

    Ends as well when the scheduler has gone, or another one has come in its place. Says on standard output, in one
    line, how many workers there are now, or ``error`` and why there is no scheduler.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is said here
    name = f"pilotfish-{read_join(join).key}"
    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = Client(**where, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        sys.stdout.write(f"error {error}\n")
        sys.stdout.flush()
        return
    with client:
        client.register_plugin(AgentPlugin(name, join.read_bytes()))
        sys.stdout.write(f"{len(client.scheduler_info(n_workers=-1)['workers'])}\n")
        sys.stdout.flush()
        scheduler = client.scheduler_info()["id"]
        while not select.select([sys.stdin], [], [], _LOOK_AFTER)[0]:
            if client.status == "closed" or client.scheduler_info()["id"] != scheduler:
                return
        client.unregister_worker_plugin(name)


if __name__ == "__main__":
    register(sys.argv[1], Path(sys.argv[2]))
