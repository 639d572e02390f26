import pytest

from pilotfish.errors import UserError
from pilotfish.manager.naming import Named, array_words, find, task_id
from pilotfish.model.jobs import Array, CallArray, Job, JobSpec, RangeArray, TableArray


def job(number: int, name: str, array: Array | None = None) -> Job:
    return Job(number, JobSpec(name=name, command="true", directory="/d", cwd="/d", array=array))


PREPARE = job(1, "prepare")
OLD_SIM = job(2, "sim", RangeArray(0, 3))
SIM = job(7, "sim", RangeArray(10, 6, 2))
ODD = job(8, "a:b", TableArray(("value",), (("x", "y"),)))
CALLS = job(9, "calls", CallArray(3))
EVERY = {one.id: one for one in (PREPARE, OLD_SIM, SIM, ODD, CALLS)}
CURRENT = {one.id: one for one in (PREPARE, SIM, ODD, CALLS)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1", Named(PREPARE, None)),
        ("prepare", Named(PREPARE, None)),
        ("7", Named(SIM, None)),
        ("sim", Named(SIM, None)),
        ("7:12", Named(SIM, 1)),
        ("sim:20", Named(SIM, 5)),
        ("2:1", Named(OLD_SIM, 1)),
        ("a:b", Named(ODD, None)),
        ("a:b:1", Named(ODD, 1)),
        ("calls:2", Named(CALLS, 2)),
    ],
)
def test_numbers_and_names_lead_to_jobs_and_tasks(text: str, named: Named) -> None:
    assert find(text, CURRENT, EVERY) == named


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5", "there is no job `5`; there are: prepare, sim, a:b, calls"),
        ("5:1", "there is no job `5`; there are: prepare, sim, a:b, calls"),
        ("calls:3", "`calls` has no task 3, but 0-2"),
        ("smi:12", "there is no job `smi`; did you mean `sim`?"),
        ("sim:11", "`sim` has no task 11, but 10-20:2"),
        ("sim:22", "`sim` has no task 22, but 10-20:2"),
        ("sim:x", "`x` in `sim:x` is not an index; `sim` has 10-20:2"),
        ("sim:", "`` in `sim:` is not an index; `sim` has 10-20:2"),
        ("a:b:2", "`a:b` has no task 2, but 0-1"),
        ("prepare:0", "`prepare` has no array: its one task is `prepare`"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        find(text, CURRENT, EVERY)
    assert str(caught.value) == complaint


def test_where_nothing_was_submitted_nothing_can_be_meant() -> None:
    with pytest.raises(UserError, match="there are none"):
        find("sim", {}, {})


def test_a_task_is_numbered_by_its_index() -> None:
    assert [task_id(SIM, 5), task_id(PREPARE, 0)] == ["7:20", "1"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, ""),
        (RangeArray(0, 1), "0-0"),
        (RangeArray(5, 3), "5-7"),
        (RangeArray(0, 0), "empty"),
        (CallArray(), "empty"),
    ],
)
def test_indices_are_told_as_they_are_written(array: Array | None, words: str) -> None:
    assert array_words(job(1, "x", array)) == words
