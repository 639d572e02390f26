"""What a worker that ends leaves to the next one."""

import os
import time
from concurrent.futures import wait

import pytest

import pilotfish as pf
from pilotfish.errors import WorkerDiedError

PATIENCE = 60.0


def end_or_return(number: int) -> int:
    if number < 0:
        time.sleep(0.02)  # those that follow shall be in the worker by then
        os._exit(3)
    return number


def test_calls_behind_one_that_ends_its_worker_are_made_by_the_next() -> None:
    with pf.Executor(max_workers=1) as executor:
        assert list(executor.map(end_or_return, range(200))) == list(range(200)), "short calls are given ahead"
        deadly, *others = [executor.submit(end_or_return, number) for number in (-1, 0, 1, 2, 3)]
        assert not wait(others, PATIENCE).not_done
        assert [future.result() for future in others] == [0, 1, 2, 3]
        with pytest.raises(WorkerDiedError, match="exit code 3"):
            deadly.result()
