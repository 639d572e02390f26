"""The command line itself: errors in one line, exit codes, pipes, terminals."""

import os
import subprocess

import pytest

from tests.acceptance.box import PILOTFISH, Box

JOBS = """
name: three
jobs:
  - {name: good, command: echo good}
  - {name: bad, command: exit 3}
"""


def test_a_wrong_file_is_refused_before_anything_is_made(box: Box) -> None:
    box.write("c.yaml", "jobs:\n  - {name: x, comand: 'true'}\n")
    done = box.run("run", "c.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("pilotfish: error: c.yaml:2: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [path.name for path in box.folder.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize(
    "words",
    [["run"], ["run", "nowhere.yaml"], ["show"], ["tasks", "--state", "done"], ["logs", "x", "--stdout", "--stderr"]],
)
def test_a_user_s_mistake_is_one_line_and_2(box: Box, words: list[str]) -> None:
    done = box.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pilotfish: error: ")
    assert done.stderr.count("\n") == 1


def test_a_broken_pipe_is_no_error(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: many\njobs:\n  - {name: x, array: 3000, command: 'true', after: y}\n  - {name: y, command: 'false'}\n",
    )
    box.run("run", "c.yaml")
    script = f"{PILOTFISH} tasks --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    env = {name: value for name, value in box.env.items() if name != "PYTHONUNBUFFERED"}  # with it Python sees no error
    done = subprocess.run(["bash", "-c", script], cwd=box.folder, env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[141\n", "")


def seen_on_a_terminal(box: Box, *words: str, **env: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = os.openpty()
    command = [PILOTFISH, *words]
    environment = {k: v for k, v in box.env.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | env
    process = subprocess.Popen(command, cwd=box.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:  # the last one has closed the other end
        pass
    os.close(ours)
    process.wait()
    return said.decode()


def test_colours_and_a_moving_line_are_for_terminals(box: Box) -> None:
    box.write("c.yaml", JOBS + "  - {name: long, command: sleep 0.6}\n")
    said = seen_on_a_terminal(box, "run", "c.yaml")
    assert "\r" in said.replace("\r\n", "")
    assert "\x1b[31mfailed" in seen_on_a_terminal(box, "tasks")
    assert "\x1b[" not in seen_on_a_terminal(box, "tasks", NO_COLOR="1")
    assert "\x1b" not in box.run("tasks").stdout
    again = box.run("run", "c.yaml")
    assert "\r" not in again.stderr
    assert "\x1b" not in again.stderr


def test_a_store_of_a_newer_version_is_left_alone(box: Box) -> None:
    import sqlite3

    box.write("c.yaml", JOBS)
    box.run("run", "c.yaml")
    connection = sqlite3.connect(box.folder / ".pilotfish" / "three" / "store.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for words in (["tasks"], ["run", "c.yaml"]):
        done = box.run(*words)
        assert done.returncode == 2
        assert "schema version 99" in done.stderr
        assert done.stderr.count("pilotfish: error: ") == 1


def test_an_output_that_was_removed_is_missed(box: Box) -> None:
    box.write("c.yaml", JOBS)
    box.run("run", "c.yaml")
    for path in (box.folder / ".pilotfish" / "three" / "outputs").iterdir():
        path.unlink()
    done = box.run("logs", "good")
    assert done.returncode == 1
    assert done.stderr.startswith("pilotfish: error: the output of good is gone: it was in ")
