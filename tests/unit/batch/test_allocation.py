from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pilotfish.batch.allocation import Allocation, Run, allocation_here, classad, pe_hosts
from pilotfish.errors import UserError

SLURM = {"SLURM_JOB_ID": "14", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_NUM_NODES": "3"}
SCONTROL = (
    "JobId=14 JobName=probe.sh UserId=root(0) JobState=RUNNING Reason=None RunTime=00:00:00 TimeLimit=00:10:00 "
    "SubmitTime=1795257956 StartTime=1795257956 EndTime=1795258556 Deadline=N/A Partition=debug NodeList=n[1-3] "
    "BatchHost=n1 NumNodes=3 NumCPUs=5 TRES=cpu=5,mem=4500M,node=3,billing=5 JOB_GRES=gpu:fake:3   "
    "Nodes=n1 CPU_IDs=0-2 Mem=1500 GRES=gpu:fake:2(IDX:0-1)   Nodes=n2 CPU_IDs=0 Mem=1500 GRES=gpu:fake:1(IDX:0)   "
    "Nodes=n3 CPU_IDs=0 Mem=1500 GRES= MinCPUsNode=1 MinMemoryNode=1500M WorkDir=/tmp TresPerJob=gres:gpu:3 \n"
)


def saying(text: str | None, *, to: str = "") -> Run:
    """A batch system that has one answer to each question, or to one."""

    def run(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
        assert not to or f"{to} " in " ".join(words)
        # What was asked in another zone could not be read.
        assert environ.get("TZ") == "UTC0" or environ.get("SLURM_TIME_FORMAT") == "%s" or "-j" in words
        return text

    return run


def test_most_processes_are_in_none() -> None:
    assert allocation_here({"PATH": "/bin"}) is None
    assert allocation_here({"JOB_ID": "5", "HOSTNAME": "laptop"}) is None


def test_a_task_is_in_none_whatever_it_inherited() -> None:
    assert allocation_here({**SLURM, "PILOTFISH_TASK": "sim:3"}, saying(SCONTROL)) is None


def test_slurm_tells_nodes_end_and_gpus() -> None:
    assert allocation_here(SLURM, saying(SCONTROL)) == Allocation(
        "slurm", "14", ("n1", "n2", "n3"), 1795258556.0, gpus={"n1": 2, "n2": 1}
    )


@pytest.mark.parametrize(("number", "node"), [("14", "n3"), ("15", "n1")])
def test_slurm_tells_of_a_part_of_an_array_or_heterogeneous_job_by_its_own_line(number: str, node: str) -> None:
    lines = [
        f"JobId={job} ArrayJobId=14 JobName=a UserId=ada(7) JobState={state} EndTime={job}99 NodeList={host} "
        f"Nodes={host} CPU_IDs=0 Mem=1 GRES=gpu:1(IDX:0)\n"
        for job, state, host in (("14", "RUNNING", "n3"), ("16", "COMPLETED", "n2"), ("15", "RUNNING", "n1"))
    ]
    found = allocation_here({**SLURM, "SLURM_JOB_ID": number}, saying("".join(lines)))
    assert found == Allocation("slurm", number, (node,), float(f"{number}99"), gpus={node: 1})


def test_what_people_write_of_a_job_is_not_what_slurm_says() -> None:
    text = SCONTROL.replace("probe.sh", "a NodeList=n9").replace(
        "WorkDir=", "Comment=JobState=FAILED EndTime=1 WorkDir="
    )
    assert allocation_here(SLURM, saying(text)) == allocation_here(SLURM, saying(SCONTROL))


def test_without_the_controller_the_environment_has_to_do() -> None:
    assert allocation_here(SLURM, saying(None)) == Allocation("slurm", "14", ("n1", "n2", "n3"))
    told = allocation_here({**SLURM, "SLURM_JOB_END_TIME": "1795258000"}, saying(None))
    assert told == Allocation("slurm", "14", ("n1", "n2", "n3"), 1795258000.0)
    told = allocation_here({**SLURM, "SLURM_GPUS_ON_NODE": "2"}, saying(None))
    assert told == Allocation("slurm", "14", ("n1", "n2", "n3"), gpus={"n1": 2, "n2": 2, "n3": 2})
    told = allocation_here({**SLURM, "SLURM_GPUS_ON_NODE": "7"}, saying(SCONTROL))
    assert told == allocation_here(SLURM, saying(SCONTROL)), "what Slurm says of each node counts"


def test_nodes_that_have_failed_are_not_of_it_any_more() -> None:
    found = allocation_here(SLURM, saying(SCONTROL.replace(" NodeList=n[1-3]", " NodeList=n[1,3]")))
    assert found is not None
    assert found.nodes == ("n1", "n3")


def test_an_allocation_may_have_no_end() -> None:
    found = allocation_here(SLURM, saying(SCONTROL.replace("EndTime=1795258556", "EndTime=Unknown")))
    assert found is not None
    assert found.ends_at is None


def test_a_shell_that_outlived_its_job_is_told() -> None:
    with pytest.raises(UserError, match="14, but Slurm says that this job is TIMEOUT: unset SLURM_JOB_ID"):
        allocation_here(SLURM, saying(SCONTROL.replace("RUNNING", "TIMEOUT")))


@pytest.mark.parametrize(
    ("half", "missing"),
    [
        ({"SLURM_JOB_ID": "14"}, "SLURM_JOB_NODELIST"),
        ({"PBS_JOBID": "7.head"}, "PBS_NODEFILE"),
        ({"JOB_ID": "3", "SGE_ROOT": "/sge", "NHOSTS": "2"}, "PE_HOSTFILE"),
        ({"_CONDOR_JOB_AD": "/x/.job.ad"}, "_CONDOR_MACHINE_AD"),
    ],
)
def test_half_an_environment_is_one_clear_error(half: Mapping[str, str], missing: str) -> None:
    with pytest.raises(UserError, match=f"{missing} is not set: half an allocation"):
        allocation_here(half, saying(None))


QSTAT = """\
Job Id: 7.head
    Job_Name = probe
    job_state = R
    exec_host = {host}
    Resource_List.ncpus = 8
    Resource_List.walltime = 01:30:00
    {began} = Sat Nov 21 10:00:00 2026
    Variable_List = PBS_O_HOME=/home/ada,PBS_O_LANG=C,
\tPBS_O_PATH=/bin
"""


@pytest.mark.parametrize(
    ("began", "host"),
    [("stime", "a1/0*4+a2/0*2"), ("start_time", "a1/0-3+a2/4-5"), ("start_time", "a1/0+a1/1+a1/2+a1/3+a2/0+a2/1")],
)
def test_pbs_and_torque_name_their_nodes_in_a_file(tmp_path: Path, began: str, host: str) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("a1.example.org\na1.example.org\na2.example.org\n")
    environ = {"PBS_JOBID": "7.head", "PBS_NODEFILE": str(nodes)}
    assert allocation_here(environ, saying(QSTAT.format(began=began, host=host), to="qstat -f")) == Allocation(
        "pbs", "7.head", ("a1.example.org", "a2.example.org"), 1795260600.0, {"a1.example.org": 4, "a2.example.org": 2}
    )
    assert allocation_here(environ, saying(None)) == Allocation("pbs", "7.head", ("a1.example.org", "a2.example.org"))


def test_a_file_of_nodes_must_be_there_and_say_something(tmp_path: Path) -> None:
    environ = {"PBS_JOBID": "7.head", "PBS_NODEFILE": str(tmp_path / "nodes")}
    with pytest.raises(UserError, match=r"cannot be read .*: start pilotfish on the node of the script"):
        allocation_here(environ, saying(None))
    (tmp_path / "nodes").write_text("\n")
    with pytest.raises(UserError, match="which is empty"):
        allocation_here(environ, saying(None))


def test_sge_has_a_line_for_each_host_and_queue(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("vm 2 all.q@vm UNDEFINED\nw2 4 all.q@w2 UNDEFINED\nvm 1 long.q@vm UNDEFINED\n")
    (tmp_path / "environment").write_text("")
    began = (tmp_path / "environment").stat().st_mtime
    environ = {
        "JOB_ID": "3",
        "SGE_ROOT": "/sge",
        "PE_HOSTFILE": str(tmp_path / "hosts"),
        "SGE_JOB_SPOOL_DIR": str(tmp_path),
    }
    answer = saying("job_number: 3\nhard resource_list:         h_rt=600,mem_free=1G\n", to="qstat -j")
    assert allocation_here(environ, answer) == Allocation("sge", "3", ("vm", "w2"), began + 600, {"vm": 3, "w2": 4})
    assert pe_hosts((tmp_path / "hosts").read_text()) == {"vm": 3, "w2": 4}


def test_a_serial_job_of_sge_has_one_node() -> None:
    environ = {"JOB_ID": "3", "SGE_ROOT": "/sge", "NHOSTS": "1", "NSLOTS": "1", "HOSTNAME": "vm"}
    assert allocation_here(environ, saying(None)) == Allocation("sge", "3", ("vm",), None, {"vm": 1})


def test_htcondor_describes_job_and_slot_in_files(tmp_path: Path) -> None:
    (tmp_path / "job").write_text(
        "ClusterId = 41\nProcId = 2\nJobCurrentStartDate = 1795258000\nAllowedJobDuration = 3600\n"
    )
    (tmp_path / "machine").write_text('Machine = "e12.example.org"\nCpus = 4\n')
    environ = {"_CONDOR_JOB_AD": str(tmp_path / "job"), "_CONDOR_MACHINE_AD": str(tmp_path / "machine")}
    assert allocation_here(environ) == Allocation("htcondor", "41.2", ("e12.example.org",), 1795261600.0)


def test_a_classad_is_lines() -> None:
    assert classad('A = 1\nB = "x = y"\nnonsense\n') == {"A": "1", "B": "x = y"}
