"""What each dialect asks for, and how it reads what becomes of that."""

import re
import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.batch.dialect import AllocationRequest, Away, Dialect, Errand, Output, Refused, Taken, clock, script
from pilotfish.batch.htcondor import HTCondor
from pilotfish.batch.pbs import Pbs, Torque
from pilotfish.batch.sge import Sge
from pilotfish.batch.slurm import Slurm
from pilotfish.errors import UserError

ALL: list[Dialect] = [Slurm(), Pbs(), Torque(), Sge(), HTCondor()]
GIB = 2**30


def wanted(**more: Any) -> AllocationRequest:
    base: dict[str, Any] = {
        "argv": ("agent", "--key", "a b"),
        "name": "pf-1",
        "folder": "/w",
        "log": "/w/l%g",
        "seconds": 5400.0,
    }
    return AllocationRequest(**base | {"cores": 4} | more)


def has(argv: tuple[str, ...], *words: str) -> bool:
    """Whether the words stand there beside each other."""
    return any(argv[at : at + len(words)] == words for at in range(len(argv)))


# what they ask for


@pytest.mark.parametrize("seconds", [59.2, 3600.0, 90_000.0])
def test_times_are_clocks_that_round_up(seconds: float) -> None:
    assert clock(seconds) == {59.2: "00:01:00", 3600.0: "01:00:00", 90_000.0: "25:00:00"}[seconds]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_a_script_hands_on_words_and_variables_as_they_are(words: list[str]) -> None:
    text = script(wanted(argv=("exec-me", *words), environment=(("A", words[0]),)))
    export, run = text.removeprefix("#!/bin/sh\n").rsplit("\nexec exec-me ", 1)
    assert shlex.split(run) == words
    assert shlex.split(export) == ["export", f"A={words[0]}"]


def test_a_script_becomes_its_program() -> None:
    text = script(wanted(argv=("sh", "-c", "echo $$ $A"), environment=(("A", "it's"),)), "echo $$")
    first, second = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    assert second == f"{first} it's"


def test_slurm_asks() -> None:
    full = wanted(nodes=2, memory=GIB + 1, gpus=1, queue="long", account="phys", after="17")
    call = Slurm().submit(full)
    assert call.argv == (
        *("sbatch", "--parsable", "--job-name=pf-1", "--nodes=2", "--ntasks-per-node=1", "--time=01:30:00"),
        *("--chdir=/w", "--output=/w/l%%g", "--open-mode=append", "--no-requeue", "--no-kill"),
        *("--cpus-per-task=4", "--mem=1025M", "--gpus-per-node=1", "--partition=long", "--account=phys"),
        "--dependency=afterany:17",
    )
    assert call.stdin == "#!/bin/sh\nexec agent --key 'a b'\n"
    whole = Slurm().submit(wanted(cores=None, options=("--nice",))).argv
    assert whole[-3:] == ("--exclusive", "--mem=0", "--nice")
    assert Slurm().rehearse(full).argv[1] == "--test-only"


@pytest.mark.parametrize(
    "option", ["--clusters=b", "-Mb", "--array", "--array=1-3", "-J", "--job-name=x", "--wait", ":"]
)
def test_slurm_is_not_asked_for_what_could_not_be_followed(option: str) -> None:
    with pytest.raises(UserError, match=f"{option}: an allocation is one job, of our name"):
        Slurm().submit(wanted(options=("--nice", option)))
    assert (
        Slurm().submit(wanted(options=("--cluster-constraint=a", "--wait-all-nodes=1"))).argv[-1]
        == "--wait-all-nodes=1"
    )


@pytest.mark.parametrize("call", [Slurm().look(["7"]), Slurm().cancel(["7"]), Torque().submit(wanted())])
def test_slurm_sees_who_we_are_but_neither_our_job_nor_filters(call: Errand) -> None:
    seen = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_SOCKET", "SBATCH_ACCOUNT", "PILOTFISH_RUNTIME"}
    unseen = {"SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SQUEUE_PARTITION", "SCANCEL_INTERACTIVE", "SBATCH_ARRAY_INX"}
    hidden = {name for name in seen | unseen | {"PILOTFISH_TASK"} if re.fullmatch(call.hidden or "", name)}
    assert hidden == unseen | {"PILOTFISH_TASK"}


def test_pbs_asks() -> None:
    call = Pbs().submit(
        wanted(nodes=2, memory=GIB, gpus=1, queue="q", account="phys", after="17.s", options=("-k", "n"))
    )
    assert call.argv == (
        *("qsub", "-N", "pf-1", "-l", "select=2:ncpus=4:mem=1024mb:ngpus=1", "-l", "place=scatter"),
        *("-l", "walltime=01:30:00", "-j", "oe", "-o", "/dev/null", "-r", "n", "-q", "q", "-A", "phys"),
        *("-W", "depend=afterany:17.s", "-k", "n"),
    )
    assert call.stdin.splitlines()[1:3] == ["exec >>/w/l%g 2>&1", "cd /w || exit"]


def test_torque_asks() -> None:
    argv = Torque().submit(wanted(nodes=2, memory=GIB, gpus=1)).argv
    assert has(argv, "-l", "nodes=2:ppn=4:gpus=1,mem=2048mb,walltime=01:30:00")
    assert argv[-1] == "/dev/stdin"


def test_grid_engine_asks() -> None:
    argv = Sge().submit(wanted(nodes=2, pe="mpi", after="17")).argv
    for words in (("-pe", "mpi", "8"), ("-l", "h_rt=5400"), ("-hold_jid", "17")):
        assert has(argv, *words)


def test_condor_asks() -> None:
    more = {
        "nodes": 2,
        "memory": GIB,
        "gpus": 1,
        "argv": ("agent", "it's", 'a "b" $(c)'),
        "environment": (("A", "b c"),),
    }
    call = HTCondor().submit(wanted(**more))
    assert call.argv == ("condor_submit", "-terse", "-")
    lines = call.stdin.splitlines()
    assert """arguments = "'it''s' 'a ""b"" $(DOLLAR)(c)'\"""" in lines
    assert "environment = \"'A=b c'\"" in lines
    assert {"request_cpus = 4", "request_memory = 1024MB", "request_gpus = 1", "output = /w/l%g.$(Process)"} <= set(
        lines
    )
    assert "periodic_remove = JobStatus == 2 && time() >= JobCurrentStartDate + 5400" in lines
    assert lines[-1] == "queue 2"


@pytest.mark.parametrize(
    ("dialect", "more", "words"),
    [
        (Pbs(), {"cores": None}, "say how many cores"),
        (Torque(), {"cores": None}, "say how many cores"),
        (Sge(), {"cores": None}, "say how many cores"),
        (Sge(), {}, "qconf -spl lists them"),
        (Sge(), {"pe": "smp", "memory": GIB}, "add your site's own, as in -l mem_free=4G"),
        (HTCondor(), {"queue": "long"}, "has no queues"),
        (HTCondor(), {"after": "17"}, "has no queues, and no order"),
        (HTCondor(), {"argv": ("a", "b\nc")}, "no line breaks"),
    ],
)
def test_what_a_system_has_no_word_for_is_refused_at_once(dialect: Dialect, more: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        dialect.submit(wanted(**more))


# what they answer to a submission

SLURM_TORQUE = """There was an error running the Slurm sbatch command.
The command was:
'/usr/bin/sbatch -e stdin.e%A -o stdin.o%A -p nope /dev/stdin 2>&1'
and the output was:
'sbatch: error: invalid partition specified: nope
 sbatch: error: Batch job submission failed: Invalid partition name specified
'
"""


@pytest.mark.parametrize(
    ("dialect", "out", "native"),
    [
        (Slurm(), "17\n", "17"),
        (Slurm(), "17;cluster\n", "17"),
        (Slurm(), "our site bids you welcome\n17\n", "17"),
        (Pbs(), "1008.pbs01\n", "1008.pbs01"),
        (Torque(), "21\n", "21"),
        (Sge(), "17\n", "17"),
        (HTCondor(), "30020809.0 - 30020809.3\n", "30020809"),
    ],
)
def test_an_id_is_read(dialect: Dialect, out: str, native: str) -> None:
    assert dialect.submitted(Output(0, out)) == Taken(native)


@pytest.mark.parametrize(
    ("dialect", "output", "why"),
    [
        (
            Slurm(),
            Output(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified\n"),
            "Batch job submission failed: Invalid partition name specified",
        ),
        (
            Slurm(),
            Output(255, "", "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information\n"),
            "unrecognized option '--bogus'; Try \"sbatch --help\" for more information",
        ),
        (Pbs(), Output(170, "", "qsub: Unknown queue\n"), "Unknown queue"),
        (
            Pbs(),
            Output(188, "", "qsub: Job violates queue and/or server resource limits\n"),
            "Job violates queue and/or server resource limits",
        ),
        (Torque(), Output(1, SLURM_TORQUE), "; ".join(line.strip() for line in SLURM_TORQUE.splitlines())),
        (
            Sge(),
            Output(1, "", 'Unable to run job: Job was rejected because job requests unknown queue "nope"\nExiting.\n'),
            'Job was rejected because job requests unknown queue "nope"',
        ),
        (Sge(), Output(1, "", "Unable to run job: error: no suitable queues\nExiting.\n"), "no suitable queues"),
        (
            HTCondor(),
            Output(1, "", "ERROR: Executable file /bin/nope does not exist\n"),
            "Executable file /bin/nope does not exist",
        ),
        (Slurm(), Output(1), "the command ended with exit status 1 and said nothing"),
    ],
)
def test_a_refusal_has_the_words_of_the_system(dialect: Dialect, output: Output, why: str) -> None:
    assert dialect.submitted(output) == Refused(why)


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        (Slurm(), "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Job violates accounting/QOS policy"),
        (Slurm(), "sbatch: error: AssocMaxSubmitJobLimit"),
        (Pbs(), "qsub: would exceed complex's per-user limit of jobs in 'Q' state"),
        (Pbs(), "qsub: would exceed limit on resource njobs-generic"),
        (Pbs(), "qsub: Maximum number of jobs already in queue"),
        (
            Sge(),
            "Unable to run job: job rejected: Only 10 jobs are allowed per user (current job count: 10).\nExiting.",
        ),
        (HTCondor(), "ERROR: Number of submitted jobs would exceed MAX_JOBS_SUBMITTED"),
    ],
)
def test_too_many_jobs_are_another_kind_of_refusal(dialect: Dialect, words: str) -> None:
    answer = dialect.submitted(Output(1, "", words))
    assert isinstance(answer, Refused)
    assert answer.full


def test_a_job_over_a_limit_of_its_own_is_not_one_of_too_many() -> None:
    policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    words = f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{SUBMISSION}{policy}"
    why = f"QOSMaxWallDurationPerJobLimit; Batch job submission failed: {policy}"
    assert Slurm().submitted(Output(1, "", words)) == Refused(why)


SUBMISSION = "sbatch: error: Batch job submission failed: "
UNREACHED = """\
error: commlib error: got select error (Connection refused)
Unable to run job: unable to send message to qmaster using port 17999 on host "vm": got send error
Exiting.
"""
GDI_TIMEOUT = "error: failed receiving gdi request response for mid=1 (got syncron message receive timeout error)."
SCHEDD = "-- Failed to fetch ads from: <10.0.0.1:9618> : node1\nSECMAN:2007:Failed to end classad message."
OUTAGES = [
    (Slurm(), f"{SUBMISSION}Unable to contact slurm controller (connect failure)", False),
    (Slurm(), f"{SUBMISSION}Socket timed out on send/recv operation", True),
    (Slurm(), f"{SUBMISSION}Slurm backup controller in standby mode", False),
    (Slurm(), "slurm_load_jobs error: Zero Bytes were transmitted or received", True),
    (Slurm(), "squeue: error: Munge encode failed: Failed to access /run/munge: No such file or directory", False),
    (Pbs(), "Connection refused\nqstat: cannot connect to server pbs01 (errno=111)", False),
    (Pbs(), "qsub: End of File", True),
    (Torque(), "qstat: cannot connect to server (null) (errno=15137) could not connect to trqauthd", False),
    (Sge(), UNREACHED, False),
    (Sge(), GDI_TIMEOUT, True),
    (HTCondor(), "ERROR: Can't find address of local schedd", False),
    (HTCondor(), SCHEDD, True),
]


@pytest.mark.parametrize(("dialect", "words", "maybe"), OUTAGES)
def test_an_outage_is_no_refusal_and_nothing_is_gone(dialect: Dialect, words: str, *, maybe: bool) -> None:
    output = Output(1, "", words)
    answer = dialect.submitted(output)
    assert isinstance(answer, Away)
    assert answer.maybe == maybe
    assert isinstance(dialect.seen(["17"], output), Away)
    assert isinstance(dialect.found("pf-1", output), Away)
    assert isinstance(dialect.cancelled(output), Away)


@pytest.mark.parametrize("dialect", ALL)
def test_a_command_without_an_answer_may_have_been_carried_out(dialect: Dialect) -> None:
    answer = dialect.submitted(Output(None))
    assert isinstance(answer, Away)
    assert answer.maybe
    assert isinstance(dialect.seen(["17"], Output(None)), Away)


@pytest.mark.parametrize("dialect", ALL)
def test_words_that_nobody_knows_make_nothing_gone(dialect: Dialect) -> None:
    assert isinstance(dialect.seen(["17"], Output(1, "", "the moon is full")), Away)
