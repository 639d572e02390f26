from typing import Any

import pytest

from pilotfish import JobClass
from pilotfish.errors import NotYetSupportedError, UserError
from pilotfish.functions.envelope import load_function, unpack_arguments
from pilotfish.functions.jobclass import JobRunner, check_arguments, job_fields, packed_call, schedule_of
from pilotfish.functions.wire import IN_BAND, split_call
from pilotfish.model.jobs import Retries
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request


class Plain(JobClass):
    def execute(self, start: int, end: int, chunk: int | None = None) -> int:
        return len(range(start, end, chunk or 1))


class Demanding(Plain):
    cores = 2
    memory = "1GiB"
    gpus = "0.5"
    wall_time = "10m"
    priority = -3
    max_parallel = 4
    attempts = 3
    error_time = "30s"
    author = "me"
    tag = ["a", "b"]  # noqa: RUF012 - as users write it


def changed(**attributes: object) -> Any:
    return type("Changed", (Plain,), attributes)


def test_a_class_that_says_nothing_asks_for_a_core_and_one_try() -> None:
    fields = job_fields(Plain)
    assert fields == {
        "name": "Plain",
        "request": Request(),
        "time": None,
        "priority": 0,
        "max_parallel": None,
        "retries": Retries(0, 600.0),
    }


def test_attributes_become_those_of_the_job() -> None:
    fields = job_fields(Demanding)
    assert fields["request"] == Request(cores=Amount(20_000), memory=2**30, gpus=Amount(5_000))
    assert (fields["time"], fields["priority"], fields["max_parallel"]) == (600.0, -3, 4)
    assert fields["retries"] == Retries(2, 30.0)


def test_what_is_forced_comes_before_every_priority() -> None:
    most = job_fields(changed(priority=1_000_000_000))["priority"]
    assert job_fields(changed(force=True))["priority"] > most


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"attempts": -1}, r"Changed\.attempts: expected a whole number from 1 to 1000000000, got -1"),
        ({"attempts": True}, r"Changed\.attempts: .*got True"),
        ({"max_parallel": 0}, r"Changed\.max_parallel: expected a whole number from 1"),
        ({"priority": "high"}, r"Changed\.priority: .*got 'high'"),
        ({"cores": 1.5}, r"Changed\.cores: expected a whole number, or less than 1, got 1\.5"),
        ({"memory": "2 bananas"}, r"Changed\.memory: expected memory such as 2GiB"),
        ({"memory": "0"}, r"Changed\.memory: must be more than 0"),
        ({"time": "0s"}, r"Changed\.time: must be more than 0"),
        ({"time": "5 min"}, r"Changed\.time: expected a time such as"),
        ({"defer_time": -1}, r"Changed\.defer_time: expected a time"),
        ({"defer_max": "soon"}, r"Changed\.defer_max: expected a time"),
        ({"error_time": None, "attempts": 0}, r"Changed\.attempts"),
        ({"time": 1, "wall_time": 2}, "time and wall_time are the same"),
        ({"force": 1}, r"Changed\.force: expected True or False, got 1"),
        ({"author": 7}, r"Changed\.author: expected text, got 7"),
        ({"tag": ["a", 7]}, r"Changed\.tag: expected text"),
        ({"execute": None}, "has no method `execute`"),
    ],
)
def test_a_wrong_attribute_is_named_with_its_value(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        job_fields(changed(**attributes))


@pytest.mark.parametrize("word", ["chain", "dependency", "worker", "zombie_time"])
def test_a_word_that_means_nothing_yet_is_refused(word: str) -> None:
    with pytest.raises(NotYetSupportedError, match=rf"Changed\.{word} is not yet supported"):
        job_fields(changed(**{word: "*/5 * * * *"}))


def test_a_schedule_is_that_of_its_very_class() -> None:
    nightly = changed(schedule="0 3 * * *")
    assert schedule_of(nightly) == "0 3 * * *"
    assert schedule_of(type("Heir", (nightly,), {})) is None
    assert schedule_of(Plain) is None
    with pytest.raises(UserError, match=r"Changed\.schedule: expected cron's five fields, .* got 5"):
        schedule_of(changed(schedule=5))


def test_what_is_no_job_class_is_refused() -> None:
    wrong: Any = int
    with pytest.raises(UserError, match=r"expected a class derived from pilotfish\.JobClass, got <class 'int'>"):
        job_fields(wrong)


def test_a_class_without_execute_is_refused() -> None:
    with pytest.raises(UserError, match="Empty has no method `execute`"):
        job_fields(type("Empty", (JobClass,), {}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"start": 1}, "missing a required argument: 'end'"), ({"start": 1, "end": 2, "step": 3}, "'step'")],
)
def test_arguments_that_execute_does_not_take_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=rf"Plain\.execute\(.*{message}"):
        check_arguments(Plain, arguments)


def test_a_call_carries_its_class_and_arguments() -> None:
    head, arguments = split_call(packed_call(Plain, {"start": 1, "end": 5}))
    assert head[:1] == IN_BAND
    assert isinstance(load_function(head[1:]), JobRunner)
    assert unpack_arguments(arguments, None) == ((), {"start": 1, "end": 5})


def test_equal_jobs_are_equal_calls() -> None:
    assert packed_call(Plain, {"start": 1, "end": 5}) == packed_call(Plain, {"start": 1, "end": 5})


def test_outside_of_a_task_execute_is_a_method_like_any_other() -> None:
    assert Plain().execute(1, 5) == 4
    with pytest.raises(UserError, match="this Plain is not executed by pilotfish"):
        _ = Plain().trial
