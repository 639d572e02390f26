"""`pilotfish map`: what users of GNU parallel know, beside the real one where it is installed."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from shlex import quote

import pytest

from tests.acceptance.box import PILOTFISH, Box

PARALLEL = shutil.which("parallel")

NAMES = [
    "a/b.c.d", "/x.y", ".bashrc", "a/.b", "d/", "x.", "a.b/c", "/", "a//b", "..", "-n", "--help", "a b/c d.e f",
    "it's", 'say "no"', "$HOME", "`id`", "*", "~", "a;b", "", " ", "!", "#", "%s", "{}", "{1}",
    "{index}", "a\tb", "日本 é.txt",
]  # fmt: skip
"""Arguments that shells, templates or options might take for something else."""

LIKE_PARALLEL = {
    "all parts of a name": (["printf '<%s>\\n'", "{}", "{.}", "{/}", "{//}", "{/.}", ":::", *NAMES], ""),
    "parts by number": (["printf '<%s>\\n'", "{#}", "{1}", "{2.}", "{2/}", "{-1//}", ":::", "x", ":::", *NAMES], ""),
    "appended": (["printf", "'<%s>\\n'", ":::", *NAMES], ""),
    "tagged": (["--tag", "printf '<%s>\\n'", ":::", *NAMES], ""),
    "from lines": (["printf '<%s>\\n'"], "".join(f"{name}\n" for name in NAMES)),
    "from a file": (["printf '<%s>\\n'", "::::", "input"], "".join(f"{name}\n" for name in NAMES)),
    "from an option": (["-a", "input", "echo", "x{}y", ":::", "1", "2"], "a\n\nb"),
    "ended by NUL": (["-0", "printf '<%s>\\n'"], "a\nb\0 c \0'\n'\0"),
    "a delimiter": (["-d", ",", "printf '<%s>'"], "a,b,,c\n"),
    "columns": (["--colsep", ",", "printf '<%s>'", "{2}", "{1}", "{}", "x{3}y"], "a , b\nc,d,e\n"),
    "all combinations": (["echo", ":::", "a", "b", ":::", "1", "2", "3"], ""),
    "linked": (["echo", "{1}-{2}-{3}", ":::", "a", "b", ":::+", "1", "2", ":::", "X", "Y"], ""),
    "linked to a file": (["echo", ":::", "x", "y", "z", "::::+", "input"], "1\n2\n"),
    "an empty source": (["echo", ":::", "a", ":::"], ""),
    "no argument at all": (["echo", ":::"], ""),
    "several arguments at once": (["-n", "2", "echo {} . {1/} x{2}y", ":::", "a/b", "c", "d"], ""),
    "commands as arguments": ([":::", "echo 1", "echo  'a  b' | tr a z", "exit 3"], ""),
    "commands from lines": ([], "echo 1\nexit 2\n"),
    "braces that mean nothing": (["echo '{{}} {x} {0 {index} {{index}} {..} }' {}", ":::", "a"], ""),
    "quotes around a form": (["echo 'a {} b'", ":::", "c"], ""),
    "a command of several lines": (["cd /\necho {}\npwd", ":::", "a"], ""),
    "a second dash": (["echo", "--", "{}", ":::", "a", "--"], ""),
    "the slot": (["-j1", "echo", "{%}", ":::", "a", "b"], ""),
    "a dry run": (["--dry-run", "wc -l {.} < {/}", ":::", "a b/c.d", "it's", "", "-n"], ""),
    "some failures": (["exit", ":::", "0", "3", "1", "0"], ""),
    "a signal": (["kill -9 $$; echo", ":::", "0"], ""),
    "a hundred failures": (["exit", ":::", *["1"] * 100], ""),
    "more than a hundred": (["exit", ":::", *["1"] * 103], ""),
}
"""Command lines with the content of a file, which is their standard input too."""

EXPECTED = {
    "appended": ("".join(f"<{name}>\n" for name in NAMES), 0),
    "from lines": ("".join(f"<{name}>\n" for name in NAMES), 0),
    "from a file": ("".join(f"<{name}>\n" for name in NAMES), 0),
    "from an option": ("xa 1y\nxa 2y\nx 1y\nx 2y\nxb 1y\nxb 2y\n", 0),
    "ended by NUL": ("<a\nb>\n< c >\n<'\n'>\n", 0),
    "a delimiter": ("<a><b><><c\n>", 0),
    "all combinations": ("a 1\na 2\na 3\nb 1\nb 2\nb 3\n", 0),
    "linked": ("a-1-X\na-1-Y\nb-2-X\nb-2-Y\n", 0),
    "linked to a file": ("x 1\ny 2\n", 0),
    "no argument at all": ("", 0),
    "several arguments at once": ("a/b c . b xcy\nd . d xy\n", 0),
    "commands as arguments": ("1\nz  b\n", 1),
    "braces that mean nothing": ("{a} {x} {0 {index} {{index}} {..} } a\n", 0),
    "the slot": ("1\n1\n", 0),
    "a dry run": ("wc -l 'a b/c' < c.d\nwc -l 'it'\"'\"'s' < 'it'\"'\"'s'\nwc -l '' < ''\nwc -l -n < -n\n", 0),
    "some failures": ("", 2),
    "a hundred failures": ("", 100),
    "more than a hundred": ("", 101),
}
"""Standard output and exit code of some of them, after GNU parallel's manual."""


def said(box: Box, program: str, words: list[str], text: str) -> tuple[str, int]:
    """Standard output, in the order of the arguments, and exit code."""
    box.write("input", text)
    env = box.env | {"PARALLEL_HOME": str(box.folder), "PARALLEL_SHELL": "/bin/sh"}
    with (box.folder / "input").open() as stdin:
        command = [*program.split(), "-k", *words]
        done = subprocess.run(command, cwd=box.folder, env=env, stdin=stdin, capture_output=True, check=False)
    return done.stdout.decode(), done.returncode


@pytest.mark.parametrize("case", LIKE_PARALLEL)
def test_it_does_what_gnu_parallel_does(box: Box, case: str) -> None:
    words, text = LIKE_PARALLEL[case]
    ours = said(box, f"{PILOTFISH} map", words, text)
    if case in EXPECTED:
        assert ours == EXPECTED[case]
    if PARALLEL is not None:
        assert ours == said(box, PARALLEL, words, text)


def test_nothing_stays_of_a_run_that_went_well(box: Box) -> None:
    assert box.run("map", "echo", ":::", "a", "b").returncode == 0
    assert list(box.folder.iterdir()) == []
    assert box.run("map", "--store", "kept", "echo", ":::", "a").returncode == 0
    assert box.run("logs", "--store", "kept", "map:0").stdout == "a\n"


def test_what_failed_can_be_looked_at(box: Box) -> None:
    done = box.run("map", "echo {} is bad >&2; test", "{}", "=", "x", ":::", "good", "it's")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "pilotfish: 2 tasks failed; `pilotfish tasks` tells which"
    assert "it's" in box.run("tasks", "--failed").stdout
    assert box.run("logs", "map:0").stderr.endswith("good is bad\n")


def test_outputs_are_never_mixed(box: Box) -> None:
    script = "for i in 1 2 3 4 5; do echo {}; echo {} >&2; sleep 0.01; done"
    done = box.run("map", "-j", "4", script, ":::", *map(str, range(20)))
    assert done.returncode == 0
    for stream in (done.stdout, done.stderr):
        lines = stream.splitlines()
        blocks = [lines[start : start + 5] for start in range(0, 100, 5)]
        assert all(len(set(block)) == 1 for block in blocks)
        assert sorted(int(block[0]) for block in blocks) == list(range(20))


def test_an_output_comes_when_its_task_ends(box: Box) -> None:
    run = box.start(
        "map", "-j", "2", "test {} = fast || while test ! -e go; do sleep 0.01; done; echo {}", ":::", "slow", "fast"
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "fast\n"
    box.write("go", "")
    assert run.stdout.read() == "slow\n"


def test_bytes_pass_as_they_are(box: Box) -> None:
    content = bytes(range(256)) * 16_384  # more than is held in memory at once
    (box.folder / "bytes").write_bytes(content)
    command = [PILOTFISH, "map", "cat", ":::", "bytes"]
    assert subprocess.run(command, cwd=box.folder, env=box.env, capture_output=True, check=True).stdout == content


def test_file_names_reach_their_files(box: Box) -> None:
    names = ["a b", "it's", "new\nline", "-dash", '"', "日本", "$x", "{}", "back\\slash"]
    for name in names:
        (box.folder / name).write_text(name)
    text = "".join(f"{name}\0" for name in names)
    out, code = said(box, f"{PILOTFISH} map", ["-0", "cat ./{}; echo '|'"], text)
    assert (out, code) == ("".join(f"{name}|\n" for name in names), 0)


def test_so_many_tasks_run_at_once(box: Box) -> None:
    meet = "touch {}; until test -e 1 -a -e 2 -a -e 3 -a -e 4 -a -e 5; do sleep 0.01; done"
    assert box.run("map", "-j", "5", meet, ":::", *"12345").returncode == 0


def test_tasks_are_not_bound_to_cores(box: Box) -> None:
    cores = str(sorted(os.sched_getaffinity(0)))
    script = "python3 -c 'import os; print(sorted(os.sched_getaffinity(0)))'; :"
    assert box.run("map", "-j1", script, ":::", "a").stdout == f"{cores}\n"


def test_slots_are_numbered_from_one(box: Box) -> None:
    meet = "touch {}; until test -e a -a -e b; do sleep 0.01; done; echo {%}"
    assert sorted(box.run("map", "-j2", meet, ":::", "a", "b").stdout.split()) == ["1", "2"]


def test_a_task_that_fails_is_tried_so_often_in_all(box: Box) -> None:
    done = box.run("map", "--retries", "3", "echo {} >> tries; echo out; test $(wc -l < tries) -ge 3", ":::", "a")
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert box.lines("tries") == ["a"] * 3
    assert box.run("map", "--retries", "2", "echo {} >> tries; false", ":::", "b").returncode == 1
    assert box.lines("tries")[3:] == ["b"] * 2


def test_a_task_that_takes_too_long_has_failed(box: Box) -> None:
    done = box.run("map", "-t", "0.2s", "echo before; sleep {}", ":::", "60")
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert "map:0 (60): timed out" in done.stderr


def test_the_first_failure_may_end_it_all(box: Box) -> None:
    done = box.run("map", "-j1", "--fail-fast", "echo {}; test {} != 1 && sleep {}", ":::", "0", "1", "60", "60")
    assert (done.returncode, done.stdout) == (1, "0\n1\n")


def test_a_log_tells_of_each_task(box: Box) -> None:
    assert box.run("map", "-j1", "--joblog", "log", "echo {}; exit {}", ":::", "0", "3").returncode == 1
    head, *tasks = [line.split("\t") for line in box.lines("log")]
    assert head == ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command"]
    assert [(task[0], *task[4:]) for task in tasks] == [
        ("1", "0", "2", "0", "0", "echo 0; exit 0"),
        ("2", "0", "2", "3", "0", "echo 3; exit 3"),
    ]


def test_json_tells_all_of_each_task(box: Box) -> None:
    done = box.run("map", "-k", "--json", "echo {2}; echo é {1} >&2; exit {1}", ":::", "0", "3", ":::+", "a b", "c")
    assert done.returncode == 1
    first, second = map(json.loads, done.stdout.splitlines())
    assert second["ended_at"] >= second["started_at"] > 0
    assert first["task"] == "map:0"
    told = ("arguments", "state", "outcome", "code", "stdout", "stderr")
    assert [first[key] for key in told] == [["0", "a b"], "succeeded", "exited", 0, "a b\n", "é 0\n"]
    assert [second[key] for key in told] == [["3", "c"], "failed", "exited", 3, "c\n", "é 3\n"]


def test_what_was_left_is_gone_on_with(box: Box) -> None:
    words = ("-k", "--joblog", "log", "echo {} >> ran; echo {}; test {} != 1 -o -e mended", ":::", *"0123")
    assert box.run("map", *words).returncode == 1
    assert sorted(box.lines("ran")) == [*"0123"]
    box.write("mended", "")
    done = box.run("map", "--resume", *words)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr == "4 tasks: 1 to run again, 3 kept\n"
    assert sorted(box.lines("ran")) == [*"01123"]
    assert [line.split("\t")[0] for line in box.lines("log")[5:]] == ["2"]
    assert not (box.folder / ".pilotfish").exists()


def test_without_a_run_to_go_on_with_it_begins(box: Box) -> None:
    assert box.run("map", "--resume", "-k", "echo", ":::", "a", "b").stdout == "a\nb\n"


def test_progress_is_told_where_it_is_wanted(box: Box) -> None:
    ours, theirs = os.openpty()
    run = subprocess.Popen(
        [PILOTFISH, "map", "--bar", "sleep", ":::", "0.4", "0.5"],
        cwd=box.folder, env=box.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    run.wait()
    assert b"/2 tasks" in os.read(ours, 65_536)
    os.close(ours)


def test_an_interrupt_ends_it(box: Box) -> None:
    run = box.start("map", "-k", "touch {}; sleep {}", ":::", "60", "61")
    box.wait_for((box.folder / "60").exists)
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130


@pytest.mark.parametrize("redirect", ["", "2>&1"])
def test_a_reader_who_has_enough_ends_it_quietly(box: Box, redirect: str) -> None:
    script = f"yes | head -2000 | {quote(PILOTFISH)} map echo {redirect} | head -1; echo ${{PIPESTATUS[2]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=box.folder, env=box.env, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("y\n141\n", "")
    assert list(box.folder.iterdir()) == []


def test_a_full_disk_behind_the_pipe_is_an_error(box: Box) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [PILOTFISH, "map", "echo", ":::", "a"],
            cwd=box.folder, env=box.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "pilotfish: error: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--pipe", "wc", ":::", "a"], "--pipe"),
        (["-j", "many", "echo", ":::", "a"], "--jobs: expected a number such as 4, 150%, +2 or -1, got 'many'"),
        (["-n", "0", "echo", ":::", "a"], "--max-args: expected a whole number, at least 1, got '0'"),
        (["-n", "2", "echo", ":::", "a", ":::", "b"], "--max-args is for arguments from one source"),
        (["--retries", "0", "echo", ":::", "a"], "--retries: expected a whole number, at least 1, got '0'"),
        (["-t", "10:30", "echo", ":::", "a"], "--timeout: '10:30' is ambiguous"),
        (["-C", "(", "echo", ":::", "a"], "--colsep: '(' is no regular expression"),
        (["-d", "", "echo", ":::", "a"], "--delimiter: expected a delimiter"),
        (["-0", "-d", ",", "echo"], "not allowed with argument"),
        (["-c", "1.5", "echo", ":::", "a"], "-c: expected a whole number, or less than 1, got '1.5'"),
        (["-c", "100000", "echo", ":::", "a"], "each task asks this machine for 100000 cores"),
        (["--mem", "1000TiB", "echo", ":::", "a"], "each task asks this machine for 1000 TiB of memory"),
        (["-c", "2", "echo {%}", ":::", "a"], "{%} numbers tasks by their core"),
        (["echo {= $_++ =}", ":::", "a"], "{= $_++ =}: Perl expressions are not supported"),
        (["--joblog", "no/log", "echo", ":::", "a"], "--joblog: no/log: No such file or directory"),
        (["echo", "::::", "no/file"], "no/file: No such file or directory"),
        (["echo", "::::", "."], ".: Is a directory"),
    ],
)
def test_a_mistake_is_told_in_one_line(box: Box, words: list[str], complaint: str) -> None:
    done = box.run("map", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pilotfish: error: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(box.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"a\n\xff\n", "argument 2 is not UTF-8"), (b"a\nb\0c\n", "argument 2 holds a NUL")],
)
def test_arguments_that_no_command_can_have_are_refused(box: Box, content: bytes, complaint: str) -> None:
    done = subprocess.run(
        [PILOTFISH, "map", "echo"], cwd=box.folder, env=box.env, input=content, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert complaint in done.stderr.decode()
