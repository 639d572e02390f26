"""Grace, warnings before the end, and outputs that are cut."""

import signal
import time
from itertools import pairwise

import msgspec
import pytest

from pilotfish.agent.outputs import LONGEST_SHORT, live_output
from pilotfish.model.jobs import RangeArray, Signal
from pilotfish.model.messages import End, Started
from pilotfish.model.states import Outcome
from tests.integration.agent.agent_node import Node

MIB = 1024 * 1024
LISTENING = "trap 'echo warned >> warned; exit 5' USR1; while :; do sleep 0.02; done"
NOTE = b"\npilotfish: cut here, after %s (output_limit)\n"


def test_a_job_has_a_grace_of_its_own(node: Node) -> None:
    node.settings = msgspec.structs.replace(node.settings, grace=60.0)
    node.up()
    report = node.finish(node.command("trap '' TERM; while :; do sleep 0.01; done", time=0.5, grace=0.2))
    assert report.outcome is Outcome.timed_out
    assert report.ended_at - report.started_at < 30


def test_a_warning_comes_before_the_time_is_over(node: Node) -> None:
    node.up()
    report = node.finish(node.command(LISTENING, time=60.0, signal=Signal(signal.SIGUSR1, 58.8)))
    assert (report.outcome, report.code) == (Outcome.exited, 5)
    assert report.ended_at - report.started_at >= 1.2


def test_a_warning_reaches_every_process_once(node: Node) -> None:
    node.up()
    loop = "while [ ! -e go ]; do sleep 0.02; done"
    command = (
        f"setsid sh -c 'trap \"echo other >> warned\" USR1; {loop}' & trap 'echo main >> warned' USR1; {loop}; wait"
    )
    spec = node.command(command, signal=Signal(signal.SIGUSR1, 10.0), time=9.0)
    (attempt,) = node.run(spec)
    warned = node.folder / "warned"
    node.wait(lambda: warned.exists() and len(warned.read_text().split()) == 2)
    node.go()
    assert node.result(attempt).succeeded
    assert sorted(warned.read_text().split()) == ["main", "other"]


def test_a_warning_comes_before_the_allocation_ends(node: Node) -> None:
    node.options["ends_at"] = time.time() + 62
    node.up()
    (attempt,) = node.run(node.command(LISTENING, time=600.0, signal=Signal(signal.SIGUSR1, 60.0)))
    assert node.result(attempt).code == 5


def test_a_program_has_a_moment_before_its_warning(node: Node) -> None:
    node.options["ends_at"] = time.time() - 60
    node.up()
    report = node.finish(node.command(LISTENING, signal=Signal(signal.SIGUSR1, 60.0)))
    assert report.code == 5
    assert report.ended_at - report.started_at >= 1.0


def test_nothing_ends_and_nobody_is_warned(node: Node) -> None:
    node.up()
    assert node.finish(node.command("sleep 1.3", signal=Signal(signal.SIGUSR1, 60.0))).succeeded


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.preempted, "the allocation ends"),
        (Outcome.interrupted, "the run was interrupted"),
        (Outcome.cancelled, ""),
    ],
)
def test_an_ordered_end_says_why(node: Node, outcome: Outcome, reason: str) -> None:
    node.up()
    running, waiting = node.run(node.command("sleep 1000", array=RangeArray(0, 2)), hi=2)
    node.wait(lambda: node.heard(Started))
    node.send(End(0, waiting, outcome, hard=False), End(0, running, outcome, hard=False))
    assert [node.result(attempt).reason for attempt in (running, waiting)] == [reason, reason]


class TestOutputLimit:
    def test_what_fits_is_whole(self, node: Node) -> None:
        node.up()
        report = node.finish(node.command("printf 12345", output_limit=5))
        assert node.output(report) == b"12345"

    def test_each_stream_is_cut_with_a_note(self, node: Node) -> None:
        node.up()
        report = node.finish(node.command("printf 123456; printf 12 >&2", output_limit=5))
        assert node.output(report) == b"12345" + NOTE % b"5 B"
        assert node.output(report, "stderr") == b"12"

    def test_the_first_bytes_stay_while_a_task_writes_on(self, node: Node) -> None:
        node.up()
        limit = 2 * LONGEST_SHORT
        write = "import os, time\nfor i in range(30): os.write(1, b'%07d\\n' % i * (1 << 15)); time.sleep(0.02)"
        report = node.finish(node.command(("python3", "-c", write), output_limit=limit))
        written = b"".join(b"%07d\n" % i * (1 << 15) for i in range(8))
        assert node.output(report) == written + NOTE % b"2 MiB"

    @pytest.mark.parametrize("stderr", ["stdout", None])
    def test_a_named_file_is_cut_too(self, node: Node, stderr: str | None) -> None:
        node.up()
        path = node.folder / "named"
        spec = node.command("head -c 5M /dev/zero", stdout=str(path), stderr=stderr, output_limit=MIB)
        report = node.finish(spec)
        assert path.read_bytes() == bytes(MIB) + NOTE % b"1 MiB"
        assert node.output(report) == path.read_bytes()

    def test_a_device_is_left_alone(self, node: Node) -> None:
        node.up()
        assert node.finish(node.command("head -c 5M /dev/zero", stdout="/dev/null", output_limit=5)).succeeded

    def test_a_tireless_writer_does_not_fill_the_disk(self, node: Node) -> None:
        node.up()
        (attempt,) = node.run(node.command("cat /dev/zero", output_limit=MIB))
        live = live_output(node.campaign / "outputs", "n1", 0, "out")
        node.wait(lambda: node.heard(Started))
        sizes: list[int] = []

        def shrinks() -> bool:
            sizes.append(live.stat().st_size)
            return len(sizes) > 10 and any(later < earlier for earlier, later in pairwise(sizes))

        node.wait(shrinks)
        node.send(End(0, attempt, Outcome.cancelled, hard=True))
        assert len(node.output(node.result(attempt))) == MIB + len(NOTE % b"1 MiB")

    def test_the_next_attempt_is_not_cut(self, node: Node) -> None:
        node.up()
        node.finish(node.command("printf 123456", output_limit=5))
        assert node.output(node.finish(node.command("printf 123456", name="other"))) == b"123456"
