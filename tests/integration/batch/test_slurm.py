"""Slurm's dialect and the book of allocations against a real Slurm."""

import time
from pathlib import Path
from typing import Any

import pytest

from pilotfish.batch.allocations import Action, Allocations, Find, Inspect, Revoke
from pilotfish.batch.dialect import Away, Dialect, Output, Refused, Seen, State, Taken
from pilotfish.batch.slurm import Slurm
from tests.clusters import SLURM, SlurmCluster
from tests.integration.batch.asking import Asking, run

pytestmark = [*SLURM]

DIALECT = Slurm()
ASKING = Asking(DIALECT)
wanted, submit, look, until = ASKING.wanted, ASKING.submit, ASKING.look, ASKING.until


def perform(book: Allocations, dialect: Dialect, action: Action, now: float) -> None:
    match action:
        case Inspect(ids):
            book.looked(dialect.seen(ids, run(dialect.look(ids))), now)
        case Find(key, name):
            book.found(key, dialect.found(name, run(dialect.find(name))), now)
        case Revoke(ids):
            output = run(dialect.cancel(ids))
            book.told_to_end(ids, dialect.cancelled(output), now)


def test_one_runs_and_ends_with_its_program(slurm: SlurmCluster, tmp_path: Path) -> None:
    environment = (("GREETING", 'it\'s 5% "done"\n$HOME'),)
    job = submit(wanted(tmp_path, "sh", "-c", 'pwd; echo "$GREETING"', environment=environment))
    assert until(slurm, job, State.ENDED).reason == "COMPLETED"
    assert (tmp_path / "log").read_text() == f'{tmp_path}\nit\'s 5% "done"\n$HOME\n'


def test_all_are_seen_at_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    began = time.time()
    runs = submit(wanted(tmp_path, nodes=4))
    waits = submit(wanted(tmp_path, nodes=4))
    held = submit(wanted(tmp_path, options=("--hold",)))
    stuck = submit(wanted(tmp_path, queue="short", seconds=3600.0))
    closed = submit(wanted(tmp_path, queue="closed"))
    follows = submit(wanted(tmp_path, after=runs))
    seen = until(slurm, runs, State.RUNNING)
    assert seen.nodes == "n[1-4]"
    assert seen.starts_at is not None
    assert seen.ends_at == seen.starts_at + 300
    assert abs(seen.starts_at - began) < 60
    told = {job: (seen.state, seen.reason) for job, seen in look(waits, held, stuck, closed, follows, "999999").items()}
    waiting, reason = told.pop(waits)
    assert waiting is State.QUEUED
    assert reason in {"Resources", "Priority"}, "Priority where Slurm has not looked again since the others came"
    assert told == {
        held: (State.HELD, "JobHeldUser"),
        stuck: (State.STUCK, "PartitionTimeLimit"),
        closed: (State.QUEUED, "PartitionDown"),
        follows: (State.QUEUED, "Dependency"),
        "999999": (State.GONE, ""),
    }


def test_an_id_that_slurm_does_not_know_is_gone(slurm: SlurmCluster) -> None:  # noqa: ARG001 - it must be up
    """A peer has asked again and again after ``Invalid job id specified``, and never gone on."""
    assert look("999999") == {"999999": Seen(State.GONE)}


def test_what_is_asked_for_on_each_node_is_given(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = submit(wanted(tmp_path, nodes=2, cores=3, memory=500 * 2**20, gpus=1))
    whole = submit(wanted(tmp_path, account="physics"))
    until(slurm, job, State.RUNNING)
    shown = slurm.run("scontrol", "show", "job", job)
    assert "NumNodes=2 NumCPUs=6" in shown
    assert "mem=1000M" in shown
    assert "TresPerNode=gres:gpu:1" in shown
    until(slurm, whole, State.RUNNING)
    assert "NumCPUs=4" in slurm.run("scontrol", "show", "job", whole)
    assert "mem=4000M" in slurm.run("scontrol", "show", "job", whole)


def test_filters_of_the_users_hide_none_of_ours(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQUEUE_PARTITION", "SQUEUE_ACCOUNT", "SQUEUE_NAMES", "SCANCEL_PARTITION", "SBATCH_ARRAY_INX"):
        monkeypatch.setenv(name, "7")
    job = submit(wanted(tmp_path, "sleep", "60"))
    until(slurm, job, State.RUNNING)
    assert DIALECT.cancelled(run(DIALECT.cancel([job]))) is None
    until(slurm, job, State.ENDED)


def test_the_users_options_win_over_ours(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = submit(wanted(tmp_path, options=("--nodes=3", "--time=7")))
    assert "NumNodes=3" in slurm.run("scontrol", "show", "job", job)
    assert "TimeLimit=00:07:00" in slurm.run("scontrol", "show", "job", job)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"queue": "nope"}, "invalid partition specified: nope"),
        ({"gpus": 9}, "Requested node configuration is not available"),
        ({"options": ("--bogus",)}, "unrecognized option '--bogus'"),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_a_refusal_has_slurms_words(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    answer = DIALECT.submitted(run(DIALECT.submit(wanted(tmp_path, **more))))
    assert isinstance(answer, Refused)
    assert words in answer.why
    assert not answer.full


def test_a_rehearsal_tells_when_and_asks_for_nothing(slurm: SlurmCluster, tmp_path: Path) -> None:
    told = DIALECT.rehearsed(run(DIALECT.rehearse(wanted(tmp_path, nodes=2))))
    assert isinstance(told, str)
    assert "using 8 processors on nodes n[1-2] in partition debug" in told
    assert isinstance(DIALECT.rehearsed(run(DIALECT.rehearse(wanted(tmp_path, nodes=99)))), Refused)
    assert not slurm.run("squeue", "--noheader").strip()


def test_cancelling_reaches_the_program(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = submit(wanted(tmp_path, "sh", "-c", "trap 'echo told; exit' TERM; echo ready; sleep 60 & wait"))
    slurm.wait_for(lambda: (tmp_path / "log").exists() and "ready" in (tmp_path / "log").read_text())
    assert DIALECT.cancelled(run(DIALECT.cancel([job, "999999"]))) is None
    assert until(slurm, job, State.ENDED).reason == "CANCELLED"
    assert "told" in (tmp_path / "log").read_text()


def test_what_is_sent_to_the_script_reaches_the_program(slurm: SlurmCluster, tmp_path: Path) -> None:
    """As the option ``--signal=B:`` does, which Slurm looks after twice a minute only."""
    job = submit(wanted(tmp_path, "sh", "-c", "trap 'echo warned; exit' USR1; echo ready; sleep 60 & wait"))
    slurm.wait_for(lambda: (tmp_path / "log").exists() and "ready" in (tmp_path / "log").read_text())
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    slurm.wait_for(lambda: "warned" in (tmp_path / "log").read_text())


def test_one_is_found_by_its_name(slurm: SlurmCluster, tmp_path: Path) -> None:  # noqa: ARG001 - it must be up
    job = submit(wanted(tmp_path, name="pf-17"))
    assert DIALECT.found("pf-17", run(DIALECT.find("pf-17"))) == Taken(job)
    assert DIALECT.found("pf-nobody", run(DIALECT.find("pf-nobody"))) is None


def test_an_allocation_inside_an_allocation_is_a_new_one(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "17")
    monkeypatch.setenv("PILOTFISH_TASK", "t")
    job = submit(wanted(tmp_path, "sh", "-c", "env"))
    until(slurm, job, State.ENDED)
    lines = (tmp_path / "log").read_text().splitlines()
    assert f"SLURM_JOB_ID={job}" in lines
    assert not [line for line in lines if line.startswith(("SLURM_MEM_PER_CPU=", "PILOTFISH_TASK="))]


def test_an_outage_is_told_apart_from_all_else_and_survived(slurm: SlurmCluster, tmp_path: Path) -> None:
    book = Allocations()
    pilot = book.ask(wanted(tmp_path), 0.0)
    book.answered(pilot.key, DIALECT.submitted(run(DIALECT.submit(pilot.wanted))), 0.0)
    until(slurm, book[pilot.key].id, State.RUNNING)
    slurm.control("stop-ctld")
    try:
        for call in (DIALECT.submit(pilot.wanted), DIALECT.rehearse(pilot.wanted)):
            answer = DIALECT.submitted(run(call))
            assert isinstance(answer, Away)
            assert "Unable to contact slurm controller" in answer.why
            assert not answer.maybe
        assert isinstance(DIALECT.found("pf-1", run(DIALECT.find("pf-1"))), Away)
        assert isinstance(DIALECT.cancelled(run(DIALECT.cancel(["1"]))), Away)
        perform(book, DIALECT, book.due(10.0) or pytest.fail("nothing is due"), 10.0)
        assert book.away is not None
        assert book[pilot.key].state is State.QUEUED
    finally:
        slurm.control("start-ctld")
    perform(book, DIALECT, book.due(book.next_at) or pytest.fail("nothing is due"), 20.0)
    assert book.away is None
    assert book[pilot.key].state is State.RUNNING
    book.cancel(pilot.key)
    perform(book, DIALECT, book.due(30.0) or pytest.fail("nothing is due"), 30.0)
    until(slurm, book[pilot.key].id, State.ENDED)


def test_one_that_dies_at_once_says_where_to_look(slurm: SlurmCluster, tmp_path: Path) -> None:
    book = Allocations()
    pilot = book.ask(wanted(tmp_path, "sh", "-c", "echo no such interpreter; exit 3"), 0.0)
    book.answered(pilot.key, DIALECT.submitted(run(DIALECT.submit(pilot.wanted))), 0.0)
    until(slurm, book[pilot.key].id, State.FAILED)
    perform(book, DIALECT, book.due(100.0) or pytest.fail("nothing is due"), 100.0)
    native = book[pilot.key].id
    assert book[pilot.key].failure == (
        f"allocation {native} ended before any agent of it had joined: NonZeroExitCode; "
        f"what it printed is in {tmp_path}/log"
    )


def test_a_submission_whose_answer_was_lost_is_found_and_cancelled(slurm: SlurmCluster, tmp_path: Path) -> None:
    book = Allocations()
    pilot = book.ask(wanted(tmp_path, name="pf-lost"), 0.0)
    submit(pilot.wanted)
    book.answered(pilot.key, DIALECT.submitted(Output(None)), 0.0)
    book.cancel(pilot.key)
    for now in (10.0, 20.0):
        perform(book, DIALECT, book.due(now) or pytest.fail("nothing is due"), now)
    until(slurm, book[pilot.key].id, State.ENDED)
