import io

import msgspec
import pytest

from pilotfish.cli.output import fields, note_unattended, paint, print_json, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_as_wide_as_they_need() -> None:
    rows = [("sim:10", "failed", "3s"), ("prepare", "succeeded", "12s")]
    assert table(("name", "state", "time"), rows, right=("time",)).splitlines() == [
        "name     state      time",
        "sim:10   failed       3s",
        "prepare  succeeded   12s",
    ]


def test_columns_without_content_are_left_out() -> None:
    assert table(("a", "b"), [("1", ""), ("2", "")]) == "a\n1\n2\n"


def test_fields_without_a_value_are_left_out() -> None:
    assert fields([("job", "sim"), ("memory", ""), ("command", "x")]) == "job      sim\ncommand  x\n"


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert paint("failed", "failed") == "\x1b[31mfailed\x1b[0m"
    assert paint("ready", "ready") == "ready"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("failed", "failed") == "failed"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert paint("failed", "failed") == "failed"


def test_a_list_is_json_with_one_element_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"a": 1}, {"a": 2}])
    said = capsys.readouterr().out
    assert said == '[\n{"a":1},\n{"a":2}\n]\n'
    assert msgspec.json.decode(said) == [{"a": 1}, {"a": 2}]


def test_an_empty_list_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([])
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("states", "live", "told"),
    [(["ready", "failed"], False, True), (["ready"], True, False), (["failed", "skipped"], False, False)],
)
def test_that_nothing_will_happen_is_told(
    capsys: pytest.CaptureFixture[str], *, states: list[str], live: bool, told: bool
) -> None:
    note_unattended(states, live=live)
    assert ("no manager is running" in capsys.readouterr().err) is told
