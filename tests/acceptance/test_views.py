"""`tasks`, `show`, `logs`, `explain`: while a campaign runs, after it has ended, after its manager was killed."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.box import PILOTFISH, Box

MIXED = """
name: mixed
jobs:
  - name: measure
    array: [north, south, east]
    command: echo measuring {value}; echo looking {value} >&2; test {value} != south
  - name: publish
    after: measure
    command: echo published
"""

SLOW = """
name: slow
jobs:
  - name: count
    command: for i in 1 2 3; do echo $i; touch at$i; while [ ! -e go$i ]; do sleep 0.02; done; done; echo end >&2
  - name: later
    after: count
    command: echo later
"""


def columns(text: str) -> list[list[str]]:
    """The rows of a table without its titles, without moments and durations."""
    return [line.split()[:4] for line in text.splitlines()[1:]]


def test_tasks_tell_what_became_of_each(box: Box) -> None:
    box.write("c.yaml", MIXED)
    assert box.run("run", "c.yaml").returncode == 1
    done = box.run("tasks")
    assert columns(done.stdout) == [
        ["measure:0", "1:0", "succeeded", "1"],
        ["measure:1", "1:1", "failed", "1"],
        ["measure:2", "1:2", "succeeded", "1"],
        ["publish", "2", "skipped", "measure"],
    ]
    assert (done.returncode, done.stderr) == (0, "")
    assert columns(box.run("tasks", "--failed").stdout) == [["measure:1", "1:1", "failed", "1"]]
    assert columns(box.run("tasks", "measure", "--state", "succeeded", "--limit", "1").stdout) == [
        ["measure:0", "1:0", "succeeded", "1"]
    ]
    listed = json.loads(box.run("tasks", "--json").stdout)
    assert [(task["name"], task["code"], task["value"]) for task in listed] == [
        ("measure:0", 0, "north"),
        ("measure:1", 1, "south"),
        ("measure:2", 0, "east"),
        ("publish", None, None),
    ]


def test_the_summary_of_a_run_leads_to_these_commands(box: Box) -> None:
    box.write("c.yaml", MIXED)
    said = box.run("run", "--store", "kept here", "c.yaml").stderr
    assert "measure:1 (south)  exit code 1: looking south\n" in said
    hints = [line.removeprefix("next: ") for line in said.splitlines() if line.startswith("next: ")]
    bin_folder = Path(PILOTFISH).parent
    for hint in hints:
        command = f"PATH={bin_folder}:$PATH {hint}"
        done = subprocess.run(
            ["sh", "-c", command], cwd=box.folder, env=box.env, capture_output=True, text=True, check=False
        )
        assert "pilotfish: error" not in done.stderr, hint


def test_one_task_is_shown_with_what_it_ran_and_how_it_ended(box: Box) -> None:
    box.write("c.yaml", MIXED)
    box.run("run", "c.yaml")
    said = box.run("show", "measure:1").stdout
    for part in ("measuring south", "state", "failed", "attempt 1  exit code 1", "node"):
        assert part in said
    shown = json.loads(box.run("show", "1", "--json").stdout)
    assert shown["counts"] == {"succeeded": 2, "failed": 1}
    assert shown["job"]["name"] == "measure"


def test_logs_are_what_was_written_byte_by_byte(box: Box) -> None:
    box.write("c.yaml", "name: bytes\njobs:\n  - name: raw\n    command: printf '\\377\\000a\\r\\n'; printf err >&2\n")
    box.run("run", "c.yaml")
    done = subprocess.run([PILOTFISH, "logs", "raw"], cwd=box.folder, env=box.env, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"\xff\0a\r\n", b"err")
    assert box.run("logs", "raw", "--stderr").stdout == "err"


def test_logs_of_a_job_are_those_of_its_tasks_in_order(box: Box) -> None:
    box.write("c.yaml", MIXED)
    box.run("run", "c.yaml")
    done = box.run("logs", "measure", "--stdout")
    assert done.stdout == "measuring north\nmeasuring south\nmeasuring east\n"
    assert done.stderr.splitlines() == ["==> measure:0 <==", "==> measure:1 <==", "==> measure:2 <=="]


def test_every_attempt_keeps_its_output(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: again\njobs:\n  - name: x\n    command: echo try {attempt}; test {attempt} = 2\n    retries: 1\n",
    )
    assert box.run("run", "c.yaml").returncode == 0
    assert box.run("logs", "x").stdout == "try 2\n"
    assert box.run("logs", "x", "--attempt", "1").stdout == "try 1\n"
    done = box.run("logs", "x", "--attempt", "3")
    assert (done.returncode, done.stderr) == (2, "pilotfish: error: x has had no attempt 3\n")


def test_a_large_output_comes_whole(box: Box) -> None:
    box.write("c.yaml", "name: large\njobs:\n  - name: x\n    command: head -c 9000000 /dev/zero\n")
    box.run("run", "c.yaml")
    assert box.run("logs", "x").stdout == "\0" * 9_000_000


def test_why_something_is_as_it_is(box: Box) -> None:
    box.write("c.yaml", MIXED)
    box.run("run", "c.yaml")
    assert box.run("explain", "measure:1").stdout == "measure:1 failed: exit code 1, attempt 1\n"
    assert box.run("explain", "publish").stdout == "publish skipped: measure did not succeed\n"
    assert box.run("explain", "measure").stdout.splitlines() == [
        "2 tasks succeeded; measure:0: exit code 0, attempt 1",
        "measure:1 failed: exit code 1, attempt 1",
    ]
    assert json.loads(box.run("explain", "2", "--json").stdout)["plights"][0]["state"] == "skipped"


def test_a_living_manager_is_asked(box: Box) -> None:
    box.write("c.yaml", SLOW)
    run = box.start("run", "c.yaml")
    box.wait_for((box.folder / "at1").exists)
    done = box.run("tasks")
    assert columns(done.stdout)[0][:4] == ["count", "1", "running", "1"]
    assert done.stderr == ""
    assert box.run("explain", "later").stdout == "later waiting: waits for count to succeed\n"
    assert "running on" in box.run("show", "count").stdout
    assert box.run("logs", "count").stdout == "1\n"
    box.write("go1", "")
    box.wait_for((box.folder / "at2").exists)
    follow = box.start("logs", "-f", "count")
    assert follow.stdout
    assert [follow.stdout.readline(), follow.stdout.readline()] == ["1\n", "2\n"]
    box.write("go2", "")
    assert follow.stdout.readline() == "3\n"
    box.write("go3", "")
    assert follow.communicate() == ("", "end\n")
    assert run.wait(30) == 0
    assert box.run("logs", "later").stdout == "later\n"


def test_a_manager_that_does_not_answer_is_told_by_75(box: Box) -> None:
    box.write("c.yaml", SLOW)
    run = box.start("run", "c.yaml")
    box.wait_for((box.folder / "at1").exists)
    run.send_signal(signal.SIGSTOP)
    done = box.run("tasks")
    run.send_signal(signal.SIGCONT)
    assert (done.returncode, done.stderr) == (75, "pilotfish: error: the manager has not answered for 5 s\n")
    for number in (1, 2, 3):
        box.write(f"go{number}", "")
    assert run.wait(30) == 0


def test_following_what_has_not_begun_waits_for_it(box: Box) -> None:
    box.write("c.yaml", SLOW)
    for number in (1, 2, 3):
        box.write(f"go{number}", "")
    (box.folder / "go3").unlink()
    run = box.start("run", "c.yaml")
    box.wait_for((box.folder / "at3").exists)
    follow = box.start("logs", "--follow", "later")
    box.write("go3", "")
    assert follow.communicate(timeout=30)[0] == "later\n"
    assert run.wait(30) == 0


def test_a_store_whose_manager_was_killed_can_be_looked_at(box: Box) -> None:
    box.write("c.yaml", SLOW)
    run = box.start("run", "c.yaml")
    box.wait_for((box.folder / "at1").exists)
    run.send_signal(signal.SIGKILL)
    run.wait()
    done = box.run("tasks")
    assert columns(done.stdout) == [["count", "1", "running", "1"], ["later", "2", "waiting"]]
    assert "no manager is running; `pilotfish run` with the same file goes on" in done.stderr
    assert box.run("explain", "count").stdout == "count running: was running when its manager went away\n"
    assert box.run("logs", "count").stdout == "1\n"
    for number in (1, 2, 3):
        box.write(f"go{number}", "")
    assert box.run("run", "c.yaml").returncode == 0
    assert box.run("logs", "count").stdout == "1\n2\n3\n"


def test_a_look_takes_no_part_in_what_runs(box: Box) -> None:
    """However often one looks, a manager that begins meanwhile gets its campaign."""
    box.write("c.yaml", "name: quick\njobs:\n  - {name: x, command: 'true'}\n")
    assert box.run("run", "c.yaml").returncode == 0
    looks = [box.start("tasks", "--json") for _ in range(4)]
    runs = [box.run("run", "c.yaml") for _ in range(2)]
    assert [(run.returncode, run.stderr.splitlines()[0]) for run in runs] == [(0, "1 task: 1 kept")] * 2
    for look in looks:
        said, complaint = look.communicate(timeout=30)
        assert (json.loads(said)[0]["state"], complaint) == ("succeeded", "")


def test_very_many_tasks_are_summed_up_by_job(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: many\njobs:\n  - {name: x, array: 1001, command: 'false', after: y}\n  - {name: y, command: 'false'}\n",
    )
    box.run("run", "c.yaml")
    done = box.run("tasks")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["y", "1", "1", "task", "1", "failed"] in rows
    assert ["x", "2", "1,001", "tasks", "1,001", "skipped"] in rows
    assert "by job" in done.stderr
    assert len(box.run("tasks", "x").stdout.splitlines()) == 1002
    assert len(json.loads(box.run("tasks", "--json").stdout)) == 1002


def test_the_campaign_that_ran_last_is_meant_unless_another_is_named(box: Box) -> None:
    for name in ("one", "two"):
        box.write(f"{name}.yaml", f"name: {name}\njobs:\n  - {{name: {name}, command: echo {name}}}\n")
        box.run("run", f"{name}.yaml")
    (box.folder / "below").mkdir()
    assert box.run("logs", "two").stdout == "two\n"
    assert box.run("logs", "one", "--campaign", "one").stdout == "one\n"
    assert box.run("logs", "two").stdout == "two\n"
    done = box.run("logs", "one")
    assert (done.returncode, done.stderr) == (2, "pilotfish: error: there is no job `one`; there are: two\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["tasks"], "there is no .pilotfish in"),
        (["tasks", "--store", "nowhere"], "nothing has run in"),
    ],
)
def test_where_nothing_ran_there_is_nothing_to_see(box: Box, words: list[str], complaint: str) -> None:
    done = box.run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"pilotfish: error: {complaint}")
    assert list(box.folder.iterdir()) == []
