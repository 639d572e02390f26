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
    "array of none": job("array: 0", 1, "array", "from 1 to 10000000", "leave the key out"),
    "negative count": job("array: -3", 1, "array", "got -3"),
    "empty list": job("array: []", 1, "array", "at least one"),
    "huge count": job("array: 1000000000000", 1, "array", "from 1 to 10000000", "1000000000000"),
    "huge range": job("array: 0-99999999", 1, "array", "at most 10000000"),
    "endless index": job("array: 99999999999999999999-99999999999999999999", 1, "array", "indices end at"),
    "backward range": job("array: 9-0", 1, "array", "0-9"),
    "step of none": job("array: 0-9:0", 1, "array", "step"),
    "negative range": job("array: -3-5", 1, "array", "0-98:2"),
    "count in quotes": job('array: "10"', 1, "array", "without quotes"),
    "fraction of tasks": job("array: 1.5", 1, "array", "expected a whole number", "1.5"),
    "array flag": job("array: true", 1, "array", "got true"),
    "flag in an array": job("array: [a, false]", 1, "array[1]", "got false", "quotes"),
    "list in an array": job("array:\n- a\n- [b]", 3, "array[1]", "['b']"),
    # after
    "unknown job": two(", after: c", "after", "no job of this campaign is named 'c'"),
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
    "no cores": job("cores:", 1, "cores", "no value: write, for example, 4, 0.5 or {min: 2, max: 8}"),
    "memory in other units": job("memory: 2 gigs", 1, "memory", "2GiB", "'2 gigs'"),
    "negative memory": job("memory: -5", 1, "memory", "-5"),
    "no memory": job("memory: 0", 1, "memory", "leave the key out"),
    "no memory in units": job("memory: 0 GiB", 1, "memory", "leave the key out"),
    "a memory without its unit": job("memory: 5", 1, "memory", "5 B is too little", "did you mean 5GiB?"),
    "more memory without its unit": job("memory: 4096", 1, "memory", "4 KiB is too little", "did you mean 4096MiB?"),
    "fraction of a byte": job("memory: 1.5", 1, "memory", "expected a whole number or text", "1.5"),
    "time in words": job("time: soon", 1, "time", "30s", "'soon'"),
    "no time": job("time: 0", 1, "time", "more than 0", "leave the key out"),
    "no time in units": job("time: 0s", 1, "time", "more than 0"),
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
    # requests
    "cores from more to less": job("cores: {min: 8, max: 2}", 1, "cores.max", "2 is less than min, 8"),
    "cores without most": job("cores: {min: 8}", 1, "cores", "the key max is missing", "max: 8"),
    "a fraction to many": job("cores: {min: 0.5, max: 2}", 1, "cores.min", "a whole number", "0.5"),
    "from no core": job("cores: {min: 0, max: 2}", 1, "cores.min", "from 1"),
    "cores at most": job("cores: {maximum: 2}", 1, "cores.maximum", "did you mean max?"),
    "one and a half GPUs": job("gpus: 1.5", 1, "gpus", "more than one GPU", "write 1 or 2"),
    "negative GPUs": job("gpus: -1", 1, "gpus", "-1"),
    "GPUs by name": job("gpus: a100", 1, "gpus", "expected a number", "'a100'"),
    "half a node": job("nodes: 0.5", 1, "nodes", "a whole number", "0.5"),
    "no node": job("nodes: 0", 1, "nodes", "from 1", "leave the key out"),
    "exclusive in words": job("exclusive: yes", 1, "exclusive", "true or false", "'yes'"),
    "resources as a list": job("resources: [fpga]", 1, "resources", "a mapping", "{fpga: 1}"),
    "none of a resource": job("resources: {fpga: 0}", 1, "resources.fpga", "more than 0", "leave the key out"),
    "cores as a resource": job("resources: {cores: 1}", 1, "resources.cores", "write `cores: 1` beside resources"),
    "a resource in words": job("resources: {fpga: one}", 1, "resources.fpga", "expected a number", "'one'"),
    "next to nothing of a resource": job("resources: {fpga: 1.0e-11}", 1, "resources.fpga", "1/10000"),
    "too little of a resource": job("resources: {fpga: 0.00001}", 1, "resources.fpga", "1/10000"),
    "a resource with a space": job("resources: {my fpga: 1}", 1, "resources.my fpga", "my_fpga"),
    "a label alone": job("labels: fast", 1, "labels", "a list", "[fast]", "'fast'"),
    "a label with a space": job("labels: [fast, very big]", 1, "labels[1]", "very_big"),
    "a label that is a number": job("labels: [1]", 1, "labels[0]", "expected text", "quotes"),
    "no variants": job("variants: []", 1, "variants", "is empty", "{gpus: 1}"),
    "a variant in words": job("variants: [gpu]", 1, "variants[0]", "a mapping", "'gpu'"),
    "a variant of more": job("variants:\n  - {gpus: 1}\n  - {time: 5}", 3, "variants[1].time", "unknown key"),
    "a wrong variant": job("variants: [{cores: 1}, {memory: -1}]", 1, "variants[1].memory", "-1"),
    # time and tries
    "an estimate beyond the limit": job("time: 1h\nestimate: 2h", 2, "estimate", "2h00m is more than time", "1h00m"),
    "no estimate": job("estimate: 0", 1, "estimate", "more than 0"),
    "a negative grace": job("grace: -1s", 1, "grace", "30s", "'-1s'"),
    "a signal of another kind": job("signal: USR3@90s", 1, "signal", "USR1@90s", "did you mean USR"),
    "a signal in small letters": job("signal: usr1", 1, "signal", "did you mean USR1?"),
    "a signal that nobody handles": job("signal: KILL@90s", 1, "signal", "no program can handle KILL"),
    "likewise by number": job("signal: 9@90s", 1, "signal", "no program can handle 9"),
    "likewise as a number": job("signal: 19", 1, "signal", "no program can handle 19"),
    "a signal beyond all": job("signal: 65", 1, "signal", "from 1 to 64", "65"),
    "a signal at no time": job("signal: USR1@", 1, "signal", "expected a time"),
    "a signal at the end": job("signal: USR1@0s", 1, "signal", "more than 0", "for example, USR1@90s"),
    "a signal before the start": job("time: 60\nsignal: USR1", 2, "signal", "1m00s before the end", "USR1@10s"),
    "too many tries": job("retries: {count: 1001}", 1, "retries.count", "from 0 to 1000"),
    "tries without a count": job("retries: {delay: 10s}", 1, "retries", "the key count is missing"),
    "a shrinking delay": job("retries: {count: 2, backoff: 0.5}", 1, "retries.backoff", "from 1", "0.5"),
    "a delay that is no number": job("retries: {count: 2, backoff: .nan}", 1, "retries.backoff", "nan"),
    "a delay beyond the most": job(
        "retries: {count: 2, delay: 10m, max_delay: 10s}", 1, "retries.max_delay", "10s is less than delay, 10m"
    ),
    "tries after success": job("retries: {count: 2, retry_on: [0]}", 1, "retries.retry_on[0]", "from 1 to 255"),
    "tries after what": job(
        "retries: {count: 2, retry_on: [timeout]}", 1, "retries.retry_on[0]", "did you mean timed_out?"
    ),
    "tries after nothing": job("retries: {count: 2, retry_on: []}", 1, "retries.retry_on", "is empty"),
    "tries after one": job("retries: {count: 2, retry_on: 75}", 1, "retries.retry_on", "[75, timed_out]"),
    "growth by nothing": job("memory: 1G\nmemory_growth: 1", 2, "memory_growth", "more than 1"),
    "growth of no memory": job("memory_growth: 2", 1, "memory_growth", "needs `memory`"),
    "lost and then": job("on_lost: retry", 1, "on_lost", "rerun, fail or hold", "'retry'"),
    "silence and then": job("on_silence: fail", 1, "on_silence", "wait or rerun", "'fail'"),
    "no failures": job("array: 5\nmax_fails: 0", 2, "max_fails", "from 1"),
    "failures of one task": job("max_fails: 2", 1, "max_fails", "this job has none"),
    "a day that is none": job("start_after: 2026-02-30", 1, "start_after", "a date that exists", "'2026-02-30'"),
    "half a date": job("start_after: 2026-02", 1, "start_after", "2026-01-01T00:00", "'2026-02'"),
    "a date with a zone": job("start_after: 2026-02-01T00:00 CET", 1, "start_after", "2026-01-01T00:00:00Z"),
    "the first of all days": job("start_after: 0000-01-01", 1, "start_after", "a date that exists"),
    "some time": job("start_after: tomorrow", 1, "start_after", "a point in time", "a delay such as 1h"),
    "a far day": job("start_after: 4000d", 1, "start_after", "more than ten years"),
    "held in words": job("hold: on", 1, "hold", "true or false", "'on'"),
    # limits and defaults
    "limits as a list": Case("limits: [db]\njobs: [{command: a}]\n", 1, "limits", ("a mapping", "{licence: 4}")),
    "a limit of none": Case("limits: {db: 0}\njobs: [{command: a}]\n", 1, "limits.db", ("from 1",)),
    "half a limit": Case("limits: {db: 0.5}\njobs: [{command: a}]\n", 1, "limits.db", ("whole number",)),
    "a limit without a name": Case('limits: {"": 1}\njobs: [{command: a}]\n', 1, "limits['']", ("is no name",)),
    "use of nothing declared": job("uses: {db: 1}", 1, "uses.db", "no limit is named 'db'", "`limits: {db: 1}`"),
    "use of something misspelt": Case(
        "limits: {licence: 4}\njobs:\n  - command: a\n    uses: {license: 1}\n",
        4,
        "jobs[0].uses.license",
        ("did you mean licence?",),
    ),
    "use beyond the limit": Case(
        "limits: {db: 4}\njobs:\n  - command: a\n    uses:\n      db: 5\n",
        5,
        "jobs[0].uses.db",
        ("uses 5, and the limit is 4",),
    ),
    "use of nothing": job("uses: {db: 0}", 1, "uses.db", "from 1"),
    "use of one": job("uses: db", 1, "uses", "{licence: 1}"),
    "defaults as a list": Case("defaults: [a]\njobs: [{command: a}]\n", 1, "defaults", ("a mapping",)),
    "a command by default": Case(
        "defaults:\n  command: a\njobs: [{name: a}]\n", 2, "defaults.command", ("cannot be a default",)
    ),
    "an unknown default": Case("defaults: {cors: 1}\njobs: [{command: a}]\n", 1, "defaults.cors", ("cores?",)),
    "a wrong default": Case("defaults:\n  cores: -1\njobs: [{command: a}]\n", 2, "defaults.cores", ("-1",)),
    "a default that does not fit": Case(
        "defaults: {time: 1h,\n  estimate: 30m}\njobs:\n  - command: a\n    time: 10m\n",
        2,
        "defaults.estimate",
        ("for jobs[0], 30m", "is more than time"),
    ),
    "a default without its column": Case(
        "defaults:\n  stdout: '{value}.txt'\njobs:\n  - {name: a, command: a, array: [x]}\n  - {name: b, command: b}\n",
        2,
        "defaults.stdout",
        ("for jobs[1], unknown placeholder {value}",),
    ),
    "a use by default": Case(
        "defaults: {uses: {db: 1}}\njobs: [{command: a}]\n", 1, "defaults.uses.db", ("no limit is named 'db'",)
    ),
    # arrays
    "percent of nothing": job("array: 0-9%0", 1, "array", "as in 0-99%10", "'0'"),
    "percent of words": job("array: 0-9%x", 1, "array", "after % stands", "'x'"),
    "two limits on tasks": job("array: 0-9%5\nmax_parallel: 5", 1, "array", "keep one of them"),
    "an array of nothing": job("array: {}", 1, "array", "one of the keys lines, csv, json, product, zip", "empty"),
    "an array of two kinds": job("array: {csv: a, json: b}", 1, "array", "got 2"),
    "an array of another kind": job("array: {cvs: a}", 1, "array.cvs", "did you mean csv?"),
    "an array from no file": job("array: {csv: ''}", 1, "array.csv", "is empty"),
    "an array from a list": job("array: {lines: [a]}", 1, "array.lines", "expected text", "files.txt"),
    "a product of nothing": job("array: {product: {}}", 1, "array.product", "is empty", "{x: [1, 2], y: 0-9}"),
    "a product of none": job("array: {product: {x: []}}", 1, "array.product.x", "at least one"),
    "a product of one": job("array: {product: {x: 5}}", 1, "array.product.x", "a list or text", "got 5"),
    "a product of words": job("array: {product: {x: a b}}", 1, "array.product.x", "'a b'"),
    "a product of flags": job("array: {product: {x: [a, true]}}", 1, "array.product.x[1]", "got true"),
    "a huge product": job(
        "array: {product: {x: 0-99999, y: 0-99999}}", 1, "array.product", "at most 10000000 tasks", "10000000000"
    ),
    "a long product": job("array: {product: {x: 0-9999999}}", 1, "array.product.x", "at most 15000000 characters"),
    "a column with a dash": job("array: {zip: {my-x: [a]}}", 1, "array.zip.my-x", "for example my_x"),
    "a column of a digit": job("array: {zip: {1st: [a]}}", 1, "array.zip.1st", "for example _1st"),
    "a column of ours": job("array: {zip: {index: [a]}}", 1, "array.zip.index", "every job has a placeholder {index}"),
    "lists of two lengths": job("array: {zip: {x: [a, b], y: 0-2}}", 1, "array.zip.y", "x has 2 values and y 3"),
    "an unknown column": Case(
        "jobs:\n  - command: run {x} {z}\n    array: {zip: {x: [a], y: [b]}}\n",
        2,
        "jobs[0].command",
        ("unknown placeholder {z}", "{dir}, {x}, {y}"),
    ),
    # environment and paths
    "an unknown placeholder in stdin": job("stdin: '{line}'", 1, "stdin", "{line}"),
    "an unknown placeholder in setup": job("setup:\n  - true\n  - echo {x}".replace("true", "a"), 3, "setup[1]", "{x}"),
    "an unknown placeholder in venv": job("venv: 'env/{x}'", 1, "venv", "{x}"),
    "setup of numbers": job("setup: [1]", 1, "setup[0]", "expected text", "quotes"),
    "setup of nothing": job('setup: ""', 1, "setup", "is empty"),
    "a module alone": job("modules: gcc/12", 1, "modules", "a list", "[gcc/12]"),
    "a module with a space": job("modules: [gcc 12]", 1, "modules[0]", "no name of a module"),
    "a module like an option": job("modules: [--force]", 1, "modules[0]", "no name of a module"),
    "an output of nothing": job("output_limit: 0B", 1, "output_limit", "leave the key out"),
    "an output without end": job("output_limit: all", 1, "output_limit", "got 'all'"),
    "a long argument": command(f"[run, {'x' * 131_072}]", "command[1]", "131071 characters", "use a file"),
    "a long command": command("x" * 131_072, "command", "131071 characters"),
    "many arguments": command(f"[run{', xxxxxxxxx' * 200_000}]", "command", "2000000 characters of arguments"),
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
    "a default": Case("defaults: {container: a}\njobs: [{command: a}]\n", 1, "defaults.container", ("`container`",)),
    "a family of keys": job("defer_time: 5", 1, "defer_time", "`defer_time`"),
    **{
        name: job(f"{name}: 1", 1, name, f"`{name}`")
        for name, key in keys.JOB_KEYS.items()
        if not key.takes and "*" not in name
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
        ('{\n"name": "a",\n"jobs": [],\n"name": "b"}', 4, "the key"),
        ('{"jobs": [{"command": "a", "cores": NaN}]}', None, "NaN is no JSON"),
        ('{\n"jobs": [\n{"command": "a",\n\t"cores": -1}]}', 4, "jobs[0].cores"),
        ('{"jobs": [{"command": "a\\ud800"}]}', 1, "surrogate"),
        ('{"jobs": [{"command": "a", "cores": 1e400}]}', 1, "1e400"),
        ('{"jobs": [{"command": "a",\n"array": 1e400}]}', 2, "1e400"),
        ('{"jobs": [{"command": "a", "priority": ' + "9" * 5_000 + "}]}", None, "not valid JSON"),
        ('{"jobs": [{"command": ["a, b: \\"[{", {}],\n"cores": -1}]}', 1, "jobs[0].command[1]"),
        (
            '{"limits": {"a": [1, {"b": 2}]},\n"jobs": [{"command": "a", "env":\n{"A": 1,\n"A": 2}}]}',
            4,
            "'A' stands twice",
        ),
        ('[\n{"command": "a"}]', 1, "begins with a list"),
        ("[" + "1," * 4_000_000, None, "more than 4000000 values"),
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
        ('[[jobs]]\ncommand = "a"\n[jobs.env]\nA = true\n', 4, "jobs[0].env.A"),
        ('[[jobs]]\ncommand = "a"\ntime = 2026-01-01\n', 3, "jobs[0].time"),
        ('jobs = [{command = "a", cores = nan}]\n', None, "jobs[0].cores"),
        ("a = 1\n" + ".".join("a" * 60) + " = 1\n", 2, "more than 50 parts"),
        (" " * 10_000_001, None, "longer than 10 million characters: write JSON"),
        ('[defaults]\ntime = "1h"\ncors = 1\n[[jobs]]\ncommand = "a"\n', 3, "defaults.cors"),
        ('defaults = {cors = 1}\n[[jobs]]\ncommand = "a"\n', 1, "defaults.cors"),
        ('[defaults]\ncores = 1\n[limits]\ndb = 0\n[[jobs]]\ncommand = "a"\n', 4, "limits.db"),
        ('[[jobs]]\ncommand = "a"\nstart_after = 0001-01-01\n', 3, "a date that exists"),
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
