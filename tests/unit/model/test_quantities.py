"""Numbers are read as people write them, refused where two readers would differ, and printed so that they read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.model.quantities import (
    ONE,
    format_amount,
    format_bytes,
    format_seconds,
    parse_amount,
    parse_bytes,
    parse_memory,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("value", "amount"),
    [(4, 40_000), (0, 0), (0.5, 5_000), ("0.5", 5_000), ("2", 20_000), (0.0001, 1), (1 / 8, 1_250), (0.1 + 0.2, 3_000)],
)
def test_amounts_are_read(value: object, amount: int) -> None:
    assert parse_amount(value) == amount


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "expected a number such as 4 or 0.5, got True"),
        (None, "expected a number such as 4 or 0.5, got None"),
        ("many", "expected a number such as 4 or 0.5, got 'many'"),
        ([4], "expected a number such as 4 or 0.5"),
        (-1, "expected a number between 0 and 1000000000, got -1"),
        (float("nan"), "expected a number between"),
        ("inf", "expected a number between"),
        (10**400, "expected a number such as"),
        (1e10, "expected a number between"),
        (0.00001, "1e-05 is finer than 1/10000"),
        (0.33333, "0.33333 is finer than 1/10000"),
    ],
)
def test_wrong_amounts_are_refused_with_the_reason(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_amount(value)


@given(st.integers(0, 10**9 * ONE))
def test_an_amount_reads_back_as_printed(amount: int) -> None:
    assert parse_amount(format_amount(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (10_000, "1"), (25_000, "2.5"), (1, "0.0001"), (10_010, "1.001")]
)
def test_amounts_are_printed_short(amount: int, text: str) -> None:
    assert format_amount(amount) == text


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("2GiB", 2 * 2**30),
        ("2G", 2 * 2**30),
        ("500MB", 500 * 10**6),
        ("1.5 KiB", 1536),
        ("1kb", 1000),
        ("7TiB", 7 * 2**40),
        ("512", 512),
        (" 12 B ", 12),
        (2048, 2048),
        (0, 0),
    ],
)
def test_memory_is_read(value: object, size: int) -> None:
    assert parse_bytes(value) == size


@pytest.mark.parametrize("value", [True, 1.5, None, "", "GiB", "-1G", "2 gigs", "1e9", "2PiB", "two"])
def test_wrong_memory_is_refused_with_the_value(value: object) -> None:
    with pytest.raises(ValueError, match="expected memory such as 2GiB, 500MB or 2G, got") as caught:
        parse_bytes(value)
    assert repr(value) in str(caught.value)


def test_more_memory_than_there_can_be_is_refused() -> None:
    assert parse_bytes(2**60) == 2**60
    with pytest.raises(ValueError, match="'2000000T' is more than 1 EiB"):
        parse_bytes("2000000T")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**30, "1 GiB"), (5 * 2**40, "5 TiB")],
)
def test_memory_is_printed_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 2**60))
def test_printed_memory_is_about_right(size: int) -> None:
    assert abs(parse_bytes(format_bytes(size)) - size) <= size * 0.05


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("1d2h3m4s", 93_784.0),
        ("2:00:00", 7200.0),
        ("1-02:00:00", 93_600.0),
        ("1-02:30", 95_400.0),
        ("0:00:01.5", 1.5),
        (" 5m ", 300.0),
        (0, 0.0),
    ],
)
def test_times_are_read(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize(
    "value", [True, None, "", "soon", "-5", -5, "5 m", "30m1h", "1:60:00", "1:00:60", "nan", float("inf"), "1h30"]
)
def test_wrong_times_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a time such as 90"):
        parse_seconds(value)


def test_a_time_that_two_readers_read_differently_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="'10:30' is ambiguous: write hours:minutes:seconds, as in 0:10:30"):
        parse_seconds("10:30")


def test_a_time_of_more_than_ten_years_is_refused() -> None:
    assert parse_seconds("3650d") == 3650 * 86_400
    with pytest.raises(ValueError, match="'3651d' is more than ten years"):
        parse_seconds("3651d")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "0.25s"),
        (0.5, "0.5s"),
        (9.999, "10s"),
        (12.4, "12s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (7620, "2h07m"),
        (273_600, "3d04h"),
    ],
)
def test_times_are_printed_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.floats(0, 10 * 365 * 86_400))
def test_a_printed_time_is_about_right(seconds: float) -> None:
    assert abs(parse_seconds(format_seconds(seconds)) - seconds) <= max(0.01, 0.05 * seconds)


@pytest.mark.parametrize(("value", "size"), [("2GiB", 2**31), ("64KiB", 2**16), (65_536, 2**16), ("0B", 0)])
def test_memory_of_a_task_is_read_like_bytes(value: object, size: int) -> None:
    assert parse_memory(value) == size


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "5 B is too little for any program: did you mean 5GiB?"),
        ("1.5", "2 B is too little for any program: did you mean 1.5GiB?"),
        (" 512 ", "512 B is too little for any program: did you mean 512MiB?"),
        ("8K", "8 KiB is too little for any program: did you mean 8GiB?"),
    ],
)
def test_memory_without_its_unit_is_refused_with_a_guess(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_memory(value)
