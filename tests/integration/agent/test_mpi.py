"""MPI programs: with Open MPI's and Hydra's mpiexec, on one node and on several, which are agents of this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.agent.processes import descendants
from pilotfish.model.states import Outcome
from tests.integration.agent.nodes import Nodes

pytestmark = pytest.mark.needs("mpi")

_WHO = r"""
#define _GNU_SOURCE
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int rank, ranks, sum, end;
    char line[9999];
    cpu_set_t cores;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    sched_getaffinity(0, sizeof cores, &cores);
    end = sprintf(line, "%d/%d %s", rank, ranks, getenv("PILOTFISH_NODE"));
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &cores)) end += sprintf(line + end, " %d", core);
    end += sprintf(line + end, " threads %s sum %d\n", getenv("OMP_NUM_THREADS"), sum);
    write(1, line, end);  // at once: lines of ranks may be mixed
    MPI_Finalize();
    return 0;
}
"""

LAUNCHERS = {"openmpi": "mpicc.openmpi", "intelmpi": "mpicc.mpich"}
CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="session", params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A launcher, and a program of its MPI that tells who each rank is."""
    compiler = shutil.which(LAUNCHERS[request.param])
    if compiler is None:
        pytest.skip(f"this machine has no {LAUNCHERS[request.param]}")
    folder = tmp_path_factory.mktemp("who")
    (folder / "who.c").write_text(_WHO)
    subprocess.run([compiler, "-o", "who", "who.c"], cwd=folder, check=True)
    return request.param, folder / "who"


@pytest.fixture
def nodes(tmp_path: Path, launcher: tuple[str, Path]) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path, "a", "b")
    # Open MPI takes two daemons on hosts of one name for one; Hydra looks the name of the first host up.
    nodes.hostnames = launcher[0] == "openmpi"
    yield nodes
    nodes.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Nodes]:
    node = Nodes(tmp_path, "a")
    yield node
    node.close()


@pytest.mark.needs("cores")
def test_each_rank_is_bound_to_its_own_core(node: Nodes, launcher: tuple[str, Path]) -> None:
    name, who = launcher
    (settle,) = node.run(f"  - {{name: mpi, command: {who}, launcher: {name}, ranks: 2}}")
    assert settle.report.succeeded
    first, second = CORES[:2]
    assert sorted(node.output(settle).splitlines()) == [
        f"0/2 a {first} threads 1 sum 1",
        f"1/2 a {second} threads 1 sum 1",
    ]


@pytest.mark.needs("cores")
def test_tasks_side_by_side_share_no_core(node: Nodes, launcher: tuple[str, Path]) -> None:
    name, who = launcher
    meet = "touch up.{index}; until [ -e up.0 ] && [ -e up.1 ]; do sleep 0.01; done"
    job = f"{{name: mpi, array: 2, setup: '{meet}', command: [{who}], launcher: {name}}}"
    settles = node.run(f"  - {job}")
    assert sorted(node.output(settle).split()[2] for settle in settles) == list(map(str, CORES[:2]))


@pytest.mark.needs("cores")
def test_threads_widen_a_rank(node: Nodes, launcher: tuple[str, Path]) -> None:
    name, who = launcher
    (settle,) = node.run(f"  - {{name: mpi, command: [{who}], launcher: {name}, ranks: 1, threads: 2}}")
    assert node.output(settle) == f"0/1 a {CORES[0]} {CORES[1]} threads 2 sum 0\n"


@pytest.mark.needs("cores", "root")
def test_ranks_on_two_nodes(nodes: Nodes, launcher: tuple[str, Path]) -> None:
    name, who = launcher
    (settle,) = nodes.run(f"  - {{name: mpi, command: [{who}], launcher: {name}, ranks: 3, nodes: 2}}")
    assert settle.report.succeeded, nodes.output(settle, "stderr")
    head, other = settle.node, "ab".replace(settle.node, "")
    first, second = CORES[:2]
    assert sorted(nodes.output(settle).splitlines()) == [
        f"0/3 {head} {first} threads 1 sum 3",
        f"1/3 {head} {second} threads 1 sum 3",
        f"2/3 {other} {first} threads 1 sum 3",
    ]


_STUBBORN = "trap '' TERM; while :; do sleep 7654; done"
"""Does not hear what it is told; its words are found again among processes."""


@pytest.mark.needs("cores", "root")
def test_what_is_left_on_other_nodes_ends_with_the_attempt(nodes: Nodes, launcher: tuple[str, Path]) -> None:
    name, _ = launcher
    rank = f'{{name: mpi, command: "{_STUBBORN}", launcher: {name}, ranks: 4, nodes: 2, time: 1s, grace: 0.2s}}'
    look = "while pgrep -f '[s]leep 7654'; do sleep 0.01; done"
    gone = f'{{name: gone, after: {{job: mpi, when: finished}}, command: "{look}"}}'
    timed_out, looked = nodes.run(f"  - {rank}\n  - {gone}")
    assert timed_out.report.outcome == Outcome.timed_out
    assert looked.report.succeeded


_LEAVES = """
if [ "$PILOTFISH_NODE" != "${PILOTFISH_NODES%%,*}" ]; then
    PYTHON left.py
    echo "$PILOTFISH_NODE" >part.new
    mv part.new part
fi
until [ -e stopped ]; do sleep 0.01; done
"""
"""A rank, which on the second node leaves something that its launcher knows nothing of."""
_LEFT = """
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
null = subprocess.DEVNULL
subprocess.Popen("SLEEP".split(), stdin=null, stdout=null, stderr=null, start_new_session=True)
"""

_LATER = """
  - {name: first, nodes: 2, priority: 1, command: 'until [ -e part ]; do sleep 0.01; done'}
  - {name: mpi, nodes: 2, ranks: 2, launcher: LAUNCHER, command: sh rank.sh}
  - {name: next, array: 20, cores: ALL, after: mpi, command: 'echo $PILOTFISH_NODE >>where'}
  - {name: last, nodes: 2, cores: ALL, after: next, command: '! pgrep -fx "SLEEP"'}
"""
"""Without the first, those that come next would have the lane, and so the keeper, of what is left."""


@pytest.mark.needs("cores", "root")
def test_nothing_starts_beside_what_is_left_on_another_node(nodes: Nodes, launcher: tuple[str, Path]) -> None:
    sleep, folder = f"sleep 70{os.getpid()}", nodes.folder  # found again among processes
    (folder / "rank.sh").write_text(_LEAVES.replace("PYTHON", sys.executable))
    (folder / "left.py").write_text(_LEFT.replace("SLEEP", sleep))
    stopped: list[int] = []
    seen: list[tuple[set[str], bool]] = []

    def stop_the_keeper() -> None:
        """Let nothing end there before as many tasks have run as could have been too early."""
        if not stopped and (folder / "part").exists():
            stopped.extend(_keepers(nodes.agents[(folder / "part").read_text().strip()].pid, sleep))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
                (folder / "stopped").touch()
        if not seen and (folder / "where").exists() and len(where := (folder / "where").read_text().split()) == 20:
            left = subprocess.run(["pgrep", "-fx", sleep], capture_output=True, check=False).returncode == 0
            seen.append((set(where), left))
            go_on()

    def go_on() -> None:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    nodes.now = stop_the_keeper
    jobs = _LATER.replace("LAUNCHER", launcher[0]).replace("ALL", str(len(CORES))).replace("SLEEP", sleep)
    try:
        by_job = {settle.report.attempt.job: settle for settle in nodes.run(jobs)}
    except BaseException:  # so that nothing stays stopped
        go_on()
        raise
    assert by_job[2].report.succeeded, nodes.output(by_job[2], "stderr")
    assert seen == [({by_job[2].node}, True)]
    assert by_job[4].report.succeeded, "it ran beside what was left"


def _keepers(agent: int, command: str) -> set[int]:
    """Those of an agent under which a command runs."""
    found = set()
    for pid in descendants([agent]):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1] == command.split():
                line = [pid]
                while line[-1] != agent:
                    line.append(int(Path(f"/proc/{line[-1]}/stat").read_text().rpartition(")")[2].split()[1]))
                found.add(line[-2])
    return found


@pytest.mark.needs("cores", "root")
def test_a_rank_that_fails_fails_the_task(nodes: Nodes, launcher: tuple[str, Path]) -> None:
    name, _ = launcher
    fails = "[ $PILOTFISH_NODE = $(echo $PILOTFISH_NODES | cut -d, -f1) ] || exit 3"
    (settle,) = nodes.run(f"  - {{name: mpi, command: '{fails}', launcher: {name}, ranks: 2, nodes: 2}}")
    assert settle.report.outcome == Outcome.exited
    assert settle.report.code in (1, 3)  # Open MPI says 1 where it has ended the others before it could ask


@pytest.mark.needs("cores", "root")
def test_the_environment_of_setup_reaches_all_nodes(nodes: Nodes, launcher: tuple[str, Path]) -> None:
    name, _ = launcher
    job = f"{{name: mpi, setup: 'export MADE=here', env: {{SAID: \"a b\"}}, launcher: {name}, nodes: 2, ranks: 2, "
    (settle,) = nodes.run(f"  - {job}command: 'echo $MADE $SAID $PILOTFISH_TASK $PILOTFISH_RANKS $PILOTFISH_NODES'}}")
    one = "here a b 1 2 a,b" if settle.node == "a" else "here a b 1 2 b,a"
    assert nodes.output(settle).splitlines() == [one, one]


@pytest.mark.needs("cores", "root")
def test_a_node_that_dies_is_no_fault_of_the_task(nodes: Nodes, launcher: tuple[str, Path]) -> None:
    name, _ = launcher
    job = f"{{name: mpi, command: 'touch up.$PILOTFISH_NODE; sleep 7654', launcher: {name}, ranks: 2, nodes: 2, "

    def kill_the_other() -> None:
        if (nodes.folder / "up.a").exists() and (nodes.folder / "up.b").exists() and not killed:
            killed.append(nodes.kill_other())

    killed: list[str] = []
    nodes.now = kill_the_other
    (settle,) = nodes.run(f"  - {job}on_lost: fail}}")
    assert settle.report.outcome == Outcome.lost, (settle, killed, nodes.output(settle, "stderr"), nodes.notes)
    # It has ended by itself, or first the manager has heard of that node, and ended it.
    assert settle.report.reason.startswith((f"node {killed[0]} was away", "another node that it ran on is lost"))
