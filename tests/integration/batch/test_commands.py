"""Running the commands of a batch system."""

import os
import selectors
import time

import pytest

from pilotfish.batch.commands import Running
from pilotfish.batch.dialect import Errand, Output
from pilotfish.errors import UserError


def wait(call: Errand, **more: float) -> Output:
    with Running(call, os.environ, **more) as running:
        return running.wait()


def test_what_it_prints_and_how_it_ends_is_kept() -> None:
    assert wait(Errand(("sh", "-c", "cat; echo oops >&2; exit 3"), stdin="é\n")) == Output(3, "é\n", "oops\n")


def test_its_environment_is_ours_but_for_what_is_hidden_and_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CONF", "SLURM_MEM", "XSLURM_MEM"):
        monkeypatch.setenv(name, "ours")
    call = Errand(("env",), environment=(("SLURM_MEM", "set"),), hidden="SLURM_(?!CONF$).*")
    told = {line for line in wait(call).out.splitlines() if "SLURM_" in line}
    assert told == {"SLURM_CONF=ours", "XSLURM_MEM=ours", "SLURM_MEM=set"}
    assert "SLURM_MEM" not in wait(Errand(("sh", "-c", "env | grep ^SLURM_MEM"), hidden="SLURM_.*")).out


def test_its_end_can_be_selected_for() -> None:
    with Running(Errand(("sh", "-c", "read line; echo done"), stdin="go\n"), os.environ) as running:
        selector = selectors.DefaultSelector()
        selector.register(running, selectors.EVENT_READ)
        assert selector.select(60)
        assert running.poll() == Output(0, "done\n")
        selector.close()


def test_one_that_takes_too_long_is_ended_with_all_that_it_started() -> None:
    began = time.monotonic()
    with Running(Errand(("sh", "-c", "echo begun; sleep 60 & wait")), os.environ, patience=0.5) as running:
        assert running.poll() is None
        assert running.wait() == Output(None, "begun\n")
    assert time.monotonic() - began < 30


def test_leaving_ends_it() -> None:
    with Running(Errand(("sleep", "60")), os.environ) as running:
        pass
    assert running.poll() == Output(None)
    running.close()


def test_one_that_is_not_there_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="there is no command no-such-sbatch here"):
        Running(Errand(("no-such-sbatch",)), os.environ)
