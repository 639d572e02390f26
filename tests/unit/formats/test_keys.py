"""The table of keys agrees with what reads them, and its examples are what they say."""

from typing import Any

import pytest

from pilotfish.formats import keys
from pilotfish.formats.entries import kind_of, read_mapping, require, shown, shown_path
from pilotfish.formats.keys import Key, Table, displayed
from pilotfish.formats.values import readers_in
from pilotfish.formats.words import read_name
from pilotfish.formats.yaml12 import parse_yaml
from pilotfish.model.jobs import JobSpec
from pilotfish.model.resources import Request

TABLES = [getattr(keys, name) for name in keys.__all__ if name.endswith("_KEYS")]
READERS = readers_in("/work")
EXAMPLES = [
    pytest.param(key, example, id=f"{key.name}: {displayed(example)}")
    for key in keys.JOB_KEYS.values()
    for example in key.examples
    if not (isinstance(example, dict) and "csv" in example)
]


def test_each_supported_key_of_a_job_has_a_reader() -> None:
    assert set(READERS) == {key.name for key in keys.JOB_KEYS.values() if key.takes}


def test_each_supported_key_of_a_job_becomes_part_of_its_spec() -> None:
    fields = {*JobSpec.__struct_fields__, *Request.__struct_fields__} - {"directory", "function", "request"}
    assert set(READERS) == fields - {"start_delay", "most_cores"}


@pytest.mark.parametrize("table", TABLES)
def test_each_key_is_told_in_a_line(table: Table) -> None:
    for key in table.values():
        assert key.meaning.endswith(".")
        assert "\n" not in key.meaning
        assert bool(key.examples) == bool(key.takes)


@pytest.mark.parametrize("table", TABLES)
def test_no_alias_is_a_key_or_stands_for_two(table: Table) -> None:
    aliases = [alias for key in table.values() for alias in key.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(table)


@pytest.mark.parametrize(("key", "example"), EXAMPLES)
def test_each_example_is_right(key: Key, example: Any) -> None:
    assert parse_yaml(f"key: {displayed(example)}", "file")[0] == {"key": example}
    READERS[key.name](require(example, key.takes, key.examples))


def test_shown_values_are_short() -> None:
    nested: object = []
    for _ in range(100):
        nested = [nested, {"a": nested}]
    assert len(shown(nested)) < 200
    assert len(shown("x" * 10_000)) < 100
    assert [shown(value) for value in (None, True, 1.5, "a\n")] == ["nothing", "true", "1.5", r"'a\n'"]


def test_a_way_is_shown_as_one_writes_it() -> None:
    assert shown_path(("jobs", 2, "env", "A B", "a\nb")) == r"jobs[2].env.A B['a\nb']"


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert require(2.0, {"integer": {"minimum": 1, "maximum": 3}}, (2,)) == 2
    assert kind_of(require(2.0, {"integer": {}}, (2,))) == "integer"


def test_of_a_choice_of_keys_one_is_taken() -> None:
    table = Table(Key("a", "A.", {"string": {}}, ("x",)), Key("b", "B.", {"string": {}}, ("x",)), one_of=True)
    readers = {"a": read_name, "b": read_name}
    assert read_mapping({"a": "x"}, table, readers) == {"a": "x"}
    for wrong in ({}, {"a": "x", "b": "y"}):
        with pytest.raises(ValueError, match="expected one of the keys a, b; "):
            read_mapping(wrong, table, readers)
