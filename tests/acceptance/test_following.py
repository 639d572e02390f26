"""`run` in its other ways: attached to a living one, stopping at the first failure, leaving failures, going on."""

import json
import signal

from tests.acceptance.box import Box

WAITS = "while [ ! -e go ]; do sleep 0.02; done"


def test_an_attached_run_follows_the_first_to_its_end_and_exit_code(box: Box) -> None:
    text = f"name: one\njobs:\n  - {{name: a, command: 'touch begun; {WAITS}'}}\n  - {{name: b, command: exit 3}}\n"
    box.write("c.yaml", text)
    first = box.start("run", "c.yaml")
    box.wait_for((box.folder / "begun").exists)
    second, third = box.start("run", "--attach", "c.yaml"), box.start("run", "--attach", "--json", "c.yaml")
    assert second.stderr is not None
    assert second.stderr.readline() == (
        "pilotfish: attached to one, which is running; an interrupt leaves it running\n"
    )
    box.write("go", "")
    assert (first.wait(20), second.wait(20), third.wait(20)) == (1, 1, 1)
    assert "b  exit code 3" in second.communicate()[1]
    told = json.loads(third.communicate()[0].splitlines()[-1])
    assert (told["event"], told["counts"]["succeeded"], told["counts"]["failed"]) == ("end", 1, 1)


def test_an_interrupt_of_an_attached_run_leaves_the_first_alone(box: Box) -> None:
    box.write("c.yaml", f"name: one\njobs:\n  - {{name: a, command: 'touch begun; {WAITS}'}}\n")
    first = box.start("run", "c.yaml")
    box.wait_for((box.folder / "begun").exists)
    second = box.start("run", "--attach", "c.yaml")
    assert second.stderr is not None
    assert "attached" in second.stderr.readline()
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 130
    box.write("go", "")
    assert first.wait(20) == 0


def test_where_nothing_lives_attached_runs_as_usual(box: Box) -> None:
    box.write("c.yaml", "name: one\njobs:\n  - {name: a, command: touch ran}\n")
    for said in ("1 new", "1 kept"):
        done = box.run("run", "--attach", "c.yaml")
        assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"1 task: {said}")
    assert (box.folder / "ran").exists()


def test_the_first_failure_ends_a_run_that_fails_fast(box: Box) -> None:
    text = (
        f"name: fast\njobs:\n  - {{name: a, command: 'touch begun; {WAITS}'}}\n"
        "  - {name: b, command: 'while [ ! -e begun ]; do sleep 0.02; done; test -e good'}\n"
        "  - {name: c, after: a, command: touch c}\n"
    )
    box.write("c.yaml", text)
    done = box.run("run", "--cores", "2", "--fail-fast", "c.yaml")
    assert done.returncode == 1
    assert "pilotfish: b has failed: ending what runs, starting nothing more\n" in done.stderr
    states = {task["name"]: task["state"] for task in json.loads(box.run("tasks", "--json").stdout)}
    assert states == {"a": "ready", "b": "failed", "c": "waiting"}
    box.write("good", "")
    box.write("go", "")
    again = box.run("run", "c.yaml")
    assert (again.returncode, again.stderr.splitlines()[0]) == (0, "3 tasks: 1 to run again, 2 unfinished")


def test_failures_can_be_left_alone(box: Box) -> None:
    box.write("c.yaml", "name: left\njobs:\n  - {name: a, command: 'echo >> tried; exit 1'}\n")
    assert box.run("run", "c.yaml").returncode == 1
    done = box.run("run", "--keep-failed", "c.yaml")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "1 task: 1 left as it is")
    assert len(box.lines("tried")) == 1


def test_a_command_goes_on_where_it_was_left_if_that_is_wanted(box: Box) -> None:
    command = ["--", "sh", "-c", "echo >> tried; test -e good"]
    assert box.run("run", *command).returncode == 1
    box.write("good", "")
    again = box.run("run", "--resume", *command)
    assert (again.returncode, again.stderr) == (0, "1 task: 1 to run again\n")
    kept = box.run("run", "--resume", *command)
    assert (kept.returncode, kept.stderr) == (0, "1 task: 1 kept\n")
    assert len(box.lines("tried")) == 2
    assert box.run("run", *command).returncode == 0
    assert len(box.lines("tried")) == 3


def test_several_files_are_one_campaign(box: Box) -> None:
    box.write("one.yaml", "jobs:\n  - {name: a, command: touch a}\n")
    box.write("two.yaml", "jobs:\n  - {name: b, after: a, command: test -e a}\n")
    assert box.run("run", "one.yaml", "two.yaml").returncode == 0
    again = box.run("run", "two.yaml", "one.yaml")
    assert (again.returncode, again.stderr.splitlines()[0]) == (0, "2 tasks: 2 kept")
