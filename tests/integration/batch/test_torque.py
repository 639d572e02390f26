"""Torque's dialect against the commands that Slurm has for it, on a real Slurm."""

import os
from pathlib import Path

import pytest

from pilotfish.batch.dialect import Away, Refused, State, Taken
from pilotfish.batch.pbs import Torque
from tests.clusters import SLURM, SlurmCluster, torque_commands
from tests.integration.batch.asking import Asking, run

pytestmark = [*SLURM, pytest.mark.needs("torque")]

DIALECT = Torque()
ASKING = Asking(DIALECT, cores=2)
wanted, submit, look, until = ASKING.wanted, ASKING.submit, ASKING.look, ASKING.until


@pytest.fixture(autouse=True)
def _commands(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it must be up
    for name, text in torque_commands().items():
        monkeypatch.setenv(name, text)


def test_one_runs_where_it_should_and_ends(slurm: SlurmCluster, tmp_path: Path) -> None:
    environment = (("GREETING", "it's"),)
    job = submit(wanted(tmp_path, "sh", "-c", 'pwd; echo "$GREETING $SLURM_JOB_ID"', environment=environment))
    until(slurm, job, State.ENDED)
    slurm.wait_for((tmp_path / "log").exists)
    assert (tmp_path / "log").read_text() == f"{tmp_path}\nit's {job}\n"


def test_all_are_seen_at_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    runs = submit(wanted(tmp_path, nodes=4, cores=4, memory=500 * 2**20))
    waits = submit(wanted(tmp_path, name="pf-2", nodes=4, after=runs))
    assert until(slurm, runs, State.RUNNING).nodes == "n1,n2,n3,n4"
    seen = look(runs, waits, "999999")
    assert (seen[waits].state, seen["999999"].state) == (State.QUEUED, State.GONE)
    assert DIALECT.found("pf-2", run(DIALECT.find("pf-2"))) == Taken(waits)
    assert DIALECT.found("nobody", run(DIALECT.find("nobody"))) is None
    assert DIALECT.cancelled(run(DIALECT.cancel([runs, waits, "999999"]))) is None
    until(slurm, runs, State.ENDED)
    until(slurm, waits, State.ENDED)


def test_a_refusal_has_slurms_words(tmp_path: Path) -> None:
    answer = DIALECT.submitted(run(DIALECT.submit(wanted(tmp_path, queue="nope"))))
    assert isinstance(answer, Refused)
    assert "invalid partition specified: nope" in answer.why


def test_an_outage_is_told_apart_from_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "slurm.conf"
    config.write_text(Path(os.environ["SLURM_CONF"]).read_text().replace("SlurmctldPort=", "SlurmctldPort=1#"))
    monkeypatch.setenv("SLURM_CONF", str(config))
    assert isinstance(DIALECT.submitted(run(DIALECT.submit(wanted(tmp_path)))), Away)
    assert isinstance(DIALECT.seen(["1"], run(DIALECT.look(["1"]))), Away)
