"""Placeholders: what is replaced, how it is quoted, what is left alone."""

import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.formats.placeholders import ALWAYS, Template, escape, task_values
from pilotfish.model.jobs import JobSpec, RangeArray, TableArray
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Request

VALUES = {"x": "a b", "index": "3"}

texts = st.text(st.sampled_from("{}${{}}:raw%s x_1'\"\\\n") | st.characters(codec="utf-8"), max_size=40)
pieces = st.lists(st.sampled_from(["{", "}", "{{", "}}", "$", "x", ":raw", "{x}", "{{x}}", "${", "%", "/", " "]))


@pytest.mark.parametrize(
    ("text", "quoted", "plain"),
    [
        ("true", "true", "true"),
        ("run {index}", "run 3", "run 3"),
        ("run {x}", "run 'a b'", "run a b"),
        ("run {x:raw}", "run a b", "run a b"),
        ("{x}{x:raw}{index}", "'a b'a b3", "a ba b3"),
        ("{{x}} {{x:raw}}", "{x} {x:raw}", "{x} {x:raw}"),
        ("${x} ${x:-1} $${x} ${{x}}", "${x} ${x:-1} $${x} ${{x}}", "${x} ${x:-1} $${x} ${{x}}"),
        ("${HOME:-{index}}", "${HOME:-3}", "${HOME:-3}"),
        ("{} {1} {a,b} {1..9} { x } {x-y} {x:03d}", *["{} {1} {a,b} {1..9} { x } {x-y} {x:03d}"] * 2),
        ("awk '{ print $1 }'", *["awk '{ print $1 }'"] * 2),
        ("{{{x}}}", "{{x}}", "{{x}}"),
        ("100% {index} %s %(x)s", *["100% 3 %s %(x)s"] * 2),
        ("{ä}", "{ä}", "{ä}"),
        ("{x", "{x", "{x"),
    ],
)
def test_render(text: str, quoted: str, plain: str) -> None:
    assert Template.compile(text, quoted=True).render(VALUES) == quoted
    assert Template.compile(text, quoted=False).render(VALUES) == plain


def test_names_are_those_that_are_used() -> None:
    assert Template.compile("{a} {b:raw} {{c}} ${d} {a}", quoted=True).names == {"a", "b"}


def test_a_name_without_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        Template.compile("{y}", quoted=False).render(VALUES)


@given(texts | st.builds("".join, pieces))
def test_an_escaped_text_renders_as_itself(text: str) -> None:
    template = Template.compile(escape(text), quoted=True)
    assert not template.names
    assert template.render({}) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_quoted_value_is_one_word_of_the_shell(value: str) -> None:
    assert shlex.split(Template.compile("run {x} end", quoted=True).render({"x": value})) == ["run", value, "end"]


@given(st.lists(st.text(string.printable)))
def test_values_are_never_read_again(values: list[str]) -> None:
    tricky = ["{x0}", *values]
    names = {f"x{place}": value for place, value in enumerate(tricky)}
    template = Template.compile(" ".join(f"{{{name}}}" for name in names), quoted=False)
    assert template.render(names) == " ".join(tricky)


def spec(**more: object) -> JobSpec:
    return JobSpec(**({"name": "sim", "command": "run", "directory": "/work", "cwd": "/work"} | more))  # type: ignore[arg-type]


def test_values_of_a_task_of_a_range() -> None:
    ranged = spec(array=RangeArray(10, 5, 2), request=Request(Amount(40_000)))
    assert task_values(17, ranged, 3, 2) == {
        "index": "16",
        "name": "sim",
        "job": "17",
        "task": "17:16",
        "attempt": "2",
        "cores": "4",
        "dir": "/work",
    }


def test_values_of_a_task_of_a_list() -> None:
    values = task_values(17, spec(array=TableArray(("value",), (("a", "b"),))), 1, 1)
    assert (values["index"], values["value"], values["task"]) == ("1", "b", "17:1")


def test_values_of_a_job_without_array() -> None:
    values = task_values(17, spec(), 0, 1)
    assert (values["index"], values["task"]) == ("0", "17")


@pytest.mark.parametrize(("amount", "cores"), [(0, "0"), (1, "1"), (5_000, "1"), (10_000, "1"), (20_000, "2")])
def test_cores_are_counted_whole(amount: int, cores: str) -> None:
    assert task_values(1, spec(request=Request(Amount(amount))), 0, 1)["cores"] == cores


def test_cores_that_were_given_count_more_than_those_asked_for() -> None:
    assert task_values(1, spec(request=Request(Amount(10_000))), 0, 1, cores=3)["cores"] == "3"


@pytest.mark.parametrize("array", [None, RangeArray(0, 3), TableArray(("value",), (("a",),))])
def test_known_names_are_those_with_a_value(array: RangeArray | TableArray | None) -> None:
    assert {*ALWAYS, *spec(array=array).columns} == set(task_values(1, spec(array=array), 0, 1))
