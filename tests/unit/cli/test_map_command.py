import re
from collections.abc import Callable
from shlex import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.cli.map_command import Commands, Row
from pilotfish.errors import NotYetSupportedError


def lines(command: str, *rows: Row) -> list[str]:
    commands = Commands(command, rows)
    return [commands.line(position) for position in range(len(rows))]


@pytest.mark.parametrize(
    ("path", "stem", "base", "folder", "both"),
    [
        ("a/b.c.d", "a/b.c", "b.c.d", "a", "b.c"),
        ("x.txt", "x", "x.txt", ".", "x"),
        (".bashrc", "", ".bashrc", ".", ""),
        ("a.b/c", "a.b/c", "c", "a.b", "c"),
        ("a/.b", "a/", ".b", "a", ""),
        ("x.", "x", "x.", ".", "x"),
        ("/x", "/x", "x", "/", "x"),
        ("d/", "d/", "", ".", ""),
        ("a/b/", "a/b/", "", "a", ""),
        ("a//b", "a//b", "b", "a", "b"),
        ("/", "/", "", "/", ""),
        ("//x", "//x", "x", "/", "x"),
        ("..", ".", "..", ".", "."),
        ("", "", "", ".", ""),
        ("-n", "-n", "-n", ".", "-n"),
        ("a b/c d.e", "a b/c d", "c d.e", "a b", "c d"),
    ],
)
def test_parts_of_a_path_are_those_of_gnu_parallel(path: str, stem: str, base: str, folder: str, both: str) -> None:
    expected = " ".join(map(quote, (path, stem, base, folder, both)))
    assert lines("{} {.} {/} {//} {/.}", (path,)) == [expected]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo", ["echo a b", "echo 'c d' e"]),
        ("echo {2}-{1}", ["echo b-a", "echo e-'c d'"]),
        ("echo {-1} {-2}", ["echo b a", "echo e 'c d'"]),
        ("echo x{3}y{-3}z", ["echo xyz", "echo xyz"]),
        ("echo {} {}", ["echo a b a b", "echo 'c d' e 'c d' e"]),
        ("echo {#}", ["echo 1", "echo 2"]),
        ("echo {2.}", ["echo b", "echo e"]),
    ],
)
def test_several_arguments_are_named_by_number(command: str, expected: list[str]) -> None:
    assert lines(command, ("a", "b"), ("c d", "e")) == expected


def test_an_argument_that_a_task_lacks_is_no_word() -> None:
    assert lines("echo {1} {2}", ("a", "b"), ("c",)) == ["echo a b", "echo c "]
    assert lines("echo {}", ("a", "b"), ("c",)) == ["echo a b", "echo c"]


def test_an_empty_argument_is_a_word() -> None:
    assert lines("echo", ("",)) == ["echo ''"]


@pytest.mark.parametrize(
    "text", ["it's", "$HOME `id`", "*", "a\nb", "日本 語", "-rf", "a;b", '"', "{}", "{value}", "%s"]
)
def test_arguments_are_inserted_as_one_word(text: str) -> None:
    assert lines("echo {} x", (text,)) == [f"echo {quote(text)} x"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo {{}}", "echo {a}"),
        ("echo ${}", "echo $a"),
        ("echo ${{}}", "echo ${a}"),
        ("echo {index} {{index}} ${x} {value} {name:raw} {}", "echo {index} {{index}} ${x} {value} {name:raw} a"),
        ("awk '{print $1}' {}", "awk '{print $1}' a"),
        ("echo {0} {..} {##} {+/} {x", "echo {0} {..} {##} {+/} {x a"),
        ("echo 100% {}", "echo 100% a"),
    ],
)
def test_all_else_stays_as_it_is(command: str, expected: str) -> None:
    assert lines(command, ("a",)) == [expected]


FORMS: dict[str, Callable[[Row], str]] = {
    "{}": lambda row: " ".join(map(quote, row)),
    "{1}": lambda row: quote(row[0]),
    "{2}": lambda row: quote(row[1]),
    "{-1}": lambda row: quote(row[-1]),
}
PIECES = ["{", "}", "$", "{{", "}}", "a", ":raw", " ", "{index}", "value", "%s", "\\", *FORMS]


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.tuples(st.text(), st.text()))
def test_a_template_says_what_replacing_would(pieces: list[str], row: Row) -> None:
    command = "".join(pieces) + "{1}"
    pattern = "|".join(map(re.escape, FORMS))
    assert lines(command, row) == [re.sub(pattern, lambda match: FORMS[match[0]](row), command)]


def test_without_a_command_arguments_are_commands() -> None:
    assert lines("", ("echo 'a  b' | tr a {}",), ("exit 3",)) == ["echo 'a  b' | tr a {}", "exit 3"]


def test_the_array_begins_with_the_arguments() -> None:
    assert Commands("wc {/}", [("a/b",), ("c",)]).array.columns[0] == ("a/b", "c")
    array = Commands("wc {2/}", [("a", "x/y"), ("b",)]).array
    assert array.names[:2] == ("value1", "value2")
    assert array.columns[:2] == (("a", "b"), ("x/y", ""))


def test_what_is_used_twice_is_held_once() -> None:
    assert len(Commands("echo {} {.} {.} {1.}", [("a.b",)]).array.names) == 3
    assert len(Commands("echo {}", [("a.b",)]).array.names) == 1


def test_a_slot_is_numbered_by_the_shell() -> None:
    assert lines("echo {%}", ("a",)) == ["echo $((PILOTFISH_CORE_IDS + 1))"]


def test_a_perl_expression_is_refused() -> None:
    with pytest.raises(NotYetSupportedError, match=r"\{= \$_\+\+ =\}: Perl"):
        Commands("echo {= $_++ =}", [("a",)])
