"""How each dialect reads what the systems were recorded, or are documented, to print of allocations."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.batch.dialect import Away, Dialect, Output, Seen, State, Taken
from pilotfish.batch.htcondor import HTCondor
from pilotfish.batch.pbs import Pbs, Torque
from pilotfish.batch.sge import Sge
from pilotfish.batch.slurm import Slurm

ALL: list[Dialect] = [Slurm(), Pbs(), Torque(), Sge(), HTCondor()]
GIB = 2**30


def at(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


SQUEUE = """\
4|PENDING||N/A|N/A|PartitionDown
17|FAILED|n1|1795258447|1795258447|JobLaunchFailure
5|PENDING||N/A|N/A|PartitionConfig
12|PENDING||1795261331|NONE|BeginTime
7|PENDING||N/A|N/A|JobHeldUser
16|RUNNING|n[1-2]|1795258447|1795262047|None
18|CONFIGURING|n[3-4]|1795258447|1795262047|None
3|PENDING||N/A|N/A|PartitionTimeLimit
2|COMPLETING|n[1-2]|1795258447|1795258500|None
1|CANCELLED|n1|1795258447|1795258500|None
6|TIMEOUT|n1|1795258447|1795258500|TimeLimit
8|PENDING||N/A|N/A|QOSMaxNodePerUserLimit
9|PENDING||N/A|N/A|QOSMaxNodePerJobLimit
10|PENDING||N/A|N/A|ReqNodeNotAvail, UnavailableNodes:n[1-2]
"""


def test_slurm_tells() -> None:
    ids = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "16", "17", "18", "99"]
    seen = Slurm().seen(ids, Output(0, SQUEUE))
    assert seen == {
        "1": Seen(State.ENDED, "CANCELLED", "n1", 1795258447, 1795258500),
        "2": Seen(State.RUNNING, "", "n[1-2]", 1795258447, 1795258500),
        "3": Seen(State.STUCK, "PartitionTimeLimit"),
        "4": Seen(State.QUEUED, "PartitionDown"),
        "5": Seen(State.STUCK, "PartitionConfig"),
        "6": Seen(State.ENDED, "TimeLimit", "n1", 1795258447, 1795258500),
        "7": Seen(State.HELD, "JobHeldUser"),
        "8": Seen(State.QUEUED, "QOSMaxNodePerUserLimit"),
        "9": Seen(State.STUCK, "QOSMaxNodePerJobLimit"),
        "10": Seen(State.QUEUED, "ReqNodeNotAvail, UnavailableNodes:n[1-2]"),
        "12": Seen(State.QUEUED, "BeginTime", "", 1795261331),
        "16": Seen(State.RUNNING, "", "n[1-2]", 1795258447, 1795262047),
        "17": Seen(State.FAILED, "JobLaunchFailure", "n1", 1795258447, 1795258447),
        "18": Seen(State.QUEUED, "CONFIGURING", "n[3-4]", 1795258447, 1795262047),
        "99": Seen(State.GONE),
    }


def test_slurms_error_about_one_unknown_id_means_gone() -> None:
    output = Output(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert Slurm().seen(["99"], output) == {"99": Seen(State.GONE)}


QSTAT_PBS = """\
Job Id: 7013474.pbs
    Job_Name = job-01.pbs
    job_state = Q
    queue = v1_gpu72
    ctime = Mon Feb 13 19:00:07 2023
    Error_Path = cx3-2-29.cx3.hpc.ic.ac.uk:/rds/general/user/user/home/project-
\tdirectory/scripts/job-01.pbs.e7013474
    Hold_Types = n
    Resource_List.select = 1:ncpus=4:mem=8gb:ngpus=1:gpu_type=RTX6000:mpiprocs=
\t4:ompthreads=1
    Resource_List.walltime = 72:00:00
    Variable_List = PBS_O_SYSTEM=Linux,PBS_O_SHELL=/bin/bash,
\tPBS_O_HOME=/rds/general/user/user/home
    comment = Not Running: Insufficient amount of resource: ncpus
    estimated.start_time = Tue Feb 14 02:10:01 2023

Job Id: 1008.qot-calc0
    Job_Name = pf-1
    job_state = R
    exec_host = charon24/0*2+charon24/1*2+charon21/0*2
    Resource_List.walltime = 01:00:00
    stime = Tue Feb 22 18:35:47 2022
    comment = Job run at Tue Feb 22 at 18:35 on (charon24:ncpus=2)

Job Id: 11.pbs
    Job_Name = pf-2
    job_state = H
    Hold_Types = s
    depend = afterany:10.pbs@pbs

Job Id: 12.pbs
    job_state = H
    Hold_Types = u

Job Id: 13.pbs
    job_state = Q
    comment = Can Never Run: Insufficient amount of resource: ncpus (R: 400 A: 128 T: 128)

"""
QSTAT_PBS_ERRORS = """\
qstat: Unknown Job Id 99.pbs
qstat: 2338916.pbs Job has finished, use -x or -H to obtain historical job information
"""


def test_pbs_tells() -> None:
    ids = ["7013474.pbs", "1008.qot-calc0", "11.pbs", "12.pbs", "13.pbs", "99.pbs", "2338916.pbs"]
    started = at(2022, 2, 22, 18, 35, 47)
    assert Pbs().seen(ids, Output(35, QSTAT_PBS, QSTAT_PBS_ERRORS)) == {
        "7013474.pbs": Seen(
            State.QUEUED,
            "Not Running: Insufficient amount of resource: ncpus",
            starts_at=at(2023, 2, 14, 2, 10, 1),
        ),
        "1008.qot-calc0": Seen(State.RUNNING, "", "charon24,charon21", started, started + 3600),
        "11.pbs": Seen(State.QUEUED),
        "12.pbs": Seen(State.HELD),
        "13.pbs": Seen(State.STUCK, "Can Never Run: Insufficient amount of resource: ncpus (R: 400 A: 128 T: 128)"),
        "99.pbs": Seen(State.GONE),
        "2338916.pbs": Seen(State.ENDED),
    }


QSTAT_TORQUE = """\
Job Id: 548.moab
    Job_Name = STDIN
    job_state = R
    exec_host = n003/0-1
    Resource_List.nodes = 1:ppn=2
    Resource_List.walltime = 01:00:00
    start_time = Thu Feb 22 14:27:48 2018
    Walltime.Remaining = 3593

Job Id: 549.moab
    Job_Name = pf-1
    job_state = C
    exit_status = 271
    resources_used.walltime = 00:10:00
    start_time = Thu Feb 22 14:27:48 2018

Job Id: 550.moab
    Job_Name = pf-2
    job_state = C
    exit_status = 1

"""
QSTAT_SLURM = """\
Job Id:\t21
\tJob_Name = pf
\tJob_Owner = root@localhost
\tjob_state = R
\tqueue = debug
\tqtime = Sat Nov 21 10:56:42 2026
\texec_host = n1/3+n2/1
\tPriority = 4294901742
\tResource_List.walltime = 00:10:00
\tResource_List.nodect = 2

Job Id:\t22
\tJob_Name = pf-2
\tjob_state = Q

"""


def test_torque_and_its_imitation_tell() -> None:
    started = at(2018, 2, 22, 14, 27, 48)
    assert Torque().seen(["548.moab", "549.moab", "550.moab"], Output(0, QSTAT_TORQUE)) == {
        "548.moab": Seen(State.RUNNING, "", "n003", started, started + 3600),
        "549.moab": Seen(State.ENDED, "exit status 271", "", started, started + 600),
        "550.moab": Seen(State.FAILED, "exit status 1"),
    }
    assert Torque().seen(["21", "22", "99"], Output(153, QSTAT_SLURM)) == {
        "21": Seen(State.RUNNING, "", "n1,n2"),
        "22": Seen(State.QUEUED),
        "99": Seen(State.GONE),
    }
    assert Torque().found("pf-2", Output(0, QSTAT_SLURM)) == Taken("22")
    assert Torque().found("pf-3", Output(0, QSTAT_SLURM)) is None


QSTAT_SGE = """\
<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.25000</JAT_prio>
      <JB_name>pf</JB_name>
      <JB_owner>root</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-21T11:25:50</JAT_start_time>
      <queue_name>all.q@vm</queue_name>
      <slots>4</slots>
      <full_job_name>pf</full_job_name>
      <requested_pe name="smp">4</requested_pe>
      <hard_request name="h_rt" resource_contribution="0.000000">600</hard_request>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>2</JB_job_number>
      <JB_name>pf2</JB_name>
      <state>qw</state>
      <JB_submission_time>2026-11-21T11:25:50</JB_submission_time>
      <queue_name></queue_name>
      <slots>6</slots>
      <full_job_name>pf2</full_job_name>
    </job_list>
    <job_list state="pending">
      <JB_job_number>12</JB_job_number>
      <JB_name>pfwd</JB_name>
      <state>Eqw</state>
      <queue_name></queue_name>
      <full_job_name>pfwd</full_job_name>
    </job_list>
    <job_list state="pending">
      <JB_job_number>3</JB_job_number>
      <JB_name>pf3</JB_name>
      <state>hqw</state>
      <queue_name></queue_name>
      <full_job_name>pf3</full_job_name>
    </job_list>
    <job_list state="pending">
      <JB_job_number>4</JB_job_number>
      <JB_name>pf4</JB_name>
      <state>hqw</state>
      <queue_name></queue_name>
      <full_job_name>pf4</full_job_name>
      <predecessor_jobs_req>1</predecessor_jobs_req>
      <predecessor_jobs>1</predecessor_jobs>
    </job_list>
  </job_info>
</job_info>
"""


def test_grid_engine_tells() -> None:
    assert Sge().seen(["1", "2", "3", "4", "12", "99"], Output(0, QSTAT_SGE)) == {
        "1": Seen(State.RUNNING, "", "vm", at(2026, 11, 21, 11, 25, 50)),
        "2": Seen(State.QUEUED, "qw"),
        "3": Seen(State.HELD, "hqw"),
        "4": Seen(State.QUEUED, "waits for 1"),
        "12": Seen(State.STUCK, "it could not be started and is in an error state, Eqw"),
        "99": Seen(State.GONE),
    }
    assert Sge().found("pf2", Output(0, QSTAT_SGE)) == Taken("2")
    assert Sge().found("nobody", Output(0, QSTAT_SGE)) is None


def condor(*jobs: dict[str, Any]) -> Output:
    return Output(0, json.dumps(jobs) if jobs else "\n")


def test_condor_tells() -> None:
    held = {"JobStatus": 5, "HoldReasonCode": 13, "HoldReason": "Transfer input files failure"}
    output = condor(
        {"ClusterId": 1, "JobStatus": 1},
        {"ClusterId": 2, "JobStatus": 1},
        {"ClusterId": 2, "JobStatus": 2, "RemoteHost": "slot1_1@n2", "JobCurrentStartDate": 1795258447},
        {"ClusterId": 2, "JobStatus": 2, "RemoteHost": "slot1@n1", "JobCurrentStartDate": 1795258440},
        {"ClusterId": 3, **held},
        {"ClusterId": 4, "JobStatus": 5, "HoldReasonCode": 1, "HoldReason": "via condor_hold (by user root)"},
        {"ClusterId": 5, "JobStatus": 4},
    )
    assert HTCondor().seen(["1", "2", "3", "4", "5", "6"], output) == {
        "1": Seen(State.QUEUED),
        "2": Seen(State.RUNNING, "", "n1,n2", 1795258440),
        "3": Seen(State.STUCK, "Transfer input files failure"),
        "4": Seen(State.HELD, "via condor_hold (by user root)"),
        "5": Seen(State.ENDED),
        "6": Seen(State.GONE),
    }
    assert HTCondor().seen(["6"], condor()) == {"6": Seen(State.GONE)}
    assert isinstance(HTCondor().seen(["6"], Output(0, "-- Schedd: n1")), Away)
    assert HTCondor().found("pf-1", condor({"ClusterId": 3})) == Taken("3")
    assert HTCondor().found("pf-1", condor()) is None


@given(st.text(), st.text())
@pytest.mark.parametrize("dialect", ALL)
def test_whatever_is_printed_is_read_without_a_fault(dialect: Dialect, out: str, err: str) -> None:
    for code in (0, 1):
        dialect.submitted(Output(code, out, err))
        dialect.seen(["17"], Output(code, out, err))
        dialect.found("pf-1", Output(code, out, err))
