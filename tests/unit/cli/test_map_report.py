import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.cli.map_report import Ending, Turns, tagged
from pilotfish.model.states import TaskState


def let_through(turns: Turns, *positions: int) -> list[int]:
    return [end.position for position in positions for end in turns.take(Ending(position, TaskState.succeeded))]


def test_ends_pass_as_they_come() -> None:
    turns = Turns(keep_order=False)
    assert let_through(turns, 2, 0, 1) == [2, 0, 1]
    assert list(turns.rest()) == []


def test_in_order_each_waits_for_those_before_it() -> None:
    turns = Turns(keep_order=True)
    assert let_through(turns, 2) == []
    assert let_through(turns, 0) == [0]
    assert let_through(turns, 1) == [1, 2]


@given(st.permutations(range(12)))
def test_order_is_kept_however_tasks_end(positions: list[int]) -> None:
    assert let_through(Turns(keep_order=True), *positions) == sorted(positions)


def test_those_behind_a_task_that_never_ended_are_not_lost() -> None:
    turns = Turns(keep_order=True)
    let_through(turns, 3, 0, 2)
    assert [end.position for end in turns.rest()] == [2, 3]


def test_a_task_that_ran_again_is_not_awaited() -> None:
    turns = Turns(keep_order=True)
    assert let_through(turns, 0, 1, 0) == [0, 1, 0]


def test_what_an_earlier_run_did_is_not_awaited() -> None:
    turns = Turns(keep_order=True, ended=(0, 2, 3))
    assert let_through(turns, 4, 1, 5) == [1, 4, 5]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\nb\n"], b"t\ta\nt\tb\n"),
        ([b"a", b"b\nc", b"\n"], b"t\tab\nt\tc\n"),
        ([b"a\n", b"b"], b"t\ta\nt\tb"),
        ([b"\n\n"], b"t\t\nt\t\n"),
        ([], b""),
    ],
)
def test_each_line_is_tagged_once(pieces: list[bytes], expected: bytes) -> None:
    assert b"".join(tagged(pieces, b"t\t")) == expected


@given(st.lists(st.binary(min_size=1)))
def test_tags_do_not_depend_on_how_a_text_is_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert b"".join(tagged(pieces, b"t\t")) == b"".join(
        b"t\t" + line for line in re.findall(rb"[^\n]*\n|[^\n]+", whole)
    )
