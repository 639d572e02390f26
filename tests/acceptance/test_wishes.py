"""`cancel`, `hold`, `release`, `retry` from another shell: on a living run, and on a store that no manager runs."""

import json
import signal
import subprocess

import pytest

from tests.acceptance.box import Box

PAIR = """
name: pair
jobs:
  - name: long
    array: 2
    command: touch begun{index}; while [ ! -e go ]; do sleep 0.02; done
  - name: later
    after: long
    command: touch later
"""


def states(box: Box) -> dict[str, str]:
    return {task["name"]: task["state"] for task in json.loads(box.run("tasks", "--json").stdout)}


def started(box: Box, text: str = PAIR, *options: str) -> subprocess.Popen[str]:
    """A run whose first task runs and waits for the file `go`."""
    box.write("c.yaml", text)
    run = box.start("run", "--cores", "1", *options, "c.yaml")
    box.wait_for(lambda: list(box.folder.glob("begun*")))
    return run


def test_a_running_task_is_cancelled_and_so_is_what_depends_on_it(box: Box) -> None:
    run = started(box)
    done = box.run("cancel", "long")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "1 task cancelled, 1 is being ended\n"
    assert run.wait(20) == 1
    assert states(box) == {"long:0": "cancelled", "long:1": "cancelled", "later": "skipped"}
    assert not (box.folder / "begun1").exists()
    assert "cancelled by the user" in box.run("show", "long:0").stdout


def test_what_depends_on_a_cancelled_task_is_skipped(box: Box) -> None:
    run = started(box, PAIR + "  - name: last\n    after: later\n    command: touch last\n")
    assert box.run("cancel", "later").stderr == "1 task cancelled, 1 skipped that depends on it\n"
    assert box.run("cancel", "later").stderr == "nothing to cancel: 1 cancelled\n"
    box.write("go", "")
    assert run.wait(20) == 1
    assert states(box) == {"long:0": "succeeded", "long:1": "succeeded", "later": "cancelled", "last": "skipped"}


def test_a_cancelled_task_stays_cancelled_though_everything_is_killed_before_it_has_ended(box: Box) -> None:
    command = "trap : TERM; echo >> begun; while [ ! -e go ]; do sleep 0.02; done"
    run = started(box, f"name: stubborn\njobs:\n  - {{name: x, command: '{command}'}}\n")
    assert box.run("cancel", "x").stderr == "1 task is being ended\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = box.start("run", "c.yaml")
    box.wait_for(lambda: "told to end" in box.run("explain", "x").stdout)
    box.write("go", "")
    assert again.wait(30) == 1
    assert states(box) == {"x": "cancelled"}
    assert box.lines("begun") == [""]


def test_a_held_task_waits_until_it_is_released(box: Box) -> None:
    run = started(box)
    assert box.run("hold", "long:1", "later").stderr == "2 tasks held\n"
    assert box.run("hold", "later").stderr == "nothing to hold: 1 waiting\n"
    assert [line.split()[0] for line in box.run("tasks", "--held").stdout.splitlines()] == ["name", "long:1", "later"]
    assert "held by the user" in box.run("explain", "long:1").stdout
    box.write("go", "")
    assert run.stderr is not None
    hint = "pilotfish: nothing runs, and tasks are held: `pilotfish release long later` lets them go\n"
    while run.stderr.readline() != hint:
        assert run.poll() is None
    assert not (box.folder / "begun1").exists()
    assert box.run("release", "--all").stderr == "2 tasks released\n"
    assert run.wait(20) == 0
    assert (box.folder / "later").exists()


def test_of_a_running_task_that_is_held_it_says_that_it_runs_on(box: Box) -> None:
    run = started(box)
    assert box.run("hold", "long").stderr == "1 task held, 1 runs on and is held afterwards\n"
    box.run("release", "--all")
    box.write("go", "")
    assert run.wait(20) == 0


def test_a_hold_outlives_its_manager(box: Box) -> None:
    run = started(box)
    box.run("hold", "later")
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert box.run("hold", "long:1").stderr.startswith("1 task held; no manager is running")
    assert box.run("release", "long").stderr.startswith("1 task released; no manager is running")
    box.write("go", "")
    again = box.start("run", "c.yaml")
    box.wait_for(lambda: states(box) == {"long:0": "succeeded", "long:1": "succeeded", "later": "ready"})
    box.run("release", "later")
    assert again.wait(20) == 0


FRAGILE = """
name: fragile
jobs:
  - name: try
    array: 3
    command: echo {index} >> tried; test -e good || test {index} = 0
  - name: sum
    after: try
    command: touch summed
  - name: long
    command: touch begun; while [ ! -e go ]; do sleep 0.02; done
"""


def test_a_living_run_tries_again_what_failed_and_what_was_skipped_because_of_it(box: Box) -> None:
    box.write("c.yaml", FRAGILE)
    run = box.start("run", "--cores", "2", "c.yaml")
    box.wait_for(lambda: states(box).get("sum") == "skipped" if (box.folder / "begun").exists() else False)
    box.write("good", "")
    done = box.run("retry", "--failed", "--json")
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert {key: told[key] for key in ("verb", "tasks", "live")} == {"verb": "retry", "tasks": 3, "live": True}
    box.wait_for((box.folder / "summed").exists)
    box.write("go", "")
    assert run.wait(20) == 0
    assert sorted(box.lines("tried")) == ["0", "1", "1", "2", "2"]


def test_without_a_manager_a_retry_is_for_the_next_run(box: Box) -> None:
    box.write("c.yaml", FRAGILE)
    box.write("go", "")
    assert box.run("run", "c.yaml").returncode == 1
    done = box.run("retry", "try:1")
    assert done.returncode == 0
    assert done.stderr == (
        "2 tasks to run again; no manager is running: `pilotfish run` with the same file runs them\n"
    )
    assert states(box) == {
        "try:0": "succeeded", "try:1": "ready", "try:2": "failed", "sum": "waiting", "long": "succeeded",
    }  # fmt: skip
    assert box.run("retry", "try:0").stderr == "nothing to retry: 1 succeeded\n"
    box.write("good", "")
    kept = box.run("run", "--keep-failed", "c.yaml")
    assert kept.returncode == 1
    assert sorted(box.lines("tried")) == ["0", "1", "1", "2"], "try:2 was left alone"


@pytest.mark.parametrize("words", [("cancel", "long", "gnol"), ("hold", "long:7"), ("release", "9"), ("retry", "x")])
def test_a_wrong_id_is_one_line_and_nothing_is_done(box: Box, words: tuple[str, ...]) -> None:
    run = started(box)
    done = box.run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("pilotfish: error: ")
    box.write("go", "")
    assert run.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["cancel"], "say what to cancel: one or more IDs, or --all"),
        (["retry"], "say what to retry: one or more IDs, or --failed"),
        (["hold", "--all", "sim"], "--all and IDs (sim) at once: choose one"),
    ],
)
def test_what_is_meant_must_be_said(box: Box, words: list[str], complaint: str) -> None:
    done = box.run(*words)
    assert (done.returncode, done.stderr) == (2, f"pilotfish: error: {complaint}\n")
