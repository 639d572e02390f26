"""What comes before the command: standard input, modules, a Python environment, setup lines."""

import os
from pathlib import Path
from typing import Any

import pytest

from pilotfish.model.jobs import RangeArray
from pilotfish.model.states import Outcome
from tests.integration.agent.agent_node import Node

MODULES = """\
module() {
    [ "$1" = load ] || return 3
    shift
    for name in "$@"; do
        case $name in no*) echo "no module $name" >&2; return 1 ;; esac
        LOADED="$LOADED<$name>"
    done
}
"""
SETTING = "X=from-setup; export X"


@pytest.fixture
def modules(node: Node) -> Node:
    """A node with a module system."""
    init = node.folder / "modules" / "init" / "sh"
    init.parent.mkdir(parents=True)
    init.write_text(MODULES)
    node.env["MODULESHOME"] = str(init.parent.parent)
    node.up()
    return node


def test_standard_input_is_a_file(node: Node) -> None:
    node.up()
    for index in range(2):
        (node.folder / f"{index}.in").write_text(f"for {index}")
    spec = node.command(("cat",), stdin=f"{node.folder}/{{index}}.in", array=RangeArray(0, 2))
    attempts = node.run(spec, hi=2)
    assert [node.output(node.result(attempt)) for attempt in attempts] == [b"for 0", b"for 1"]
    assert node.output(node.finish(node.command("wc -c", name="other"))).strip() == b"0"


@pytest.mark.parametrize(("path", "words"), [("missing", "missing: No such file"), ("", ": Is a directory")])
def test_what_cannot_be_read_is_told(node: Node, path: str, words: str) -> None:
    node.up()
    report = node.finish(node.command("cat", stdin=f"{node.folder}/{path}"))
    assert (report.outcome, words in report.reason) == (Outcome.start_failed, True)


def test_a_pipe_that_nobody_writes_to_does_not_hold_a_lane_up(node: Node) -> None:
    node.up()
    os.mkfifo(node.folder / "pipe")
    assert node.finish(node.command("cat", stdin=str(node.folder / "pipe"))).succeeded


@pytest.mark.parametrize("command", ["echo $X {index}", ("sh", "-c", "echo $X $1", "sh", "{index}")])
def test_setup_runs_in_the_shell_of_the_command(node: Node, command: Any) -> None:
    node.up()
    report = node.finish(node.command(command, setup=(SETTING, "cd /", "X=$X-{index}")))
    assert node.output(report) == b"from-setup-0 0\n"


def test_arguments_reach_a_list_as_they_are(node: Node) -> None:
    node.up()
    report = node.finish(node.command(("printf", "%s|", "a b", "$HOME", "'", ""), setup=("true",)))
    assert node.output(report) == b"a b|$HOME|'||"


def test_a_list_takes_the_place_of_its_shell(node: Node) -> None:
    node.up()
    report = node.finish(node.command(("sh", "-c", "echo $PPID; kill -KILL $$"), setup=("true",)))
    assert (report.outcome, report.code) == (Outcome.signalled, 9)
    assert int(node.output(report)) == node.keeper()


@pytest.mark.parametrize("command", ["touch ran", ("touch", "ran")])
@pytest.mark.parametrize(
    ("spec", "codes"),
    [
        ({"setup": ("false", "true")}, {1}),
        ({"setup": ("exit 3",)}, {3}),
        ({"setup": ("no-such-program",)}, {127}),
        ({"setup": ("if true; then", "  (exit 7)", "fi")}, {7}),
        ({"venv": "/no/such/venv"}, {1, 2, 127}),
        ({"modules": ("gcc", "nothing")}, {1}),
    ],
)
def test_the_first_that_fails_is_the_end(modules: Node, command: Any, spec: dict[str, Any], codes: set[int]) -> None:
    report = modules.finish(modules.command(command, **spec))
    assert report.outcome is Outcome.exited
    assert report.code in codes
    assert not (modules.folder / "ran").exists()


def test_the_command_is_free_of_the_rules_of_its_setup(node: Node) -> None:
    node.up()
    report = node.finish(node.command("false; echo on", setup=("true",)))
    assert (report.code, node.output(report)) == (0, b"on\n")


def test_modules_are_loaded_where_the_shell_does_not_know_them(modules: Node) -> None:
    report = modules.finish(modules.command("echo $LOADED", modules=("gcc/12", "a b")))
    assert modules.output(report) == b"<gcc/12><a b>\n"


def test_modules_without_a_module_system_are_told(node: Node) -> None:
    node.env |= {"MODULESHOME": "", "LMOD_PKG": ""}
    node.up()
    if Path("/etc/profile.d/lmod.sh").exists() or Path("/etc/profile.d/modules.sh").exists():
        pytest.skip("this machine has one")
    report = node.finish(node.command("touch ran", modules=("gcc/12",)))
    assert (report.code, b"module" in node.output(report, "stderr")) == (127, True)
    assert not (node.folder / "ran").exists()


def test_an_environment_is_activated(node: Node) -> None:
    node.up()
    activate = node.folder / "my env" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text('VIRTUAL_ENV=here; PATH="/activated:$PATH"; export VIRTUAL_ENV PATH')
    report = node.finish(node.command(("sh", "-c", "echo $VIRTUAL_ENV ${PATH%%:*}"), venv=f"{node.folder}/my env"))
    assert node.output(report) == b"here /activated\n"


def test_a_real_environment_is_activated(node: Node) -> None:
    node.up()
    venv = f"{node.folder}/real"
    spec = node.command("python3 -c 'import sys; print(sys.prefix)'", venv=venv, setup=())
    assert node.finish(node.command(("python3", "-m", "venv", "--without-pip", venv), name="make")).succeeded
    assert node.output(node.finish(spec)) == f"{venv}\n".encode()
