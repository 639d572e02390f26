"""THE table of the job file: every key, what it takes, what it means; and the errors that follow from it.

What belongs here: the keys as data, and the two checks that need nothing else (is the key known, is the value
of a kind that it takes). What must not: what the values of one key mean (:mod:`pilotfish.formats.values`).
The JSON schema and the reference derive from the same table.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

__all__ = [
    "AFTER_KEYS",
    "ARRAY_KEYS",
    "CORES_KEYS",
    "FILE_KEYS",
    "JOB_KEYS",
    "RETRIES_KEYS",
    "EntryError",
    "Key",
    "KeyPath",
    "Table",
    "kind_of",
    "read_mapping",
    "shown",
    "similar",
]

KeyPath = tuple[str | int, ...]
"""From the top of the file to a value: ``("jobs", 2, "cores")`` is shown as ``jobs[2].cores``."""


class Key(msgspec.Struct, frozen=True):
    """One key of a mapping in the job file."""

    name: str
    """As written; a last ``*`` stands for any ending."""
    meaning: str
    """One line for the reference."""
    kinds: tuple[str, ...] = ()
    """What it takes, as JSON Schema names it; nothing: the specification has it, this release does not."""
    example: str = ""
    required: bool = False
    aliases: tuple[str, ...] = ()
    """What other systems call it: never accepted, but a reason to suggest this key."""


class Table(dict[str, Key]):
    """The keys of one kind of mapping, by name."""

    def __init__(self, *keys: Key) -> None:
        """Keep the order, which is the one of the reference."""
        super().__init__((key.name, key) for key in keys)
        self.required = tuple(key for key in keys if key.required)


class EntryError(ValueError):
    """A value cannot be read: the message says why and what to write instead.

    `path` leads from the value that was being read to the culprit inside it. `later` is true where
    the specification allows it and this release does not.
    """

    def __init__(self, message: str, *path: str | int, later: bool = False) -> None:
        """Take the message without the place: readers do not know where their value stands."""
        super().__init__(message)
        self.path: KeyPath = path
        self.later = later

    @classmethod
    def under(cls, step: str | int, error: ValueError) -> "EntryError":
        """The same error, seen from the list or mapping that holds the value at `step`."""
        if isinstance(error, cls):
            return cls(str(error), step, *error.path, later=error.later)
        return cls(str(error), step)


FILE_KEYS = Table(
    Key("name", "The campaign's name; without it the file's path names the campaign.", ("string",), "campaign"),
    Key("jobs", "What is to run.", ("array",), "[{name: hello, command: echo hello}]", required=True),
    Key("defaults", "Keys of every job that does not say otherwise."),
    Key("limits", "Named limits of the whole queue."),
)
"""At the top of a job file."""

JOB_KEYS = Table(
    Key(
        "name",
        "Unique in the file; a file of one job may leave it out.",
        ("string",),
        "sim",
        aliases=("id", "job_name"),
    ),
    Key(
        "command",
        "Text for `/bin/sh -c`, or a list that is the argument vector itself; with placeholders.",
        ("string", "array"),
        "./sim --seed {index}",
        required=True,
        aliases=("cmd", "run", "script", "exec", "executable", "shell"),
    ),
    Key(
        "array",
        "Many tasks: a count, a range of indices, or a list of values.",
        ("integer", "string", "array", "object"),
        "1000, 0-98:2 or [a, b, c]",
        aliases=("tasks", "count"),
    ),
    Key(
        "after",
        "The jobs that must have succeeded (or as `when` says) before this one starts.",
        ("string", "array", "object"),
        "prepare or {job: prepare, when: finished}",
        aliases=("depends", "depends_on", "dependencies", "deps", "needs", "requires", "parents"),
    ),
    Key(
        "cores",
        "Logical CPUs: a fraction below one, else a whole number.",
        ("number", "object"),
        "4 or 0.5",
        aliases=("cpus", "cpu", "ncpus", "ncores", "processors", "procs", "cpus_per_task"),
    ),
    Key(
        "memory",
        "Counted, and the limit; without it neither.",
        ("integer", "string"),
        "2GiB, 500MB or 2G",
        aliases=("mem", "ram"),
    ),
    Key(
        "time",
        "Limit of one attempt: then it is ended.",
        ("number", "string"),
        "90 (seconds), 30s, 10m or 2:00:00",
        aliases=("timeout", "walltime", "wall_time", "time_limit", "timelimit"),
    ),
    Key("retries", "Tries after the first.", ("integer", "object"), "2", aliases=("attempts", "retry", "max_retries")),
    Key("priority", "Higher starts first.", ("integer",), "10", aliases=("nice",)),
    Key("max_parallel", "Tasks of this job at once.", ("integer",), "100", aliases=("concurrency", "max_running")),
    Key(
        "env",
        "Variables added to the environment.",
        ("object",),
        '{OMP_PROC_BIND: "true"}',
        aliases=("environment", "variables"),
    ),
    Key(
        "cwd",
        "Folder that it runs in, made if missing; relative to the job file's folder, which is the default.",
        ("string",),
        "runs/{index}",
        aliases=("workdir", "working_directory", "directory", "chdir", "dir"),
    ),
    Key(
        "stdout",
        "File for its output; without it the store keeps it.",
        ("string",),
        "out/{index}.log",
        aliases=("output",),
    ),
    Key("stderr", "Likewise; the word `stdout` sends it to the same place.", ("string",), "stdout", aliases=("error",)),
    Key("account", "Whom the usage is charged to."),
    Key("container", "The image that it runs in."),
    Key("defer_*", "When a deferred task comes back."),
    Key("estimate", "What it probably takes."),
    Key("exclusive", "Whole nodes."),
    Key("force", "Start whatever the queue says."),
    Key("gpus", "GPUs, also fractions."),
    Key("grace", "Between TERM and KILL."),
    Key("hold", "Wait for a release."),
    Key("inputs", "Files that it reads."),
    Key("keep", "Where large results stay."),
    Key("key", "What a second submission is recognised by."),
    Key("labels", "Nodes that carry these."),
    Key("launcher", "How the processes of a parallel program are started."),
    Key("max_fails", "Failures of an array after which the rest is cancelled."),
    Key("memory_growth", "How much more memory to ask for after running out of it."),
    Key("modules", "Environment modules to load before."),
    Key("nodes", "Nodes of one task."),
    Key("notify", "Whom to tell."),
    Key("on_lost", "What follows an end that nobody witnessed."),
    Key("on_silence", "What follows when its node falls silent."),
    Key("output_limit", "Of stdout and stderr each."),
    Key("outputs", "Files that it writes."),
    Key("ranks", "MPI processes."),
    Key("resources", "Custom resources, as nodes declare them."),
    Key("schedule", "When to submit it again."),
    Key("setup", "Lines run before, in the same shell."),
    Key("signal", "Sent some time before the end."),
    Key("spread", "How tasks are laid over nodes."),
    Key("start_after", "A point in time, or a delay."),
    Key("stdin", "File that it reads."),
    Key("threads", "Threads of one rank."),
    Key("uses", "What it takes of named limits."),
    Key("variants", "Alternative requests, best first."),
    Key("venv", "Python environment to activate before."),
)
"""Of a job."""

AFTER_KEYS = Table(
    Key("job", "The job that must come before.", ("string",), "prepare", required=True, aliases=("name", "on")),
    Key("when", "What must be true of it: succeeded, failed or finished.", ("string",), "finished", aliases=("if",)),
    Key("each", "Task i after task i of it, for arrays of one length.", ("boolean",), "true"),
)
"""Of an entry of `after` that is a mapping."""

ARRAY_KEYS = Table(
    Key("csv", "One task per row of a file."),
    Key("json", "One task per entry of a file."),
    Key("lines", "One task per line of a file."),
    Key("product", "One task per combination."),
    Key("zip", "One task per place of several lists."),
)
"""Of an `array` that is a mapping."""

CORES_KEYS = Table(Key("max", "As many as fit, up to this."), Key("min", "At least so many."))
"""Of `cores` as a mapping."""

RETRIES_KEYS = Table(
    Key("backoff", "By what the delay grows."),
    Key("count", "Tries after the first."),
    Key("delay", "Before the next try."),
    Key("max_delay", "Up to what it grows."),
    Key("retry_on", "The ends that are tried again."),
)
"""Of `retries` as a mapping."""

_KINDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def read_mapping(value: object, table: Table, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """What each key of a mapping says, read by its own reader.

    Raises EntryError for anything but a mapping, for an unknown, missing or unsupported key, for a value of
    a kind that the key does not take, and with whatever a reader finds.
    """
    if not isinstance(value, dict):
        msg = f"expected a mapping with the keys {_listed(table)}; got {shown(value)}"
        raise EntryError(msg)
    for name in value:
        key = table.get(name)
        if key is None or not key.kinds:
            raise _refusal(name, table)
    for key in table.required:
        if key.name not in value:
            msg = f"the key {key.name} is missing: write, for example, {key.name}: {key.example}"
            raise EntryError(msg)
    read = {}
    for name, entry in value.items():
        try:
            _require_kind(entry, table[name])
            read[name] = readers[name](entry)
        except ValueError as error:
            raise EntryError.under(name, error) from error
    return read


def _refusal(name: str, table: Table) -> EntryError:
    """Why a key is not taken."""
    if name in table or ("defer_*" in table and name.startswith("defer_") and name.isidentifier()):
        return EntryError(f"`{name}` is not yet supported; see docs/limits.md", name, later=True)
    if name == "<<":
        return EntryError("YAML 1.2 has no merge key `<<`: write the keys out", name)
    supported = [key for key in table.values() if key.kinds]
    meant = next((key.name for key in supported if name.lower() in key.aliases), None) or similar(name, table)
    hint = f"did you mean {meant}?" if meant else f"known here are {_listed(table)}"
    return EntryError(f"unknown key; {hint}", name)


def _listed(table: Table) -> str:
    return ", ".join(key.name for key in table.values() if key.kinds)


def _require_kind(value: object, key: Key) -> None:
    kind = kind_of(value)
    if kind in key.kinds or (kind == "integer" and "number" in key.kinds):
        return
    if kind == "null":
        msg = f"no value: write, for example, {key.example}, or leave the key out"
        raise EntryError(msg)
    words = " or ".join(_WORDS[each] for each in key.kinds)
    hint = ""
    if kind == "object" and "string" in key.kinds:
        hint = "; text that begins with { must stand in quotes"
    elif "string" in key.kinds and kind in {"boolean", "integer", "number"}:
        hint = "; to make it text, put it in quotes"
    elif kind == "string" and isinstance(value, str) and _looks_like_number(value):
        hint = "; write it without quotes"
    msg = f"expected {words}, such as {key.example}; got {shown(value)}{hint}"
    raise EntryError(msg)


def _looks_like_number(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def kind_of(value: object) -> str:
    """What JSON Schema calls the kind of a value; a Python type's name for what only TOML has."""
    kind = _KINDS.get(type(value))
    if kind is None:  # a subclass, such as a number that remembers its text
        kind = next((_KINDS[base] for base in type(value).__mro__ if base in _KINDS), type(value).__name__)
    return kind


def similar(word: str, known: Mapping[str, object]) -> str | None:
    """The known word that was probably meant."""
    from difflib import get_close_matches

    found = get_close_matches(word.lower().replace("-", "_"), known, n=1) or get_close_matches(word, known, n=1)
    return found[0] if found else None


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """A value in a message: as a job file would have it, and cut short however large it is."""
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else _SHORT.repr(value)
