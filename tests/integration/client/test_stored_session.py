"""Sessions on a store: the same program, started again after whatever ended it, goes on where it was."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import pilotfish as pf
from pilotfish.errors import BusyError

PROGRAM = """
import os, sys
from pathlib import Path
import pilotfish as pf

here = Path(sys.argv[1])
dies_after = int(sys.argv[2])

def square(number):
    with (here / "log").open("a") as log:
        log.write(f"{number}\\n")
    return number * number

with pf.Session(store=here / "store", name="squares", cores=2) as session:
    squares = session.map(square, range(60))
    for done, future in enumerate(squares):
        future.result()
        if done == dies_after:
            os.kill(os.getpid(), 9)
    print(sum(future.result() for future in squares))
"""


def logged(folder: Path) -> Counter[str]:
    return Counter((folder / "log").read_text().split())


def note(path: str, text: str) -> str:
    with Path(path).open("a") as log:
        log.write(f"{text}\n")
    return text


def fail_once(path: str) -> str:
    log = Path(path)
    if not log.exists():
        log.touch()
        raise ValueError("the first time")
    return "well"


def zeros(count: int) -> np.ndarray:
    return np.zeros(count)


def test_a_killed_program_goes_on_and_repeats_nothing_that_was_recorded(tmp_path: Path) -> None:
    program = tmp_path / "squares.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path)]
    for dies_after in (10, 30):
        assert subprocess.run([*command, str(dies_after)], check=False).returncode == -9
    last = subprocess.run([*command, "-1"], check=True, capture_output=True, text=True)
    assert last.stdout == f"{sum(number * number for number in range(60))}\n"
    # What ran as the program died may have ended unheard; the agent keeps what it has to tell, so even that is rare.
    assert set(logged(tmp_path)) == set(map(str, range(60)))
    assert max(logged(tmp_path).values()) == 1


def test_the_same_call_again_is_answered_from_the_store(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    for cores in (1, 2):  # resources do not matter
        with pf.Session(store=tmp_path / "store", name="same", cores=2) as session:
            asked = session.options(cores=cores)
            assert [asked.submit(note, log, text).result() for text in ("a", "b", "a")] == ["a", "b", "a"]
    assert logged(tmp_path) == {"a": 2, "b": 1}


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    with pf.Session(store=tmp_path / "store", name="failing", cores=1) as session:
        assert isinstance(session.submit(fail_once, str(tmp_path / "log")).exception(), ValueError)
    with pf.Session(store=tmp_path / "store", name="failing", cores=1) as session:
        assert session.submit(fail_once, str(tmp_path / "log")).result() == "well"


def test_large_results_and_arguments_are_kept(tmp_path: Path) -> None:
    numbers = np.arange(100_000)
    for _ in range(2):
        with pf.Session(store=tmp_path / "store", name="large", cores=1) as session:
            assert session.submit(zeros, 50_000).result().shape == (50_000,)
            assert session.submit(np.sum, numbers).result() == numbers.sum()
    finished = subprocess.run(
        [Path(sys.executable).with_name("pilotfish"), "tasks", "--store", tmp_path / "store", "--campaign", "large"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert [line.split()[2] for line in finished.stdout.splitlines()[1:]] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("cores", [1, 2])
def test_commands_that_have_succeeded_are_kept(tmp_path: Path, cores: int) -> None:
    """As the same job, or as one that asks for something else."""
    command = f"echo {{index}} >> {tmp_path}/log; test {{index}} != 2 -o -e {tmp_path}/ready"
    with pf.Session(store=tmp_path / "store", name="commands", cores=2) as session:
        assert [one.state for one in session.command(command, array=4, name="c").results()].count("failed") == 1
    (tmp_path / "ready").touch()
    for _ in range(2):
        with pf.Session(store=tmp_path / "store", name="commands", cores=2) as session:
            again = session.command(command, array=4, name="c", cores=cores)
            assert [one.name for one in again.result()] == ["c:0", "c:1", "c:2", "c:3"]
    assert logged(tmp_path) == {"0": 1, "1": 1, "2": 2, "3": 1}


def test_another_command_of_the_same_name_is_run(tmp_path: Path) -> None:
    for word in ("one", "two", "two"):
        with pf.Session(store=tmp_path / "store", name="commands", cores=1) as session:
            assert session.command(f"echo {word} | tee -a {tmp_path}/log", name="c").result().stdout == f"{word}\n"
    assert logged(tmp_path) == {"one": 1, "two": 1}


def test_two_sessions_do_not_share_a_place(tmp_path: Path) -> None:
    with pf.Session(store=tmp_path / "store", name="one", cores=1) as first:
        first.submit(zeros, 1).result()
        with pytest.raises(BusyError), pf.Session(store=tmp_path / "store", name="one", cores=1) as second:
            second.submit(zeros, 1)
