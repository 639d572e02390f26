"""Job files that are right: what each key becomes, whatever the syntax it is written in."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from pilotfish.errors import UserError
from pilotfish.formats.document import Format
from pilotfish.formats.native import STDIN, JobFile, load_text
from pilotfish.formats.placeholders import Template, task_values
from pilotfish.model.jobs import Dependency, JobSpec, RangeArray, Retries, TableArray, When
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request

FULL_YAML = """\
# a comment
name: campaign
jobs:
  - name: prepare
    command: ./prepare.sh --out data
  - name: sim
    array: 0-98:2
    command: ["{dir}/sim", --seed, "{index}", 007]
    after: prepare
    cores: 4
    memory: 2GiB
    time: 1h30m
    retries: 2
    priority: -10
    max_parallel: 100
    env: {OMP_PROC_BIND: "true", THREADS: 4, SCALE: 1.50}
    cwd: runs/{index}
    stdout: out/{index}.log
    stderr: stdout
  - name: polish
    array: [a, b, 007]
    command: ./polish {value}
    after: [prepare, {job: sim, when: finished}]
    cores: 0.5
  - name: tidy
    array: 50
    after: {job: sim, each: true, when: failed}
    command: |
      set -e
      rm -rf {index}
"""
FULL = JobFile(
    "campaign",
    "/work/jobs.yaml",
    (
        JobSpec(name="prepare", command="./prepare.sh --out data", directory="/work", cwd="/work"),
        JobSpec(
            name="sim",
            command=("{dir}/sim", "--seed", "{index}", "007"),
            directory="/work",
            cwd="/work/runs/{index}",
            array=RangeArray(0, 50, 2),
            after=(Dependency("prepare"),),
            request=Request(Amount(40_000), 2 * 2**30),
            time=5_400.0,
            retries=Retries(2),
            priority=-10,
            max_parallel=100,
            env={"OMP_PROC_BIND": "true", "THREADS": "4", "SCALE": "1.50"},
            stdout="/work/out/{index}.log",
            stderr="stdout",
        ),
        JobSpec(
            name="polish",
            command="./polish {value}",
            directory="/work",
            cwd="/work",
            array=TableArray(("value",), (("a", "b", "007"),)),
            after=(Dependency("prepare"), Dependency("sim", When.finished)),
            request=Request(Amount(5_000)),
        ),
        JobSpec(
            name="tidy",
            command="set -e\nrm -rf {index}\n",
            directory="/work",
            cwd="/work",
            array=RangeArray(0, 50),
            after=(Dependency("sim", When.failed, each=True),),
        ),
    ),
)
FULL_TOML = """\
name = "campaign"

[[jobs]]
name = "prepare"
command = "./prepare.sh --out data"

[[jobs]]
name = "sim"
array = "0-98:2"
command = ["{dir}/sim", "--seed", "{index}", "007"]
after = "prepare"
cores = 4
memory = "2GiB"
time = "1h30m"
retries = 2
priority = -10
max_parallel = 100
env = {OMP_PROC_BIND = "true", THREADS = 4, SCALE = 1.50}
cwd = "runs/{index}"
stdout = "out/{index}.log"
stderr = "stdout"

[[jobs]]
name = "polish"
array = ["a", "b", "007"]
command = "./polish {value}"
after = ["prepare", {job = "sim", when = "finished"}]
cores = 0.5

[[jobs]]
name = "tidy"
array = 50
after = {job = "sim", each = true, when = "failed"}
command = '''
set -e
rm -rf {index}
'''
"""
FULL_JSON = json.dumps(
    {
        "name": "campaign",
        "jobs": [
            {"name": "prepare", "command": "./prepare.sh --out data"},
            {
                "name": "sim",
                "array": "0-98:2",
                "command": ["{dir}/sim", "--seed", "{index}", "007"],
                "after": "prepare",
                "cores": 4,
                "memory": "2GiB",
                "time": "1h30m",
                "retries": 2,
                "priority": -10,
                "max_parallel": 100,
                "env": {"OMP_PROC_BIND": "true", "THREADS": 4, "SCALE": "1.50"},
                "cwd": "runs/{index}",
                "stdout": "out/{index}.log",
                "stderr": "stdout",
            },
            {
                "name": "polish",
                "array": ["a", "b", "007"],
                "command": "./polish {value}",
                "after": ["prepare", {"job": "sim", "when": "finished"}],
                "cores": 0.5,
            },
            {
                "name": "tidy",
                "array": 50,
                "after": {"job": "sim", "each": True, "when": "failed"},
                "command": "set -e\nrm -rf {index}\n",
            },
        ],
    },
    indent=2,
)


def one(keys: str) -> JobSpec:
    """The only job of a file with these keys, as YAML."""
    lines = "\n    ".join(keys.splitlines())
    (spec,) = load_text(f"jobs:\n  - command: run\n    {lines}\n", name="/work/jobs.yaml", format=Format.yaml).jobs
    return spec


@pytest.mark.parametrize(
    ("text", "format_"), [(FULL_YAML, Format.yaml), (FULL_TOML, Format.toml), (FULL_JSON, Format.json)]
)
def test_every_key_is_read_alike_in_each_syntax(text: str, format_: Format) -> None:
    for found in (load_text(text, name="/work/jobs.yaml", format=format_), load_text(text, name="/work/jobs.yaml")):
        assert msgspec.structs.replace(found, parts=()) == FULL


def test_a_spec_survives_the_wire() -> None:
    for spec in FULL.jobs:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=JobSpec) == spec


@pytest.mark.parametrize(
    ("written", "array"),
    [
        ("1", RangeArray(0, 1)),
        ("1000", RangeArray(0, 1000)),
        ("10_000_000".replace("_", ""), RangeArray(0, 10_000_000)),
        ("0-999", RangeArray(0, 1000)),
        ('"5-5"', RangeArray(5, 1)),
        ("10-20:3", RangeArray(10, 4, 3)),
        ("[a]", TableArray(("value",), (("a",),))),
        (
            '[a b, "", 1, 1.50, 0x1F, 1e3, 007, yes]',
            TableArray(("value",), (("a b", "", "1", "1.50", "0x1F", "1e3", "007", "yes"),)),
        ),
    ],
)
def test_array(written: str, array: RangeArray | TableArray) -> None:
    assert one(f"array: {written}").array == array


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        ("cores: 0", Request(Amount(0))),
        ("cores: 0.0001", Request(Amount(1))),
        ("cores: 1.0", Request(Amount(10_000))),
        ("cores: 4.0", Request(Amount(40_000))),
        ("memory: 2G", Request(memory=2 * 2**30)),
        ("memory: 500MB", Request(memory=500_000_000)),
        ("memory: 65536", Request(memory=65_536)),
    ],
)
def test_request(written: str, request_: Request) -> None:
    assert one(written).request == request_


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("0.5", 0.5), ("30s", 30), ("2:00:00", 7_200), ("1-02:00:00", 93_600)]
)
def test_time(written: str, seconds: float) -> None:
    assert one(f"time: {written}").time == seconds


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("runs/{index}", "/work/runs/{index}"),
        ("./runs//a/", "/work/runs/a"),
        (".", "/work"),
        ("../data", "/work/../data"),
        ("/scratch/x", "/scratch/x"),
        ("a..b/./c", "/work/a..b/./c"),
    ],
)
def test_paths_are_relative_to_the_folder_of_the_file(written: str, path: str) -> None:
    spec = one(f'cwd: "{written}"\nstdout: "{written}"\nstderr: "{written}"')
    assert (spec.cwd, spec.stdout, spec.stderr) == (path, path, path)


def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert one("cwd: ~/runs").cwd == "/home/me/runs"


def test_a_folder_with_braces_is_no_placeholder() -> None:
    text = "jobs: [{command: run, cwd: 'runs/{index}'}, {name: b, command: run}]"
    with pytest.raises(UserError, match="name is missing"):
        load_text(text, name="/a/{index}/{{x}}/jobs.yaml")
    specs = load_text(text.replace("{command", "{name: a, command"), name="/a/{index}/{{x}}/jobs.yaml").jobs
    rendered = [Template.compile(spec.cwd, quoted=False).render(task_values(1, spec, 0, 1)) for spec in specs]
    assert rendered == ["/a/{index}/{{x}}/runs/0", "/a/{index}/{{x}}"]


def test_at_the_root_paths_begin_with_one_slash() -> None:
    (spec,) = load_text("jobs: [{command: run, cwd: a/b}]", name="/jobs.yaml").jobs
    assert (spec.directory, spec.cwd) == ("/", "/a/b")


@pytest.mark.parametrize(
    ("file", "name"),
    [("sim.yaml", "sim"), ("my jobs.yaml", "my_jobs"), ("2024.yaml", "_2024"), ("é.yaml", "_"), ("-", "stdin")],
)
def test_the_only_job_is_named_after_its_file(file: str, name: str) -> None:
    (spec,) = load_text("jobs: [{command: run}]", name=file, format=Format.yaml).jobs
    assert spec.name == name


def test_standard_input_belongs_to_the_current_folder() -> None:
    found = load_text("jobs: [{command: run}]", name=STDIN)
    assert (found.file, found.jobs[0].directory) == ("-", str(Path.cwd()))


def test_a_relative_file_is_kept_absolute() -> None:
    found = load_text("jobs: [{command: run}]", name="a/../b/jobs.yaml")
    assert found.file == str(Path.cwd() / "b/jobs.yaml")
    assert found.jobs[0].cwd == str(Path.cwd() / "b")


def test_the_same_dependency_twice_is_one() -> None:
    text = "jobs: [{name: a, command: run}, {name: b, command: run, after: [a, {job: a}, a]}]"
    assert load_text(text, name="jobs.yaml").jobs[1].after == (Dependency("a"),)


def test_a_long_chain_of_jobs_is_no_circle() -> None:
    jobs = [{"name": f"j{i}", "command": "true", "after": [f"j{i + 1}"] if i < 5_000 else []} for i in range(5_001)]
    assert len(load_text(json.dumps({"jobs": jobs}), name="jobs.json").jobs) == 5_001


def test_an_anchor_may_be_used_again() -> None:
    text = "jobs:\n  - {name: a, command: run, env: &env {A: 1}}\n  - {name: b, command: run, env: *env}\n"
    assert [spec.env for spec in load_text(text, name="jobs.yaml").jobs] == [{"A": "1"}, {"A": "1"}]


def test_a_campaign_may_have_any_name_of_one_line() -> None:
    assert load_text("name: Mein Lauf №1\njobs: [{command: run}]", name="jobs.yaml").name == "Mein Lauf №1"


def test_a_plain_list_is_one_job() -> None:
    text = "# convert\n\necho '{print}' ${HOME} \\\\\r\n  sleep 1\n"
    found = load_text(text, name="/work/my list.txt")
    assert str(found.refusal(0, "no")) == "/work/my list.txt: no"
    assert msgspec.structs.replace(found, parts=()) == JobFile(
        None,
        "/work/my list.txt",
        (
            JobSpec(
                name="my_list",
                command="{value:raw}",
                array=TableArray(("value",), (("echo '{print}' ${HOME} \\\\", "  sleep 1"),)),
                directory="/work",
                cwd="/work",
            ),
        ),
    )
    (spec,) = found.jobs
    command = Template.compile(str(spec.command), quoted=True)
    assert command.render(task_values(1, spec, 0, 1)) == "echo '{print}' ${HOME} \\\\"


def test_errors_of_long_values_stay_short() -> None:
    with pytest.raises(UserError) as raised:
        one(f"memory: {'9' * 100_000}x")
    assert len(str(raised.value)) < 700
    assert not re.search(r"\n", str(raised.value))
