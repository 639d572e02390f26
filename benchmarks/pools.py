"""Pools of processes that call Python functions: ours, and those of others in an environment made when first asked for.

What belongs here: getting them, and asking one for a figure. What must not: what the figures are compared with.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.pairs import workplace

__all__ = ["ask", "has"]

_PACKAGES = {
    "loky": ("loky==3.7.0",),
    "dask": ("distributed==2026.8.0", "numpy==2.4.6"),
    "ray": ("ray==2.60.0", "numpy==2.4.6"),
    "parsl": ("parsl==2026.10.26",),
    "grain": ("grain-scheduler==0.17.1",),
}
"""Of others; all the rest is in our own environment."""
_PATIENCE = 600.0
"""Seconds for an installation, and for a figure."""


@functools.cache
def has(pool: str) -> bool:
    """Whether there is such a pool here; says so where it cannot be installed."""
    packages = _PACKAGES.get(pool)
    if packages is None:
        return True
    stamp, wanted = _folder() / f".{pool}", "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    print(f"installing {', '.join(packages)} into {_folder()}", file=sys.stderr)
    try:
        if not _python().exists():
            subprocess.run([sys.executable, "-m", "venv", str(_folder())], check=True)
        install = [str(_python()), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True, timeout=_PATIENCE)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        print(f"{pool} cannot be installed here: left out", file=sys.stderr)
        return False
    stamp.write_text(wanted)
    return True


def ask(pool: str, figure: str, number: int) -> float:
    """A figure of a pool; see ``peer_calls.py``. Exits, with what it said, if that fails."""
    python = _python() if pool in _PACKAGES else Path(sys.executable)
    command = [str(python), str(Path(__file__).with_name("peer_calls.py")), pool, figure, str(number)]
    path = os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath)))  # peers start their own commands
    with workplace() as folder:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=_PATIENCE,
            check=False,
        )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def _folder() -> Path:
    """Of the peers' virtual environment: under ``PILOTFISH_PEERS``, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("PILOTFISH_PEERS", cache / "pilotfish-peers")) / "pools"


def _python() -> Path:
    return _folder() / "bin" / "python"
