"""Outputs are exact, wherever they lie, and many small ones share a file."""

import contextlib
import os
from pathlib import Path

import pytest

from pilotfish.agent.outputs import LONGEST_SHORT, live_output
from pilotfish.model.attempts import OutputRef, Report
from pilotfish.model.jobs import RangeArray
from pilotfish.model.messages import End, Note, Started
from pilotfish.model.states import Outcome
from tests.integration.agent.agent_node import Node

MIB = 1024 * 1024


def file_of(report: Report) -> str:
    assert report.stdout is not None
    return report.stdout.file


def test_both_streams_are_kept_byte_by_byte(node: Node) -> None:
    node.up()
    blob = os.urandom(100_000) + bytes(range(256)) + b"no newline at the end"
    (node.folder / "blob").write_bytes(blob)
    report = node.finish(node.command("cat blob; head -c 5000 blob >&2"))
    assert node.output(report) == blob
    assert node.output(report, "stderr") == blob[:5000]


def test_an_empty_output_leaves_no_trace(node: Node) -> None:
    node.up()
    report = node.finish(node.command("true"))
    assert (report.stdout, report.stderr) == (None, None)
    assert {path.name for path in (node.campaign / "outputs").iterdir()} == {"live-n1-0.out", "live-n1-0.err"}


@pytest.mark.parametrize("size", [1, LONGEST_SHORT - 1, LONGEST_SHORT, LONGEST_SHORT + 1, 3 * LONGEST_SHORT])
def test_an_output_of_any_size_is_exact(node: Node, size: int) -> None:
    node.up()
    blob = os.urandom(size)
    (node.folder / "blob").write_bytes(blob)
    attempts = node.run(node.command("cat blob; echo {index} >&2", array=RangeArray(0, 3)), hi=3)
    reports = [node.result(attempt) for attempt in attempts]
    assert all(node.output(report) == blob for report in reports)
    assert [node.output(report, "stderr") for report in reports] == [b"0\n", b"1\n", b"2\n"]
    assert len({file_of(report) for report in reports}) == (1 if size <= LONGEST_SHORT else 3)


def test_a_long_output_has_the_name_of_its_attempt(node: Node) -> None:
    node.up()
    node.epoch = 7
    spec = node.command(f"head -c {LONGEST_SHORT + 1} /dev/zero >&2", array=RangeArray(0, 9))
    (attempt,) = node.run(spec, lo=8, hi=9, number=3)
    assert node.result(attempt).stderr == OutputRef("1.8.3.7.err", 0, LONGEST_SHORT + 1)


def test_a_thousand_short_outputs_share_a_file(node: Node) -> None:
    node.up()
    attempts = node.run(node.command("echo {index}", array=RangeArray(0, 1000)), hi=1000)
    reports = [node.result(attempt) for attempt in attempts]
    assert [node.output(report) for report in reports] == [b"%d\n" % i for i in range(1000)]
    assert len(list((node.campaign / "outputs").iterdir())) == 3


def test_a_new_keeper_goes_on_behind_what_is_there(node: Node) -> None:
    node.up()
    first = node.finish(node.command("echo one"))
    node.end_agent()
    node.vanish()
    node.hellos.clear()
    node.up()
    second = node.finish(node.command("echo two"))
    assert (node.output(first), node.output(second)) == (b"one\n", b"two\n")
    assert file_of(first) == file_of(second)


def test_a_named_file_is_written_instead(node: Node) -> None:
    node.up()
    out = node.folder / "a" / "b" / "0.out"
    spec = node.command("echo out; echo err >&2", stdout=f"{node.folder}/a/b/{{index}}.out", stderr=f"{node.folder}/e")
    report = node.finish(spec)
    assert (out.read_bytes(), (node.folder / "e").read_bytes()) == (b"out\n", b"err\n")
    assert report.stdout == OutputRef(str(out), 0, 4)
    (again,) = node.run(spec, number=2)
    node.result(again)
    assert out.read_bytes() == b"out\n"


@pytest.mark.parametrize("stdout", [None, "both", "/dev/null"])
def test_both_streams_may_share_a_file(node: Node, stdout: str | None) -> None:
    node.up()
    path = stdout and str(node.folder / stdout)
    report = node.finish(node.command("echo 1; echo 2 >&2; echo 3", stdout=path, stderr="stdout"))
    assert report.stderr is None
    assert node.output(report) == (b"" if stdout == "/dev/null" else b"1\n2\n3\n")


def test_a_file_named_twice_is_shared(node: Node) -> None:
    node.up()
    path = str(node.folder / "same")
    report = node.finish(node.command("echo 1; echo 2 >&2; echo 3", stdout=path, stderr=path))
    assert node.output(report) == b"1\n2\n3\n"


def test_a_pipe_that_nobody_reads_does_not_hold_a_lane_up(node: Node) -> None:
    node.up()
    os.mkfifo(node.folder / "pipe")
    assert node.finish(node.command("true", stdout=str(node.folder / "pipe"))).outcome is Outcome.start_failed


def test_the_output_of_a_running_attempt_can_be_read(node: Node) -> None:
    node.up()
    (attempt,) = node.run(node.command("echo so far; sleep 1000"))
    node.wait(lambda: node.heard(Started))
    live = live_output(node.campaign / "outputs", "n1", 0, "out")
    node.wait(lambda: live.read_bytes() == b"so far\n")
    node.send(End(0, attempt, Outcome.cancelled, hard=True))
    assert node.output(node.result(attempt)) == b"so far\n"


def test_a_gigabyte_of_output_needs_no_memory(node: Node) -> None:
    node.up()
    (attempt,) = node.run(node.command("head -c 1G /dev/zero; echo >&2"))
    report = node.result(attempt, seconds=120)
    assert report.stdout == OutputRef("1.0.1.1.out", 0, 1024 * MIB)
    peak = [line for line in Path(f"/proc/{node.agent.pid}/status").read_text().splitlines() if "VmHWM" in line]
    assert int(peak[0].split()[1]) * 1024 < 60 * MIB
    (node.campaign / "outputs" / "1.0.1.1.out").unlink()


def test_the_campaign_may_lie_deep(node: Node) -> None:
    node.campaign = node.campaign / ("d" * 100) / ("e" * 100)
    node.campaign.mkdir(parents=True)
    node.up()
    assert node.output(node.finish(node.command("echo deep"))) == b"deep\n"


@pytest.mark.needs("tmpfs")
class TestFullDisk:
    def up_with_small(self, node: Node, folder: Path, size: str) -> Path:
        """Start the agent where `folder` is a small disk; the path under which the test sees it."""
        folder.mkdir(exist_ok=True)
        mount = f'mount -t tmpfs -o size={size} none {folder} && exec "$@"'
        node.wrapper = ["unshare", "--mount", "sh", "-c", mount, "-"]
        node.up()
        return Path(f"/proc/{node.agent.pid}/root") / folder.relative_to("/")

    def test_nothing_is_started_without_room_for_its_output(self, node: Node) -> None:
        outputs = self.up_with_small(node, node.campaign / "outputs", "4m")
        (outputs / "junk").write_bytes(bytes(7 * MIB // 2))
        (attempt,) = node.run(node.command("echo ran | tee ran"))
        node.wait(lambda: node.heard(Note))
        assert "outputs: No space left" in node.heard(Note)[0].text
        assert not (node.folder / "ran").exists()
        (outputs / "junk").unlink()
        assert node.result(attempt).succeeded
        assert len(node.heard(Note)) == 1

    def test_an_output_is_renamed_where_it_cannot_be_copied(self, node: Node) -> None:
        outputs = self.up_with_small(node, node.campaign / "outputs", "4m")
        (node.folder / "blob").write_bytes(os.urandom(MIB - 5000))
        (outputs / "junk").write_bytes(bytes(2 * MIB))
        report = node.finish(node.command(f"cat blob; head -c {MIB // 2} /dev/zero > {node.campaign}/outputs/more"))
        assert report.stdout == OutputRef("1.0.1.1.out", 0, MIB - 5000)
        assert (outputs / "1.0.1.1.out").read_bytes() == (node.folder / "blob").read_bytes()

    def test_nothing_is_started_without_an_intent(self, node: Node) -> None:
        runtime = self.up_with_small(node, node.runtime, "64k")
        assert node.finish(node.command("true")).succeeded
        with (runtime / "junk").open("ab", buffering=0) as junk, contextlib.suppress(OSError):
            while True:
                junk.write(bytes(1000))
        attempts = node.run(node.command("echo {index} >> ran", array=RangeArray(0, 600)), hi=600)
        node.wait(lambda: node.heard(Note))
        assert "No space left" in node.heard(Note)[0].text
        (runtime / "junk").unlink()
        assert all(node.result(attempt).succeeded for attempt in attempts)
        assert (node.folder / "ran").read_text().split() == [str(i) for i in range(600)]
