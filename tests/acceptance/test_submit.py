"""``pilotfish submit``: jobs of classes, from the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.box import Box

EXAMPLES = Path(__file__).parents[2] / "examples"

JOBS = """
import os
import time
from pathlib import Path

import pilotfish as pf


class Echo(pf.JobClass):
    def execute(self, value=None, times: int = 1):
        return [value] * times


class Wait(pf.JobClass):
    "Ends when there is a file."

    def execute(self, name):
        with open("begun", "a") as file:
            file.write(f"{self.attempt}\\\\n")
        while not Path(name).exists():
            time.sleep(0.01)
        return "waited"


class Split(pf.JobClass):
    "Has two children, of which one fails where it is told to."
    defer_time = 0.02

    def execute(self, bad=False):
        if not self.children:
            self.enqueue(Part, fails=False)
            self.enqueue(Part, fails=bad)
            self.defer("launched")
        if self.children.unfinished:
            self.defer("waiting")
        return self.children.failed


class Part(pf.JobClass):
    def execute(self, fails):
        if fails:
            raise ValueError("as told")


class Negative(pf.JobClass):
    attempts = -1

    def execute(self):
        pass
""".replace("\\\\", "\\")


@pytest.fixture
def jobs(box: Box) -> Box:
    box.write("jobs.py", JOBS)
    return box


def test_the_primes_below_five_million_are_counted_by_a_job_that_splits_itself(box: Box) -> None:
    shutil.copytree(EXAMPLES / "prime_job", box.folder, dirs_exist_ok=True)
    done = box.run("submit", "prime_job:PrimeJob", "end=5000000", "chunk=100000")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "PrimeJob:0\n348513\n"
    assert "51 tasks in " in done.stderr


def test_killed_amid_its_children_it_goes_on_and_each_is_there_once(box: Box) -> None:
    shutil.copytree(EXAMPLES / "prime_job", box.folder, dirs_exist_ok=True)
    words = ("submit", "prime_job:PrimeJob", "end=1000000", "chunk=10000")
    first = box.start(*words)
    box.wait_for(lambda: len(box.run("tasks", "--state", "succeeded").stdout.splitlines()) > 3)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = box.run(*words)
    assert (done.returncode, done.stdout) == (0, "PrimeJob:0\n78498\n"), done.stderr
    assert "101 tasks in " in done.stderr


def test_the_scaling_of_the_example_is_measured_and_drawn(box: Box) -> None:
    shutil.copytree(EXAMPLES / "prime_job", box.folder, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "scaling.py", "20000", "1", "2"],
        cwd=box.folder, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    first, second, *chart = done.stdout.splitlines()
    assert first == second == "2262 primes"
    assert [line.split()[:2] for line in chart[:2]] == [["1", "cores"], ["2", "cores"]]


@pytest.mark.parametrize("kind", ["jobs:Echo", "jobs.py:Echo", "./jobs.py:Echo"])
def test_a_class_is_found_by_module_or_file(jobs: Box, kind: str) -> None:
    done = jobs.run("submit", kind, "value=x")
    assert (done.returncode, done.stdout) == (0, 'Echo:0\n["x"]\n'), done.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("1.5", 1.5), ("true", True), ('{"a": [null]}', {"a": [None]}), ("a=b", "a=b"), ("", "")],
)
def test_values_are_json_where_they_are_else_text(jobs: Box, text: str, value: object) -> None:
    done = jobs.run("submit", "jobs:Echo", f"value={text}")
    assert json.loads(done.stdout.splitlines()[1]) == [value]


def test_all_that_happens_is_told_to_machines(jobs: Box) -> None:
    done = jobs.run("submit", "--json", "jobs:Echo", "times=2")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["submitted", "attempt", "end", "result"]
    assert (lines[0]["task"], lines[-1]["value"]) == ("Echo:0", [None, None])


def test_a_living_queue_is_handed_the_job_and_works_on_it(jobs: Box) -> None:
    first = jobs.start("submit", "--cores", "2", "jobs:Wait", "name=go")
    jobs.wait_for(lambda: jobs.lines("begun"))
    done = jobs.run("submit", "jobs:Echo", "value=1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Echo:0\n", "")
    again = jobs.run("submit", "jobs:Echo", "value=1")
    assert again.stdout == "Echo:1\n", "the same job may be enqueued twice"
    told = jobs.run("submit", "--json", "jobs:Echo", "value=1")
    assert json.loads(told.stdout) == {"event": "submitted", "task": "Echo:2"}
    jobs.write("go", "")
    assert first.communicate(timeout=30)[0] == 'Wait:0\n"waited"\n'
    states = {task["name"]: task["state"] for task in json.loads(jobs.run("tasks", "--json").stdout)}
    assert states == dict.fromkeys(("Wait:0", "Echo:0", "Echo:1", "Echo:2"), "succeeded")


def test_the_same_command_goes_on_where_a_killed_one_was(jobs: Box) -> None:
    first = jobs.start("submit", "jobs:Wait", "name=go")
    jobs.wait_for(lambda: jobs.lines("begun"))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    jobs.write("go", "")
    done = jobs.run("submit", "jobs:Wait", "name=go")
    assert (done.returncode, done.stdout) == (0, 'Wait:0\n"waited"\n'), done.stderr
    assert jobs.lines("begun") == ["1"], "its worker had gone on"
    assert jobs.run("submit", "jobs:Wait", "name=go").stdout.startswith("Wait:1\n"), "that one has ended"


def test_a_child_that_fails_is_a_failure_of_the_run_but_an_earlier_one_is_not(jobs: Box) -> None:
    bad = jobs.run("submit", "jobs:Split", "bad=true")
    assert (bad.returncode, bad.stdout) == (1, "Split:0\n1\n")
    assert "ValueError: as told" in bad.stderr
    good = jobs.run("submit", "jobs:Split")
    assert (good.returncode, good.stdout) == (0, "Split:1\n0\n")


def test_a_job_that_raises_tells_where(jobs: Box) -> None:
    done = jobs.run("submit", "jobs:Part", "fails=true")
    assert (done.returncode, done.stdout) == (1, "Part:0\n")
    assert "jobs.py" in done.stderr
    assert "next: pilotfish submit jobs:Part fails=true" in done.stderr


def test_an_interrupt_ends_it_and_the_same_command_goes_on(jobs: Box) -> None:
    first = jobs.start("submit", "jobs:Wait", "name=go")
    jobs.wait_for(lambda: jobs.lines("begun"))
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 130
    jobs.write("go", "")
    assert jobs.run("submit", "jobs:Wait", "name=go").stdout == 'Wait:0\n"waited"\n'


def test_the_campaign_of_a_job_file_takes_no_calls(jobs: Box) -> None:
    jobs.write("sim.yaml", "name: sim\njobs: [{name: a, command: 'true'}]\n")
    assert jobs.run("run", "sim.yaml").returncode == 0
    done = jobs.run("submit", "--campaign", "sim", "jobs:Echo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("pilotfish: error: the campaign is that of a job file; name another one with --campaign\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a job file, a class (MODULE:CLASS), or a command behind --"),
        (("jobs:",), "expected MODULE:CLASS, such as jobs:Count or jobs.py:Count, got 'jobs:'"),
        (("jobs.py",), "jobs.py: is a module, no job file: name a class in it, as in jobs.py:Count"),
        (("nowhere:Echo",), "there is no module `nowhere`, neither in "),
        (("nowhere.py:Echo",), "nowhere.py: there is no such file"),
        (("broken:Echo",), "broken cannot be imported: NameError: name 'oops' is not defined"),
        (("lacking:Echo",), "lacking cannot be imported: No module named 'no_such_thing'"),
        (("leaving:Echo",), "leaving cannot be imported: SystemExit: bye"),
        (("jobs:Echo", f"value={'[' * 100_000}"), "value: its JSON is nested too deeply"),
        (("jobs:Ecoh",), "jobs has no `Ecoh`; job classes there: Echo, Wait, Split, Part, Negative"),
        (("jobs:Path",), "jobs is not derived from pilotfish.JobClass: `Path`; job classes there: Echo"),
        (("jobs:Echo", "value"), "expected KEY=VALUE, such as end=1000, got 'value'"),
        (("jobs:Echo", "value=1", "value=2"), "value is given twice"),
        (("jobs:Echo", "vlaue=1"), "Echo.execute(self, value=None, times: int = 1): got an unexpected keyword"),
        (("jobs:Negative",), "Negative.attempts: expected a whole number from 1 to 1000000000, got -1"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_runs(jobs: Box, words: tuple[str, ...], message: str) -> None:
    jobs.write("broken.py", "oops\n")
    jobs.write("leaving.py", "raise SystemExit('bye')\n")
    jobs.write("lacking.py", "import no_such_thing\n")
    done = jobs.run("submit", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"pilotfish: error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (jobs.folder / ".pilotfish").exists()
