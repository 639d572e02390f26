"""Whatever is done to a job file, it is read or refused; nothing else is raised."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.errors import UserError
from pilotfish.formats.document import Format
from pilotfish.formats.native import load_text
from pilotfish.formats.placeholders import Template, task_values

FILE = """\
name: campaign
defaults: {env: {A: 1}, grace: 5s}
limits: {licence: 4}
jobs:
  - &first
    name: sim
    array: 0-98:2
    command: ["{dir}/sim", --seed, "{index}", 007]
    cores: 4
    memory: 2GiB
    time: 1h30m
    env: {OMP_PROC_BIND: "true", SCALE: 1.50}
    cwd: runs/{index}
    stderr: stdout
    variants: [{gpus: 0.5}, {cores: {min: 2, max: 8}, labels: [fast]}]
    signal: USR1@90s
    uses: {licence: 1}
    setup: ["source {dir}/env.sh"]
  - name: polish
    array: {product: {value: [a, b, c], y: 0-9}}
    command: ./polish {value} {y}
    after: {job: sim, when: finished}
    retries: {count: 2, delay: 10s, retry_on: [75, timed_out]}
    start_after: 2026-01-01T00:00
"""
FRAGMENTS = [
    "\n",
    " ",
    "  ",
    ":",
    "-",
    "{",
    "}",
    "[",
    "]",
    "*first",
    "&a",
    "!",
    "'",
    '"',
    "#",
    "\t",
    "|",
    "\0",
    "é",
    "5",
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
names = st.sampled_from(["a", "b", "c"])
likely = {
    "name": names,
    "command": st.just("run {index}") | st.lists(st.sampled_from(["run", "{task}", "5"]), min_size=1, max_size=3),
    "array": st.integers(1, 10**7)
    | st.sampled_from(["3-9:2", "0-9%3", {"zip": {"x": [1], "y": "0-0"}}, {"product": {"x": "0-9"}}])
    | st.lists(names, min_size=1, max_size=3),
    "after": names | st.lists(names | st.fixed_dictionaries({"job": names}), max_size=2),
    "cores": st.sampled_from([0, 1, 4, 0.5, {"min": 1, "max": 2}]),
    "variants": st.sampled_from([[{}], [{"gpus": 1}, {"nodes": 2}]]),
    "start_after": st.sampled_from([5, "1h", "2026-01-01"]) | st.text(max_size=8),
    "signal": st.sampled_from(["USR1", "10@5s"]) | st.text(max_size=8),
    "setup": st.sampled_from(["a\nb", ["a"]]) | st.text(max_size=8),
    "env": st.dictionaries(names, st.text(max_size=3) | st.integers(), max_size=2),
    "cwd": st.sampled_from([".", "..", "runs/{index}", "~", "/"]),
}
jobs = st.fixed_dictionaries(
    {"name": likely["name"], "command": likely["command"]},
    optional={key: value | json_values for key, value in likely.items() if key not in {"name", "command"}},
)


def read(text: str, format_: Format) -> None:
    """Read a file, and render what it says where it is right."""
    try:
        found = load_text(text, name="/work/jobs", format=format_)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either end is right
        return
    for spec in found.jobs:
        values = task_values(1, spec, spec.count - 1, 1)
        for part in (spec.cwd, *([spec.command] if isinstance(spec.command, str) else spec.command)):
            Template.compile(part, quoted=True).render(values)


@given(st.data())
@settings(max_examples=200)
def test_a_mangled_file_is_read_or_refused(data: st.DataObject) -> None:
    text = FILE
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(st.sampled_from(FRAGMENTS) | st.text(max_size=3)) + text[end:]
    read(text, Format.yaml)


@given(json_values | st.fixed_dictionaries({"jobs": st.lists(jobs, min_size=1, max_size=3)}))
@settings(max_examples=200)
def test_any_json_is_read_or_refused(value: Any) -> None:
    text = json.dumps(value)
    read(text, Format.json)
    read(text, Format.yaml)


@given(st.text())
@pytest.mark.parametrize("format_", Format)
def test_any_text_is_read_or_refused(format_: Format, text: str) -> None:
    read(text, format_)
