"""The table of keys agrees with what reads them."""

import pytest

from pilotfish.formats import keys
from pilotfish.formats.values import READERS
from pilotfish.model.jobs import JobSpec

TABLES = [getattr(keys, name) for name in keys.__all__ if name.endswith("_KEYS")]


def test_each_supported_key_of_a_job_has_a_reader() -> None:
    assert set(READERS) == {key.name for key in keys.JOB_KEYS.values() if key.kinds}


def test_each_supported_key_of_a_job_becomes_part_of_its_spec() -> None:
    assert set(READERS) - {"cores", "memory"} == set(JobSpec.__struct_fields__) - {"directory", "request"}


@pytest.mark.parametrize("table", TABLES)
def test_each_key_is_told_in_a_line(table: keys.Table) -> None:
    for key in table.values():
        assert key.meaning.endswith(".")
        assert "\n" not in key.meaning
        assert bool(key.example) == bool(key.kinds)


@pytest.mark.parametrize("table", TABLES)
def test_no_alias_is_a_key_or_stands_for_two(table: keys.Table) -> None:
    aliases = [alias for key in table.values() for alias in key.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(table)


def test_shown_values_are_short() -> None:
    nested: object = []
    for _ in range(100):
        nested = [nested, {"a": nested}]
    assert len(keys.shown(nested)) < 200
    assert len(keys.shown("x" * 10_000)) < 100
    assert [keys.shown(value) for value in (None, True, 1.5, "a\n")] == ["nothing", "true", "1.5", r"'a\n'"]
