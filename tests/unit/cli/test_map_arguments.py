import io
import re
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from pilotfish.cli.map_arguments import Separation, Source, combine, parse_delimiter, read_rows, split_words
from pilotfish.errors import UserError


def rows(text: str, separation: Separation | None = None, *, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Of standard input."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    return read_rows((), (), separation or Separation())


def source(values: str, *, linked: bool = False) -> Source:
    return Source([(value,) for value in values], linked=linked)


def joined(sources: Sequence[Source]) -> list[str]:
    return ["".join(row) for row in combine(sources)]


def test_words_are_split_at_the_marks() -> None:
    words = ["wc", "-l", ":::", "a", ":::+", "b", "::::", "f", "-", "::::+"]
    assert split_words(words) == (["wc", "-l"], [(":::", ["a"]), (":::+", ["b"]), ("::::", ["f", "-"]), ("::::+", [])])


def test_a_word_that_is_not_text_is_refused() -> None:
    with pytest.raises(UserError, match="is not UTF-8"):
        split_words(["echo", ":::", "a\udcff"])


def test_the_last_source_changes_fastest() -> None:
    assert joined([source("ab"), source("xy"), source("12")]) == [
        "ax1",
        "ax2",
        "ay1",
        "ay2",
        "bx1",
        "bx2",
        "by1",
        "by2",
    ]


def test_a_linked_source_goes_along_with_the_one_before_it() -> None:
    assert joined([source("abc"), source("12", linked=True), source("XY")]) == ["a1X", "a1Y", "b2X", "b2Y"]


def test_a_source_that_is_linked_to_nothing_is_the_first() -> None:
    assert joined([source("ab", linked=True)]) == ["a", "b"]


def test_an_empty_source_beside_others_is_an_empty_argument() -> None:
    assert combine([source("ab"), source("")]) == [("a", ""), ("b", "")]
    assert combine([source("")]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\nb\n", ["a", "b"]),
        ("\n", [""]),
        ("a\n\nb", ["a", "", "b"]),
        (" a b \n", [" a b "]),
        ("a\r\n", ["a\r"]),
    ],
)
def test_each_line_is_an_argument(text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(text, monkeypatch=monkeypatch) == [(line,) for line in expected]


@pytest.mark.parametrize(
    ("delimiter", "text", "expected"),
    [(",", "a,b,c\n", ["a", "b", "c\n"]), ("XX", "aXXXb", ["a", "Xb"]), ("\0", "a\nb\0c\0", ["a\nb", "c"])],
)
def test_a_delimiter_takes_the_place_of_the_end_of_line(
    delimiter: str, text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows(text, Separation(delimiter), monkeypatch=monkeypatch)
    assert found == [(line,) for line in expected]


@pytest.mark.parametrize(
    ("text", "delimiter"), [(r"\n", "\n"), (r"\t", "\t"), (r"\0", "\0"), (r"\\n", "\\n"), (r"\x41b", "Ab"), ("é", "é")]
)
def test_a_delimiter_may_be_written_as_in_c(text: str, delimiter: str) -> None:
    assert parse_delimiter(text) == delimiter


def test_an_empty_delimiter_is_refused() -> None:
    with pytest.raises(ValueError, match="got nothing"):
        parse_delimiter("")


def test_columns_are_split_and_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    separation = Separation(columns=re.compile(","))
    assert rows("a , b\nc\n", separation, monkeypatch=monkeypatch) == [("a", "b"), ("c",)]
    assert read_rows((), [(":::", ["a,b"]), (":::", ["c"])], separation) == [("a", "b", "c")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"a\n\xff\n", "argument 2 is not UTF-8"), (b"a\nb\nc\0d", "argument 3 holds a NUL")],
)
def test_what_cannot_be_an_argument_is_refused_with_its_place(
    content: bytes, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    with pytest.raises(UserError, match=f"^standard input: {complaint}"):
        read_rows((), (), Separation())


def test_a_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        read_rows((), (), Separation())
