"""What every test may rely on: components that are there or skipped on purpose, and no process left behind.

``PILOTFISH_REQUIRE=tmpfs,cores`` (or ``all``) turns a skip for the lack of that component into a failure.
"""

import os
import resource
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

PATIENCE = 20.0
"""Seconds that processes have to end after their test: more than the lease and the grace that tests set."""

RUNS_PROCESSES = {"acceptance", "chaos", "examples", "integration"}
"""Folders of tests that start processes."""


def _may_mount() -> bool:
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


COMPONENTS: dict[str, Callable[[], bool]] = {
    "bash": lambda: shutil.which("bash") is not None,
    "cores": lambda: len(os.sched_getaffinity(0)) > 1,  # two tasks at once, each on a core of its own
    "cpython-tests": lambda: find_spec("test.test_concurrent_futures") is not None,
    "faketime": lambda: shutil.which("faketime") is not None,
    "grid-engine": lambda: shutil.which("sge_qmaster", path="/usr/lib/gridengine") is not None and os.getuid() == 0,
    "htcondor": lambda: find_spec("htcondor") is not None,
    "joblib": lambda: find_spec("joblib") is not None,
    "mpi": lambda: shutil.which("mpiexec.openmpi") is not None,
    "root": lambda: os.getuid() == 0,
    "slurm": lambda: shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is not None and os.getuid() == 0,
    "sshd": lambda: shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") is not None,
    "tmpfs": _may_mount,  # a disk that can be full
    "torque": lambda: Path("/opt/slurm-wlm-torque/usr/bin/qsub").exists(),  # tests/clusters/slurm-torque install
}
"""What a test may ask for with ``@pytest.mark.needs("…")``, and how to tell whether it is there."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(component, …): skip where one is missing, unless PILOTFISH_REQUIRE has it"
    )
    _brand_descendants()
    _hear_interrupts()
    _use_own_runtime(config)


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = os.environ.get("PILOTFISH_REQUIRE", "").split(",")
    for mark in item.iter_markers("needs"):
        for component in mark.args:
            if not COMPONENTS[component]():
                end = pytest.fail if {component, "all"} & set(required) else pytest.skip
                end(f"this machine has no {component}")


def _use_own_runtime(config: pytest.Config) -> None:
    """Sockets and claims of our own: tests must not wait for cores that others beside them have claimed."""
    runtime = tempfile.mkdtemp(prefix="pf-", dir="/tmp")  # short: a socket's path holds 107 bytes
    os.environ["PILOTFISH_RUNTIME"] = runtime
    config.add_cleanup(lambda: shutil.rmtree(runtime, ignore_errors=True))


def _hear_interrupts() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and children inherit that; tests send it to them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _brand_descendants() -> None:
    """Give all that descend from this process a hard limit that nobody else has, and that is never reached.

    Like the mark of a keeper, which is the soft limit of the same resource, it survives ``setsid``, ``env -i`` and
    the death of the parent, so that nothing that a test started can hide. It may only be lowered: a worker of
    pytest-xdist has its own, below that of its controller.
    """
    _, inherited = resource.getrlimit(resource.RLIMIT_RTTIME)
    brand = (2**62 if inherited == resource.RLIM_INFINITY else inherited) - 1 - secrets.randbelow(2**40)
    resource.setrlimit(resource.RLIMIT_RTTIME, (brand, brand))


def _left_behind() -> dict[int, str]:
    """Living processes with our brand, but for ourselves: what each was started with, by process id."""
    brand = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if resource.prlimit(int(entry.name), resource.RLIMIT_RTTIME)[1] == brand and state not in "ZX":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended, or is not ours
    return found


@pytest.fixture(autouse=True)
def _no_process_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test that starts processes, wait for them to end; name and end those that do not."""
    yield
    if not RUNS_PROCESSES.intersection(request.path.parts):
        return
    deadline = time.monotonic() + PATIENCE
    while (left := _left_behind()) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind: {left}"
