"""The programs that we are measured against, in an environment of their own that is made when first asked for.

What belongs here: getting peers, and what they are run with. What must not: measuring.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.pairs import Run

__all__ = ["ARRAYS", "qcg_chain", "xargs"]

_PACKAGES = ("hyperqueue==0.27.0", "qcg-pilotjob==0.14.2")


def xargs(program: str, words: list[str], *, at_once: int) -> Run:
    """`program` once with each of the words."""
    return Run(("xargs", f"-P{at_once}", "-n1", program), stdin="\n".join(words))


def qcg_chain(length: int, *, cores: int) -> Run:
    """That many ``/bin/true``, each after the one before, by the service of QCG-PilotJob."""
    jobs = [
        {
            "name": f"job{number}",
            "execution": {"exec": "/bin/true"},
            "resources": {"numCores": {"exact": 1}},
            "dependencies": {"after": [f"job{number - 1}"] if number else []},
        }
        for number in range(length)
    ]
    requests = [{"request": "submit", "jobs": jobs}, {"request": "control", "command": "finishAfterAllTasksDone"}]
    service = str(_environment() / "bin" / "qcg-pm-service")
    command = (service, "--file-path", "chain.json", "--nodes", str(cores), "--log", "warning")
    return Run(command, files={"chain.json": json.dumps(requests)})


def _xargs_array(tasks: int, cores: int) -> Run:
    return xargs("/bin/true", [str(number) for number in range(tasks)], at_once=cores)


def _parallel_array(tasks: int, cores: int) -> Run:
    if shutil.which("parallel") is None:
        _install_parallel()
    numbers = "\n".join(str(number) for number in range(tasks))
    return Run(("parallel", f"-j{cores}", "--will-cite", "/bin/true"), stdin=numbers)


def _hyperqueue_array(tasks: int, cores: int) -> Run:
    script = Path(__file__).with_name("peer_hyperqueue.py")
    return Run((str(_environment() / "bin" / "python"), str(script), str(tasks), str(cores)))


ARRAYS: dict[str, Callable[[int, int], Run]] = {
    "xargs": _xargs_array,
    "hyperqueue": _hyperqueue_array,
    "parallel": _parallel_array,
}
"""By peer: that many times ``/bin/true`` on so many cores."""


def _environment() -> Path:
    """The folder of the peers' virtual environment: under ``PILOTFISH_PEERS``, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("PILOTFISH_PEERS", cache / "pilotfish-peers")) / "venv"
    stamp, wanted = folder / ".complete", "\n".join(_PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {', '.join(_PACKAGES)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *_PACKAGES], check=True)
        stamp.write_text(wanted)
    return folder


def _install_parallel() -> None:
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        sys.exit("GNU parallel is not installed; on Debian: apt-get install parallel")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-qq", "--no-install-recommends", "parallel"], check=True)
