from collections.abc import Mapping
from pathlib import Path

import pytest

from pilotfish.batch.allocation_share import NodeShare, share_here

MIB = 2**20
STEP = {
    "SLURM_JOB_ID": "14",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "n[1-3]",
    "SLURM_JOB_CPUS_PER_NODE": "4(x2),1",
    "SLURM_CPUS_ON_NODE": "4",
    "SLURMD_NODENAME": "n2",
    "SLURM_MEM_PER_CPU": "1000",
}
"""Of a step of ``sbatch -n 9``, but for what does not matter here."""


def test_without_a_batch_system_all_is_ours() -> None:
    assert share_here({}, 8) == NodeShare(cores=8, whole=True)


def test_a_confined_step_may_bind_its_tasks() -> None:
    assert share_here(STEP, 4, present=64) == NodeShare(cores=4, memory=4000 * MIB, gpus=(), whole=True)


def test_without_confinement_cores_are_only_counted() -> None:
    assert share_here(STEP, 64, present=64) == NodeShare(cores=4, memory=4000 * MIB, gpus=(), whole=False)


def test_a_site_may_lend_more_cores_than_there_are() -> None:
    assert share_here(STEP, 2, present=2) == NodeShare(cores=4, memory=4000 * MIB, gpus=(), whole=False)


def test_a_step_that_is_smaller_than_its_job_has_what_it_has() -> None:
    assert share_here(STEP, 2, present=64) == NodeShare(cores=2, memory=2000 * MIB, gpus=(), whole=True)


@pytest.mark.parametrize(("node", "cores"), [("n1", 4), ("n3", 1)])
def test_each_node_finds_its_own_place(node: str, cores: int) -> None:
    assert share_here({**STEP, "SLURMD_NODENAME": node}, 64).cores == cores


def test_where_the_list_does_not_fit_the_node_is_asked() -> None:
    assert share_here({**STEP, "SLURMD_NODENAME": "other", "SLURM_CPUS_ON_NODE": "3"}, 64).cores == 3


@pytest.mark.parametrize(
    ("variables", "memory"),
    [
        ({}, None),
        ({"SLURM_MEM_PER_NODE": "1500"}, 1500 * MIB),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_GPU": "100", "SLURM_STEP_GPUS": "0,1"}, 200 * MIB),
    ],
)
def test_memory_is_what_was_asked_for(variables: Mapping[str, str], memory: int | None) -> None:
    step = {name: value for name, value in STEP.items() if name != "SLURM_MEM_PER_CPU"}
    assert share_here({**step, **variables}, 4).memory == memory


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, ()),
        ({"SLURM_JOB_GPUS": "0,1"}, ()),
        ({"SLURM_STEP_GPUS": "2,3"}, ("2", "3")),
        ({"SLURM_STEP_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "0,1"}, ("0", "1")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aa11,GPU-bb22"}, ("GPU-aa11", "GPU-bb22")),
        ({"ROCR_VISIBLE_DEVICES": "1", "SLURM_STEP_GPUS": "5"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
    ],
)
def test_gpus_are_named_as_in_the_step(variables: Mapping[str, str], gpus: tuple[str, ...]) -> None:
    assert share_here({**STEP, **variables}, 4).gpus == gpus


def test_a_batch_script_sees_the_gpus_of_its_job() -> None:
    script = {name: value for name, value in STEP.items() if name != "SLURM_STEP_ID"}
    assert share_here({**script, "SLURM_JOB_GPUS": "1"}, 4).gpus == ("1",)
    assert share_here(script, 4).gpus is None


def test_pbs_counts_cores_of_a_chunk() -> None:
    assert share_here({"PBS_JOBID": "7.head", "NCPUS": "16"}, 64) == NodeShare(cores=16, whole=False)
    assert share_here({"PBS_JOBID": "7.head", "PBS_NUM_PPN": "8"}, 8) == NodeShare(cores=8, whole=True)


def test_torque_names_gpus_of_all_nodes_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "gpus").write_text("a1-gpu0\na1-gpu1\na2-gpu3\n")
    environ = {
        "PBS_JOBID": "7",
        "PBS_NUM_PPN": "2",
        "PBS_GPUFILE": str(tmp_path / "gpus"),
        "HOSTNAME": "a2.example.org",
    }
    assert share_here(environ, 2, host="a2.example.org").gpus == ("3",)


def test_sge_counts_the_slots_of_this_host(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("vm 2 all.q@vm UNDEFINED\nw2.example.org 4 all.q@w2 UNDEFINED\n")
    environ = {"JOB_ID": "3", "PE_HOSTFILE": str(tmp_path / "hosts"), "NHOSTS": "2", "NSLOTS": "6"}
    assert share_here({**environ, "SGE_HGR_gpu": "0 1"}, 8, host="w2") == NodeShare(
        cores=4, gpus=("0", "1"), whole=False
    )
    assert share_here({"JOB_ID": "3", "NSLOTS": "2"}, 8).cores == 2


def test_htcondor_describes_the_slot(tmp_path: Path) -> None:
    (tmp_path / "machine").write_text('Cpus = 4\nMemory = 2048\nAssignedGPUs = "GPU-aa11, GPU-bb22"\n')
    share = share_here({"_CONDOR_MACHINE_AD": str(tmp_path / "machine")}, 32)
    assert share == NodeShare(cores=4, memory=2048 * MIB, gpus=("GPU-aa11", "GPU-bb22"), whole=False)
