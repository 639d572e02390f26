"""What tasks are answered about the values that they share."""

from typing import Any

import pytest

from pilotfish.errors import UserError
from pilotfish.functions.line import LARGEST
from pilotfish.manager.talk import Talk
from pilotfish.model.changes import Put


class Table:
    """A talk, those who ask, and what is recorded."""

    def __init__(self, epoch: int = 1) -> None:
        self.recorded: list[Put] = []
        self.heard: dict[str, list[Any]] = {}
        self.talk = Talk(epoch, self.recorded.append)

    def says(self, who: str, name: str, **arguments: object) -> None:
        self.talk.hear(who, f"value-{name}", arguments, self.heard.setdefault(who, []).append)

    def asked(self, name: str, **arguments: object) -> Any:
        self.says("me", name, **arguments)
        return self.heard.pop("me")[0]


@pytest.fixture
def table() -> Table:
    return Table()


def test_what_was_written_is_read_and_recorded(table: Table) -> None:
    assert table.asked("read", key="a") == (0, None)
    assert table.asked("write", key="a", value=b"packed")
    version, value = table.asked("read", key="a")
    assert (version > 0, value) == (True, b"packed")
    assert table.recorded == [Put("a", b"packed", version)]


def test_versions_rise_over_keys_removals_and_managers(table: Table) -> None:
    for key, value in (("a", 1), ("b", 2), ("a", None), ("a", 3)):
        table.asked("write", key=key, value=value)
    later = Table(epoch=2)
    later.talk.restore([table.recorded[1], table.recorded[3]])
    assert later.asked("keys", prefix="") == ["a", "b"]
    later.asked("write", key="c", value=4)
    versions = [put.version for put in table.recorded + later.recorded]
    assert versions == sorted(set(versions))
    assert len(versions) == 5


def test_a_write_may_expect_a_version(table: Table) -> None:
    assert table.asked("write", key="a", value=1, expected=0)
    assert not table.asked("write", key="a", value=2, expected=0)
    version, value = table.asked("read", key="a")
    assert value == 1
    assert table.asked("write", key="a", value=None, expected=version)
    assert table.asked("read", key="a") == (0, None)


def test_removing_what_is_not_there_changes_nothing(table: Table) -> None:
    assert table.asked("write", key="a", value=None)
    assert table.recorded == []


def test_numbers_are_added_to(table: Table) -> None:
    assert [table.asked("add", key="a", by=by) for by in (1, 2, -5, 0.5)] == [1, 3, -2, -1.5]
    assert [put.value for put in table.recorded] == [1, 3, -2, -1.5]


def test_keys_come_in_their_order(table: Table) -> None:
    for key in ("b2", "a", "b1"):
        table.asked("write", key=key, value=1)
    assert table.asked("keys", prefix="b") == ["b1", "b2"]


def test_those_who_watch_hear_of_the_next_change_once(table: Table) -> None:
    table.says("one", "watch", key="a", version=0)
    table.says("two", "watch", key="a", version=0)
    assert table.heard == {"one": [], "two": []}
    table.asked("write", key="b", value=1)
    assert table.heard == {"one": [], "two": []}
    table.asked("write", key="a", value=2)
    table.asked("write", key="a", value=3)
    assert table.heard["one"] == table.heard["two"] == [(table.recorded[1].version, 2)]


def test_a_change_that_was_made_already_is_told_at_once(table: Table) -> None:
    table.asked("write", key="a", value=2)
    assert table.asked("watch", key="a", version=0) == (table.recorded[0].version, 2)


def test_removal_is_a_change(table: Table) -> None:
    table.asked("write", key="a", value=2)
    table.says("one", "watch", key="a", version=table.recorded[0].version)
    table.asked("write", key="a", value=None)
    assert table.heard["one"] == [(0, None)]


def test_who_has_gone_is_told_nothing(table: Table) -> None:
    table.says("one", "watch", key="a", version=0)
    table.says("two", "watch", key="a", version=0)
    table.talk.forget("one")
    table.talk.forget("nobody")
    table.asked("write", key="a", value=1)
    assert (table.heard["one"], len(table.heard["two"])) == ([], 1)


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("read", {}, "missing required field `key`"),
        ("read", {"key": "a", "more": 1}, "unknown field `more`"),
        ("write", {"key": "a", "value": "text"}, "Expected `int | float | bytes | null`"),
        ("write", {"key": "a", "value": bytes(LARGEST + 1)}, "has 1048577 bytes, at most 1048576"),
        ("write", {"key": "a", "value": 2**63}, "no number that can be kept"),
        ("write", {"key": "a", "value": float("nan")}, "no number that can be kept"),
        ("add", {"key": "full", "by": 1}, "no number that can be kept"),
        ("add", {"key": "text", "by": 1}, "is no number, so nothing can be added"),
    ],
)
def test_wrong_questions_are_refused_and_change_nothing(
    table: Table, name: str, arguments: dict[str, object], problem: str
) -> None:
    table.talk.restore([Put("full", 2**63 - 1, 1), Put("text", b"packed", 2)])
    with pytest.raises(UserError) as refused:
        table.asked(name, **arguments)
    assert problem in str(refused.value)
    assert table.recorded == []
