"""Processes are found by their mark and their parents, whatever they do to hide."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilotfish.agent import processes

MIB = 1024 * 1024
CARRY = """
import os, sys
from pilotfish.agent.processes import become_subreaper, be_killed_first, carry_mark
carry_mark(int(sys.argv[1]))
become_subreaper()
be_killed_first()
pid = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", sys.argv[2]], os.environ)
print(pid, flush=True)
sys.stdin.read()
"""
Marked = Callable[[int, str], subprocess.Popen[str]]


@pytest.fixture
def marked() -> Iterator[Marked]:
    """Start a process that carries a mark, with a shell command under it."""
    started: list[tuple[int, subprocess.Popen[str]]] = []

    def start(mark: int, command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CARRY, str(mark), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append((mark, process))
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for mark, process in started:
        process.kill()
        processes.send_signal(processes.marked(mark), signal.SIGKILL)
        process.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_marks_differ() -> None:
    marks = {processes.new_mark() for _ in range(1000)}
    assert len(marks) == 1000
    assert all(10**15 < mark < 2**62 for mark in marks)


def test_all_descendants_carry_the_mark(marked: Marked) -> None:
    mark = processes.new_mark()
    process = marked(mark, "setsid sleep 1010 & env -i setsid sleep 1010 & (setsid sleep 1010 &) & exec sleep 1010")
    wait_for(lambda: len(processes.marked(mark)) == 5)
    assert process.pid in processes.marked(mark)
    # A process whose parent ends while we look is found when we look again.
    wait_for(lambda: processes.descendants([process.pid]) == set(processes.marked(mark)) - {process.pid})
    process.kill()
    process.wait()
    assert len(processes.marked(mark)) == 4


def test_the_dead_carry_none(marked: Marked) -> None:
    mark = processes.new_mark()
    process = marked(mark, "exit 0")
    wait_for(lambda: processes.marked(mark) == [process.pid])  # its child is a zombie now
    assert processes.descendants([process.pid]) == set()
    processes.send_signal([process.pid, 2**22 - 1], signal.SIGKILL)
    wait_for(lambda: processes.marked(mark) == [])


def test_a_group_whose_first_thread_has_ended_still_lives(marked: Marked) -> None:
    mark = processes.new_mark()
    script = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
        "ctypes.CDLL(None).syscall(60, 0)"  # ends this thread alone
    )
    process = marked(mark, f'exec {sys.executable} -c "{script}"')

    def first_thread_has_ended() -> bool:
        (child,) = processes.descendants([process.pid])
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(first_thread_has_ended)
    assert len(processes.marked(mark)) == 2


def test_an_identity_is_of_one_process(marked: Marked) -> None:
    process = marked(processes.new_mark(), "exit 0")
    identity = processes.identify(process.pid)
    assert processes.still_lives(identity)
    assert not processes.still_lives(processes.Identity(identity.pid, identity.start + 1, identity.boot))
    assert not processes.still_lives(processes.Identity(identity.pid, identity.start, "another boot"))
    process.kill()
    wait_for(lambda: not processes.still_lives(identity))
    process.wait()
    with pytest.raises(ProcessLookupError):
        processes.identify(process.pid)


def test_a_name_cannot_confuse_us(tmp_path: Path, marked: Marked) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    mark = processes.new_mark()
    process = marked(mark, f"exec '{program}' 1010")
    wait_for(lambda: len(processes.descendants([process.pid])) == 1)
    assert len(processes.marked(mark)) == 2


def test_descendants_are_killed_first(marked: Marked) -> None:
    process = marked(processes.new_mark(), "sleep 1010")
    (child, *_) = processes.descendants([process.pid])
    assert int(Path(f"/proc/{child}/oom_score_adj").read_text()) >= 500


def test_shared_memory_counts_once_where_it_matters(marked: Marked) -> None:
    mark = processes.new_mark()
    script = "import os, time; x = bytearray(64 << 20); os.fork(); time.sleep(60)"
    process = marked(mark, f'exec {sys.executable} -c "{script}"')
    wait_for(lambda: len(family := processes.descendants([process.pid])) == 2 and processes.resident_memory(family) > 0)
    family = processes.descendants([process.pid])
    wait_for(lambda: processes.resident_memory(family) > 128 * MIB)
    assert 64 * MIB < processes.proportional_memory(family) < 100 * MIB


CLOSE = """
import os, sys
from pilotfish.agent.processes import close_descriptors
kept, other = int(sys.argv[1]), int(sys.argv[2])
close_descriptors([kept])
os.fstat(0)
os.fstat(kept)
try:
    os.fstat(other)
except OSError:
    sys.exit(0)
sys.exit(1)
"""


def test_descriptors_are_closed_but_for_some() -> None:
    kept, other = os.pipe()
    subprocess.run([sys.executable, "-c", CLOSE, str(kept), str(other)], pass_fds=[kept, other], check=True)
    os.close(kept)
    os.close(other)


def test_the_limit_of_descriptors_can_be_put_back() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, raised = processes.raise_descriptor_limit()
    try:
        assert soft == before[0] <= raised
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised
    finally:
        processes.limit_descriptors(soft)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
