"""`clean`: what is deleted, what is not, and that it asks."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.box import PILOTFISH, Box


def ran(box: Box, *names: str) -> Path:
    """The store in which campaigns of these names have run."""
    for name in names:
        box.write(f"{name}.yaml", f"name: {name}\njobs:\n  - {{name: {name}, command: echo {name}}}\n")
        assert box.run("run", f"{name}.yaml").returncode == 0
    return box.folder / ".pilotfish"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_campaign_is_deleted_with_all_that_is_known_of_it(box: Box) -> None:
    store = ran(box, "one", "two")
    done = box.run("clean", "--campaign", "one", "--yes")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("one")
    assert done.stderr.startswith("deleted 1 campaign, ")
    assert names(store) == ["archive", "two"]
    assert names(store / "archive") == []
    assert "1 new" in box.run("run", "one.yaml").stderr


def test_what_would_be_deleted_is_told_first(box: Box) -> None:
    store = ran(box, "one", "two")
    done = box.run("clean", "--all", "--dry-run", "--json")
    listed = json.loads(done.stdout)
    assert sorted(one["name"] for one in listed) == ["one", "two"]
    assert all(one["bytes"] > 1000 and one["last_run"] > 1e9 for one in listed)
    assert done.stderr.startswith("would delete 2 campaigns, ")
    assert names(store) == ["one", "two"]


def test_without_a_terminal_it_must_be_said(box: Box) -> None:
    store = ran(box, "one")
    done = box.run("clean", "--all")
    assert done.returncode == 2
    assert done.stderr.startswith("pilotfish: error: this would delete 1 campaign, ")
    assert names(store) == ["one"]


@pytest.mark.parametrize(("answer", "left"), [("n", ["one"]), ("y", ["archive"])])
def test_on_a_terminal_it_asks(box: Box, answer: str, left: list[str]) -> None:
    store = ran(box, "one")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [PILOTFISH, "clean", "--all"], cwd=box.folder, env=box.env, stdin=theirs, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(ours, f"{answer}\n".encode())
    said = process.communicate(timeout=20)[1]
    os.close(ours)
    os.close(theirs)
    assert said.startswith("delete 1 campaign, ")
    assert names(store) == left


def test_what_runs_is_left_alone(box: Box) -> None:
    store = ran(box, "other")
    command = "touch begun; while [ ! -e go ]; do sleep 0.02; done"
    box.write("c.yaml", f"name: live\njobs:\n  - name: a\n    command: {command}\n")
    run = box.start("run", "c.yaml")
    box.wait_for((box.folder / "begun").exists)
    done = box.run("clean", "--campaign", "live", "--yes")
    assert (done.returncode, done.stdout) == (75, "")
    assert f"is in use by process {run.pid}" in done.stderr
    done = box.run("clean", "--all", "--yes")
    assert done.returncode == 75
    assert "left alone" in done.stderr
    assert names(store) == ["archive", "live"]
    run.send_signal(signal.SIGKILL)
    run.wait()
    done = box.run("clean", "--campaign", "live", "--yes")
    assert done.returncode == 75, "its tasks still run"
    box.write("go", "")
    assert box.run("run", "c.yaml").returncode == 0
    assert box.run("clean", "--campaign", "live", "--yes").returncode == 0


def test_what_was_put_away_may_be_deleted_alone(box: Box) -> None:
    store = ran(box, "one", "two")
    assert box.run("run", "--fresh", "one.yaml").returncode == 0
    assert box.run("run", "--fresh", "two.yaml").returncode == 0
    assert box.run("clean", "--archived", "--older-than", "1h", "--yes").stderr == "nothing to delete\n"
    done = box.run("clean", "--campaign", "one", "--archived", "--dry-run", "--json")
    assert [one["name"].split("-")[0] for one in json.loads(done.stdout)] == ["one", "one"]
    assert box.run("clean", "--archived", "--yes").stderr.startswith("deleted 2 campaigns")
    assert names(store) == ["archive", "one", "two"]


def test_only_old_ones_may_be_meant(box: Box) -> None:
    store = ran(box, "old", "new")
    before = time.time() - 40 * 86_400
    for path in (store / "old").glob("*"):
        os.utime(path, (before, before))
    assert box.run("clean", "--all", "--older-than", "30d", "--yes").returncode == 0
    assert names(store) == ["archive", "new"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "say what to delete: --campaign NAME, --all or --archived"),
        (["--campaign", "eno"], "there is no campaign `eno` in "),
        (["--all", "--older-than", "soon"], "--older-than: expected a time such as"),
    ],
)
def test_a_mistake_deletes_nothing(box: Box, words: list[str], complaint: str) -> None:
    store = ran(box, "one")
    done = box.run("clean", *words, "--yes")
    assert done.returncode == 2
    assert done.stderr.startswith(f"pilotfish: error: {complaint}")
    assert names(store) == ["one"]
