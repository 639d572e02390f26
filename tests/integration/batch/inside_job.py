"""A batch job that tells, as JSON lines, what `batch` makes of it: first its allocation, then each node's share.

With ``--stay FOLDER`` its part on each node does not end: it says in a file of its own, over and over, that it lives,
and ends with an error where the node is named by ``--failing``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pilotfish.batch.allocation import Allocation, allocation_here
from pilotfish.batch.allocation_share import share_here
from pilotfish.batch.launch import launch_commands


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", action="store_true")
    parser.add_argument("--stay", type=Path)
    parser.add_argument("--failing", default="")
    arguments = parser.parse_args()
    if arguments.node:
        return be_node(arguments)
    found = allocation_here(os.environ)
    assert found is not None
    sys.stdout.write(json.dumps(msgspec.to_builtins(found)) + "\n")
    sys.stdout.flush()
    return launch(found)


def launch(allocation: Allocation) -> int:
    words = [sys.executable, "-P", os.path.realpath(__file__), "--node", *sys.argv[1:]]
    environ = {**os.environ, "INSIDE": "told"}
    started = [subprocess.Popen(command, env=environ) for command in launch_commands(allocation, words, environ)]
    return max(process.wait() for process in started)


def be_node(arguments: argparse.Namespace) -> int:
    node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    if arguments.stay:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if node == arguments.failing:
            return 3
        for beat in range(3000):
            (arguments.stay / f"{node}.new").write_text(str(beat))
            (arguments.stay / f"{node}.new").rename(arguments.stay / node)
            time.sleep(0.02)
        return 0
    share = share_here(os.environ, len(os.sched_getaffinity(0)), present=os.cpu_count())
    told = {"node": node, "inside": os.environ.get("INSIDE"), **msgspec.to_builtins(share)}
    # One write: the nodes share the output.
    os.write(1, (json.dumps(told) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
