"""The reference tells all that there is, and nothing else: what the code declares is what the pages list."""

import re
from argparse import SUPPRESS, _SubParsersAction
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

import pilotfish
from pilotfish import errors
from pilotfish.cli.arguments import Parser
from pilotfish.cli.main import COMMANDS, LATER
from pilotfish.client.futures import BrokenWorkerError
from pilotfish.client.resources import ResourceError
from pilotfish.client.stock import InsufficientError, MissingKindError
from pilotfish.formats import keys
from pilotfish.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(r"^## ", text.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Tables by the words in backticks of their first column: the other columns."""
    found = {}
    for line in text.splitlines():
        first, *rest = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|"):
            found.update(dict.fromkeys(re.findall(r"`([^`]+)`", first), rest))
    return found


def test_every_setting_is_listed_with_its_default() -> None:
    expected = {f"PILOTFISH_{field.name.upper()}": f"{field.default:g}" for field in msgspec.structs.fields(Settings)}
    assert {name: cells[0] for name, cells in rows(page("reference/settings.md")).items()} == expected


@pytest.mark.parametrize(
    ("table", "title"), [(keys.FILE_KEYS, "At the top"), (keys.JOB_KEYS, "Of a job"), (keys.RETRIES_KEYS, "Retries")]
)
def test_every_key_of_the_job_file_is_listed(table: dict[str, keys.Key], title: str) -> None:
    listed = rows(section(page("reference/job-file.md"), title))
    assert set(listed) == {name for name, key in table.items() if key.takes}


@pytest.mark.parametrize("table", [keys.FILE_KEYS, keys.JOB_KEYS, keys.ARRAY_KEYS, keys.CORES_KEYS, keys.RETRIES_KEYS])
def test_every_key_that_is_to_come_is_a_limit(table: dict[str, keys.Key]) -> None:
    limits = section(page("limits.md"), "Keys of the job file")
    assert {name for name, key in table.items() if not key.takes and f"`{name}`" not in limits} == set()


def test_every_command_is_described_or_a_limit() -> None:
    described = set(re.findall(r"^## `pilotfish (\w+)", page("reference/commands.md"), flags=re.MULTILINE))
    assert described == set(COMMANDS)
    assert set(re.findall(r"`([a-z]+)`", section(page("limits.md"), "Commands").splitlines()[1])) == set(LATER)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_listed(command: str) -> None:
    parser = Parser(prog=command, description="")
    import_module(COMMANDS[command][0]).configure(parser)
    text = page("reference/commands.md")
    described = "".join(re.findall(rf"^## `pilotfish {command}.*?(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    actions = list(parser._actions)  # noqa: SLF001 - argparse has no other door
    for group in [action for action in actions if isinstance(action, _SubParsersAction)]:
        actions += [action for one in group.choices.values() for action in one._actions]  # noqa: SLF001 - likewise
    asks = any("--server" in action.option_strings for action in actions)
    listed = rows(described + section(text, "Looking") * asks)
    written = {word.split()[0] for word in listed}
    to_come = {name for action in actions if action.help == SUPPRESS for name in action.option_strings}
    expected = {name for action in actions for name in action.option_strings} - {"-h", "--help"} - to_come
    assert expected == {word for word in written if word.startswith("-")}
    assert to_come == {name for name in to_come if f"`{name}`" in section(page("limits.md"), "Commands")}


def test_every_exit_code_of_an_error_is_listed() -> None:
    listed = page("reference/exit-codes.md")
    for name in errors.__all__:
        assert f"| {getattr(errors, name).exit_code} |" in listed, name


def test_every_name_of_the_python_api_is_described() -> None:
    described = re.findall(r"^### `(\w+)`$", page("reference/python.md"), flags=re.MULTILINE)
    assert sorted(described) == sorted(pilotfish.__all__)


def test_every_error_is_told_to_python_programs() -> None:
    listed = set(rows(section(page("reference/python.md"), "Errors")))
    elsewhere = {ResourceError, MissingKindError, InsufficientError, BrokenWorkerError}
    assert listed == {*errors.__all__, *(error.__name__ for error in elsewhere)} - {"PilotfishError"}
