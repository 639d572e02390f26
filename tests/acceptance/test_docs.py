"""The documentation is true: its files are written, its commands run in order, and what it shows appears.

Blocks of Python that are no files are one program: they run after the commands, in order, in an interpreter of their
own. What one of them prints is shown in comments behind its ``print``, or in a block of text after it.

In what is shown, ``…`` stands for anything, alone on a line for any lines. Further lines in between do no harm.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("tutorial/*.md")),
    *sorted((ROOT / "docs").glob("how-to/*.md")),
]

BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)
BETWEEN = "~ the next block of Python ~"
"""A line of output."""
TIMEOUT = 60
"""Seconds for one command."""


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block with the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def missing(shown: list[str], said: str) -> str | None:
    """The first shown line that does not appear in its place."""
    rest = iter(said.splitlines())
    for line in shown:
        wanted = ".*".join(re.escape(part) for part in line.rstrip().split("…"))
        if line.strip() != "…" and not any(re.fullmatch(wanted, heard.rstrip()) for heard in rest):
            return line
    return None


def program(page: str) -> tuple[str, list[list[str]]]:
    """The page's Python, on the lines on which it stands there, and what each block of it is shown to print."""
    lines, shown = [""] * len(page.splitlines()), []
    for block in BLOCK.finditer(page):
        if block["kind"] == "python" and not block["title"]:
            first = page.count("\n", 0, block.start("text"))
            code = [*block["text"].splitlines(), f"print({BETWEEN!r}, flush=True)"]  # where the fence is
            lines[first : first + len(code)] = code
            shown.append(PRINTED.findall(block["text"]))
        elif block["kind"] == "text" and not block["title"] and shown:
            shown[-1] += block["text"].splitlines()
    return "\n".join(lines), shown


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "LC_ALL": "C.UTF-8",
        "PILOTFISH_RUNTIME": os.environ["PILOTFISH_RUNTIME"],
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page_is_true(page: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for block in BLOCK.finditer(page.read_text()):
        if block["title"]:
            (work / block["title"]).write_text(block["text"])
        for command, shown in commands(block["text"]) if block["kind"] == "console" else ():
            done = run(work, "bash", "-c", command)
            assert missing(shown, done.stdout) is None, f"{page.name}: $ {command}\n{done.stdout}"
    code, blocks = program(page.read_text())
    if blocks:
        (work / page.with_suffix(".py").name).write_text(code)
        done = run(work, sys.executable, page.with_suffix(".py").name)
        assert done.returncode == 0, done.stdout
        for said, shown in zip(done.stdout.split(f"{BETWEEN}\n"), [*blocks, []], strict=True):
            assert missing(shown, said) is None, f"{page.name}: {missing(shown, said)}\n{said}"


@pytest.mark.parametrize(
    ("shown", "said", "first"),
    [
        (["a", "c"], "a\nb\nc\n", None),
        (["a … c"], "a b c", None),
        (["…", "c"], "a\nc", None),
        (["c", "a"], "a\nc", "a"),
        (["a.c"], "abc", "a.c"),
        (["a"], "ab", "a"),
    ],
)
def test_what_is_shown_is_looked_for_in_order(shown: list[str], said: str, first: str | None) -> None:
    assert missing(shown, said) == first


def test_the_python_of_a_page_stands_where_it_stands_there() -> None:
    page = '```python\nprint(1)  # 1\n```\n\n```text\n2\n```\n```python title="a.py"\nb\n```\n```python\nc\n```\n'
    between = f"print({BETWEEN!r}, flush=True)"
    assert program(page) == (f"\nprint(1)  # 1\n{between}\n\n\n\n\n\n\n\n\nc\n{between}", [["1", "2"], []])
