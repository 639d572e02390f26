"""Valid job files, changed at random: whatever comes out is read, or refused in one line.

``python -m tests.fuzz.mutate --seconds 3600`` goes on for an hour, one process after another, and prints what it found;
with ``--seed`` and ``--case`` it shows one case again. Each process is bounded: no more memory than `MOST_MEMORY`, no
case longer than `PATIENCE`; Python prints where it was when it broke a bound.
"""

import argparse
import faulthandler
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pilotfish.errors import UserError
from pilotfish.formats.fingerprint import matches
from pilotfish.formats.native import load
from pilotfish.formats.placeholders import Template, task_values
from pilotfish.manager.start import plan_of_new
from pilotfish.model.jobs import JobSpec
from tests.fuzz.valid import VALID

MOST_MEMORY = 500_000_000
"""Bytes of one process."""
PATIENCE = 10
"""Seconds for one case."""
CASES = 2_000
"""Of one process."""
LONGEST = 300_000
"""Bytes that one mutation adds."""

FRAGMENTS = [
    b"\n", b" ", b"  ", b"\t", b"\r\n", b"\0", b":", b": ", b"-", b"- ", b",", b"{", b"}", b"[", b"]", b"{}", b"[]",
    b"'", b'"', b"#", b"|", b">", b"%", b"@", b"`", b"&a ", b"*a", b"!", b"!!python/name:os.system ", b"<<: ",
    b"---\n", b"...\n", b"? ", b"\\", b"\\ud800", b"\xff", b"\xc3", "é".encode(), b"\xef\xbb\xbf", b"\x1b[31m",
    b"\x85", b"~", b"null", b"true", b"yes", b"0", b"-1", b"1e400", b".nan", b"-.inf", b"NaN", b"1_000",
    b"0x7fffffffffffffff", b"0o17", b"9" * 30, b"9" * 5_000, b"0-999999999999", b"1000000000000", b"9" * 400 + b"h",
    b"0.00001", b"1.5", b"{x}", b"{{x}}", b"{index}", b"{:raw}", b"${x}", b"..", b"/", b"~root/", b"~nobody-at-all/",
    b"/dev/zero", b"/proc/self/mem", b"\xe2\x80\xae", b"\xe2\x80\xa8",
]  # fmt: skip
"""What is put in somewhere: syntax, and values at the edges."""


class Case(NamedTuple):
    """A folder of files, the first of which is the job file."""

    files: dict[str, bytes]

    @property
    def job_file(self) -> str:
        return next(iter(self.files))


def case_of(seed: int, number: int) -> Case:
    """The case of this number, always the same."""
    chance = random.Random(f"{seed}:{number}")
    files = {name: text.encode() for name, text in chance.choice(VALID).items()}
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        name = chance.choice(list(files))
        files[name] = chance.choice(MUTATIONS)(files[name], chance)
    return Case(files)


def _span(data: bytes, chance: random.Random, longest: int = 40) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.randint(0, longest))


def remove(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def insert(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance, 6)
    return data[:start] + chance.choice(FRAGMENTS) + data[end:]


def replace_value(data: bytes, chance: random.Random) -> bytes:
    """Put a fragment in the place of what stands behind a colon."""
    places = [place for place, byte in enumerate(data) if byte in b":=,"]
    if not places:
        return insert(data, chance)
    start = chance.choice(places) + 1
    ends = [place for mark in b",\n}]" if (place := data.find(bytes([mark]), start)) >= 0]
    return data[:start] + b" " + chance.choice(FRAGMENTS) + data[min(ends, default=len(data)) :]


def repeat(data: bytes, chance: random.Random) -> bytes:
    """Write a part many times: long lines, deep nesting, many keys."""
    start, end = _span(data, chance, chance.choice((2, 30)))
    times = chance.choice((1, 2, 70, LONGEST // max(1, end - start)))
    return data[:end] + data[start:end] * times + data[end:]


def move_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        line = lines.pop(chance.randrange(len(lines)))
        lines.insert(chance.randint(0, len(lines)), line * chance.choice((1, 1, 2)))
    return b"".join(lines)


def indent(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        place = chance.randrange(len(lines))
        lines[place] = (
            lines[place].lstrip(b" ") if chance.random() < 0.3 else b" " * chance.randint(1, 4) + lines[place]
        )
    return b"".join(lines)


def flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def splice(data: bytes, chance: random.Random) -> bytes:
    """The beginning of this file, and the end of another one."""
    other = chance.choice(list(chance.choice(VALID).values())).encode()
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    flip, indent, insert, insert, move_line, remove, repeat, replace_value, replace_value, splice,
]  # fmt: skip


def write(case: Case, folder: Path) -> Path:
    """Put the files there, and nothing else; the job file."""
    for old in folder.iterdir():
        old.unlink()
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    return folder / case.job_file


def read(path: Path) -> bool:
    """Whether a job file is right; then all that is done with one before it runs is done."""
    try:
        specs = load(path).jobs
    except UserError as error:
        str(error).encode()
        return False
    plan = plan_of_new(specs)
    assert plan.total == sum(spec.count for spec in specs)
    for spec in specs:
        assert matches(spec, spec)[0].hi == spec.count
        for position in {0, spec.count - 1}:
            render(spec, position)
    return True


def render(spec: JobSpec, position: int) -> None:
    """Put a task's values into all that may hold placeholders."""
    values = task_values(1, spec, position, 1)
    command = (spec.command,) if isinstance(spec.command, str) else spec.command
    for text in (*command, *spec.setup, spec.cwd, spec.stdin, spec.stdout, spec.stderr, spec.venv):
        if text is not None:
            Template.compile(text, quoted=True).render(values).encode()


def work(seed: int, cases: range) -> int:
    """Be a process: try the cases. Ends with a traceback behind the number of the case that breaks a bound."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    good = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in cases:
            sys.stderr.write(f"\r--seed {seed} --case {number}: ")
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            good += read(write(case_of(seed, number), Path(folder)))
    faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sys.stdout.write(f"seed {seed}: {len(cases)} cases, {good} of them right, at most {peak} MiB\n")
    return 0


def tried(seed: int, cases: int = CASES) -> tuple[str, str]:
    """Let a process try the cases: its summary, and what it found, which should be nothing."""
    command = [sys.executable, "-m", "tests.fuzz.mutate", "--seed", str(seed), "--cases", str(cases)]
    done = subprocess.run(command, capture_output=True, check=False)
    last_words = done.stderr.rpartition(b"\r")[2].decode(errors="replace").splitlines()
    found = "\n".join([*last_words[:1], "…", *last_words[-5:], f"ended with {done.returncode}"])
    return done.stdout.decode(), found if done.returncode else ""


def hunt(seconds: float, seed: int) -> int:
    """Let one process after another try until the time is over; 1 where one has found something."""
    deadline = time.monotonic() + seconds
    caught = 0
    while time.monotonic() < deadline:
        summary, found = tried(seed)
        sys.stdout.write(summary + (f"FOUND {found}\n" if found else ""))
        sys.stdout.flush()
        caught += bool(found)
        seed += 1
    return int(caught > 0)


def show(seed: int, number: int) -> int:
    """Print the files of one case, then try it."""
    for name, data in case_of(seed, number).files.items():
        sys.stdout.write(f"--- {name}, {len(data)} bytes\n{data[:5_000].decode(errors='backslashreplace')}\n")
    sys.stdout.flush()
    return work(seed, range(number, number + 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="start processes for so long")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="of the first process")
    parser.add_argument("--cases", type=int, default=CASES, help="of one process")
    parser.add_argument("--case", type=int, help="show this one only")
    arguments = parser.parse_args()
    if arguments.seconds is not None:
        return hunt(arguments.seconds, arguments.seed)
    if arguments.case is not None:
        return show(arguments.seed, arguments.case)
    return work(arguments.seed, range(arguments.cases))


if __name__ == "__main__":
    sys.exit(main())
