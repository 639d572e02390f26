"""Job files that are wrong: each is refused with file, line, key, and what to write instead."""

from typing import NamedTuple

import pytest

from pilotfish.errors import JobFileError, NotYetSupportedError
from pilotfish.formats import keys
from pilotfish.formats.document import Format
from pilotfish.formats.native import load_text


class Case(NamedTuple):
    """A wrong YAML file, the place that the error must name, and words that it must say."""

    text: str
    line: int | None
    key: str
    says: tuple[str, ...]


def job(entry: str, line: int, key: str, *says: str) -> Case:
    """A file whose only job has `entry` in line 3; `line` counts from there."""
    indented = "\n    ".join(entry.split("\n"))
    return Case(f"jobs:\n  - command: run\n    {indented}\n", line + 2, f"jobs[0].{key}", says)


def command(written: str, key: str, *says: str) -> Case:
    return Case(f"jobs:\n  - command: {written}\n", 2, f"jobs[0].{key}", says)


def two(second: str, key: str, *says: str, first: str = "") -> Case:
    """A file of two jobs, `a` in line 2 and `b` in line 3; the error lies in `b`."""
    text = f"jobs:\n  - {{name: a, command: run{first}}}\n  - {{name: b, command: run{second}}}\n"
    return Case(text, 3, f"jobs[1].{key}", says)


WRONG = {
    # syntax
    "empty": Case("", 1, "", ("is empty", "`jobs:`")),
    "only comments": Case("# nothing\n", 1, "", ("is empty",)),
    "not closed": Case("jobs: [a\n", 2, "", ("not valid YAML",)),
    "tab": Case("jobs:\n\t- command: run\n", 2, "", ("not valid YAML", "spaces, not tabs")),
    "colon in a command": Case("jobs:\n  - command: echo a: b\n", 2, "", ("not valid YAML", "quotes")),
    "control character": Case("jobs:\n  - command: a\x07\n", 2, "", ("not valid YAML", "U+0007")),
    "key twice": Case("jobs:\n  - command: a\n    command: b\n", 3, "", ("command", "twice", "line 2")),
    "tag": Case("jobs:\n  - command: !run x\n", 2, "", ("!run", "quotes")),
    "python tag": Case("jobs: !!python/object:os.system x\n", 1, "", ("tag",)),
    "control character far away": Case("# äöü\n\njobs:\n  - command: 'ä\x7f'\n", 4, "", ("U+007F",)),
    "byte that is no text": Case("# ä\nname: \udcff\n", 2, "", ("is not UTF-8", "0xff")),
    "NUL": Case("name: a\n\0", 2, "", ("NUL byte", "pilotfish run -- dir/jobs.yaml")),
    "unknown word alias": Case("jobs:\n  - command: *all\n", 2, "", ("*all", "quotes")),
    "unknown alias": Case("jobs:\n  - command: *.txt\n", 2, "", ("scanning an alias", "* or & must stand in quotes")),
    "alias of itself": Case("jobs: &a [*a]\n", 1, "", ("*a",)),
    "two documents": Case("jobs: [{command: a}]\n---\njobs: []\n", 2, "", ("several documents",)),
    "list as key": Case("jobs:\n  - ? [a]\n    : b\n", 2, "", ("a key must be a plain word",)),
    "nested deep": Case("jobs: " + "[" * 60 + "]" * 60, 1, "", ("nested more than 50",)),
    # top
    "a word": Case("hello\n", 1, "", ("expected a mapping", "name, jobs", "'hello'")),
    "a list": Case("- command: run\n", 1, "", ("`jobs:`",)),
    "no jobs": Case("name: a\n", 1, "", ("jobs is missing",)),
    "empty jobs": Case("name: a\njobs: []\n", 2, "jobs", ("at least one job",)),
    "jobs without value": Case("jobs:\n", 1, "jobs", ("no value",)),
    "jobs as mapping": Case("jobs:\n  sim: {command: a}\n", 1, "jobs", ("expected a list", "such as [{name")),
    "unreadable key": Case('"a\\nb": 1\n', 1, r"['a\nb']", ("unknown key",)),
    "unknown top key": Case("job:\n  - command: a\n", 1, "job", ("unknown key", "did you mean jobs?")),
    "name of several lines": Case('name: "a\\nb"\njobs: []\n', 1, "name", ("one line",)),
    "name as number": Case("name: 5\njobs: []\n", 1, "name", ("expected text", "got 5", "quotes")),
    # a job
    "job as text": Case("jobs:\n  - run\n", 2, "jobs[0]", ("expected a mapping", "'run'")),
    "no command": Case("jobs:\n  - name: a\n", 2, "jobs[0]", ("command is missing", "./sim")),
    "misspelt key": job("cors: 2", 1, "cors", "unknown key", "did you mean cores?"),
    "dashes": job("max-parallel: 2", 1, "max-parallel", "did you mean max_parallel?"),
    "capitals": job("Memory: 2G", 1, "Memory", "did you mean memory?"),
    "key of another system": job("cpus: 2", 1, "cpus", "did you mean cores?"),
    "nothing alike": job("xyzzy: 2", 1, "xyzzy", "known here are name, command, array"),
    "merge key": Case("jobs:\n  - &a {name: a, command: a}\n  - <<: *a\n", 3, "jobs[1].<<", ("merge key",)),
    "two jobs without names": Case("jobs: [{command: a}, {command: b}]", 1, "jobs[0]", ("name is missing",)),
    "name with a space": job("name: my sim", 1, "name", "'my sim'", "my_sim"),
    "name of digits": job('name: "17"', 1, "name", "_17"),
    "name too long": job(f"name: {'x' * 101}", 1, "name", "at most 100"),
    "name of nothing": job('name: ""', 1, "name", "is no name"),
    "same name": Case(
        "jobs:\n  - {name: a, command: run}\n  - {name: a, command: run}\n",
        3,
        "jobs[1].name",
        ("a is also the name of jobs[0]",),
    ),
    # command
    "empty command": command('" "', "command", "is empty"),
    "empty argument list": command("[]", "command", "is empty", "program"),
    "empty program": command('["", a]', "command[0]", "is empty"),
    "flag in a command": command("[run, true]", "command[1]", "got true", "quotes"),
    "list in a command": command("[run, [a]]", "command[1]", "['a']"),
    "nothing in a command": command("[run, ~]", "command[1]", "got nothing"),
    "command with braces first": command("{index}", "command", "expected text or a list", "quotes"),
    "command as number": command("5", "command", "got 5", "quotes"),
    "NUL in a command": command(r'"a\0b"', "command", "NUL"),
    "unknown placeholder": command('"run {idx}"', "command", "{idx}", "{index}, {name}", "{{idx}}"),
    "unknown placeholder in a list": command('[run, "{line}"]', "command[1]", "{line}"),
    "value without a list": command('"run {value}"', "command", "{value} needs a list array"),
    # array
    "array of none": job("array: 0", 1, "array", "at least one"),
    "negative count": job("array: -3", 1, "array", "got -3"),
    "empty list": job("array: []", 1, "array", "at least one"),
    "huge count": job("array: 10000001", 1, "array", "at most 10000000", "split"),
    "huge range": job("array: 0-99999999", 1, "array", "at most 10000000"),
    "endless index": job("array: 99999999999999999999-99999999999999999999", 1, "array", "indices end at"),
    "backward range": job("array: 9-0", 1, "array", "0-9"),
    "step of none": job("array: 0-9:0", 1, "array", "step"),
    "negative range": job("array: -3-5", 1, "array", "0-98:2"),
    "count in quotes": job('array: "10"', 1, "array", "without quotes"),
    "slurm's limit": job("array: 0-99%10", 1, "array", "max_parallel"),
    "fraction of tasks": job("array: 1.5", 1, "array", "expected a whole number", "1.5"),
    "array flag": job("array: true", 1, "array", "got true"),
    "flag in an array": job("array: [a, false]", 1, "array[1]", "got false", "quotes"),
    "list in an array": job("array:\n- a\n- [b]", 3, "array[1]", "['b']"),
    # after
    "unknown job": two(", after: c", "after", "no job of this file is named 'c'"),
    "misspelt job": Case(
        "jobs:\n  - {name: prepare, command: run}\n  - name: sim\n    command: run\n    after: [prepar]\n",
        5,
        "jobs[1].after",
        ("named 'prepar'", "did you mean prepare?"),
    ),
    "after itself": two(", after: b", "after", "cannot come after itself"),
    "circle": Case(
        "jobs:\n  - {name: a, command: r, after: c}\n  - {name: b, command: r, after: a}\n"
        "  - {name: c, command: r, after: b}\n",
        2,
        "jobs[0].after",
        ("a → c → b → a",),
    ),
    "arrays of different length": two(
        ", array: 5, after: {job: a, each: true}", "after", "b has 5", "a 4", first=", array: 4"
    ),
    "each as text": two(", after: {job: a, each: 'yes'}", "after.each", "true or false", "'yes'"),
    "after nothing": two(", after: {when: failed}", "after", "job is missing"),
    "after a number": two(", after: [3]", "after[0]", "expected a job's name", "got 3"),
    "unknown key of after": two(", after: [{jobb: a}]", "after[0].jobb", "did you mean job?"),
    "unknown when": two(", after: {job: a, when: succeded}", "after.when", "did you mean succeeded?"),
    # amounts
    "negative cores": job("cores: -1", 1, "cores", "-1"),
    "cores in words": job("cores: many", 1, "cores", "expected a number", "'many'"),
    "cores in quotes": job('cores: "4"', 1, "cores", "without quotes"),
    "cores as flag": job("cores: true", 1, "cores", "got true"),
    "cores without end": job("cores: .inf", 1, "cores", "inf"),
    "cores that are none": job("cores: .nan", 1, "cores", "nan"),
    "one and a half cores": job("cores: 1.5", 1, "cores", "write 1 or 2"),
    "too fine cores": job("cores: 0.00001", 1, "cores", "1/10000"),
    "no cores": job("cores:", 1, "cores", "no value", "4 or 0.5"),
    "memory in other units": job("memory: 2 gigs", 1, "memory", "2GiB", "'2 gigs'"),
    "negative memory": job("memory: -5", 1, "memory", "-5"),
    "no memory": job("memory: 0", 1, "memory", "leave the key out"),
    "fraction of a byte": job("memory: 1.5", 1, "memory", "expected a whole number or text", "1.5"),
    "time in words": job("time: soon", 1, "time", "30s", "'soon'"),
    "no time": job("time: 0", 1, "time", "more than 0"),
    "negative time": job("time: -5", 1, "time", "-5"),
    "ambiguous time": job("time: 10:30", 1, "time", "0:10:30"),
    "endless time": job("time: .inf", 1, "time", "inf"),
    "fraction of a retry": job("retries: 1.5", 1, "retries", "whole number", "1.5"),
    "negative retries": job("retries: -1", 1, "retries", "from 0 to 1000", "-1"),
    "too many retries": job("retries: 1001", 1, "retries", "from 0 to 1000"),
    "retries in quotes": job('retries: "2"', 1, "retries", "without quotes"),
    "priority in words": job("priority: high", 1, "priority", "'high'"),
    "priority too high": job("priority: 99999999999", 1, "priority", "99999999999"),
    "nothing in parallel": job("max_parallel: 0", 1, "max_parallel", "from 1"),
    # environment and paths
    "env as list": job("env: [A=1]", 1, "env", "expected a mapping", "A=1"),
    "env flag": job("env:\n  A: b\n  OMP_PROC_BIND: true", 3, "env.OMP_PROC_BIND", "got true", "quotes"),
    "env of nothing": job("env: {A: }", 1, "env.A", "got nothing"),
    "env of lists": job("env: {A: [b]}", 1, "env.A", "['b']"),
    "env with equals": job("env: {A=B: c}", 1, "env.A=B", "cannot name a variable"),
    "empty path": job('cwd: ""', 1, "cwd", "is empty"),
    "NUL in a path": job(r'stdout: "a\0"', 1, "stdout", "NUL"),
    "path as number": job("stderr: 2", 1, "stderr", "quotes"),
    "unknown placeholder in a path": job('cwd: "runs/{seed}"', 1, "cwd", "{seed}", "{index}"),
    "home of nobody": job("cwd: ~no-such-user/x", 1, "cwd", "no such user"),
}

LATER = {
    "a top key": Case("defaults: {cores: 1}\njobs: []\n", 1, "defaults", ("`defaults`",)),
    "an array of rows": job("array: {csv: f.csv}", 1, "array.csv", "`csv`"),
    "cores that bend": job("cores: {min: 2, max: 8}", 1, "cores.min", "`min`"),
    "retries that wait": job("retries:\n  count: 2\n  delay: 10s", 2, "retries.count", "`count`"),
    "after a start": two(", after: {job: a, when: started}", "after.when", "`started`"),
    "a family of keys": job("defer_time: 5", 1, "defer_time", "`defer_time`"),
    **{
        name: job(f"{name}: 1", 1, name, f"`{name}`")
        for name, key in keys.JOB_KEYS.items()
        if not key.kinds and "*" not in name
    },
}


def refused(case: Case) -> JobFileError:
    with pytest.raises(JobFileError) as raised:
        load_text(case.text, name="dir/jobs.yaml", format=Format.yaml)
    error = raised.value
    assert (error.file, error.line, error.key) == ("dir/jobs.yaml", case.line, case.key), str(error)
    assert str(error).startswith(f"dir/jobs.yaml:{case.line}: {case.key}")
    assert "\n" not in str(error)
    assert [words for words in case.says if words not in str(error)] == [], str(error)
    return error


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_wrong_file_is_refused(case: Case) -> None:
    error = refused(case)
    assert type(error) is JobFileError
    assert error.exit_code == 2


@pytest.mark.parametrize("case", LATER.values(), ids=LATER.keys())
def test_what_is_to_come_is_refused(case: Case) -> None:
    error = refused(case)
    assert type(error) is NotYetSupportedError
    assert "is not yet supported; see docs/limits.md" in str(error)


def test_aliases_cannot_blow_up() -> None:
    rows = [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" if i else "x0: &x0 [a, a]" for i in range(12)]
    case = Case("\n".join([*rows, "jobs: []"]), 7, "", ("aliases", "1000000"))
    refused(case)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("{", 1, "not valid JSON"),
        ('{"jobs": [],}', 1, "not valid JSON"),
        ('{\n"name": "a",\n"jobs": [],\n"name": "b"}', 4, "'name' stands twice"),
        ('{"jobs": [{"command": "a", "cores": NaN}]}', None, "NaN is no JSON"),
        ('{\n"jobs": [\n{"command": "a",\n\t"cores": -1}]}', 4, "jobs[0].cores"),
        ('{"jobs": [{"command": "a\\ud800"}]}', None, "surrogate"),
        ('{"jobs": [{"command": "a", "cores": 1e400}]}', 1, "1e400"),
        ('{"jobs": ' + "[" * 100_000, None, "nested too deep"),
    ],
)
def test_wrong_json_is_refused(text: str, line: int | None, says: str) -> None:
    with pytest.raises(JobFileError) as raised:
        load_text(text, name="jobs.json", format=Format.json)
    assert (raised.value.line, says in str(raised.value)) == (line, True), str(raised.value)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("jobs = [", None, "not valid TOML"),
        ('name = "a"\nname = "b"\n', 2, "not valid TOML"),
        ('name = "a"\n\n[[jobs]]\ncommand = "a"\n[[jobs]]\nname = "b"\ncommand = "b"\ncores = -1\n', 3, "jobs[0]"),
        (
            '[[jobs]]\nname = "a"\ncommand = "a"\n\n[[jobs]]\nname = "b"\ncommand = "b"\ncores = -1\n',
            8,
            "jobs[1].cores",
        ),
        ('[[jobs]]\ncommand = "a"\n[jobs.env]\nA = true\n', 3, "jobs[0].env.A"),
        ('[[jobs]]\ncommand = "a"\ntime = 2026-01-01\n', 3, "jobs[0].time"),
        ('jobs = [{command = "a", cores = nan}]\n', None, "jobs[0].cores"),
    ],
)
def test_wrong_toml_is_refused(text: str, line: int | None, says: str) -> None:
    with pytest.raises(JobFileError) as raised:
        load_text(text, name="jobs.toml", format=Format.toml)
    assert (raised.value.line, says in str(raised.value)) == (line, True), str(raised.value)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "is empty"),
        ("# nothing\n\n", None, "at least one task"),
        ("#!/bin/sh\nrm -rf x\n", 1, "pilotfish run -- list"),
        ("true\necho a \\\n  b\n", 2, "last backslash"),
    ],
)
def test_wrong_list_is_refused(text: str, line: int | None, says: str) -> None:
    with pytest.raises(JobFileError) as raised:
        load_text(text, name="list", format=Format.lines)
    assert (raised.value.line, says in str(raised.value)) == (line, True), str(raised.value)
