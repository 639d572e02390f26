"""A book kept with a real Slurm, by a loop that never waits for it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotfish.batch.broker import Broker, read_book
from pilotfish.batch.dialect import AllocationRequest, State
from pilotfish.batch.htcondor import HTCondor
from pilotfish.batch.slurm import Slurm
from pilotfish.errors import UserError
from tests.clusters import SLURM, SlurmCluster

PATIENCE = 60.0


def wanted(folder: Path, name: str) -> AllocationRequest:
    log = str(folder / "log")
    return AllocationRequest(argv=("sleep", "60"), name=name, folder=str(folder), log=log, seconds=300.0, cores=1)


def step_until(broker: Broker, condition: Callable[[], bool]) -> None:
    """The book's clock runs ten times as fast, so that nobody waits for the next look."""
    began, deadline = time.time(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, list(broker.book)
        list(broker.step(began + (time.time() - began) * 10))
        time.sleep(0.02)


@SLURM[0]
@SLURM[1]
@pytest.mark.usefixtures("slurm")
def test_from_asking_to_the_end(tmp_path: Path) -> None:
    file = tmp_path / "book" / "slurm.json"
    broker = Broker(Slurm(), file, os.environ)
    first = broker.ask(wanted(tmp_path, "pf-1"), time.time())
    assert [pilot.state for pilot in read_book(file)[1]] == [State.ASKED]
    second = broker.ask(wanted(tmp_path, "pf-2"), time.time())
    step_until(broker, lambda: all(pilot.state is State.RUNNING for pilot in broker.book))
    broker.book.cancel(first)
    broker.book.cancel(second)
    step_until(broker, lambda: not broker.book.living)
    broker.close()
    assert [(pilot.state, pilot.reason) for pilot in read_book(file)[1]] == [(State.ENDED, "CANCELLED")] * 2


@SLURM[0]
@SLURM[1]
def test_one_that_dies_while_it_asks_is_followed_by_one_that_knows(slurm: SlurmCluster, tmp_path: Path) -> None:
    file = tmp_path / "slurm.json"
    broker = Broker(Slurm(), file, os.environ)
    key = broker.ask(wanted(tmp_path, "pf-orphan"), time.time())
    slurm.wait_for(lambda: "pf-orphan" in slurm.run("squeue", "--noheader", "--format=%j"))
    broker.close()
    later = Broker(Slurm(), file, os.environ)
    step_until(later, lambda: later.book[key].state is State.RUNNING)
    assert later.book[key].id
    later.book.cancel(key)
    step_until(later, lambda: not later.book.living)
    later.close()


def test_a_system_that_is_not_here_is_told_at_once(tmp_path: Path) -> None:
    broker = Broker(HTCondor(), tmp_path / "book.json", {"PATH": str(tmp_path)})
    with pytest.raises(UserError, match="there is no command condor_submit here"):
        broker.ask(wanted(tmp_path, "pf-1"), 0.0)
    broker.close()
