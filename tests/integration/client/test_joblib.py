"""joblib on our workers."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from pickle import PicklingError

import numpy as np
import pytest

try:
    import joblib  # type: ignore[import-untyped]
    from joblib import Parallel, delayed, parallel_config

    from pilotfish.client.joblib import register_joblib, release_workers
except ImportError:
    pass

pytestmark = pytest.mark.needs("joblib")
LONG = 600


def square(number: int) -> int:
    return number * number


def divide(left: int, right: int) -> float:
    return left / right


def inner(number: int) -> int:
    return sum(Parallel(n_jobs=2)(delayed(square)(one) for one in range(number)))


@pytest.fixture(autouse=True)
def _backend() -> Iterator[None]:
    with parallel_config("pilotfish", n_jobs=2):
        yield
    release_workers()


def test_results_come_in_order() -> None:
    assert Parallel()(delayed(square)(number) for number in range(100)) == [number**2 for number in range(100)]


def test_it_runs_in_our_workers() -> None:
    assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(4))


def test_registering_again_does_no_harm() -> None:
    register_joblib()
    assert Parallel()(delayed(square)(number) for number in range(3)) == [0, 1, 4]


def test_an_error_comes_with_its_own_type_and_the_next_run_works() -> None:
    with Parallel() as parallel:
        with pytest.raises(ZeroDivisionError):
            parallel(delayed(divide)(1, number) for number in (1, 0, 2))
        assert parallel(delayed(divide)(1, number) for number in (1, 2)) == [1.0, 0.5]


def test_an_error_ends_those_that_run() -> None:
    calls = [delayed(divide)(1, 0), delayed(time.sleep)(LONG), delayed(time.sleep)(LONG)]
    with pytest.raises(ZeroDivisionError):
        Parallel(batch_size=1)(calls)


def test_a_timeout_is_kept() -> None:
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(delayed(time.sleep)(LONG) for _ in range(2))


def test_generators_give_results_as_they_come() -> None:
    assert sorted(Parallel(return_as="generator_unordered")(delayed(square)(one) for one in range(5))) == [
        0, 1, 4, 9, 16,
    ]  # fmt: skip
    # To the end: joblib warns where the collector meets an unfinished one in another thread.
    assert list(Parallel(return_as="generator")(delayed(square)(one) for one in range(5))) == [0, 1, 4, 9, 16]


def test_runs_may_nest() -> None:
    assert Parallel()(delayed(inner)(number) for number in range(4)) == [0, 0, 1, 5]


def test_large_arrays_arrive_read_only() -> None:
    array = np.arange(100_000.0)
    found = Parallel()(delayed(lambda given: (given.sum(), given.flags.writeable))(array) for _ in range(3))
    assert found == [(array.sum(), False)] * 3


def test_what_cannot_travel_is_told() -> None:
    with pytest.raises(PicklingError, match="cannot be sent to another process"):
        Parallel()(delayed(id)(iter_of_nothing()) for _ in range(2))


def test_options_are_the_executors() -> None:
    with parallel_config("pilotfish", n_jobs=2, memory="256MiB"):
        assert Parallel()(delayed(square)(number) for number in range(3)) == [0, 1, 4]


def test_numbers_of_jobs_count_as_joblibs_do() -> None:
    cores = joblib.cpu_count()
    with parallel_config("pilotfish", n_jobs=-1):
        assert joblib.effective_n_jobs() == cores
    with parallel_config("pilotfish"), pytest.raises(ValueError, match="has no meaning"):
        Parallel(n_jobs=0)(delayed(square)(1) for _ in range(2))


def iter_of_nothing() -> Iterator[int]:
    yield from ()
