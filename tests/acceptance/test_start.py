"""What a person waits for: modules that take long to import stay off the way to the first answer."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "asyncio",
    "click",
    "concurrent.futures",
    "email",
    "http",
    "importlib.metadata",
    "logging",
    "psutil",
}
"""Modules that no command needs before it answers; each costs more than all that one needs of ours."""

ENGINE = {"argparse", "msgspec", "sqlite3", "yaml"}
"""Modules that ``--version`` does not need."""

SCRIPT = """
import sys
from pilotfish.cli.main import main
code = main()
print(*sys.modules, sep="\\n")
sys.exit(code)
"""


def loaded(folder: Path, *words: str) -> set[str]:
    """The modules in memory when the command has ended."""
    command = [sys.executable, "-c", SCRIPT, *words]
    return set(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines())


def test_the_version_loads_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "--version") & (HEAVY | ENGINE) == set()


@pytest.mark.parametrize("words", [("run", "--", "true"), ("run", "--help")])
def test_a_command_loads_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded(tmp_path, *words) & HEAVY == set()
