"""Measuring in interleaved pairs: us, the peer, us, the peer, …, so that a busy moment of the machine hits both.

What belongs here: timing whole commands, medians, one way to print a figure beside its bar. What must not: what
is measured.
"""

import argparse
import compileall
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import pilotfish

__all__ = ["PILOTFISH", "Figure", "Run", "finish", "medians", "options", "workplace"]

PILOTFISH = str(Path(sys.executable).with_name("pilotfish"))
"""The command of the environment that runs the benchmark."""

_DISK = "/var/tmp"
"""``/tmp`` may be memory, and a durable store there is no figure."""


class Run(NamedTuple):
    """A whole command."""

    command: tuple[str, ...]
    files: Mapping[str, str] = {}
    """What lies in the folder, by name."""
    stdin: str = ""

    def seconds(self) -> float:
        """How long it takes, from its start to its end. Exits, with what it said, if it fails."""
        with workplace() as folder:
            return self.seconds_in(folder)

    def seconds_in(self, folder: Path) -> float:
        """Likewise, in a folder that stays."""
        for name, text in self.files.items():
            (folder / name).write_text(text)
        begin = time.perf_counter()
        done = subprocess.run(self.command, cwd=folder, input=self.stdin.encode(), capture_output=True, check=False)
        elapsed = time.perf_counter() - begin
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            sys.exit(f"{' '.join(self.command)} ended with {done.returncode}:\n{said[-2000:]}")
        return elapsed


class Figure(NamedTuple):
    """One line of the table of figures."""

    name: str
    ours: float
    peer: str
    theirs: float
    """Of the peer, or of the limit where there is no peer."""
    unit: str
    ratio: float
    bar: float
    at_most: bool = False
    """True where the ratio must not be above the bar, False where it must not be below."""

    @property
    def reached(self) -> bool:
        """Whether the ratio is on the right side of the bar."""
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    def __str__(self) -> str:
        """The figure for a person, on one line."""
        return (
            f"{self.name}: {self.ours:,.4g} {self.unit}, {self.peer} {self.theirs:,.4g} {self.unit}, "
            f"{self.ratio:.3g}x ({'≤' if self.at_most else '≥'} {self.bar:g}) {'reached' if self.reached else 'MISSED'}"
        )


def medians(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float]:
    """The medians of both, measured in turns; each pair is told on stderr as it comes."""
    measured = []
    for number in range(1, rounds + 1):
        pair = (ours(), theirs())
        print(f"  {number}/{rounds}: {pair[0]:.4g} {pair[1]:.4g}", file=sys.stderr)
        measured.append(pair)
    return statistics.median(pair[0] for pair in measured), statistics.median(pair[1] for pair in measured)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A fresh folder on a disk; ``PILOTFISH_BENCH`` names another parent."""
    with tempfile.TemporaryDirectory(prefix="pilotfish-bench-", dir=os.environ.get("PILOTFISH_BENCH", _DISK)) as folder:
        yield Path(folder)


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved pairs (default: 5)")
    return parser


def finish(figures: Iterable[Figure]) -> NoReturn:
    """Print each figure as it comes; exit with 1 if a bar was missed.

    Bytecode is made first, as an installer does: a source tree without it, where ``PYTHONDONTWRITEBYTECODE`` is set, is
    compiled anew at every start.
    """
    compileall.compile_dir(Path(pilotfish.__file__).parent, quiet=1)
    missed = False
    for figure in figures:
        print(figure, flush=True)
        missed = missed or not figure.reached
    sys.exit(missed)
