"""`pilotfish run`: campaigns to their end, running again, stopping, exit codes."""

import json
import signal
import subprocess
import sys

import pytest

from tests.acceptance.box import PILOTFISH, Box

CAMPAIGN = """
name: small
jobs:
  - name: prepare
    command: echo prepared >> trace
  - name: sim
    array: 1-20
    after: prepare
    command: echo sim {index} >> trace
  - name: reduce
    after: sim
    command: [sh, -c, "wc -l < trace > result; echo reduce >> trace"]
"""


HOLD_CORES = """
import os, time
begin = time.time()
time.sleep(0.2)
(core,) = os.sched_getaffinity(0)
with open("held", "a") as file:
    file.write(f"{core} {begin} {time.time()}\\n")
"""


def test_a_campaign_runs_in_order_and_a_second_run_keeps_all(box: Box) -> None:
    box.write("c.yaml", CAMPAIGN)
    done = box.run("run", "c.yaml")
    assert done.returncode == 0, done.stderr
    assert "22 new" in done.stderr
    trace = box.lines("trace")
    assert (trace[0], trace[-1]) == ("prepared", "reduce")
    assert sorted(trace[1:-1]) == sorted(f"sim {i}" for i in range(1, 21))
    assert box.lines("result") == ["21"]
    again = box.run("run", "c.yaml")
    assert again.returncode == 0
    assert "22 kept" in again.stderr
    assert box.lines("trace") == trace


def test_a_changed_command_runs_with_its_dependants(box: Box) -> None:
    box.write("c.yaml", CAMPAIGN)
    assert box.run("run", "c.yaml").returncode == 0
    box.write("c.yaml", CAMPAIGN.replace("echo sim {index}", "echo SIM {index}"))
    dry = box.run("run", "--dry-run", "c.yaml")
    assert dry.returncode == 0
    for part in ("20 changed", "1 dependant", "1 kept"):
        assert part in dry.stderr
    assert not any("SIM" in line for line in box.lines("trace"))
    assert box.run("run", "c.yaml").returncode == 0
    assert sum("SIM" in line for line in box.lines("trace")) == 20
    assert box.lines("trace").count("prepared") == 1


def test_failures_are_told_and_run_again_with_fresh_retries(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: f\njobs:\n"
        "  - name: a\n    array: 0-3\n    retries: 1\n"
        "    command: echo {index} >> tries; test -e ok || test {index} != 2 || { echo broken >&2; exit 3; }\n"
        "  - {name: b, after: a, command: 'echo b >> tries'}\n",
    )
    failed = box.run("run", "c.yaml")
    assert failed.returncode == 1
    assert "a:2" in failed.stderr
    assert "broken" in failed.stderr
    assert sorted(box.lines("tries")) == ["0", "1", "2", "2", "3"]
    box.write("ok", "")
    assert box.run("run", "c.yaml").returncode == 0
    assert sorted(box.lines("tries")) == ["0", "1", "2", "2", "2", "3", "b"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["/no/such/program"], 127),
    ],
)
def test_run_of_a_command_returns_its_own_code(box: Box, command: list[str], code: int) -> None:
    assert box.run("run", "--", *command).returncode == code


def test_run_of_a_command_passes_its_output_on(box: Box) -> None:
    done = box.run("run", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert "err" in done.stderr


def test_a_command_that_takes_too_long_returns_124(box: Box) -> None:
    assert box.run("run", "-t", "0.3s", "--", "sleep", "60").returncode == 124


def test_interrupt_ends_tasks_and_a_second_run_goes_on(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: i\njobs:\n  - {name: a, array: 0-5, command: 'echo {index} >> begun; test -e go || sleep 60'}\n",
    )
    run = box.start("run", "c.yaml")
    box.wait_for(lambda: box.lines("begun"))
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130
    begun = len(box.lines("begun"))
    box.write("go", "")
    assert box.run("run", "c.yaml").returncode == 0
    assert len(box.lines("begun")) == 6 + begun


def test_terminate_lets_running_tasks_end_and_starts_no_more(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: i\njobs:\n  - name: a\n    array: 0-9\n"
        "    command: echo {index} >> begun; while ! test -e go; do sleep 0.05; done; echo {index} >> ended\n",
    )
    run = box.start("run", "c.yaml")
    box.wait_for(lambda: box.lines("begun"))
    run.send_signal(signal.SIGTERM)
    box.write("go", "")
    assert run.wait(20) != 0
    assert sorted(box.lines("ended")) == sorted(box.lines("begun"))
    assert len(box.lines("begun")) < 10


def test_a_second_run_of_a_living_campaign_ends_with_75_and_names_the_first(box: Box) -> None:
    box.write(
        "c.yaml", "name: one\njobs:\n  - {name: a, command: 'touch begun; while ! test -e go; do sleep 0.05; done'}\n"
    )
    first = box.start("run", "c.yaml")
    box.wait_for((box.folder / "begun").exists)
    second = box.run("run", "c.yaml")
    assert second.returncode == 75
    assert str(first.pid) in second.stderr
    box.write("go", "")
    assert first.wait(20) == 0


def test_two_runs_on_one_machine_never_share_a_core(box: Box) -> None:
    box.write("hold.py", HOLD_CORES)
    for name in ("x", "y"):
        box.write(
            f"{name}.yaml", f"name: {name}\njobs:\n  - {{name: a, array: 0-3, command: [{sys.executable}, hold.py]}}\n"
        )
    first = box.start("run", "--cores", "1", "x.yaml")
    second = box.start("run", "--cores", "1", "y.yaml")
    assert (first.wait(60), second.wait(60)) == (0, 0)
    held = [tuple(map(float, line.split())) for line in box.lines("held")]
    assert len(held) == 8
    for core, begin, _ in held:
        others = [end for other, start, end in held if other == core and start < begin]
        assert all(end <= begin for end in others), "two tasks held one core at the same time"


def test_kill_of_everything_loses_nothing_and_repeats_nothing_that_was_recorded(box: Box) -> None:
    box.write("c.yaml", "name: k\njobs:\n  - {name: a, array: 0-199, command: 'echo {index} >> ran; sleep 0.01'}\n")
    run = box.start("run", "c.yaml")
    box.wait_for(lambda: len(box.lines("ran")) > 20)
    run.kill()
    run.wait()
    done = box.run("run", "c.yaml")
    assert done.returncode == 0, done.stderr
    ran = [int(line) for line in box.lines("ran")]
    assert sorted(ran) == list(range(200)), "the manager's death alone repeats nothing"


def test_fresh_archives_and_starts_anew(box: Box) -> None:
    box.write("c.yaml", CAMPAIGN)
    assert box.run("run", "c.yaml").returncode == 0
    done = box.run("run", "--fresh", "c.yaml")
    assert done.returncode == 0
    assert "22 new" in done.stderr
    assert box.lines("trace").count("prepared") == 2
    assert list((box.folder / ".pilotfish" / "archive").iterdir())


def test_bad_file_is_refused_before_anything_starts(box: Box) -> None:
    box.write("c.yaml", "name: bad\njobs:\n  - {name: a, command: touch started}\n  - {name: b, comand: 'true'}\n")
    done = box.run("run", "c.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("pilotfish: error: ")
    assert "command" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (box.folder / "started").exists()
    assert not (box.folder / ".pilotfish").exists()


def test_a_request_beyond_the_machine_is_refused_before_anything_starts(box: Box) -> None:
    box.write(
        "c.yaml",
        "name: big\njobs:\n  - {name: a, command: touch started}\n  - {name: b, cores: 4096, command: 'true'}\n",
    )
    done = box.run("run", "c.yaml")
    assert done.returncode == 2
    assert "4096" in done.stderr
    assert not (box.folder / "started").exists()


def test_few_descriptors_and_a_deep_folder_are_enough(box: Box) -> None:
    deep = "/".join(["a-folder-with-a-rather-long-name"] * 7)
    box.write(f"{deep}/c.yaml", "name: deep\njobs:\n  - {name: a, array: 300, command: 'echo {index} >> ran'}\n")
    command = f"ulimit -n 256 && cd {deep} && {PILOTFISH} run --cores 40 c.yaml"
    done = subprocess.run(
        ["sh", "-c", command], cwd=box.folder, env=box.env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(box.lines(f"{deep}/ran")) == 300


def test_an_agent_that_cannot_start_is_told_and_not_waited_for(box: Box) -> None:
    box.write("c.yaml", "name: no-agent\njobs:\n  - {name: a, command: 'true'}\n")
    (box.folder / ".pilotfish" / "no-agent" / "agent.log").mkdir(parents=True)
    done = box.run("run", "c.yaml")
    assert done.returncode == 75
    assert "pilotfish: error: the agent of this machine ended 5 times in a row" in done.stderr
    assert "agent.log" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_that_runs_while_the_manager_dies_is_taken_over(box: Box) -> None:
    command = "echo {index} >> begun; while ! test -e go; do sleep 0.02; done; echo {index} >> ended"
    box.write("c.json", json.dumps({"name": "over", "jobs": [{"name": "a", "array": 2, "command": command}]}))
    first = box.start("run", "c.json", PILOTFISH_LEASE="30")
    box.wait_for(lambda: len(box.lines("begun")) == 2)
    first.kill()
    first.wait()
    second = box.start("run", "c.json")
    box.wait_for(lambda: "runs on node" in box.run("explain", "a:0").stdout)
    box.write("go", "")
    assert second.wait(30) == 0
    assert sorted(box.lines("begun")) == sorted(box.lines("ended")) == ["0", "1"]
