"""Two runs of one user on one machine never use the same core, whoever of them dies."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotfish.agent.claims import Claims, claim_path, holders_text
from pilotfish.model.messages import Note, Started, Stop
from pilotfish.runtime import runtime_folder
from tests.integration.agent.agent_node import Node

pytestmark = pytest.mark.needs("cores")


@pytest.fixture
def two(tmp_path: Path, make_node: Callable[[Path], Node]) -> tuple[Node, Node]:
    """Two nodes' agents that share a machine's cores, none of them started."""
    nodes = make_node(tmp_path / "a"), make_node(tmp_path / "b")
    for node in nodes:
        node.options = {"cores": None}
        node.env["PILOTFISH_RUNTIME"] = str(tmp_path / "claims")
    return nodes


def all_cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


def test_the_second_takes_the_rest(two: tuple[Node, Node]) -> None:
    one, other = two
    one.options["at_most"] = 1
    assert one.up().inventory.cores == all_cores()[:1]
    assert other.up().inventory.cores == all_cores()[1:]


def test_the_second_waits_and_says_for_whom(two: tuple[Node, Node]) -> None:
    one, other = two
    one.up()
    other.listen()
    other.start_agent()
    other.wait(lambda: other.heard(Note))
    text = other.heard(Note)[0].text
    assert text.startswith(f"waiting for cores: {', '.join(map(str, all_cores()))} held by ")
    assert f"pid {one.agent.pid} ({one.campaign})" in text
    assert not other.hellos
    one.send(Stop())
    one.wait_ended()
    assert other.wait_hello(1).inventory.cores == all_cores()


def test_one_core_is_not_enough_for_who_needs_two(two: tuple[Node, Node]) -> None:
    one, other = two
    one.options["at_most"] = len(all_cores()) - 1
    one.up()
    other.options["at_least"] = 2
    other.listen()
    other.start_agent()
    other.wait(lambda: other.heard(Note))
    assert not other.hellos
    one.end_agent()
    assert len(other.wait_hello(1).inventory.cores) >= 2


def test_a_claim_lives_as_long_as_a_keeper(two: tuple[Node, Node]) -> None:
    one, other = two
    one.up()
    one.run(one.command("sleep 1000"))
    one.wait(lambda: one.heard(Started))
    one.kill_agent()
    other.listen()
    other.start_agent()
    other.wait(lambda: other.heard(Note))
    assert not other.hellos
    one.start_agent()
    assert one.wait_hello(2).inventory.cores == all_cores()
    os.kill(one.keeper(), signal.SIGKILL)
    one.wait(lambda: one.reports)
    one.kill_agent()
    assert other.wait_hello(1).inventory.cores == all_cores()


def test_a_new_agent_claims_what_else_it_needs(two: tuple[Node, Node]) -> None:
    one, other = two
    one.options["at_most"] = 1
    one.up()
    one.run(one.command("sleep 1000"))
    one.wait(lambda: one.heard(Started))
    one.kill_agent()
    one.options = {"cores": None, "at_least": 2}
    other.options["at_most"] = len(all_cores()) - 1
    assert other.up().inventory.cores == all_cores()[1:]
    one.start_agent()
    one.wait(lambda: one.heard(Note))
    assert f"pid {other.agent.pid}" in one.heard(Note)[0].text
    other.end_agent()
    assert one.wait_hello(2).inventory.cores == all_cores()


def test_declared_cores_that_do_not_exist_are_not_claimed(two: tuple[Node, Node]) -> None:
    one, other = two
    one.up()
    other.options["cores"] = len(all_cores()) + 1
    inventory = other.up().inventory
    assert (inventory.cores, inventory.pinned) == (tuple(range(len(all_cores()) + 1)), False)


def test_who_needs_no_core_does_not_wait(two: tuple[Node, Node]) -> None:
    one, other = two
    one.up()
    other.options["at_most"] = 0
    assert other.up().inventory.cores == ()


class TestClaims:
    def test_locks_belong_to_the_description(self, tmp_path: Path) -> None:
        one, other = Claims.open(tmp_path / "cores"), Claims.open(tmp_path / "cores")
        assert one.claim(range(4), 1, 3, "one") == (0, 1, 2)
        assert other.claim(range(4), 1, 4, "other") == (3,)
        assert other.holders(range(4)) == {"one": [0, 1, 2]}
        assert one.holders(range(4)) == {"other": [3]}
        copy = os.dup(one.descriptor)
        os.close(one.descriptor)
        assert other.claim(range(3), 1, 4, "other") == ()
        os.close(copy)
        assert other.claim(range(3), 1, 4, "other") == (0, 1, 2)
        os.close(other.descriptor)

    def test_too_few_are_none(self, tmp_path: Path) -> None:
        one, other = Claims.open(tmp_path / "cores"), Claims.open(tmp_path / "cores")
        one.claim([1], 1, 1, "one")
        assert other.claim(range(3), 3, 3, "other") == ()
        assert one.claim(range(3), 3, 3, "one") == (0, 1, 2)
        os.close(one.descriptor)
        os.close(other.descriptor)

    def test_a_very_long_name_is_cut(self, tmp_path: Path) -> None:
        one, other = Claims.open(tmp_path / "cores"), Claims.open(tmp_path / "cores")
        one.claim(range(2), 1, 2, "x" * 10_000)
        assert other.holders(range(2)) == {"x" * 512: [0, 1]}
        os.close(one.descriptor)
        os.close(other.descriptor)


def test_holders_are_told_to_people() -> None:
    assert holders_text({"pid 7 (/a)": [0, 1], "pid 8 (/b)": [3]}) == "0, 1 held by pid 7 (/a); 3 held by pid 8 (/b)"


def test_the_file_does_not_depend_on_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PILOTFISH_RUNTIME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/somewhere")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    path = claim_path()
    assert path == runtime_folder() / "cores"
    assert path.parent.stat().st_mode & 0o777 == 0o700
