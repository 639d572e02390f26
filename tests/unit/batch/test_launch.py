from collections.abc import Callable
from pathlib import Path

import pytest

from pilotfish.batch.allocation import Allocation
from pilotfish.batch.launch import launch_commands

AGENT = ["python", "-m", "agent", "--file", "a b"]
SLURM = Allocation("slurm", "14", ("n1", "n2", "n3"))
INSIDE = {"SLURM_JOB_ID": "14", "SLURM_JOB_NODELIST": "n[1-3]"}
PBS = Allocation("pbs", "7", ("a1", "a2"))


def found(*there: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in there else None


def test_slurm_starts_all_with_one_step() -> None:
    (command,) = launch_commands(SLURM, AGENT, INSIDE)
    assert command[0] == "srun"
    assert command[-len(AGENT) :] == AGENT
    assert {"--overlap", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--mem=0", "--mpi=none"} < set(command)
    assert not [word for word in command if word.startswith(("--gpus", "--gres", "--nodelist"))]


def test_some_nodes_are_named() -> None:
    (command,) = launch_commands(Allocation("slurm", "14", ("n1", "n3")), AGENT, INSIDE)
    assert {"--nodes=2", "--ntasks=2", "--nodelist=n1,n3"} < set(command)


def test_nodes_that_lend_different_gpus_are_steps_of_their_own() -> None:
    uneven = Allocation("slurm", "14", ("n1", "n2", "n3"), gpus={"n1": 2, "n2": 1})
    two, one, none = launch_commands(uneven, AGENT, INSIDE)
    assert {"--nodes=1", "--nodelist=n1", "--gpus=2"} < set(two)
    assert {"--nodelist=n2", "--gpus=1"} < set(one)
    assert {"--nodelist=n3", "--gres=none"} < set(none)


def test_nodes_that_lend_as_many_gpus_share_a_step() -> None:
    even = Allocation("slurm", "14", ("n1", "n3"), gpus={"n1": 2, "n2": 2, "n3": 2})
    (command,) = launch_commands(even, AGENT, INSIDE)
    assert {"--nodes=2", "--nodelist=n1,n3", "--gres=gpu:2"} < set(command)


def test_options_for_the_tasks_of_the_job_are_not_those_of_the_agents() -> None:
    (command,) = launch_commands(SLURM, AGENT, {**INSIDE, "SLURM_NTASKS_PER_GPU": "1", "SLURM_CPUS_PER_TASK": "2"})
    assert command[:6] == ["env", "-u", "SLURM_CPUS_PER_TASK", "-u", "SLURM_NTASKS_PER_GPU", "srun"]


def test_each_node_is_told_when_the_allocation_ends() -> None:
    (command,) = launch_commands(Allocation("slurm", "14", ("n1", "n2", "n3"), 1795258556.0), AGENT, INSIDE)
    assert command[:3] == ["env", "SLURM_JOB_END_TIME=1795258556", "srun"]


def test_pbs_counts_nodes_by_lines(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("a1\na1\na2\na2\n")
    environ = {"PBS_NODEFILE": str(tmp_path / "nodes"), "PATH": "/bin", "SHELL": "sh"}
    here, there = launch_commands(PBS, AGENT, environ, host="a1.example.org", which=found("pbsdsh", "mpiexec"))
    assert here == AGENT
    assert there == ["pbsdsh", "-n", "2", "--", "env", "PATH=/bin", f"PBS_NODEFILE={tmp_path / 'nodes'}", *AGENT]


def test_pbs_tells_each_node_its_own_cores() -> None:
    uneven = Allocation("pbs", "7", ("a1", "a2"), None, {"a1": 4, "a2": 2})
    here, there = launch_commands(uneven, AGENT, {"NCPUS": "4"}, host="a1", which=found("mpiexec"))
    assert here == ["env", "NCPUS=4", *AGENT]
    assert there == ["mpiexec", "-n", "1", "-host", "a2", "env", "NCPUS=4", "env", "NCPUS=2", *AGENT]


def test_without_pbsdsh_there_may_be_mpiexec_and_then_ssh() -> None:
    _, there = launch_commands(PBS, AGENT, {"PATH": "/bin"}, host="a1", which=found("mpiexec"))
    assert there == ["mpiexec", "-n", "1", "-host", "a2", "env", "PATH=/bin", *AGENT]
    _, there = launch_commands(PBS, AGENT, {"PATH": "/bin"}, host="a1", which=found())
    assert there == ["ssh", "-o", "BatchMode=yes", "a2", "env PATH=/bin python -m agent --file 'a b'"]


@pytest.mark.parametrize("name", ["PILOTFISH_KEY", "PILOTFISH_JOIN_TOKEN", "PBS_SECRET", "PILOTFISH_PASSWORD"])
def test_secrets_are_on_no_command_line(name: str) -> None:
    commands = launch_commands(PBS, AGENT, {name: "hush"}, host="a1", which=found())
    assert "hush" not in str(commands)


def test_sge_starts_on_other_hosts_what_it_starts_here_itself() -> None:
    sge = Allocation("sge", "3", ("vm", "w2.example.org"), None, {"vm": 2, "w2.example.org": 4})
    told = ["env", "-u", "PE_HOSTFILE", "NHOSTS=1"]
    assert launch_commands(sge, AGENT, {}, host="vm.example.org") == [
        [*told, "NSLOTS=2", *AGENT],
        ["qrsh", "-inherit", "-V", "w2.example.org", *told, "NSLOTS=4", *AGENT],
    ]


def test_htcondor_has_this_node_only() -> None:
    assert launch_commands(Allocation("htcondor", "41.2", ("slot1@e12",)), AGENT, {}) == [AGENT]
