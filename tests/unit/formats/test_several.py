"""Several files as one campaign."""

import msgspec
import pytest

from pilotfish.errors import JobFileError
from pilotfish.formats.native import STDIN, load_all, load_text

A = "name: both\nlimits: {db: 4}\njobs:\n  - {name: a, command: run, uses: {db: 1}}\n"
B = "limits: {db: 4, net: 2}\njobs:\n  - {name: b, command: run, after: a, uses: {net: 1}}\n"


def refused(*files: tuple[str, str]) -> JobFileError:
    with pytest.raises(JobFileError) as raised:
        load_all(files)
    return raised.value


def test_they_are_one_campaign() -> None:
    found = load_all([("/work/x/a.yaml", A), ("/work/y/b.yaml", B)])
    assert (found.name, found.file, found.limits) == ("both", "/work/x/a.yaml", {"db": 4, "net": 2})
    assert [(spec.name, spec.directory) for spec in found.jobs] == [("a", "/work/x"), ("b", "/work/y")]


def test_one_file_is_what_it_is_alone() -> None:
    one, alone = load_all([("/work/a.yaml", A)]), load_text(A, name="/work/a.yaml")
    assert msgspec.structs.replace(one, parts=()) == msgspec.structs.replace(alone, parts=())


def test_a_later_file_may_name_an_earlier_job_and_the_other_way_round() -> None:
    assert [spec.name for spec in load_all([("b.yaml", B), ("a.yaml", A)]).jobs] == ["b", "a"]


def test_the_only_job_of_each_is_named_after_its_file() -> None:
    found = load_all([("one.yaml", "jobs: [{command: run}]"), ("two.txt", "true\n"), (STDIN, "false\n")])
    assert ([spec.name for spec in found.jobs], found.name) == (["one", "two", "stdin"], None)


def test_names_are_unique_in_all_of_them() -> None:
    error = refused(("a.yaml", A), ("x/a.yaml", "jobs:\n  - command: run\n"))
    assert str(error) == (
        "x/a.yaml:2: jobs[0].name: a is also the name of jobs[0] of a.yaml: give each job a name of its own"
    )


def test_a_list_whose_name_is_taken_is_refused() -> None:
    error = refused(("a.yaml", A), ("a.txt", "true\n"))
    assert str(error).startswith("a.txt: a is also the name of jobs[0] of a.yaml")


def test_an_error_between_files_stands_in_the_file_where_it_shows() -> None:
    c = "jobs:\n  - {name: c, command: run}\n  - name: d\n    command: run\n    after: [c, e]\n"
    error = refused(("a.yaml", A), ("b.yaml", B), ("c.yaml", c))
    assert (error.file, error.line, error.key) == ("c.yaml", 5, "jobs[1].after")
    assert "no job of this campaign is named 'e'" in str(error)


def test_names_of_campaigns_agree() -> None:
    error = refused(("a.yaml", A), ("b.yaml", f"name: other\n{B}"))
    assert (error.file, error.line, error.key) == ("b.yaml", 1, "name")
    assert "'other' here and 'both' in an earlier file" in str(error)


def test_limits_of_one_name_agree() -> None:
    error = refused(("a.yaml", A), ("b.yaml", B.replace("db: 4", "db: 5")))
    assert (error.file, error.line, error.key) == ("b.yaml", 1, "limits.db")
    assert "5 here and 4 in an earlier file" in str(error)


def test_limits_are_those_of_all_files() -> None:
    late = "limits: {gpu: 1}\njobs: [{command: run}]"
    early = "jobs: [{command: run, uses: {gpu: 1}}]"
    assert load_all([("early.yaml", early), ("late.yaml", late)]).limits == {"gpu": 1}
    error = refused(("a.yaml", A), ("b.yaml", B.replace("net: 1", "net: 3")))
    assert (error.file, error.key) == ("b.yaml", "jobs[0].uses.net")


def test_a_circle_may_go_through_files() -> None:
    error = refused(("a.yaml", A.replace("command: run", "command: run, after: b")), ("b.yaml", B))
    assert "a → b → a" in str(error)


def test_what_standard_input_says_is_told_so() -> None:
    error = refused(("a.yaml", A), (STDIN, "jobs:\n  - name: s\n    comand: run\n"))
    assert str(error).startswith("standard input:3: jobs[0].comand: unknown key; did you mean command?")
