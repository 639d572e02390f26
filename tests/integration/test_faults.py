"""The seam of the tests that kill: whoever comes to the step stops there, and nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

REACH = "from pilotfish.faults import reached\nfor i in range(5):\n    reached('x.step')\n    print(i, flush=True)"


def run(order: str | None) -> "subprocess.Popen[str]":
    env = {name: text for name, text in os.environ.items() if name != "PILOTFISH_STOP_AT"}
    env |= {} if order is None else {"PILOTFISH_STOP_AT": order}
    return subprocess.Popen([sys.executable, "-c", REACH], env=env, stdout=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> tuple[str, int]:
    out, _ = process.communicate(timeout=20)
    return "".join(out.split()), process.returncode


def test_without_an_order_nothing_happens() -> None:
    assert said(run(None)) == ("01234", 0)


def test_other_steps_do_not_matter() -> None:
    assert said(run("x.other")) == ("01234", 0)


def test_the_first_time_kills() -> None:
    assert said(run("x.step")) == ("", -signal.SIGKILL)


def test_a_later_time_kills() -> None:
    assert said(run("x.step:3")) == ("01", -signal.SIGKILL)


def test_with_a_marker_one_process_pauses(tmp_path: Path) -> None:
    marker = tmp_path / "paused"
    first = run(f"x.step:2:{marker}")
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert marker.read_text() == f"{first.pid}\n"
    assert said(run(f"x.step:2:{marker}")) == ("01234", 0)
    first.send_signal(signal.SIGCONT)
    assert said(first) == ("01234", 0)
