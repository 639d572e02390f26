import sys
from argparse import ArgumentParser, Namespace

import pytest

from pilotfish import __version__
from pilotfish.cli.main import COMMANDS, LATER, main
from pilotfish.errors import BusyError, JobFileError, StoreError


class Probe:
    """A command whose behaviour each test chooses."""

    def __init__(self) -> None:
        self.outcome: int | BaseException = 0
        self.seen: list[Namespace] = []

    def configure(self, parser: ArgumentParser) -> None:
        parser.add_argument("words", nargs="*")
        parser.add_argument("--number", type=int)

    def run(self, arguments: Namespace) -> int:
        self.seen.append(arguments)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    probe = Probe()
    monkeypatch.setitem(sys.modules, "probe", probe)
    monkeypatch.setitem(COMMANDS, "probe", ("probe", "try things out"))
    return probe


def test_the_exit_code_of_a_command_is_that_of_the_process(probe: Probe) -> None:
    probe.outcome = 7
    assert main(["probe"]) == 7


def test_a_command_gets_its_arguments(probe: Probe) -> None:
    assert main(["probe", "--number", "3", "a", "b"]) == 0
    assert (probe.seen[0].words, probe.seen[0].number) == (["a", "b"], 3)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (JobFileError("is no number", file="c.yaml", line=3, key="cores"), 2, "c.yaml:3: cores: is no number"),
        (BusyError("process 7 on host x owns it"), 75, "process 7 on host x owns it"),
        (StoreError("two\nlines"), 1, "two lines"),
        (StoreError("\x1b[31mred\x07 \x9b1m \udce4 é"), 1, "\\x1b[31mred\\x07 \\x9b1m \\udce4 é"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (ZeroDivisionError("oops"), 70, "internal error, please report it: ZeroDivisionError: oops"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    probe: Probe, capsys: pytest.CaptureFixture[str], error: Exception, code: int, line: str
) -> None:
    probe.outcome = error
    assert main(["probe"]) == code
    assert capsys.readouterr().err == f"pilotfish: error: {line}\n"


def test_a_traceback_is_for_those_who_ask_for_it(
    probe: Probe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTFISH_DEBUG", "1")
    probe.outcome = ZeroDivisionError("oops")
    assert main(["probe"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_told_by_its_code_alone(probe: Probe, capsys: pytest.CaptureFixture[str]) -> None:
    probe.outcome = KeyboardInterrupt()
    assert main(["probe"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["probe", "--numbre", "3"], "unrecognized arguments: --numbre; see `pilotfish probe --help`"),
        (["probe", "--num", "3"], "unrecognized arguments: --num; see `pilotfish probe --help`"),
        (
            ["probe", "--number", "3", "--number=3"],
            "argument --number: given twice, and it takes one value; see `pilotfish probe --help`",
        ),
        (["probe", "--number", "x"], "argument --number: invalid int value: 'x'; see `pilotfish probe --help`"),
        (["probe", "--", "x"], "`pilotfish probe` takes no command after --; see `pilotfish probe --help`"),
        (["prob"], "there is no command `prob`; did you mean `probe`?"),
        (["xyzzy"], "there is no command `xyzzy`; see `pilotfish --help`"),
        (["--store", "x", "probe"], "the command comes first, then its options: `pilotfish COMMAND --store`"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    probe: Probe, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert main(words) == 2
    assert probe.seen == []
    assert capsys.readouterr().err == f"pilotfish: error: {line}\n"


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_is_refused(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "x", "--foo"]) == 2
    assert capsys.readouterr().err == f"pilotfish: error: `{name}` is not yet supported; see docs/limits.md\n"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["serve", "--http", "8080"], "--http"),
        (["serve", "--tcp=8080"], "--tcp"),
    ],
)
def test_an_option_that_comes_later_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], option: str
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"pilotfish: error: {option} is not yet supported; see docs/limits.md\n"


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert main([flag]) == 0
    assert capsys.readouterr() == (f"pilotfish {__version__}\n", "")


def test_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name:<11}{summary}\n" in said for name, (_, summary) in COMMANDS.items())
    assert max(map(len, said.splitlines())) <= 80


def test_without_a_command_help_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: pilotfish COMMAND")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"completion", "schema"}))
def test_every_command_tells_its_options(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: pilotfish {name}")
    assert "--store DIR" in said or name in ("agent", "alloc")
