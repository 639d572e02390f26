"""Numbers with a kind: amounts of cores, bytes, seconds; parsed from what people write, printed back.

An *amount* is an integer count of 1/10 000 units, so that fractions add up exactly
(HyperQueue's choice). Memory is an integer number of bytes, a duration a float number of seconds.
"""

import math
import re
from typing import NewType

__all__ = [
    "ONE",
    "Amount",
    "format_amount",
    "format_bytes",
    "format_seconds",
    "parse_amount",
    "parse_bytes",
    "parse_memory",
    "parse_seconds",
]

Amount = NewType("Amount", int)
"""A count of 1/10 000 units: 10 000 is one core."""

ONE = Amount(10_000)
"""One whole unit."""

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?B)?", re.IGNORECASE | re.ASCII)
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?", re.ASCII)
_UNITS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_PLAIN = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_MAX_AMOUNT = 10**9
_MAX_BYTES = 2**60
_LEAST_MEMORY = 2**16
_MAX_SECONDS = 10 * 365 * 86_400.0


def parse_amount(value: object) -> Amount:
    """An amount from ``4``, ``0.5`` or ``"0.5"``. Raises ValueError with the reason."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        msg = f"expected a number such as 4 or 0.5, got {value!r}"
        raise ValueError(msg)
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        msg = f"expected a number such as 4 or 0.5, got {value!r}"
        raise ValueError(msg) from error
    if not math.isfinite(number) or number < 0 or number > _MAX_AMOUNT:
        msg = f"expected a number between 0 and {_MAX_AMOUNT}, got {value!r}"
        raise ValueError(msg)
    scaled = number * ONE
    if abs(scaled - round(scaled)) > 1e-6 * max(1.0, scaled):
        msg = f"{value!r} is finer than 1/10000"
        raise ValueError(msg)
    return Amount(round(scaled))


def format_amount(amount: int) -> str:
    """The shortest decimal that parses back: 25000 is ``2.5``."""
    whole, rest = divmod(amount, ONE)
    return f"{whole}.{rest:04d}".rstrip("0") if rest else str(whole)


def parse_bytes(value: object) -> int:
    """Bytes from ``2GiB``, ``500MB``, ``2G`` (K M G T alone are KiB … TiB) or a plain number of bytes."""
    problem = f"expected memory such as 2GiB, 500MB or 2G, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(problem)
    match = _BYTES.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(problem)
    number, prefix, suffix = match.groups()
    table = _DECIMAL if suffix and suffix.upper() == "B" else _BINARY
    size = float(number) * table[prefix.upper()]
    if size > _MAX_BYTES:
        msg = f"{value!r} is more than 1 EiB"
        raise ValueError(msg)
    return round(size)


def parse_memory(value: object) -> int:
    """Memory of a task, as `parse_bytes` reads it; but 1 byte to 64 KiB lack a unit, surely, and are refused."""
    size = parse_bytes(value)
    if 0 < size < _LEAST_MEMORY:
        number = re.split(r"[^\d.]", str(value).strip(), maxsplit=1)[0]
        meant = f"{number}{'GiB' if float(number) < 128 else 'MiB'}"
        msg = f"{format_bytes(size)} is too little for any program: did you mean {meant}?"
        raise ValueError(msg)
    return size


def format_bytes(size: int) -> str:
    """Bytes for a person: the largest binary unit, at most one decimal."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        scale = _BINARY[unit[0]]
        if size >= scale:
            return f"{size / scale:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} B"


def parse_seconds(value: object) -> float:
    """Seconds from ``90``, ``30s``, ``10m``, ``1h30m``, ``2:00:00`` or ``1-02:00:00``."""
    problem = f"expected a time such as 90 (seconds), 30s, 10m, 1h30m or 2:00:00, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(problem)
    seconds = float(value) if isinstance(value, int | float) else _seconds_of_text(value.strip(), problem)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(problem)
    if seconds > _MAX_SECONDS:
        msg = f"{value!r} is more than ten years"
        raise ValueError(msg)
    return seconds


def _seconds_of_text(text: str, problem: str) -> float:
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = clock.groups()
        if int(minutes) >= 60 or float(seconds or 0) >= 60:
            raise ValueError(problem)
        if seconds is None and days is None:
            # Slurm reads 10:30 as minutes, others as hours: refuse what two readers read differently.
            msg = f"{text!r} is ambiguous: write hours:minutes:seconds, as in 0:{text}"
            raise ValueError(msg)
        return float(days or 0) * 86_400 + float(hours) * 3_600 + int(minutes) * 60 + float(seconds or 0)
    units = _UNITS.fullmatch(text)
    if text and units:
        return sum(float(part or 0) * scale for part, scale in zip(units.groups(), (86_400, 3_600, 60, 1), strict=True))
    if _PLAIN.fullmatch(text) is None:
        raise ValueError(problem)
    return float(text)


def format_seconds(seconds: float) -> str:
    """A duration for a person: ``0.25s``, ``12s``, ``3m05s``, ``2h07m``, ``3d04h``."""
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"
