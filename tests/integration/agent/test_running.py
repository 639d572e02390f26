"""What an attempt gets, and what becomes of it: environment, folders, outcomes, limits, leftovers."""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from pilotfish.model.jobs import RangeArray, TableArray
from pilotfish.model.messages import End, Started, TakeBack, TakenBack
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Request, Slots
from pilotfish.model.states import Outcome
from tests.integration.agent.agent_node import Node

MIB = 1024 * 1024


def test_an_exit_code_is_reported(node: Node) -> None:
    node.up()
    report = node.finish(node.command("exit 7"))
    assert (report.outcome, report.code, report.lane) == (Outcome.exited, 7, 0)
    assert not report.succeeded
    assert 0 < report.started_at <= report.ended_at <= time.time()


def test_a_signal_is_reported(node: Node) -> None:
    node.up()
    report = node.finish(node.command("kill -USR1 $$"))
    assert (report.outcome, report.code) == (Outcome.signalled, signal.SIGUSR1)


def test_an_argument_vector_is_run_as_it_is(node: Node) -> None:
    node.up()
    report = node.finish(node.command(("printf", "%s|", "a b", "$HOME", "{index}", "")))
    assert node.output(report) == b"a b|$HOME|0||"


def test_used_processor_time_and_memory_are_told(node: Node) -> None:
    node.up()
    script = "python3 -c 'import time; x = bytearray(64 << 20)\nwhile time.process_time() < 0.3: pass'"
    report = node.finish(node.command(script))
    assert 0.3 <= report.cpu_seconds < 5
    assert 64 * MIB < report.peak_rss < 512 * MIB


def test_every_attempt_knows_where_it_is(node: Node) -> None:
    node.up()
    names = ["JOB", "TASK", "INDEX", "NAME", "ATTEMPT", "NODE", "CORES", "CORE_IDS", "MEMORY"]
    echo = " ".join(f"$PILOTFISH_{name}," for name in names)
    spec = node.command(
        f"echo {echo} $OMP_NUM_THREADS", array=RangeArray(10, 5, 2), request=Request(Amount(2 * ONE), MIB * 512)
    )
    (attempt,) = node.run(spec, lo=3, hi=4, slots=Slots((4, 5), Amount(2 * ONE), MIB * 512), number=2)
    report = node.result(attempt)
    assert node.output(report) == b"1, 1:16, 16, job, 2, n1, 2, 4,5, 536870912, 2\n"


def test_thread_counts_of_the_user_are_kept(node: Node) -> None:
    node.env["MKL_NUM_THREADS"] = "9"
    node.up()
    spec = node.command("echo $OMP_NUM_THREADS $MKL_NUM_THREADS $OPENBLAS_NUM_THREADS", env={"OMP_NUM_THREADS": "5"})
    assert node.output(node.finish(spec)) == b"5 9 1\n"


def test_a_value_of_a_list_array_reaches_its_task(node: Node) -> None:
    node.up()
    spec = node.command("echo {value} {index}", array=TableArray(("value",), (("a b", "c", "$d"),)))
    attempts = node.run(spec, lo=1, hi=3)
    assert [node.output(node.result(attempt)) for attempt in attempts] == [b"c 1\n", b"$d 2\n"]


def test_a_working_folder_is_made(node: Node) -> None:
    node.up()
    spec = node.command("pwd", cwd=f"{node.folder}/a b/{{index}}")
    assert node.output(node.finish(spec)) == f"{node.folder}/a b/0\n".encode()


def test_standard_input_is_empty(node: Node) -> None:
    node.up()
    assert node.output(node.finish(node.command("wc -c"))).strip() == b"0"


def test_the_temporary_folder_is_private_to_the_attempt(node: Node) -> None:
    node.up()
    spec = node.command('ls -A "$TMPDIR"; touch "$TMPDIR/x"; mkdir -p "$TMPDIR/y/z"; chmod 0 "$TMPDIR/y"; echo $TMPDIR')
    first = node.finish(spec)
    (again,) = node.run(spec, number=2)
    assert node.output(node.result(again)) == node.output(first) == f"{node.scratch}/0\n".encode()


def test_a_temporary_folder_that_was_removed_is_there_again(node: Node) -> None:
    node.up()
    spec = node.command('rmdir "$TMPDIR"')
    attempts = [*node.run(spec), *node.run(spec, number=2)]
    assert all(node.result(attempt).succeeded for attempt in attempts)


def test_signals_that_we_ignore_are_not_ignored_by_tasks(node: Node) -> None:
    node.up()
    report = node.finish(node.command("grep -E '^Sig(Ign|Blk)' /proc/self/status"))
    blocked, ignored = (int(word, 16) for word in node.output(report).split()[1::2])
    internal = 0b11 << 31  # two that belong to the C library, and that nobody else can touch
    assert (blocked, ignored & ~internal) == (0, 0)


def test_no_descriptor_of_ours_reaches_a_task(node: Node) -> None:
    node.up()
    report = node.finish(node.command(("sh", "-c", "ls -l /proc/self/fd | grep -c -v /proc")))
    assert node.output(report).strip() == b"4"  # the total, and three streams


def test_a_script_without_a_first_line_is_run_by_the_shell(node: Node) -> None:
    node.up()
    script = node.folder / "script"
    script.write_text("echo from $0 $1\n")
    script.chmod(0o755)
    report = node.finish(node.command((str(script), "x")))
    assert node.output(report) == f"from {script} x\n".encode()


@pytest.mark.parametrize(
    ("command", "spec", "words"),
    [
        (("no-such-program",), {}, ("no-such-program", "not found on PATH")),
        (("/no/such/program",), {}, ("/no/such/program", "No such file")),
        (("/etc/passwd",), {}, ("/etc/passwd", "Permission denied")),
        (("echo", "x" * 200_000), {}, ("echo", "Argument list too long")),
        (("true",), {"cwd": "/etc/passwd/x"}, ("/etc/passwd", "Not a directory")),
        (("true",), {"stdout": "/proc/x/out"}, ("/proc/x",)),
        (("true",), {"stderr": "/"}, ("/", "Is a directory")),
        (("true", "a\0b"), {}, ("null byte",)),
    ],
)
def test_what_cannot_be_started_says_why(
    node: Node, command: tuple[str, ...], spec: dict[str, str], words: tuple[str, ...]
) -> None:
    node.up()
    report = node.finish(node.command(command, **spec))
    assert report.outcome is Outcome.start_failed
    assert all(word in report.reason for word in words)
    assert node.finish(node.command("true")).succeeded


def test_a_task_beyond_its_time_is_ended(node: Node) -> None:
    node.settings = msgspec.structs.replace(node.settings, grace=20.0)
    node.up()
    report = node.finish(node.command("trap 'echo late; exit 0' TERM; sleep 60 & wait", time=1.0))
    assert (report.outcome, node.output(report)) == (Outcome.timed_out, b"late\n")
    assert "limit of 1s" in report.reason
    assert 1.0 <= report.ended_at - report.started_at < 20


def test_a_task_that_has_ended_is_not_late(node: Node) -> None:
    node.up()
    report = node.finish(node.command("(trap '' TERM; sleep 1 & wait; wait) & exit 3", time=0.5))
    assert (report.outcome, report.code) == (Outcome.exited, 3)


def test_a_task_that_ignores_term_is_killed_after_its_grace(node: Node) -> None:
    node.up()
    report = node.finish(node.command("trap '' TERM; while :; do sleep 0.01; done", time=1.0))
    assert report.outcome is Outcome.timed_out
    assert report.ended_at - report.started_at >= 1.0 + node.settings.grace


def test_a_task_beyond_its_memory_is_killed_with_its_whole_tree(node: Node) -> None:
    node.up()
    eat = "x = bytearray(150 << 20); import time; time.sleep(60)"
    spec = node.command(
        f"setsid python3 -c '{eat}' & setsid python3 -c '{eat}' & wait", request=Request(memory=200 * MIB)
    )
    report = node.finish(spec)
    assert report.outcome is Outcome.out_of_memory
    assert report.reason.startswith("ran out of memory: used ")
    assert report.reason.endswith(" of 200 MiB")


def test_memory_that_processes_share_counts_once(node: Node) -> None:
    node.up()
    share = "import os, time; x = bytearray(100 << 20); [os.fork() for _ in range(2)]; time.sleep(0.5)"
    report = node.finish(node.command(("python3", "-c", share), request=Request(memory=250 * MIB)))
    assert report.succeeded, report


@pytest.mark.parametrize(
    "leftover",
    [
        "setsid sleep 1000",
        "env -i setsid sleep 1000",
        "(trap '' TERM HUP; while :; do sleep 0.05; done)",
        "sh -c 'kill -STOP $$; sleep 1000'",
        "setsid sh -c 'sh -c \"sleep 1000 & sleep 1000\" & sleep 1000'",
    ],
)
def test_nothing_that_a_task_started_outlives_it(node: Node, leftover: str) -> None:
    node.up()
    report = node.finish(node.command(f"{leftover} >/dev/null 2>&1 & sleep 0.1; echo done"))
    assert (report.outcome, report.code, node.output(report)) == (Outcome.exited, 0, b"done\n")
    assert not node.processes("sleep 1000")


def test_last_words_of_a_leftover_are_heard(node: Node) -> None:
    node.up()
    report = node.finish(node.command("(sleep 0.02; echo late) & echo early"))
    assert node.output(report) == b"early\nlate\n"


def test_an_attempt_that_still_runs_is_announced(node: Node) -> None:
    node.up()
    (attempt,) = node.run(node.command("sleep 0.3"))
    node.wait(lambda: node.heard(Started))
    (started,) = node.heard(Started)
    assert (started.attempt, started.lane) == (attempt, 0)
    assert os.getpgid(started.pid) == started.pid
    report = node.result(attempt)
    assert report.started_at == started.started_at


@pytest.mark.parametrize("outcome", [Outcome.cancelled, Outcome.preempted])
def test_a_running_attempt_is_ended_as_wanted(node: Node, outcome: Outcome) -> None:
    node.up()
    first, second = node.run(node.command("sleep 1000", array=RangeArray(0, 2)), hi=2)
    node.wait(lambda: node.heard(Started))
    node.send(End(0, second, outcome, hard=False), End(0, first, outcome, hard=False))
    assert [node.result(attempt).outcome for attempt in (first, second)] == [outcome, outcome]
    assert node.result(second).started_at == 0
    assert node.result(first).ended_at - node.result(first).started_at < node.settings.grace + 5


def test_a_hard_end_does_not_wait(node: Node) -> None:
    node.settings = msgspec.structs.replace(node.settings, grace=60.0)
    node.up()
    (attempt,) = node.run(node.command("trap '' TERM; while :; do sleep 0.01; done"))
    node.wait(lambda: node.heard(Started))
    node.send(End(0, attempt, Outcome.cancelled, hard=False))
    node.send(End(0, attempt, Outcome.cancelled, hard=True))
    assert node.result(attempt).outcome is Outcome.cancelled


def test_what_has_not_started_is_given_back(node: Node) -> None:
    node.up()
    spec = node.command("sleep 0.5", array=RangeArray(0, 4))
    attempts = node.run(spec, hi=4)
    node.wait(lambda: node.heard(Started))
    node.send(TakeBack(0, (attempts[0], attempts[2], attempts[3])))
    node.wait(lambda: node.heard(TakenBack))
    assert node.heard(TakenBack)[0].attempts == (attempts[2], attempts[3])
    assert node.result(attempts[1]).succeeded
    assert set(node.reports) == {attempts[0], attempts[1]}


def test_a_lane_that_never_was_gives_nothing_back(node: Node) -> None:
    node.up()
    node.send(TakeBack(7, (node.run(node.command("true"))[0],)))
    node.wait(lambda: node.heard(TakenBack))
    assert node.heard(TakenBack)[0] == TakenBack(7, ())


def test_lanes_run_side_by_side(node: Node) -> None:
    node.up()
    spec = node.command("sleep 0.3", array=RangeArray(0, 8))
    attempts = [node.run(spec, lane=lane, lo=lane, hi=lane + 1)[0] for lane in range(8)]
    reports = [node.result(attempt) for attempt in attempts]
    assert {report.lane for report in reports} == set(range(8))
    assert max(r.started_at for r in reports) < min(r.ended_at for r in reports)


def test_a_reopened_lane_has_its_new_slots(node: Node) -> None:
    node.up()
    spec = node.command("echo $PILOTFISH_CORE_IDS", array=RangeArray(0, 2))
    (one,) = node.run(spec, hi=1, slots=Slots((3,), ONE, None))
    node.result(one)
    (two,) = node.run(spec, lo=1, hi=2, slots=Slots((5, 6), Amount(2 * ONE), None))
    assert [node.output(node.result(attempt)) for attempt in (one, two)] == [b"3\n", b"5,6\n"]


@pytest.mark.needs("cores")
def test_tasks_are_bound_to_their_cores(node: Node) -> None:
    cores = sorted(os.sched_getaffinity(0))
    node.options = {"cores": len(cores)}
    hello = node.up()
    assert (hello.inventory.cores, hello.inventory.pinned) == (tuple(cores), True)
    spec = node.command(("python3", "-c", "import os; print(sorted(os.sched_getaffinity(0)))"), array=RangeArray(0, 3))
    grants = [Slots((cores[1],), ONE, None), Slots((cores[0],), Amount(2500), None), Slots((), Amount(0), None)]
    attempts = [node.run(spec, lane=i, lo=i, hi=i + 1, slots=slots)[0] for i, slots in enumerate(grants)]
    outputs = [node.output(node.result(attempt)).decode().strip() for attempt in attempts]
    assert outputs == [str([cores[1]]), str([cores[0]]), str(cores)]


def test_many_attempts_in_one_lane_keep_their_order(node: Node) -> None:
    node.up()
    spec = node.command("echo {index}", array=RangeArray(0, 200))
    attempts = node.run(spec, hi=200)
    reports = [node.result(attempt) for attempt in attempts]
    assert [node.output(report) for report in reports] == [b"%d\n" % i for i in range(200)]
    assert list(node.reports) == attempts
    assert all(len(reports) == 1 for reports in node.reports.values())


@pytest.mark.needs("cores")
class TestPilotfishInATask:
    """A task may run a pilotfish of its own, on its own cores, and takes it along when it ends."""

    INNER = f"{Path(sys.executable).with_name('pilotfish')} run --"

    def test_it_has_the_cores_of_its_task(self, node: Node) -> None:
        node.options = {"cores": None}
        node.up()
        core = max(os.sched_getaffinity(0))
        tell = f"{sys.executable} -c 'import os; print(sorted(os.sched_getaffinity(0)))' > cores"
        (attempt,) = node.run(node.command(f'{self.INNER} sh -c "{tell}"'), slots=Slots((core,), ONE, None))
        assert node.result(attempt).succeeded
        assert (node.folder / "cores").read_text() == f"[{core}]\n"

    @pytest.mark.parametrize("hard", [False, True])
    def test_it_ends_with_its_task(self, node: Node, *, hard: bool) -> None:
        node.options = {"cores": None}
        node.up()
        (attempt,) = node.run(node.command(f"{self.INNER} sleep 1011"))
        node.wait(lambda: node.processes("sleep 1011"))
        node.send(End(0, attempt, Outcome.cancelled, hard=hard))
        assert node.result(attempt).outcome is Outcome.cancelled
        assert not node.processes("sleep 1011")
