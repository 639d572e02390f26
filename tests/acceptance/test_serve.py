"""``pilotfish serve``, and the commands that give it work and wait for that."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.box import PILOTFISH, Box

CLASSES = """
import pilotfish as pf


class Echo(pf.JobClass):
    def execute(self, value=None):
        if value == "bad":
            raise ValueError("as told")
        return value
"""


class Served(Box):
    """A folder whose store has a server."""

    server: subprocess.Popen[str]

    def serve(self, *options: str, **env: str) -> str:
        """Start it, and wait until it is ready; what it then prints."""
        self.server = self.start("serve", "--store", ".pilotfish", "--cores", "2", *options, **env)
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

    def submit(self, *words: str) -> list[str]:
        done = self.run("submit", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def jobs(self) -> dict[str, dict[str, int]]:
        return {str(job["id"]): job["counts"] for job in json.loads(self.run("jobs", "--json").stdout)}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    box = Served(tmp_path)
    assert box.serve("--limit", "licence=1") == f"unix:{tmp_path}/.pilotfish"
    yield box
    if box.server.poll() is not None:
        box.serve()  # so that its agent is told to end
    box.server.send_signal(signal.SIGINT)
    for process in box.started:
        process.communicate(timeout=30)


def test_commands_are_submitted_and_run(served: Served) -> None:
    (number,) = served.submit("-J", "hello", "-c", "2", "--mem", "100M", "-t", "1m", "--", "echo", "{hello}")
    assert number == "1"
    done = served.run("wait", number)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert served.run("logs", number).stdout == "{hello}\n"
    shown = json.loads(served.run("show", "hello", "--json").stdout)["job"]
    assert shown["requests"][0]["words"] == "2 cores, 100 MiB"
    assert shown["time"] == 60
    assert served.run("submit", "--wait", "--", "false").returncode == 1


def test_an_array_follows_what_it_depends_on(served: Served) -> None:
    (first,) = served.submit("-J", "first", "--", "sh", "-c", "echo first >> log")
    (second,) = served.submit(
        "-J", "sim", "-a", "0-9%2", "-d", f"afterok:{first}", "--", "sh", "-c", "echo {index} >> log"
    )
    (third,) = served.submit("-d", "afterany:sim", "--", "sh", "-c", "echo last >> log")
    assert served.run("wait", third, second).returncode == 0
    lines = served.lines("log")
    assert (lines[0], lines[-1]) == ("first", "last")
    assert sorted(lines[1:-1]) == [str(index) for index in range(10)]
    assert json.loads(served.run("show", second, "--json").stdout)["job"]["max_parallel"] == 2


def test_a_job_file_enters_whole_and_may_follow_earlier_jobs(served: Served) -> None:
    text = "limits: {licence: 1}\njobs:\n- {name: b, command: echo b >> log, after: a, uses: {licence: 1}}\n"
    served.write("one.yaml", text + "- {name: a, command: echo a >> log}\n")
    assert served.submit("one.yaml") == ["2", "1"]
    served.write("two.yaml", "jobs: [{name: c, command: echo c >> log, after: b}]\n")
    assert served.submit("--wait", "two.yaml") == ["3"]
    assert served.lines("log") == ["a", "b", "c"]
    again = served.submit("one.yaml")
    assert again == ["5", "4"], "a server runs what is submitted each time"
    assert served.submit("--wait", "two.yaml") == ["6"]
    shown = json.loads(served.run("show", "6", "--json").stdout)["job"]
    assert [after["id"] for after in shown["after"]] == [5], "the newest job of the name"


def test_what_was_submitted_survives_and_runs_once(served: Served) -> None:
    (running,) = served.submit(
        "-J", "slow", "--", "sh", "-c", "echo slow >> log; until test -e go; do sleep 0.02; done"
    )
    (waiting,) = served.submit("-a", "0-19", "-d", "afterok:slow", "--", "sh", "-c", "echo {index} >> log")
    (held,) = served.submit(str(served.write("h.yaml", "jobs: [{name: h, command: echo h >> log, hold: true}]\n")))
    served.wait_for(lambda: served.lines("log"))
    os.kill(served.server.pid, signal.SIGKILL)
    served.server.wait()
    assert "no manager" in served.run("jobs").stderr
    served.write("go", "")
    served.serve()
    assert served.run("wait", running, waiting).returncode == 0
    assert sorted(served.lines("log")) == sorted(["slow", *map(str, range(20))])
    assert served.jobs()[held] == {"ready": 1}
    assert served.run("release", "h").returncode == 0
    assert served.run("wait", "h").returncode == 0


def test_who_waits_for_what_was_submitted_outlives_the_server_from_the_first_moment_on(served: Served) -> None:
    waiting = served.start("submit", "--wait", "--", "sh", "-c", "until [ -e go ]; do sleep 0.05; done")
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "1\n"
    served.server.kill()
    served.server.wait()
    served.serve()
    (served.folder / "go").touch()
    assert waiting.wait(30) == 0


def test_a_signal_lets_end_what_runs_and_keeps_the_queue(served: Served) -> None:
    (running,) = served.submit("--", "sh", "-c", "echo on > begun; until test -e go; do sleep 0.02; done")
    (waiting,) = served.submit("-d", f"afterok:{running}", "--", "touch", "done")
    served.wait_for(lambda: served.lines("begun"))
    served.server.send_signal(signal.SIGTERM)
    served.write("go", "")
    _, said = served.server.communicate(timeout=30)
    assert served.server.returncode == 0
    assert "stopping: what runs may end" in said
    assert served.jobs() == {running: {"succeeded": 1}, waiting: {"ready": 1}}
    served.serve()
    assert served.run("wait", waiting).returncode == 0
    assert (served.folder / "done").exists()


def test_an_interrupt_ends_what_runs_which_runs_again(served: Served) -> None:
    (running,) = served.submit("--", "sh", "-c", "echo on >> begun; until test -e go; do sleep 0.02; done")
    served.wait_for(lambda: served.lines("begun"))
    served.server.send_signal(signal.SIGINT)
    served.server.communicate(timeout=30)
    served.write("go", "")
    served.serve()
    assert served.run("wait", running).returncode == 0
    assert served.lines("begun") == ["on", "on"]


def test_jobs_can_be_cancelled_and_tried_again(served: Served) -> None:
    (number,) = served.submit("--", "sh", "-c", "echo on >> begun; test -e go || sleep 100")
    served.wait_for(lambda: served.lines("begun"))
    assert "runs on" in served.run("explain", number).stdout
    assert served.run("cancel", number).returncode == 0
    assert served.run("wait", number).returncode == 1
    served.write("go", "")
    assert served.run("retry", number).returncode == 0
    assert served.run("wait", number).returncode == 0
    assert served.run("jobs", "--name", "sh", "--state", "succeeded").stdout.split()[4:] == [
        "sh",
        "1",
        "1",
        "task",
        "1",
        "succeeded",
    ]


def test_a_job_of_a_class_goes_to_the_server(served: Served) -> None:
    served.write("classes.py", CLASSES)
    assert served.submit("classes:Echo", "value=1") == ["Echo:0"]
    assert served.run("wait", "Echo:0").returncode == 0
    assert served.run("submit", "--wait", "classes:Echo", "value=bad").returncode == 1


def test_the_server_is_found(served: Served) -> None:
    tmp_path = served.folder
    deep = tmp_path / "some" / "where"
    deep.mkdir(parents=True)
    elsewhere = Box(deep)
    assert elsewhere.run("submit", "--", "true").stdout == "1\n", "in a folder above"
    far = tmp_path.parent / "far"
    far.mkdir(exist_ok=True)
    outside = Box(far)
    address = f"unix:{tmp_path}/.pilotfish"
    assert outside.run("submit", "--server", address, "--", "true").stdout == "2\n"
    assert outside.run("submit", "--", "true", PILOTFISH_SERVER=address).stdout == "3\n"
    assert outside.run("wait", "--server", address, "3").returncode == 0
    assert "3" in outside.run("jobs", PILOTFISH_SERVER=address).stdout


def test_without_a_place_it_is_the_users_server(box: Box) -> None:
    server = box.start("serve", "--cores", "1")
    assert server.stdout is not None
    assert server.stdout.readline().strip() == f"unix:{box.folder}/state/pilotfish"
    assert box.run("submit", "--wait", "--", "true").stdout == "1\n"
    assert "1 succeeded" in box.run("jobs").stdout
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)
    assert server.returncode == 0


def test_a_second_server_of_a_store_names_the_first(served: Served) -> None:
    done = served.run("serve", "--store", ".pilotfish")
    assert done.returncode == 75
    host, pid = os.uname().nodename, served.server.pid
    place = served.folder / ".pilotfish" / "server"
    assert done.stderr == f"pilotfish: error: {place} is in use by process {pid} on host {host}\n"


def test_a_server_without_an_agent_keeps_what_is_submitted(box: Box) -> None:
    server = box.start("serve", "--store", ".pilotfish", "--no-agent", "--json")
    assert server.stdout is not None
    assert json.loads(server.stdout.readline()) == {"event": "ready", "address": f"unix:{box.folder}/.pilotfish"}
    assert box.run("submit", "-a", "0-4", "--json", "--", "true").stdout == (
        '{"event":"submitted","job":1,"name":"true","tasks":5}\n'
    )
    assert json.loads(server.stdout.readline()) == {"event": "submitted", "job": 1, "name": "true", "text": "5 tasks"}
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)
    done = box.run("wait", "1")
    assert done.returncode == 75
    assert "nobody works on 1" in done.stderr


@pytest.mark.parametrize("streams", ["2> /dev/full", "2>&-", "--json | head -n 1", "0<&- 1>&- 2>&-"])
def test_a_server_that_cannot_say_what_happens_serves_on(box: Box, streams: str) -> None:
    command = f"{PILOTFISH} serve --store .pilotfish --cores 1 {streams} & echo $! > pid; wait"
    shell = subprocess.Popen(["/bin/sh", "-c", command], cwd=box.folder, env=box.env, stdout=subprocess.DEVNULL)
    access = box.folder / ".pilotfish" / "server" / "access"
    box.wait_for(access.exists)
    try:
        for _ in range(2):
            done = box.run("submit", "--wait", "--", "true")
            assert done.returncode == 0, done.stderr
    finally:
        os.kill(json.loads(access.read_bytes())["pid"], signal.SIGINT)
        shell.wait(30)
        box.wait_for(lambda: not access.exists())


def test_commands_need_no_standard_streams(served: Served) -> None:
    words = f"exec {PILOTFISH} submit -J closed -- true <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", words], cwd=served.folder, env=served.env, check=False).returncode == 0
    words = f"exec {PILOTFISH} submit - <&-"
    done = subprocess.run(["/bin/sh", "-c", words], cwd=served.folder, env=served.env, check=False, capture_output=True)
    assert done.returncode == 2, done.stderr
    assert served.run("wait", "closed").returncode == 0


def test_what_is_named_twice_is_waited_for_once(served: Served) -> None:
    (number,) = served.submit("-J", "a", "--", "true")
    done = served.run("wait", "--json", "a", "a", number)
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        [{"id": "a", "counts": {"succeeded": 1}}, {"id": number, "counts": {"succeeded": 1}}],
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("submit", "-t", "90", "--", "true"), 2, "-t: 90 of what? say 90s or 90m"),
        (("submit", "-c", "x", "--", "true"), 2, "-c: "),
        (
            ("submit", "-a", "3", "--", "true"),
            2,
            "-a: 3 of what? say 0-2 for so many tasks, 3-3 for one with that index",
        ),
        (("submit", "-a", "9-0", "--", "true"), 2, "-a: "),
        (("submit", "-d", "afterok", "--", "true"), 2, "-d: expected KIND:JOB such as afterok:17"),
        (("submit", "-d", "afterok:none", "--", "true"), 2, "there is no job `none`"),
        (("submit", "-a", "0-2", "--", "echo", "{x}"), 2, "command: unknown placeholder {x}"),
        (("submit", "--cores", "2", "--", "true"), 2, "files and commands go to a server"),
        (("submit", "-c", "1", "bad.yaml"), 2, "-c is for `submit -- COMMAND`"),
        (("submit", "-J", "x", "jobs:Echo"), 2, "-J is for `submit -- COMMAND`"),
        (("submit", "bad.yaml", "--", "true"), 2, "a job file (bad.yaml) and a command at once"),
        (("submit", "after.yaml"), 2, "after.yaml:1: jobs[0].after: no job of this campaign is named 'nothing'"),
        (("submit", "limits.yaml"), 2, "limits.yaml:1: limits.seat: 1 here, and the server has none of that name"),
        (("submit", "--server", "/nowhere", "--", "true"), 2, "/nowhere: there is no server"),
        (("submit", "--server", "https://x", "--", "true"), 2, "https://x: servers on other machines are not yet"),
        (("serve", "--http", "80"), 2, "--http is not yet supported"),
        (("serve", "--no-agent", "--cores", "2"), 2, "--no-agent runs nothing on this machine"),
        (("serve", "--limit", "x"), 2, "--limit: expected NAME=N such as licence=4, got 'x'"),
        (("wait", "none"), 2, "there is no job `none`"),
    ],
)
def test_what_is_wrong_is_one_line(served: Served, words: tuple[str, ...], code: int, message: str) -> None:
    served.write("bad.yaml", "jobs: [{name: a}]\n")
    served.write("after.yaml", "jobs: [{name: a, command: 'true', after: nothing}]\n")
    served.write("limits.yaml", "limits: {seat: 1}\njobs: [{name: a, command: 'true', uses: {seat: 1}}]\n")
    done = served.run(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"pilotfish: error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert served.jobs() == {}


def test_without_a_server_files_and_commands_are_not_submitted(box: Box) -> None:
    box.write("a.yaml", "jobs: [{name: a, command: 'true'}]\n")
    done = box.run("submit", "a.yaml")
    assert done.returncode == 75
    assert done.stderr == (
        "pilotfish: error: no server is running: `pilotfish serve` is one; `pilotfish run a.yaml` runs it without\n"
    )
    assert box.run("submit", "--", "true").returncode == 75
    assert box.run("submit").stderr.startswith(
        "pilotfish: error: name a job file, a class (MODULE:CLASS), or a command"
    )
