"""THE table of the job file: every key, what it takes, what it means.

What belongs here: the keys as data, in the words of JSON Schema where it has them. What must not: reading
(:mod:`pilotfish.formats.entries`), and what the values of one key mean (:mod:`pilotfish.formats.values`). Checks,
messages, the JSON Schema and the reference follow from this table.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from pilotfish.formats.placeholders import ALWAYS
from pilotfish.model.jobs import Launcher, OnLost, OnSilence, When
from pilotfish.model.states import Outcome

__all__ = [
    "AFTER_KEYS",
    "ARRAY_KEYS",
    "BUILT_IN",
    "CORES_KEYS",
    "DEFAULT_KEYS",
    "FILE_KEYS",
    "JOB_KEYS",
    "LONGEST",
    "MAX_TASKS",
    "REQUEST_KEYS",
    "RETRIES_KEYS",
    "SIGNALS",
    "Key",
    "Table",
    "Takes",
    "displayed",
]

Takes = Mapping[str, Mapping[str, Any]]
"""What a value may be: its kinds as JSON Schema names them, and of each what that language can say of it.

Where JSON Schema would have a schema inside (`items`, `additionalProperties`, `prefixItems`), `Takes` again."""


class Key(msgspec.Struct, frozen=True):
    """One key of a mapping in the job file."""

    name: str
    """As written; a last ``*`` stands for any ending."""
    meaning: str
    """One line for the reference."""
    takes: Takes = {}
    """Nothing: the specification has it, this release does not."""
    examples: tuple[Any, ...] = ()
    required: bool = False
    aliases: tuple[str, ...] = ()
    """What other systems call it: never accepted, but a reason to suggest this key."""

    @staticmethod
    def shown_examples(examples: tuple[Any, ...]) -> str:
        """For a message: ``1000, 0-98:2 or [a, b, c]``."""
        *most, last = map(displayed, examples)
        return f"{', '.join(most)} or {last}" if most else last


class Table(dict[str, Key]):
    """The keys of one kind of mapping, by name."""

    def __init__(self, *keys: Key, one_of: bool = False, elsewhere: Mapping[str, str] | None = None) -> None:
        """Keep the order, which is the one of the reference.

        Args:
            keys: all that there are.
            one_of: exactly one of them is to be given.
            elsewhere: known keys that do not belong here, and why.

        """
        super().__init__((key.name, key) for key in keys)
        self.required = tuple(key for key in keys if key.required)
        self.one_of = one_of
        self.elsewhere = elsewhere or {}


def displayed(value: object) -> str:
    """An example as a line of YAML would have it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {displayed(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(displayed, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if value in ("true", "false") or str(value).startswith("{") else str(value)


MAX_TASKS = 10_000_000
"""Of one array: more is a slip of the pen, or wants several jobs."""

LONGEST = 131_071
"""Characters: Linux gives a program no more in one argument or variable."""

SIGNALS = (
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "PIPE", "PROF", "PWR", "QUIT", "SEGV",
    "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
)  # fmt: skip
"""Names of the signals that a program can handle."""

BUILT_IN = ("cores", "gpus", "memory", "nodes")
"""What a request says under a key of its own, and so no custom resource is called."""

_MANY = 1_000_000_000
_DECADE = 10 * 365 * 86_400
_EXBI = 2**60

_DECIMAL = r"[0-9]+(\.[0-9]+)?"
_CLOCK = r"([0-9]+-)?[0-9]+:[0-5]?[0-9]:[0-5]?[0-9](\.[0-9]+)?|[0-9]+-[0-9]+:[0-5]?[0-9]"
_UNITS = rf"(?=[0-9])({_DECIMAL}d)?({_DECIMAL}h)?({_DECIMAL}m)?({_DECIMAL}s)?"
_TIME = rf"\s*({_DECIMAL}|{_CLOCK}|{_UNITS})\s*"
_DATE = r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?\s*"
_SIGNAL = rf"((SIG)?({'|'.join(SIGNALS)})|[1-8]|1[0-8]|[2-5][0-9]|6[0-4])(@{_TIME})?"
_INDICES = r"[0-9]+-[0-9]+(:0*[1-9][0-9]*)?"


def _text(pattern: str, longest: int = LONGEST) -> Takes:
    return {"string": {"pattern": f"^{pattern}$", "maxLength": longest}}


def _whole(least: int, most: int = _MANY) -> Takes:
    return {"integer": {"minimum": least, "maximum": most}}


def _number(least: float, most: float = _MANY) -> Takes:
    return {"number": {"minimum": least, "maximum": most}}


def _more_than(least: float, most: float = _MANY) -> Takes:
    return {"number": {"exclusiveMinimum": least, "maximum": most}}


def _one_of(*words: str) -> Takes:
    return {"string": {"enum": list(map(str, words))}}


def _list(items: Takes, **bounds: Any) -> Takes:  # noqa: ANN401 - whatever JSON Schema says of lists
    return {"array": {"items": items, **bounds}}


def _named(names: Mapping[str, Any], values: Takes, **bounds: Any) -> Takes:  # noqa: ANN401 - likewise of mappings
    return {"object": {"propertyNames": names, "additionalProperties": values, **bounds}}


_NAME = {"pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$", "maxLength": 100}
_COLUMN = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": {"enum": list(ALWAYS)}}
_TRIED_AGAIN = (Outcome.timed_out, Outcome.out_of_memory, Outcome.signalled, Outcome.start_failed)
_ANY_TEXT = _text(r"[^\x00]*")
_TEXT = _text(r"[^\x00]*[^\s\x00][^\x00]*")
_WORD = {**_ANY_TEXT, "number": {}}
_PROGRAM = {**_text(r"[^\x00]+"), "number": {}}
_FLAG: Takes = {"boolean": {}}
_SOME_TIME = {**_more_than(0, _DECADE), **_text(_TIME)}
_ANY_TIME = {**_number(0, _DECADE), **_text(_TIME)}
_SIZE = {**_whole(1, _EXBI), **_text(rf"\s*{_DECIMAL}\s*[KMGTkmgt]?([Ii]?[Bb])?\s*")}
# Below one a share of one, above it whole ones only.
_SHARE: Takes = {"number": {"minimum": 0, "maximum": _MANY, "anyOf": [{"maximum": 1}, {"multipleOf": 1}]}}
_CHOICES = _named(_COLUMN, {**_text(rf"\s*{_INDICES}\s*"), **_list(_WORD, minItems=1)}, minProperties=1)

AFTER_KEYS = Table(
    Key("job", "The job that must come before.", _TEXT, ("prepare",), required=True, aliases=("name", "on")),
    Key("when", "What must be true of it.", _one_of(*When), ("finished",), aliases=("if",)),
    Key("each", "Task i after task i of it, for arrays of one length.", _FLAG, (True,)),
)
"""Of an entry of `after` that is a mapping."""

ARRAY_KEYS = Table(
    Key("lines", "One task per line of a file: `{line}`.", _TEXT, ("files.txt",)),
    Key("csv", "One task per row of a file, whose first row names the columns.", _TEXT, ("runs.csv",)),
    Key(
        "json",
        "One task per entry of the list in a file: mappings with the same keys, or values.",
        _TEXT,
        ("runs.json",),
    ),
    Key(
        "product",
        "One task per combination of values, the last name changing fastest.",
        _CHOICES,
        ({"x": [1, 2], "y": "0-9"},),
    ),
    Key("zip", "One task per place of several lists of one length.", _CHOICES, ({"x": [1, 2], "y": ["a", "b"]},)),
    one_of=True,
)
"""Of an `array` that is a mapping."""

CORES_KEYS = Table(
    Key("min", "At least so many.", _whole(1), (2,), required=True),
    Key("max", "As many as are free, up to this.", _whole(1), (8,), required=True),
)
"""Of `cores` as a mapping."""

RETRIES_KEYS = Table(
    Key("count", "Tries after the first.", _whole(0, 1_000), (2,), required=True),
    Key("delay", "Before the next try.", _ANY_TIME, ("10s",)),
    Key("backoff", "By what the delay grows with each further try.", _number(1, 1_000), (2,)),
    Key("max_delay", "Up to what it grows.", _ANY_TIME, ("10m",)),
    Key(
        "retry_on",
        "The ends that are tried again: exit codes, and these words; without it all.",
        _list({**_whole(1, 255), **_one_of(*_TRIED_AGAIN)}, minItems=1),
        ([75, "timed_out"],),
    ),
)
"""Of `retries` as a mapping."""

REQUEST_KEYS = Table(
    Key(
        "cores",
        "Logical CPUs: a fraction below one, else a whole number, or as many as are free.",
        {**_SHARE, "object": CORES_KEYS},
        (4, 0.5, {"min": 2, "max": 8}),
        aliases=("cpus", "cpu", "ncpus", "ncores", "processors", "procs", "cpus_per_task"),
    ),
    Key(
        "memory", "Counted, and the limit; without it neither.", _SIZE, ("2GiB", "500MB", "2G"), aliases=("mem", "ram")
    ),
    Key("gpus", "GPUs: a fraction below one, else a whole number.", _SHARE, (1, 0.5), aliases=("gpu", "ngpus", "gres")),
    Key("nodes", "Nodes of one task; with more than one, the other amounts are per node.", _whole(1), (2,)),
    Key("exclusive", "Nobody else uses its nodes.", _FLAG, (True,)),
    Key("spread", "Its tasks lie on the emptiest nodes that there are, not on the fullest.", _FLAG, (True,)),
    Key(
        "resources",
        "Custom ones, as nodes declare them.",
        _named({**_NAME, "not": {"enum": list(BUILT_IN)}}, _more_than(0)),
        ({"fpga": 1},),
        aliases=("custom",),
    ),
    Key(
        "labels",
        "What its nodes must carry.",
        _list({"string": _NAME}),
        (["fast"],),
        aliases=("features", "constraint", "tags"),
    ),
)
"""What a task asks for; of an entry of `variants`."""

JOB_KEYS = Table(
    Key(
        "name",
        "Unique in the campaign; a file of one job may leave it out.",
        {"string": _NAME},
        ("sim",),
        aliases=("id", "job_name"),
    ),
    Key(
        "command",
        "Text for `/bin/sh -c`, or a list that is the argument vector itself; with placeholders.",
        {**_TEXT, **_list(_WORD, prefixItems=(_PROGRAM,), minItems=1)},
        ("./sim --seed {index}", ["./sim", "{index}"]),
        required=True,
        aliases=("cmd", "run", "script", "exec", "executable", "shell"),
    ),
    Key(
        "array",
        "Many tasks: a count, a range of indices, a list of values, or rows.",
        {
            **_whole(1, MAX_TASKS),
            **_text(rf"\s*{_INDICES}(%0*[1-9][0-9]*)?\s*"),
            **_list(_WORD, minItems=1, maxItems=MAX_TASKS),
            "object": ARRAY_KEYS,
        },
        (1000, "0-98:2", ["a", "b", "c"], {"csv": "runs.csv"}),
        aliases=("tasks", "count"),
    ),
    Key(
        "after",
        "The jobs that must have succeeded (or as `when` says) before this one starts.",
        {**_TEXT, **_list({**_TEXT, "object": AFTER_KEYS}), "object": AFTER_KEYS},
        ("prepare", {"job": "prepare", "when": "finished"}),
        aliases=("depends", "depends_on", "dependencies", "deps", "needs", "requires", "parents"),
    ),
    *REQUEST_KEYS.values(),
    Key("same_node", "Each task runs on the node of the one that it comes after.", _FLAG, (True,)),
    Key(
        "variants",
        "Alternatives, best first: each completes what the job asks for.",
        _list({"object": REQUEST_KEYS}, minItems=1),
        ([{"gpus": 1}, {"cores": 16}],),
        aliases=("alternatives",),
    ),
    Key(
        "time",
        "Limit of one attempt: then it is ended.",
        _SOME_TIME,
        (90, "30s", "10m", "2:00:00"),
        aliases=("timeout", "walltime", "wall_time", "time_limit", "timelimit"),
    ),
    Key(
        "estimate",
        "What an attempt probably takes: for order and backfill, never a limit.",
        _SOME_TIME,
        ("5m",),
        aliases=("duration", "runtime", "expected_time"),
    ),
    Key("grace", "Between TERM and KILL.", _ANY_TIME, ("30s",), aliases=("kill_wait", "grace_period")),
    Key(
        "signal",
        "Sent so long before the time limit or the end of the allocation; without `@`, 60 seconds.",
        {**_text(_SIGNAL), "integer": {"minimum": 1, "maximum": 64, "not": {"enum": [9, 19]}}},
        ("USR1@90s",),
    ),
    Key(
        "retries",
        "Tries after the first.",
        {**_whole(0, 1_000), "object": RETRIES_KEYS},
        (2, {"count": 2, "delay": "10s"}),
        aliases=("attempts", "retry", "max_retries"),
    ),
    Key("memory_growth", "By what its memory grows after an attempt ran out of it.", _more_than(1, 1_000), (1.5,)),
    Key("on_lost", "What follows an end that nobody witnessed.", _one_of(*OnLost), ("fail",)),
    Key("on_silence", "What follows when nothing is heard of its node.", _one_of(*OnSilence), ("rerun",)),
    Key("priority", "Higher starts first.", _whole(-_MANY), (10,), aliases=("nice",)),
    Key("max_parallel", "Tasks of this job at once.", _whole(1), (100,), aliases=("concurrency", "max_running")),
    Key(
        "max_fails",
        "When so many tasks of the array have failed, the rest is cancelled.",
        _whole(1),
        (10,),
        aliases=("max_failures",),
    ),
    Key(
        "uses",
        "What each task takes of the named limits.",
        _named(_NAME, _whole(1)),
        ({"licence": 1},),
        aliases=("licenses", "licences"),
    ),
    Key(
        "start_after",
        "A point in time, or a delay after the submission.",
        {**_number(0, _DECADE), **_text(f"({_TIME}|{_DATE})")},
        ("2026-01-01T00:00", "1h"),
        aliases=("begin", "not_before", "eta"),
    ),
    Key("hold", "It waits for a release.", _FLAG, (True,), aliases=("held",)),
    Key(
        "env",
        "Variables added to the environment.",
        _named({"pattern": r"^[^=\x00]+$", "maxLength": LONGEST}, _WORD),
        ({"OMP_PROC_BIND": "true"},),
        aliases=("environment", "variables"),
    ),
    Key(
        "cwd",
        "Folder that it runs in, made if missing; relative to the job file's folder, which is the default.",
        _TEXT,
        ("runs/{index}",),
        aliases=("workdir", "working_directory", "directory", "chdir", "dir"),
    ),
    Key(
        "stdin",
        "File that it reads; without it there is nothing to read.",
        _TEXT,
        ("in/{index}.txt",),
        aliases=("input",),
    ),
    Key(
        "stdout",
        "File for its output; without it the store keeps it.",
        _TEXT,
        ("out/{index}.log",),
        aliases=("output",),
    ),
    Key("stderr", "Likewise; the word `stdout` sends it to the same place.", _TEXT, ("stdout",), aliases=("error",)),
    Key("output_limit", "Of stdout and stderr each; more is cut.", _SIZE, ("100MB",), aliases=("max_output",)),
    Key(
        "modules",
        "Environment modules to load before.",
        _list(_text(r"[^\s\x00-][^\s\x00]*")),
        (["gcc/12"],),
        aliases=("module",),
    ),
    Key("venv", "Python environment to activate before.", _TEXT, ("~/env",), aliases=("virtualenv",)),
    Key(
        "setup",
        "Lines that run before, in the same shell.",
        {**_TEXT, **_list(_ANY_TEXT)},
        ("source env.sh", ["ulimit -s unlimited"]),
        aliases=("prologue", "pre", "before"),
    ),
    Key(
        "launcher",
        "How the command becomes processes: once on the first node, or as ranks of an MPI program on all of them.",
        _one_of(*Launcher),
        ("openmpi",),
        aliases=("model", "mpi", "mpirun", "mpiexec"),
    ),
    Key(
        "ranks",
        "Processes of an MPI program, on all nodes together.",
        _whole(1),
        (2,),
        aliases=("ntasks", "nprocs", "np", "processes", "mpi_ranks"),
    ),
    Key(
        "threads",
        "Cores of each of them, and what OpenMP and its kin are told.",
        _whole(1),
        (2,),
        aliases=("threads_per_rank", "omp_num_threads", "nthreads"),
    ),
    Key("account", "Whom the usage is charged to."),
    Key("container", "The image that it runs in."),
    Key("defer_*", "When a deferred task comes back."),
    Key("force", "Start whatever the queue says."),
    Key("inputs", "Files that it reads."),
    Key("keep", "Where large results stay."),
    Key("key", "What a second submission is recognised by."),
    Key("notify", "Whom to tell."),
    Key("outputs", "Files that it writes."),
    Key("schedule", "When to submit it again."),
)
"""Of a job."""

_OWN = dict.fromkeys(
    ("name", "command", "array", "after", "max_fails"), "belongs to one job: write it there, it cannot be a default"
)

DEFAULT_KEYS = Table(*(key for name, key in JOB_KEYS.items() if name not in _OWN), elsewhere=_OWN)
"""Of `defaults`: all of a job's but those that no two jobs share."""

FILE_KEYS = Table(
    Key(
        "name",
        "The campaign's name; without it the file's path names the campaign.",
        _text(r"[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*", 100),
        ("campaign",),
    ),
    Key(
        "jobs",
        "What is to run.",
        _list({"object": JOB_KEYS}, minItems=1),
        ([{"name": "hello", "command": "echo hello"}],),
        required=True,
    ),
    Key(
        "defaults",
        "Keys of every job that does not say otherwise.",
        {"object": DEFAULT_KEYS},
        ({"cores": 1, "time": "10m"},),
    ),
    Key("limits", "How much there is of what jobs use by name.", _named(_NAME, _whole(1)), ({"licence": 4},)),
)
"""At the top of a job file."""
