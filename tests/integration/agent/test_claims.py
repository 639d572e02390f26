"""Two runs of one user on one machine never use the same core, whoever of them dies."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotfish.agent.claims import FIRST_GPU, Claims, claim_path
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


class TestGpus:
    @pytest.fixture(autouse=True)
    def _gpus(self, two: tuple[Node, Node]) -> None:
        for node in two:
            node.options = {"cores": 64, "gpus_at_least": 1}
            node.env["CUDA_VISIBLE_DEVICES"] = "4,6,GPU-cafe"

    def ids(self, node: Node) -> list[str]:
        return [gpu.id for gpu in node.up().inventory.gpus]

    def test_the_second_takes_the_rest(self, two: tuple[Node, Node]) -> None:
        one, other = two
        one.options["gpus_at_most"] = 2
        assert self.ids(one) == ["4", "6"]
        assert self.ids(other) == ["GPU-cafe"]

    def test_the_second_waits_and_says_for_whom(self, two: tuple[Node, Node]) -> None:
        one, other = two
        self.ids(one)
        other.listen()
        other.start_agent()
        other.wait(lambda: other.heard(Note))
        assert other.heard(Note)[0].text == (
            f"waiting for GPUs: 4, 6, GPU-cafe held by pid {one.agent.pid} ({one.campaign})"
        )
        one.send(Stop())
        one.wait_ended()
        assert [gpu.id for gpu in other.wait_hello(1).inventory.gpus] == ["4", "6", "GPU-cafe"]

    def test_who_needs_none_does_not_wait(self, two: tuple[Node, Node]) -> None:
        one, other = two
        self.ids(one)
        other.options["gpus_at_least"] = 0
        assert self.ids(other) == []

    def test_who_waits_for_gpus_keeps_no_core_from_others(self, two: tuple[Node, Node]) -> None:
        one, other = two
        one.options["gpus_at_most"] = 3
        self.ids(one)
        other.options["cores"] = None
        other.listen()
        other.start_agent()
        other.wait(lambda: other.heard(Note))
        claims = Claims.open(Path(other.env["PILOTFISH_RUNTIME"]) / "claims")
        assert claims.claim(all_cores(), len(all_cores()), len(all_cores()), "test") == all_cores()
        os.close(claims.descriptor)

    def test_a_claim_lives_as_long_as_a_keeper(self, two: tuple[Node, Node]) -> None:
        one, other = two
        one.options["gpus_at_most"] = 2
        self.ids(one)
        one.run(one.command("sleep 1000"))
        one.wait(lambda: one.heard(Started))
        one.kill_agent()
        assert self.ids(other) == ["GPU-cafe"]
        one.options["gpus_at_most"] = 3
        one.start_agent()
        assert [gpu.id for gpu in one.wait_hello(2).inventory.gpus] == ["4", "6"]

    def test_names_of_gpus_that_do_not_exist_are_not_claimed(self, two: tuple[Node, Node]) -> None:
        for node in two:
            node.options["gpus"] = 4
        assert self.ids(two[0]) == self.ids(two[1]) == ["0", "1", "2", "3"]


class TestClaims:
    def test_locks_belong_to_the_description(self, tmp_path: Path) -> None:
        one, other = Claims.open(tmp_path / "claims"), Claims.open(tmp_path / "claims")
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
        one, other = Claims.open(tmp_path / "claims"), Claims.open(tmp_path / "claims")
        one.claim([1], 1, 1, "one")
        assert other.claim(range(3), 3, 3, "other") == ()
        assert one.claim(range(3), 3, 3, "one") == (0, 1, 2)
        os.close(one.descriptor)
        os.close(other.descriptor)

    def test_records_of_gpus_may_lie_far_behind(self, tmp_path: Path) -> None:
        one, other = Claims.open(tmp_path / "claims"), Claims.open(tmp_path / "claims")
        far = FIRST_GPU + (1 << 20)
        assert one.claim([3, FIRST_GPU, far], 3, 3, "one") == (3, FIRST_GPU, far)
        assert other.holders([FIRST_GPU, far]) == {"one": [FIRST_GPU, far]}
        one.release([far])
        assert other.claim([3, FIRST_GPU, far], 1, 3, "other") == (far,)
        assert (tmp_path / "claims").stat().st_blocks * 512 < 1 << 20
        os.close(one.descriptor)
        os.close(other.descriptor)

    def test_a_very_long_name_is_cut(self, tmp_path: Path) -> None:
        one, other = Claims.open(tmp_path / "claims"), Claims.open(tmp_path / "claims")
        one.claim(range(2), 1, 2, "x" * 10_000)
        assert other.holders(range(2)) == {"x" * 512: [0, 1]}
        os.close(one.descriptor)
        os.close(other.descriptor)


def test_the_file_does_not_depend_on_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PILOTFISH_RUNTIME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/somewhere")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    path = claim_path()
    assert path == runtime_folder() / "claims"
    assert path.parent.stat().st_mode & 0o777 == 0o700
