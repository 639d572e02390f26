"""`completion`: what TAB offers, in shells that run for real."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.box import PILOTFISH, Box

ASK_BASH = """
source <(pilotfish completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p pilotfish | sed -E 's/.*-F ([^ ]+) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(box: Box, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    env = box.env | {"PATH": f"{Path(PILOTFISH).parent}:{box.env['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", ASK_BASH, "bash", "pilotfish", *words],
        cwd=box.folder, env=env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_options_are_offered(box: Box) -> None:
    assert offered(box, "ca") == ["cancel"]
    assert {"run", "tasks", "completion"} <= set(offered(box, ""))
    assert offered(box, "run", "--fa") == ["--fail-fast"]
    assert offered(box, "serve", "--ht") == [], "what is yet to come is not offered"
    assert offered(box, "tasks", "--state", "s") == ["stopping", "succeeded", "skipped"]
    assert offered(box, "tasks", "--state", "=", "fa") == ["failed"]
    assert offered(box, "completion", "") == ["bash", "zsh", "fish"]


def test_names_of_campaigns_and_jobs_are_offered(box: Box) -> None:
    for name in ("one", "two"):
        jobs = f"[{{name: {name}-job, command: 'true'}}, {{name: end, command: 'true'}}]"
        box.write(f"{name}.yaml", f"name: {name}\njobs: {jobs}\n")
        box.run("run", f"{name}.yaml")
    assert offered(box, "show", "") == ["two-job", "end"]
    assert offered(box, "cancel", "end", "t") == ["two-job"]
    assert offered(box, "show", "end", ":", "") == [], "nobody knows which index is meant"
    assert offered(box, "logs", "--campaign", "") == ["two", "one"]
    assert offered(box, "logs", "--campaign", "one", "o") == ["one-job"]


def test_where_a_file_is_wanted_or_nothing_is_there_nothing_is_offered(box: Box) -> None:
    for words in (["show", ""], ["tasks", "--store", ""], ["run", ""], ["run", "--", "ec"], ["no-such", ""]):
        assert offered(box, *words) == []


@pytest.mark.parametrize("shell", [name for name in ("bash", "zsh", "fish") if shutil.which(name)])
def test_each_shell_can_read_its_lines(box: Box, shell: str) -> None:
    script = box.write("lines", box.run("completion", shell).stdout)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=60)
