from typing import Any

from pilotfish.agent.commands import command_of
from pilotfish.model.jobs import JobSpec

VALUES = {"index": "7", "name": "it's"}


def argv(command: str | tuple[str, ...], **spec: Any) -> list[str]:
    return command_of(JobSpec(name="a", command=command, directory="/d", cwd="/d", **spec))(VALUES)


def test_a_text_is_for_the_shell_and_a_list_is_not() -> None:
    assert argv("echo {index} {name}") == ["/bin/sh", "-c", "echo 7 'it'\"'\"'s'"]
    assert argv(("echo", "{index}", "{name}")) == ["echo", "7", "it's"]


def test_setup_stands_before_a_text() -> None:
    assert argv("run", setup=("a {name}", "b")) == ["/bin/sh", "-c", "set -e\na 'it'\"'\"'s'\nb\nset +e\nrun"]


def test_a_list_is_run_by_the_shell_of_its_setup() -> None:
    script = 'set -e\na\nset +e\nexec "$@"'
    assert argv(("run", "{index}", "x y"), setup=("a",)) == ["/bin/sh", "-c", script, "sh", "run", "7", "x y"]


def test_the_path_of_an_environment_is_one_word() -> None:
    assert "\n. '/my envs/7/bin/activate'\n" in argv("run", venv="/my envs/{index}")[2]


def test_modules_come_first_and_are_no_templates() -> None:
    script = argv("run", modules=("gcc/12", "a b{index}"), venv="/v", setup=("x",))[2]
    assert script.endswith("\nset -e\nmodule load gcc/12 'a b{index}'\n. /v/bin/activate\nx\nset +e\nrun")
