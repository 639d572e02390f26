"""Jobs whose tasks follow others to their nodes: which ones are meant, and what is refused."""

import pytest

from pilotfish.errors import UserError
from pilotfish.formats.native import load_text


def jobs(first: str, second: str) -> str:
    return f"jobs: [{{name: c, command: run}}, {{name: a, command: run{first}}}, {{name: b, command: run{second}}}]"


@pytest.mark.parametrize(
    ("array", "after", "followed"),
    [("", "{job: a, each: true}", 0), ("", "a", 0), (", array: 2", "[{job: c}, {job: a, each: true}]", 1)],
)
def test_a_job_may_follow_another_to_its_nodes(array: str, after: str, followed: int) -> None:
    text = jobs(array, f"{array}, after: {after}, same_node: true")
    assert load_text(text, name="jobs.yaml").jobs[2].followed == followed


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("", "", "needs the job whose nodes are meant"),
        ("", ", array: 2, after: a", "each: true"),
        ("", ", nodes: 2, after: {job: a, each: true}", "is for tasks on one node"),
        (", array: 2", ", after: a", "needs one task to follow, and a has 2"),
    ],
)
def test_what_it_follows_must_be_clear(first: str, second: str, says: str) -> None:
    with pytest.raises(UserError, match=r"jobs\[2\]\.same_node: ") as caught:
        load_text(jobs(first, f"{second}, same_node: true"), name="jobs.yaml")
    assert says in str(caught.value)
