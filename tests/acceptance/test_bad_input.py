"""Whatever is wrong with a file or a command line: one line says where and what to write instead, and nothing is done.

The tables run in this process, where starting another one is an error; what needs processes stands below them.
"""

import io
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISDIR
from typing import NamedTuple, NoReturn

import pytest

from pilotfish.cli.main import main
from tests.acceptance.box import PILOTFISH, Box

ONE_LINE = re.compile(r"pilotfish: error: [^\x00-\x1f\x7f]+\n")
"""Nothing in it does anything to a terminal."""


class Wrong(NamedTuple):
    """A command line, the files that it meets, and what the refusal must say: the place, and the way out."""

    words: tuple[str, ...]
    says: tuple[str, ...]
    files: Mapping[str, str | bytes | None] = {}
    """By name; None is a folder."""
    stdin: str = ""


def file(text: str | bytes, *says: str, name: str = "c.yaml") -> Wrong:
    """A wrong file."""
    return Wrong(("run", name), says, {name: text})


def job(entry: str, *says: str, line: int = 3) -> Wrong:
    """A file of one job that has `entry` from line 3 on, where the mistake is."""
    indented = entry.replace("\n", "\n    ")
    return file(f"jobs:\n  - command: run {{index}}\n    {indented}\n", f"c.yaml:{line}: jobs[0].", *says)


def rows(kind: str, name: str, content: str | bytes | None, *says: str) -> Wrong:
    """A job whose array is a file, and that file, where the mistake is."""
    text = f"jobs:\n  - command: run\n    array: {{{kind}: {name}}}\n"
    return Wrong(("run", "c.yaml"), says, {"c.yaml": text, name: content})


def two(second: str, *says: str, first: str = "") -> Wrong:
    """A file of two jobs, whose second in line 3 is wrong."""
    text = f"jobs:\n  - {{name: a, command: run{first}}}\n  - {{name: b, command: run{second}}}\n"
    return file(text, "c.yaml:3: jobs[1].", *says)


def words(line: str, *says: str, stdin: str = "") -> Wrong:
    """A wrong command line beside a good file and an empty folder."""
    good = {"c.yaml": "name: c\njobs: [{name: a, command: 'true'}]\n", "empty": None}
    return Wrong(tuple(line.split()), says, good, stdin)


BOMB = "\n".join([f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" if i else "x0: &x0 [a, a]" for i in range(12)])

FILES = {
    # what is no file, or no text
    "missing": Wrong(("run", "nowhere.yaml"), ("nowhere.yaml: no such file",)),
    "folder": Wrong(("run", "d"), ("d: is a folder", "name a file in it"), {"d": None}),
    "empty": file("", "c.yaml:1: is empty", "write `jobs:`"),
    "only comments": file("# a\n", "c.yaml:1: is empty", "write `jobs:`"),
    "not UTF-8": file(b"name: \xff\n", "c.yaml:1: is not UTF-8: byte 0xff", "save it as UTF-8"),
    "UTF-16": file("jobs: []\n".encode("utf-16"), "c.yaml:1:", "no text"),
    "NUL": file("name: a\0\n", "c.yaml:1: holds a NUL byte"),
    "a program": file(b"\x7fELF\0", "prog:1: holds a NUL byte", "pilotfish run -- prog", name="prog"),
    "a script": file("#!/bin/sh\ntrue\n", "go:1: is a script", "pilotfish run -- go", name="go"),
    "control character": file("jobs:\n  - command: 'a\x07'\n", "c.yaml:2:", "U+0007"),
    # YAML
    "not closed": file("jobs: [a\n", "c.yaml:2: not valid YAML"),
    "tab": file("jobs:\n\t- command: run\n", "c.yaml:2: not valid YAML", "spaces, not tabs"),
    "colon in a command": file("jobs:\n  - command: echo a: b\n", "c.yaml:2:", "must stand in quotes"),
    "key twice": file("jobs:\n  - command: a\n    command: b\n", "c.yaml:3: the key 'command'", "first in line 2"),
    "tag": file("jobs: !!python/object:os.system [ls]\n", "c.yaml:1: the tag", "must stand in quotes"),
    "own tag": file("jobs:\n  - command: !run x\n", "c.yaml:2: the tag '!run'", "must stand in quotes"),
    "bomb": file(BOMB, "c.yaml:7: aliases stand for more than 1000000 values"),
    "alias of itself": file("jobs: &a [*a]\n", "c.yaml:1: the alias *a", "must stand in quotes"),
    "unknown alias": file("jobs: [{command: *all}]\n", "c.yaml:1: the alias *all", "must stand in quotes"),
    "two documents": file("jobs: [{command: a}]\n---\njobs: []\n", "c.yaml:2: several documents", "keep one"),
    "nested deep": file(f"jobs: {'[' * 60}{']' * 60}", "c.yaml:1: nested more than 50 deep"),
    "merge key": file("jobs:\n  - &a {name: a, command: a}\n  - <<: *a\n", "c.yaml:3: jobs[1].<<", "write the keys"),
    # other formats
    "JSON comma": file('{"jobs": [],}', "c.json:1: not valid JSON", name="c.json"),
    "JSON key twice": file('{\n"name": "a",\n"name": "b"}', "c.json:3:", "stands twice in one object", name="c.json"),
    "JSON NaN": file('{"jobs": [{"command": "a", "cores": NaN}]}', "c.json", "NaN is no JSON", name="c.json"),
    "TOML": file("jobs = [", "c.toml", "not valid TOML", name="c.toml"),
    "TOML date": file('[[jobs]]\ncommand = "a"\ntime = 2026-01-01\n', "c.toml:3: jobs[0].time", name="c.toml"),
    "TOML number": file(f"[[jobs]]\ncommand = 'a'\ncores = {'9' * 5_000}\n", "c.toml", "not valid TOML", name="c.toml"),
    "TOML key": file(f"a{'.a' * 50_000} = 1\n", "c.toml:1: a key of more than 50 parts", name="c.toml"),
    "list of nothing": file("# only this\n", "list", "at least one task", name="list"),
    "line that goes on": file("true\necho a \\\n b\n", "list:2:", "without the last backslash", name="list"),
    # the top
    "a word": file("hello\n", "c.yaml:1: expected a mapping", "'hello'"),
    "a list": file("- command: run\n", "c.yaml:1: begins with a list", "write `jobs:` before it"),
    "no jobs": file("name: a\n", "c.yaml:1: the key jobs is missing", "write, for example, jobs: "),
    "no job": file("jobs: []\n", "c.yaml:1: jobs", "at least one job"),
    "jobs as a mapping": file("jobs:\n  sim: {command: a}\n", "c.yaml:1: jobs", "expected a list"),
    "unknown key on top": file("job: []\n", "c.yaml:1: job: unknown key", "did you mean jobs?"),
    "name of several lines": file('name: "a\\nb"\njobs: []\n', "c.yaml:1: name", "one line"),
    # jobs
    "unknown key": job("cors: 2", "cors: unknown key", "did you mean cores?"),
    "key of another system": job("cpus: 2", "cpus: unknown key", "did you mean cores?"),
    "dashes": job("max-parallel: 2", "max-parallel", "did you mean max_parallel?"),
    "nothing alike": job("xyzzy: 2", "xyzzy: unknown key", "known here are name, command, array"),
    "no command": file("jobs:\n  - name: a\n", "c.yaml:2: jobs[0]: the key command is missing", "./sim"),
    "empty command": file("jobs:\n  - command: ' '\n", "c.yaml:2: jobs[0].command", "is empty"),
    "no program": file("jobs:\n  - command: []\n", "c.yaml:2: jobs[0].command", "is the program"),
    "flag in a command": file("jobs:\n  - command: [run, true]\n", "c.yaml:2: jobs[0].command[1]", "put it in quotes"),
    "NUL in a command": file('jobs:\n  - command: "a\\0"\n', "c.yaml:2: jobs[0].command", "NUL"),
    "name with a space": job("name: my sim", "name: 'my sim' is no name", "for example my_sim"),
    "name twice": file(
        "jobs:\n  - {name: a, command: run}\n  - {name: a, command: run}\n",
        "c.yaml:3: jobs[1].name: a is also the name of jobs[0]",
    ),
    "no names": file("jobs: [{command: a}, {command: b}]\n", "c.yaml:1: jobs[0]: the key name is missing"),
    # placeholders
    "unknown placeholder": file("jobs:\n  - command: run {idx}\n", "c.yaml:2: jobs[0].command", "{index}, {name}"),
    "placeholder in a path": job("cwd: runs/{seed}", "cwd: unknown placeholder {seed}", "{index}"),
    "placeholder in stdin": job("stdin: '{line}.txt'", "stdin: unknown placeholder {line}", "{index}"),
    "placeholder in setup": job("setup: [cd /, 'echo {x}']", "setup[1]: unknown placeholder {x}", "{{x}}"),
    "column of another array": job("array: {zip: {x: [1]}}\ncwd: '{y}'", "cwd: unknown placeholder {y}", "{x}", line=4),
    # arrays
    "array of none": job("array: 0", "array", "from 1 to 10000000"),
    "negative array": job("array: -3", "array", "from 1 to 10000000", "got -3"),
    "array of 10^12": job("array: 1000000000000", "array", "from 1 to 10000000", "got 1000000000000"),
    "range of 10^12": job("array: 0-999999999999", "array", "at most 10000000", "split"),
    "product of 10^12": job("array: {product: {x: 0-999999, y: 0-999999}}", "array.product", "at most 10000000"),
    "backward range": job("array: 9-0", "array", "0-9"),
    "step of none": job("array: 0-9:0", "array", "must be 1 or more"),
    "no task at once": job("array: 0-9%0", "array", "as in 0-99%10"),
    "count in quotes": job('array: "10"', "array", "without quotes"),
    "empty list": job("array: []", "array", "at least one"),
    "list in an array": job("array:\n- a\n- [b]", "array[1]: expected text", line=5),
    "two sources": job("array: {csv: a, json: b}", "array: expected one of the keys", "got 2"),
    "zip of two lengths": job("array: {zip: {x: [1, 2], y: [1]}}", "array.zip.y", "x has 2 values and y 1"),
    "product of a word": job("array: {product: {x: red}}", "array.product.x", "0-98:2"),
    "column named index": job("array: {zip: {index: [1]}}", "array.zip.index", "for example index_"),
    "ragged csv": rows("csv", "d.csv", "x,y\n1,2\n3\n", "d.csv:3: 1 value, and the first row names 2 columns"),
    "csv without a row": rows("csv", "d.csv", "x,y\n", "c.yaml:3: jobs[0].array.csv", "d.csv: holds no row"),
    "csv column twice": rows("csv", "d.csv", "x,x\n1,2\n", "d.csv:1: the column", "stands here twice"),
    "csv column": rows("csv", "d.csv", "my x\n1\n", "d.csv:1: 'my x' cannot name a column", "for example my_x"),
    "csv quote": rows("csv", "d.csv", 'x\n"a"b\n', "d.csv:2: not valid CSV"),
    "csv not UTF-8": rows("csv", "d.csv", b"x\n\xe4\n", "d.csv:2: is not UTF-8: byte 0xe4", "save it as UTF-8"),
    "csv folder": rows("csv", "d.csv", None, "c.yaml:3: jobs[0].array.csv", "d.csv: is a folder"),
    "csv missing": job("array: {csv: d.csv}", "array.csv", "d.csv: no such file"),
    "codes of a terminal": job('array: {csv: "\\e[31m.csv"}', "array.csv", "[31m.csv", "no such file"),
    "lines missing": job("array: {lines: d.txt}", "array.lines", "d.txt: no such file"),
    "NUL in lines": rows("lines", "d.txt", "a\nb\0\n", "d.txt:2: holds a NUL byte"),
    "json of a mapping": rows("json", "d.json", "{}", "d.json:1: expected a list of mappings with the same keys"),
    "json of other keys": rows("json", "d.json", '[{"x": 1},\n{"y": 1}]', "d.json:2: [1]: the key", "the same keys"),
    "json of none": rows("json", "d.json", "[]", "c.yaml:3: jobs[0].array.json", "d.json: holds no row"),
    # dependencies
    "itself": two(", after: b", "after", "cannot come after itself"),
    "unknown job": two(", after: c", "after", "no job of this campaign is named 'c'"),
    "misspelt job": two(", after: aa", "after", "did you mean a?"),
    "circle": file(
        "jobs:\n  - {name: a, command: r, after: b}\n  - {name: b, command: r, after: a}\n",
        "c.yaml:2: jobs[0].after", "a → b → a",
    ),
    "unequal arrays": two(", array: 5, after: {job: a, each: true}", "after", "b has 5", "a 4", first=", array: 4"),
    "each of none": two(", array: 5, after: {job: a, each: true}", "after", "b has 5"),
    "each as a word": two(", after: {job: a, each: yes}", "after.each", "true or false", "'yes'"),
    "unknown when": two(", after: {job: a, when: succeded}", "after.when", "did you mean succeeded?"),
    "after a number": two(", after: [3]", "after[0]", "expected a job's name", "got 3"),
    # amounts
    "yes as a number": job("cores: yes", "cores: expected a number", "such as 4", "'yes'"),
    "number in quotes": job('cores: "4"', "cores", "without quotes"),
    "negative cores": job("cores: -1", "cores", "from 0", "-1"),
    "NaN": job("cores: .nan", "cores", "from 0", "nan"),
    "infinite": job("time: .inf", "time", "at most", "inf"),
    "one and a half cores": job("cores: 1.5", "cores", "write 1 or 2"),
    "too fine": job("cores: 0.00001", "cores", "1/10000"),
    "most below least": job("cores: {min: 4, max: 2}", "cores.max: 2 is less than min, 4"),
    "no most": job("cores: {min: 4}", "cores: the key max is missing", "max: 8"),
    "memory in other words": job("memory: 2 gigs", "memory", "2GiB", "'2 gigs'"),
    "negative memory": job("memory: -5", "memory", "from 1", "-5"),
    "no memory": job("memory: 0", "memory", "leave the key out"),
    "time in words": job("time: soon", "time", "30s", "'soon'"),
    "time of two meanings": job("time: 10:30", "time", "0:10:30"),
    "no time": job("estimate: 0", "estimate", "more than 0"),
    "one and a half GPUs": job("gpus: 1.5", "gpus", "write 1 or 2"),
    "half a node": job("nodes: 0.5", "nodes: expected a whole number"),
    "flag in quotes": job('exclusive: "true"', "exclusive: expected true or false"),
    "empty variant": job("variants: []", "variants: is empty", "{gpus: 1}"),
    "variant of a time": job("variants: [{time: 5}]", "variants[0].time: unknown key", "cores, memory"),
    "resource of none": job("resources: {fpga: 0}", "resources.fpga", "more than 0"),
    "label": job("labels: [a b]", "labels[0]: 'a b' is no name", "for example a_b"),
    "negative retries": job("retries: -1", "retries", "from 0 to 1000"),
    "unknown key of retries": job("retries: {count: 1, dealy: 5s}", "retries.dealy", "did you mean delay?"),
    "unknown end": job("retries: {count: 1, retry_on: [timedout]}", "retry_on[0]", "did you mean timed_out?"),
    "shrinking memory": job("memory_growth: 0.5", "memory_growth", "more than 1"),
    "unknown on_lost": job("on_lost: rerunn", "on_lost: expected rerun, fail or hold", "did you mean rerun?"),
    "unknown signal": job("signal: USR3@90s", "signal", "USR1@90s"),
    "priority in words": job("priority: high", "priority: expected a whole number", "such as 10"),
    "nothing at once": job("max_parallel: 0", "max_parallel", "from 1"),
    "date of no year": job("start_after: 2026-13-01", "start_after", "2026-01-01T00:00"),
    "unknown limit": job("uses: {licence: 1}", "uses.licence", "limits"),
    "more than the limit": file(
        "limits: {db: 2}\njobs:\n  - command: a\n    uses: {db: 3}\n", "c.yaml:4: jobs[0].uses.db", "2"
    ),
    "limit of none": file("limits: {db: 0}\njobs: [{command: a}]\n", "c.yaml:1: limits.db", "from 1"),
    "defaults of a name": file("defaults: {name: a}\njobs: [{command: a}]\n", "c.yaml:1: defaults.name", "write it"),
    "unknown default": file("defaults: {cors: 1}\njobs: [{command: a}]\n", "c.yaml:1: defaults.cors", "mean cores?"),
    # environment and paths
    "env as a list": job("env: [A=1]", "env: expected a mapping"),
    "env flag": job("env: {A: true}", "env.A", "put it in quotes"),
    "env name": job("env: {A=B: c}", "env.A=B", "cannot name a variable"),
    "empty path": job('cwd: ""', "cwd", "is empty"),
    "home of nobody": job("cwd: ~no-such-user/x", "cwd", "no such user", "./"),
    "module": job("modules: [--help]", "modules[0]", "gcc/12"),
    # to come
    "key to come": job("container: img", "container", "`container` is not yet supported; see docs/limits.md"),
}  # fmt: skip
"""Wrong files."""

MACHINE = {
    "cores beyond the node": file("jobs: [{name: a, command: b, cores: 100000}]", "job a", "100000 cores", "--cores"),
    "the second of two files": Wrong(
        ("run", "c.yaml", "d.yaml"), ("d.yaml:3: jobs[1]: this machine can never run job c",),
        {
            "c.yaml": "jobs: [{name: a, command: b}]\n",
            "d.yaml": "jobs:\n  - {name: b, command: b}\n  - {name: c, command: b, cores: 100000}\n",
        },
    ),
    "memory beyond the node": file("jobs: [{name: a, command: b, memory: 900T}]", "job a", "900 TiB", "--memory"),
    "GPUs beyond the node": file("jobs: [{name: a, command: b, gpus: 1000}]", "job a", "1000 GPUs", "--gpus"),
    "label of no node": file("jobs: [{name: a, command: b, labels: [quick]}]", "job a", "label quick", "--label"),
    "resource of no node": file("jobs: [{name: a, command: b, resources: {x: 1}}]", "job a", "1 x", "--resource"),
    "more nodes than one": file("jobs: [{name: a, command: b, nodes: 2}]", "job a", "2 nodes"),
    "no variant fits": file(
        "jobs: [{name: a, command: b, cores: 100000, variants: [{cores: 200000}]}]", "job a", "00000 cores", "--cores"
    ),
}  # fmt: skip
"""Files that are right, and wrong on this machine."""

LINES = {
    "no file": words("run", "name a job file", "pilotfish run --help"),
    "unknown command": words("rum c.yaml", "there is no command `rum`", "did you mean `run`?"),
    "option first": words("--json run c.yaml", "the command comes first", "`pilotfish COMMAND --json`"),
    "unknown option": words("run c.yaml --corse 2", "--corse", "pilotfish run --help"),
    "on what there is not": words("run --on slrum -t 1h c.yaml", "no batch system `slrum`", "slurm, pbs, torque, sge"),
    "on Slurm for how long": words("run --on slurm c.yaml", "-t TIME says for how long", "-t 2h"),
    "on Slurm for no time": words("run --on slurm -t 0 c.yaml", "-t: must be more than 0"),
    "on Slurm in words": words("run --on slurm -t soon c.yaml", "-t: expected a time such as", "'soon'"),
    "on no node": words("run --on slurm -t 1h -N 0 c.yaml", "-N: expected a whole number from 1 to", "'0'"),
    "on nodes in words": words("run --on slurm -t 1h -N two c.yaml", "-N: expected a whole number from 1", "'two'"),
    "on PBS without cores": words("run --on pbs -t 1h c.yaml", "cannot ask for whole nodes", "--cores 64"),
    "on HTCondor elsewhere": words("run --on htcondor -t 1h --cores 2 c.yaml", "no command condor_submit here"),
    "pe of Slurm": words("run --on slurm -t 1h --pe mpi c.yaml", "--pe is for sge alone"),
    "labels of Dask's workers": words(
        "run --on dask://127.0.0.1:1 --label fast c.yaml",
        "--label=fast: beside Dask's workers there is what these have, cores and memory",
    ),
    "nodes of nothing": words("run -N 2 c.yaml", "-N is for an allocation that the run gets for itself: --on slurm"),
    "partition of nothing": words("run -p big c.yaml", "-p is for an allocation", "--on slurm -p"),
    "account of nothing": words("run -A me c.yaml", "-A is for an allocation", "--on slurm -A"),
    "pe of nothing": words("run --pe mpi c.yaml", "--pe is for an allocation", "--on slurm --pe"),
    "words of nothing": words("run --batch=--qos=low c.yaml", "--batch is for an allocation", "--on slurm --batch"),
    "agent of nobody": words("agent", "--join"),
    "agent with a missing file": words("agent --join nowhere", "nowhere"),
    "agents outside": words("agent --join c.yaml --each-node", "--each-node is for the script of an allocation"),
    "no action": words("alloc", "ACTION", "pilotfish alloc --help"),
    "unknown action": words("alloc sumbit", "'sumbit'", "submit"),
    "no system": words("alloc submit", "SYSTEM"),
    "no value": words("run c.yaml --cores", "--cores: expected one argument", "pilotfish run --help"),
    "no cores": words("run c.yaml --cores 0", "--cores: expected a whole number", "'0'"),
    "cores in words": words("run c.yaml --cores many", "--cores: expected a whole number from 1 to", "'many'"),
    "memory in words": words("run c.yaml --memory lots", "--memory: expected memory such as 2GiB", "'lots'"),
    "no such amount": words("run c.yaml --resource fpga", "--resource: expected NAME=AMOUNT such as fpga=2", "'fpga'"),
    "two labels in one": words("run c.yaml --label a,b", "--label: expected a name", "'a,b'"),
    "NaN cores": words("run -c nan -- true", "-c: expected a number between 0 and", "'nan'"),
    "time in words": words("run -t soon -- true", "-t: expected a time such as", "30s", "'soon'"),
    "time of two meanings": words("run -t 10:30 -- true", "-t: '10:30' is ambiguous", "0:10:30"),
    "no time": words("run -t 0 -- true", "-t: ", "more than 0"),
    "cores for a file": words("run -c 4 c.yaml", "-c is for `run -- COMMAND`"),
    "resume for a file": words("run --resume c.yaml", "--resume is for `run -- COMMAND`"),
    "file and command": words("run c.yaml -- true", "c.yaml", "choose one"),
    "file twice": words("run c.yaml c.yaml", "c.yaml:2: jobs[0].name: a is also the name of jobs[0]"),
    "two stores": words("run --store x --store y c.yaml", "--store: given twice"),
    "two stores to look into": words("tasks --store x --store=x", "--store: given twice"),
    "two limits of time": words("map -t 1s --timeout 2s echo ::: a", "--timeout: given twice"),
    "no time for map": words("map --timeout 0 echo ::: a", "--timeout: must be more than 0"),
    "no memory": words("run --mem 0 -- true", "--mem: must be more than 0"),
    "memory without its unit": words("run --mem 5 -- true", "--mem: 5 B is too little", "did you mean 5GiB?"),
    "map without its unit": words("map --mem 512 echo ::: a", "--mem: 512 B is too little", "did you mean 512MiB?"),
    "a billion cores": words("run --cores 1e9 c.yaml", "--cores: expected a whole number from 1 to 100000, got '1e9'"),
    "a billion GPUs": words("run --gpus 1000000000 c.yaml", "--gpus: expected a whole number from 0 to 100000"),
    "a billion cores in all": words("map -j 1000 -c 1000000 echo ::: a b", "-c times --jobs", "100000 at most"),
    "attach and start anew": words("run --fresh --attach c.yaml", "--attach and --fresh contradict each other"),
    "attach to nothing": words("run --attach --dry-run c.yaml", "--attach and --dry-run contradict each other"),
    "keep and put away": words("run --keep-failed --fresh c.yaml", "--fresh and --keep-failed contradict each other"),
    "go on anew": words("run --resume --fresh -- true", "--fresh and --resume contradict each other"),
    "go on without a run": words("map --resume --dry-run echo ::: a", "--dry-run and --resume contradict each other"),
    "tags in JSON": words("map --tag --json echo ::: a", "--json and --tag contradict each other"),
    "JSON that goes on": words("logs -f --json a", "--follow and --json contradict each other"),
    "more cores than there are": words("run -c 100000 -- true", "100000 cores", "--cores"),
    "more memory than there is": words("run --mem 900T -- true", "900 TiB", "--memory"),
    "standard input": words(
        "run -", "standard input:1: jobs[0].cors", "did you mean cores?", stdin="jobs: [{command: a, cors: 1}]\n"
    ),
    "empty standard input": words("run -", "standard input", "is empty"),
    "standard input twice": words("run - -", "standard input (-)", "once"),
    "no store": words("tasks", "there is no .pilotfish", "`pilotfish run FILE` makes one"),
    "nothing in the store": words("tasks --store empty", "nothing has run in", "`pilotfish run FILE` begins"),
    "unknown state": words("tasks --state done --store empty", "--state", "succeeded"),
    "no id": words("show", "ID", "pilotfish show --help"),
    "two streams": words("logs a --stdout --stderr", "--stdout", "--stderr"),
    "tasks at once in words": words("map -j x echo ::: a", "--jobs: expected a number such as 4", "'x'"),
    "nothing to cancel": words("cancel", "say what to cancel", "--all"),
    "nothing to retry": words("retry", "say what to retry", "--failed"),
    "nothing to clean": words("clean", "say what to delete", "--campaign NAME"),
    "unknown shell": words("completion csh", "'csh'", "bash"),
}
"""Wrong command lines."""

ASKED = {
    "unknown job": (("show", "aa"), "there is no job `aa`", "did you mean `a`?"),
    "unknown number": (("show", "99"), "there is no job `99`", "there are: a, b"),
    "unknown task": (("logs", "b:9"), "`b` has no task 9", "0-2"),
    "no index": (("show", "b:x"), "`x` in `b:x` is not an index", "0-2"),
    "no array": (("explain", "a:0"), "`a` has no array", "its one task is `a`"),
    "unknown campaign": (("tasks", "--campaign", "d"), "there is no campaign `d`", "there are: c"),
    "unknown to cancel": (("cancel", "x"), "there is no job `x`", "there are: a, b"),
    "unknown to retry": (("retry", "b:9"), "`b` has no task 9", "0-2"),
    "unknown system": (("alloc", "submit", "slrum", "-t", "1h"), "no batch system `slrum`", "slurm, pbs"),
    "submit for how long": (("alloc", "submit", "slurm"), "-t TIME says for how long", "-t 2h"),
    "nothing to give back": (("alloc", "cancel"), "say which to cancel", "--all"),
    "all and some": (("alloc", "cancel", "7", "--all"), "say which to cancel", "--all"),
    "unknown to give back": (("alloc", "cancel", "7"), "no allocation 7", "pilotfish alloc list"),
    "unknown to clean": (("clean", "--campaign", "d"), "there is no campaign `d`", "there are: c"),
}
"""Wrong questions to a campaign that has run: the command line, and what must be said."""


def contents(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Everything below a folder, with what would tell that a file was written."""
    stats = {str(path): path.stat() for path in folder.rglob("*")}
    return {path: None if S_ISDIR(stat.st_mode) else (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def never(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a process was started")


def refused(line: tuple[str, ...], says: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Type a command line here, where starting a process is an error and nothing may change."""
    before = contents(Path())
    code = main(list(line))
    said = capsys.readouterr()
    assert ONE_LINE.fullmatch(said.err), said.err
    assert [words for words in says if words not in said.err] == [], said.err
    assert (code, said.out) == (2, "")
    assert contents(Path()) == before


@pytest.fixture
def _starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for start in ("fork", "posix_spawn", "posix_spawnp"):
        monkeypatch.setattr(os, start, never)


TABLE = FILES | MACHINE | LINES


@pytest.mark.usefixtures("_starts_nothing")
@pytest.mark.parametrize("wrong", TABLE.values(), ids=TABLE.keys())
def test_is_refused_in_one_line_and_nothing_is_done(
    wrong: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in wrong.files.items():
        path = tmp_path / name
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(wrong.stdin))
    refused(wrong.words, wrong.says, capsys)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a campaign that has run."""
    box = Box(tmp_path_factory.mktemp("campaign"))
    box.write("c.yaml", "name: c\njobs: [{name: a, command: 'true'}, {name: b, array: 3, command: 'true'}]\n")
    assert box.run("run", "c.yaml").returncode == 0
    return box.folder


@pytest.mark.usefixtures("_starts_nothing")
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_a_wrong_question_changes_nothing(
    asked: tuple[tuple[str, ...], str, str],
    campaign: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(campaign)
    refused(asked[0], asked[1:], capsys)


def one_line(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    assert ONE_LINE.fullmatch(done.stderr), done.stderr
    assert [words for words in says if words not in done.stderr] == [], done.stderr
    assert (done.returncode, done.stdout) == (code, "")


def test_two_runs_of_one_campaign_are_refused_while_the_first_lives(box: Box) -> None:
    box.write("c.yaml", "name: c\njobs: [{command: 'touch begun; until test -e end; do sleep 0.01; done'}]\n")
    first = box.start("run", "c.yaml")
    box.wait_for((box.folder / "begun").exists)
    one_line(box.run("run", "c.yaml"), 75, "is in use by process", f"{first.pid} on host")
    box.write("end", "")
    assert first.wait() == 0


def test_a_store_of_a_newer_version_is_left_as_it_is(box: Box) -> None:
    box.write("c.yaml", "name: c\njobs: [{command: touch ran}]\n")
    box.run("run", "c.yaml")
    (box.folder / "ran").unlink()
    store = box.folder / ".pilotfish" / "c" / "store.sqlite"
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = store.read_bytes()
    one_line(box.run("run", "c.yaml"), 2, "schema version 99", "--store")
    assert store.read_bytes() == before
    assert not (box.folder / "ran").exists()


@pytest.mark.parametrize("store", ["/proc/pilotfish", "c.yaml", "c.yaml/below"])
def test_a_store_that_cannot_be_made_is_named(box: Box, store: str) -> None:
    box.write("c.yaml", "name: c\njobs: [{command: touch ran}]\n")
    one_line(box.run("run", "--store", store, "c.yaml"), 2, store, "--store")
    assert [path.name for path in box.folder.iterdir()] == ["c.yaml"]


def test_a_line_of_a_hundred_megabytes_is_refused_without_reading_it_all(box: Box) -> None:
    with (box.folder / "c.yaml").open("wb") as file:
        file.write(b"jobs: [{command: '")
        for _ in range(100):
            file.write(b"a" * 1_000_000)
    limit = f"ulimit -v 1000000; exec {PILOTFISH} run c.yaml"
    done = subprocess.run(
        ["sh", "-c", limit], cwd=box.folder, env=box.env, capture_output=True, text=True, timeout=30, check=False
    )
    one_line(done, 2, "c.yaml: is larger than 64 MB: split it")
