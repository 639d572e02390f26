"""YAML is read by the core schema of YAML 1.2."""

import math

import pytest

from pilotfish.formats.entries import kind_of
from pilotfish.formats.yaml12 import parse_yaml


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ('""', ""),
        ("'true'", "true"),
        ('"12"', "12"),
        ("|\n  12\n", "12\n"),
        ("0", 0),
        ("-12", -12),
        ("+12", 12),
        ("017", 17),
        ("0o17", 15),
        ("0x1f", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("190:20:30", "190:20:30"),
        ("2:00:00", "2:00:00"),
        ("2026-01-01", "2026-01-01"),
        ("1-5", "1-5"),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e-3", -0.0015),
        ("1e3", 1000.0),
        (".", "."),
        ("e5", "e5"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("=", "="),
        ("9" * 101, "9" * 101),
    ],
)
def test_plain_scalar(written: str, value: object) -> None:
    found, _ = parse_yaml(f"key: {written}", "file")
    assert found == {"key": value}
    assert kind_of(found["key"]) == kind_of(value)


def test_not_a_number_is_one() -> None:
    found, _ = parse_yaml(".nan", "file")
    assert math.isnan(found)


@pytest.mark.parametrize("written", ["007", "+5", "-0", "0o17", "0xFF", "1.50", "1e3", "1."])
def test_a_number_prints_as_it_was_written(written: str) -> None:
    found, _ = parse_yaml(written, "file")
    assert not isinstance(found, str)
    assert (str(found), f"{found!r}") == (written, written)


def test_keys_are_their_text() -> None:
    found, _ = parse_yaml("{1: a, true: b, on: c, ~: d}", "file")
    assert found == {"1": "a", "true": "b", "on": "c", "~": "d"}


def test_lines_of_keys_and_entries_are_known() -> None:
    _, line = parse_yaml("a: 1\nb:\n  - x\n  - c: [y,\n      z]\n", "file")
    assert [line(path) for path in ((), ("a",), ("b",), ("b", 0), ("b", 1), ("b", 1, "c"))] == [1, 1, 2, 3, 4, 4]
    assert line(("b", 1, "c", 1)) == 5
    assert [line(path) for path in (("c",), ("a", "x"), ("b", 0, 1), ("b", 5))] == [1, 1, 3, 2]


def test_nothing_is_none() -> None:
    assert parse_yaml("# only this\n", "file")[0] is None
    assert parse_yaml("---\n", "file")[0] is None
