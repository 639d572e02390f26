"""Grid Engine's dialect against a real Grid Engine."""

from pathlib import Path
from typing import Any

import pytest

from pilotfish.batch.dialect import Away, Refused, State, Taken
from pilotfish.batch.sge import Sge
from tests.clusters import GRID_ENGINE, GridEngine
from tests.integration.batch.asking import Asking, run

pytestmark = [*GRID_ENGINE]

DIALECT = Sge()
ASKING = Asking(DIALECT, cores=1)
wanted, submit, look, until = ASKING.wanted, ASKING.submit, ASKING.look, ASKING.until


def printed(engine: GridEngine, folder: Path, words: str) -> None:
    engine.wait_for(lambda: (folder / "log").exists() and words in (folder / "log").read_text())


def test_one_runs_and_is_unknown_when_it_has_ended(grid_engine: GridEngine, tmp_path: Path) -> None:
    environment = (("GREETING", 'it\'s "done"\n$HOME'),)
    job = submit(wanted(tmp_path, "sh", "-c", 'pwd; echo "$GREETING"', environment=environment))
    until(grid_engine, job, State.GONE)
    printed(grid_engine, tmp_path, f'{tmp_path}\nit\'s "done"\n$HOME\n')


def test_all_are_seen_at_once(grid_engine: GridEngine, tmp_path: Path) -> None:
    runs = submit(wanted(tmp_path, cores=6, pe="smp"))
    waits = submit(wanted(tmp_path, cores=6, pe="smp"))
    held = submit(wanted(tmp_path, options=("-h",)))
    follows = submit(wanted(tmp_path, after=runs))
    seen = until(grid_engine, runs, State.RUNNING)
    assert seen.nodes
    assert seen.starts_at is not None
    assert abs(seen.starts_at - (tmp_path / "log").stat().st_mtime) < 60
    told = {job: seen.state for job, seen in look(waits, held, follows, "999999").items()}
    assert told == {waits: State.QUEUED, held: State.HELD, follows: State.QUEUED, "999999": State.GONE}
    assert look(follows)[follows].reason == f"waits for {runs}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"queue": "nope"}, 'unknown queue "nope"'),
        ({"pe": "nope", "cores": 2}, 'the requested parallel environment "nope" does not exist'),
        ({"options": ("-w", "e", "-l", "slots=99")}, ""),
    ],
)
@pytest.mark.usefixtures("grid_engine")
def test_a_refusal_has_its_words(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    answer = DIALECT.submitted(run(DIALECT.submit(wanted(tmp_path, **more))))
    assert isinstance(answer, Refused)
    assert words in answer.why


def test_a_rehearsal_tells_whether_it_could_start(grid_engine: GridEngine, tmp_path: Path) -> None:
    told = DIALECT.rehearsed(run(DIALECT.rehearse(wanted(tmp_path, cores=2, pe="smp"))))
    assert told == "verification: found suitable queue(s)"
    assert isinstance(DIALECT.rehearsed(run(DIALECT.rehearse(wanted(tmp_path, cores=99, pe="smp")))), Refused)
    assert not grid_engine.run("qstat").strip()


def test_cancelling_is_announced_by_usr2(grid_engine: GridEngine, tmp_path: Path) -> None:
    job = submit(wanted(tmp_path, "sh", "-c", "trap 'echo told; exit' USR2; echo ready; sleep 60 & wait"))
    printed(grid_engine, tmp_path, "ready")
    assert DIALECT.cancelled(run(DIALECT.cancel([job, "999999"]))) is None
    printed(grid_engine, tmp_path, "told")
    until(grid_engine, job, State.GONE)


def test_one_that_cannot_be_started_is_stuck(grid_engine: GridEngine, tmp_path: Path) -> None:
    job = submit(wanted(tmp_path, options=("-wd", "/nonexistent")))
    assert "Eqw" in until(grid_engine, job, State.STUCK).reason


def test_one_is_found_by_its_name(grid_engine: GridEngine, tmp_path: Path) -> None:  # noqa: ARG001 - it must be up
    job = submit(wanted(tmp_path, name="pf-17"))
    assert DIALECT.found("pf-17", run(DIALECT.find("pf-17"))) == Taken(job)
    assert DIALECT.found("pf-nobody", run(DIALECT.find("pf-nobody"))) is None


@pytest.mark.usefixtures("grid_engine")
def test_an_outage_is_told_apart_from_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGE_QMASTER_PORT", "1")
    answer = DIALECT.submitted(run(DIALECT.submit(wanted(tmp_path))))
    assert isinstance(answer, Away)
    assert not answer.maybe
    assert isinstance(DIALECT.seen(["1"], run(DIALECT.look(["1"]))), Away)
    assert isinstance(DIALECT.cancelled(run(DIALECT.cancel(["1"]))), Away)
