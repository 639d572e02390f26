"""The JSON Schema accepts what the reader accepts, but for what a schema has no words for."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.errors import UserError
from pilotfish.formats import keys
from pilotfish.formats.document import Format
from pilotfish.formats.keys import Table, Takes
from pilotfish.formats.native import load_text
from pilotfish.formats.schema import json_schema

BEYOND = (
    # between jobs
    "is also the name of", "cannot come after itself", "no job of this campaign is named", "each: true needs",
    "take one `after` out", "no limit is named", "and the limit is",
    # between keys and values
    "is less than min", "is less than delay", "is more than time", "before the end, and time", "this job has none",
    "needs `memory`", "keep one of them", "needs a launcher that", "needs launcher:", "is more than cores",
    "needs a rank", "is no multiple of threads", "needs whole cores", "or leave cores out",
    "is for tasks on one node", "needs the job whose nodes", "needs one task to follow", "all lists need one length",
    "unknown placeholder",
    # the worth of a text
    "is too little for any program",
    "must be more than 0", "is more than 1 EiB", "is more than ten years", "holds no index", "indices end at",
    "an array holds at most", "the values of an array hold", "a date that exists", "is finer than",
    "there is no such user",
    "how many tasks may run at once", "characters of arguments",
    # other files
    "no such file", "is a folder", "cannot be read",
    # what else is no plain line
    "is no name: one line",
)  # fmt: skip
"""Words of the refusals that `docs/reference/job-file.md` tells under *What the schema cannot say*."""


def ecma_pattern(_: object, pattern: str, instance: object, __: object) -> Iterator[jsonschema.ValidationError]:
    """``$`` is the end of the text, as the standard has it; Python's also stands before a last line feed."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


SCHEMA = json_schema()
EXTENDED: Any = jsonschema.validators.extend
VALIDATOR = EXTENDED(jsonschema.Draft202012Validator, {"pattern": ecma_pattern})(SCHEMA)


def refusal(document: object) -> str | None:
    """What the reader says of a document, None where it accepts it."""
    try:
        load_text(json.dumps(document), name="/work/jobs.json", format=Format.json)
    except UserError as error:
        return str(error)
    return None


def agree(document: object) -> None:
    said = refusal(document)
    wrong = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(document))
    if said is None:
        assert wrong is None, f"the reader accepts {document}, and the schema says {wrong}"
    elif wrong is None:
        assert any(words in said for words in BEYOND), f"the schema accepts {document}, and the reader says {said}"


ODD: st.SearchStrategy[Any] = st.sampled_from([
    0, 1, -1, 2, 0.5, 1.5, 2.0, 9, 19, 64, 65, 255, 256, 1_000, 1_001, 10**7, 10**9, 10**9 + 1, 10**12, 2**60,
    1e-5, 1e300,
    "", " ", "\n", "a", "a\n", "a b", "1", "yes", "true", "{index}", "{x}", "{{x}}", "\0", "é", "=", "A=B", "-", "-x",
    "~", "~/x",
    "0-9", "0-9:2", "0-9:0", "0-9%2", "9-0", "0-9%0", " 0-9 ", "5", "0-9:2%5\n", "0-99999999",
    "1h", "1h30m", "30m1h", "90", "1.5s", "10:30", "2:00:00", "1-02:00", "1:60:00", "1-00:00:00.5", " 5m ", "1e3",
    "+5", "0s",
    "2GiB", "2 g", "500MB", "0", "1.5", "1e9", "2PiB", "0B", "9999999T",
    "USR1", "SIGUSR1@90s", "KILL", "usr1@5", "10@5", "9", "019", "USR1@", "TERM@1h ", "64@0:00:05",
    "2026-01-01", "2026-01-01T00:00", "2026-02-30", "2026-01-01T00:00:00Z", "2026-01-01 00:00+01:00",
    "2026-01-01T00",
    "succeeded", "started", "rerun", "timed_out", "stdout", "x" * 101, "x" * 131_072,
    None, True, False, [], {}, ["a"], [1], [[]], {"x": [1]}, {"a": 1}, {"min": 1, "max": 2}, {"count": 1},
])  # fmt: skip
json_values = st.recursive(
    ODD | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def of_takes(takes: Takes, examples: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values that a key may take, and some that it nearly may."""
    choices = [st.sampled_from(examples)] * bool(examples) + [json_values]
    for kind, bounds in takes.items():
        if isinstance(bounds, Table):
            choices.append(of_table(bounds))
        elif kind == "array":
            choices.append(st.lists(of_takes(bounds["items"]), max_size=3))
        elif kind == "object":
            choices.append(st.dictionaries(WORDS, of_takes(bounds["additionalProperties"]), max_size=2))
        elif "enum" in bounds:
            choices.append(st.sampled_from(bounds["enum"]))
    return st.one_of(choices)


WORDS = st.sampled_from(["x", "y", "licence", "a b", "index", "1", "", "A=B", "a-b", "_", "x\n"])


def of_table(table: Table) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with some of the keys of a table, seldom with another."""
    known = {key.name: of_takes(key.takes, key.examples) for key in table.values() if key.takes}
    required = {key.name: known.pop(key.name) for key in table.required}
    few = (
        st.lists(st.sampled_from(sorted(known)), max_size=1 if table.one_of else 3, unique=True)
        if known
        else st.just([])
    )
    return few.flatmap(lambda names: st.fixed_dictionaries({**required, **{name: known[name] for name in names}}))


job = st.fixed_dictionaries({"command": st.just("run")}).flatmap(
    lambda least: of_table(keys.JOB_KEYS).map(lambda more: {**more, **least})
)
documents = st.fixed_dictionaries(
    {"jobs": st.lists(job | of_table(keys.JOB_KEYS), min_size=1, max_size=2)},
    optional={"name": of_takes(keys.FILE_KEYS["name"].takes), "limits": of_takes(keys.FILE_KEYS["limits"].takes),
              "defaults": of_table(keys.DEFAULT_KEYS)},
)  # fmt: skip


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@given(documents)
@settings(max_examples=100)
def test_what_it_accepts_is_what_the_reader_accepts(document: dict[str, Any]) -> None:
    agree(document)


@pytest.mark.parametrize("name", [key.name for key in keys.JOB_KEYS.values() if key.takes])
@given(data=st.data())
@settings(max_examples=20)
def test_of_each_key_they_accept_the_same_values(name: str, data: st.DataObject) -> None:
    key = keys.JOB_KEYS[name]
    job = {"command": "run", "name": "a", name: data.draw(of_takes(key.takes, key.examples))}
    agree({"jobs": [job]})
    if name in keys.DEFAULT_KEYS:
        agree({"defaults": {name: job[name]}, "jobs": [{"command": "run"}]})


FULL = {
    "name": "campaign",
    "limits": {"licence": 4},
    "defaults": {"cores": 1, "time": "2h", "env": {"A": 1}},
    "jobs": [
        {key.name: key.examples[-1] for key in keys.JOB_KEYS.values() if key.takes}
        | {"name": "a", "array": {"zip": {"x": [1, 2], "y": "0-1"}}, "after": [], "same_node": False},
        {"name": "b", "command": ["./sim", "{index}"], "after": ["a", {"job": "a", "when": "finished"}]},
    ],
}  # fmt: skip


def places(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, entry in inside:
        yield from places(entry, *path, step)


def test_a_file_with_every_key_is_accepted_by_both() -> None:
    assert refusal(FULL) is None
    VALIDATOR.validate(FULL)


@given(st.data())
@settings(max_examples=100)
def test_a_file_with_a_change_is_accepted_by_both_or_neither(data: st.DataObject) -> None:
    document: Any = copy.deepcopy(FULL)
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from([path for path in places(document) if path]))
        inner = document
        for step in path:
            inner = inner[step]
        match data.draw(st.sampled_from(["replace", "remove", "rename", "add"])):
            case "replace":
                inner[last] = data.draw(json_values)
            case "remove":
                del inner[last]
            case "rename" if isinstance(inner, dict):
                inner[data.draw(WORDS | st.sampled_from(["jobb", "container", "cors"]))] = inner.pop(last)
            case _ if isinstance(inner, list):
                inner.append(data.draw(json_values))
    agree(document)


@pytest.mark.parametrize("key", ["account", "container", "defer_time", "schedule"])
def test_what_is_to_come_is_in_neither(key: str) -> None:
    document = {"jobs": [{"command": "run", key: 1}]}
    assert "not yet supported" in str(refusal(document))
    assert not VALIDATOR.is_valid(document)


def test_two_jobs_need_names_in_both() -> None:
    agree({"jobs": [{"command": "a"}, {"command": "b"}]})
    assert VALIDATOR.is_valid({"jobs": [{"command": "a"}]})
    assert not VALIDATOR.is_valid({"jobs": [{"command": "a"}, {"command": "b"}]})
