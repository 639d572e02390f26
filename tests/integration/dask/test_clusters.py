"""`--on dask://…` and ``Session(on="dask://…")`` beside the workers of clusters as people have them."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.clusters import SLURM, SlurmCluster

PILOTFISH = str(Path(sys.executable).with_name("pilotfish"))
PATIENCE = 60.0
TASKS = 40


@contextmanager
def cluster(kind: str, *words: str) -> Iterator[str]:
    """The address of a Dask scheduler."""
    script = str(Path(__file__).with_name("cluster.py"))
    process = subprocess.Popen(
        [sys.executable, script, kind, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, f"no {kind} cluster of Dask came"
        yield address
    finally:
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def run_beside(address: str, folder: Path) -> list[dict[str, object]]:
    """Run an array beside the workers of a cluster; its tasks as `pilotfish tasks` tells them."""
    job = {"name": "a", "array": TASKS, "command": "echo {index}; sleep 0.05"}
    (folder / "c.json").write_text(json.dumps({"name": "beside", "jobs": [job]}))
    where = address.removeprefix("tcp://")
    done = subprocess.run(
        [PILOTFISH, "run", "c.json", "--on", f"dask://{where}"],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = subprocess.run([PILOTFISH, "tasks", "--json"], cwd=folder, capture_output=True, text=True, check=True)
    tasks: list[dict[str, object]] = json.loads(told.stdout)
    assert [task["state"] for task in tasks] == ["succeeded"] * TASKS
    logs = subprocess.run([PILOTFISH, "logs", "a:17"], cwd=folder, capture_output=True, text=True, check=True)
    assert logs.stdout == "17\n"
    return tasks


def test_a_local_cluster(tmp_path: Path) -> None:
    with cluster("local") as address:
        tasks = run_beside(address, tmp_path)
        assert len({task["node"] for task in tasks}) == 2
        # The cluster goes on: a second run finds it as the first one did.
        run_beside(address, tmp_path)


def test_two_runs_of_one_name_beside_one_cluster(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    with cluster("local") as address, ThreadPoolExecutor() as runs:
        for run in [runs.submit(run_beside, address, folder) for folder in folders]:
            run.result()


def test_another_scheduler_comes_in_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    @contextmanager
    def scheduler_and_worker() -> Iterator[None]:
        with ExitStack() as ends:
            for role, *words in (
                ("scheduler", "--host=127.0.0.1", f"--port={port}", "--no-dashboard"),
                ("worker", f"127.0.0.1:{port}", "--nthreads=1", "--no-nanny", "--no-dashboard"),
            ):
                command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *words]
                process = ends.enter_context(subprocess.Popen(command, cwd=tmp_path))
                ends.callback(process.kill)
            yield

    job = {"name": "a", "array": 2, "command": "touch began; until [ -e go ]; do sleep 0.05; done"}
    (tmp_path / "c.json").write_text(json.dumps({"name": "beside", "jobs": [job]}))
    words = [PILOTFISH, "run", "c.json", "--on", f"dask://127.0.0.1:{port}"]
    with scheduler_and_worker():
        wait_for_port(port)
        run = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        wait_for((tmp_path / "began").exists)
    (tmp_path / "go").touch()
    with scheduler_and_worker():
        _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, said
    assert f"no Dask scheduler answers at 127.0.0.1:{port}: it has gone; tried again" in said


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_functions_on_a_local_cluster(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, pilotfish as pf\n"
        "def where(n): return n * n, os.environ['PILOTFISH_NODE']\n"
        "with pf.Session(on=sys.argv[1]) as session:\n"
        "    found = [future.result() for future in session.map(where, range(200))]\n"
        "assert [square for square, _ in found] == [n * n for n in range(200)]\n"
        "print(sorted({node.split('-')[0] for _, node in found}))\n"
    )
    with cluster("local") as address:
        place = f"dask://{address.removeprefix('tcp://')}"
        done = subprocess.run(
            [sys.executable, str(program), place], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['dask']"


def test_no_scheduler_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"dask://127.0.0.1:{nobody.getsockname()[1]}"
        done = subprocess.run(
            [PILOTFISH, "run", "--on", place, "--", "true"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("pilotfish: error: no Dask scheduler answers at 127.0.0.1:")
    assert done.stderr.count("\n") == 1


@pytest.mark.needs("sshd", "root")
def test_an_ssh_cluster(tmp_path: Path) -> None:
    with sshd(tmp_path) as (port, key), cluster("ssh", str(port), str(key)) as address:
        run_beside(address, tmp_path)


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[int, Path]]:
    """A daemon of our own on the loopback that lets one new key in; its port and the key."""
    host, key = folder / "host_key", folder / "key"
    for path in (host, key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "HostKey": host, "AuthorizedKeysFile": key.with_suffix(".pub"), "PidFile": "none", "StrictModes": "no",
        "ListenAddress": "127.0.0.1", "PermitRootLogin": "yes", "UsePAM": "no",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    made = not Path("/run/sshd").exists()
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-p", str(port), "-f", "/dev/null", *words])
    try:
        wait_for_port(port)
        yield port, key
    finally:
        daemon.terminate()
        daemon.wait()
        if made:
            with suppress(OSError):
                Path("/run/sshd").rmdir()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens at {port}"
            time.sleep(0.05)
        else:
            return


@SLURM[0]
@SLURM[1]
def test_the_cluster_of_dask_jobqueue(slurm: SlurmCluster, tmp_path: Path) -> None:
    assert os.environ["SLURM_CONF"] == slurm.told["SLURM_CONF"]
    with cluster("slurm", str(tmp_path)) as address:
        tasks = run_beside(address, tmp_path)
    assert all(str(task["node"]).startswith("dask-") for task in tasks)
