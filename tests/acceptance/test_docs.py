"""The documentation is true: its files are written, its commands run in order, and what it shows appears.

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


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page_is_true(page: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PILOTFISH_RUNTIME": os.environ["PILOTFISH_RUNTIME"],
    }
    for block in BLOCK.finditer(page.read_text()):
        if block["title"]:
            (tmp_path / "work" / block["title"]).write_text(block["text"])
        for command, shown in commands(block["text"]) if block["kind"] == "console" else ():
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path / "work",
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            assert missing(shown, done.stdout) is None, f"{page.name}: $ {command}\n{done.stdout}"


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
