"""From a job to argument vectors: its command, and what a shell does before it.

A job with modules, a Python environment or setup lines is run by one shell, which does these first and then its
command. The first of them that fails ends that shell with its exit code, as ``set -e`` does; the command is free of it.

What belongs here: texts. What must not: files, processes.
"""

from collections.abc import Callable, Mapping
from shlex import quote

from pilotfish.formats.placeholders import Template
from pilotfish.model.jobs import JobSpec

__all__ = ["SHELL", "command_of", "launched"]

SHELL = "/bin/sh"
"""Runs commands that are texts."""

_FIND_MODULES = """\
for pilotfish_init in "$MODULESHOME/init/sh" "$LMOD_PKG/init/sh" /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
command -v module >/dev/null 2>&1 && break
[ -r "$pilotfish_init" ] && . "$pilotfish_init"
done
unset pilotfish_init"""
"""A login shell would know ``module``; this is what it reads to learn it."""


def command_of(spec: JobSpec) -> Callable[[Mapping[str, str]], list[str]]:
    """From the values of a task's placeholders to its argument vector."""
    return _command(spec, _before(spec))


def launched(spec: JobSpec) -> Callable[[Mapping[str, str], str, Callable[[list[str]], list[str]]], list[str]]:
    """From values, a launcher's script and what makes a command a rank's, to the argument vector of the launcher.

    What is set up before is set up once, for the launcher, which hands its environment on.
    """
    before, command = _before(spec), _command(spec, None)

    def argv(values: Mapping[str, str], script: str, rank: Callable[[list[str]], list[str]]) -> list[str]:
        return [SHELL, "-c", (before(values) if before is not None else "") + script, "sh", *rank(command(values))]

    return argv


def _command(
    spec: JobSpec, before: Callable[[Mapping[str, str]], str] | None
) -> Callable[[Mapping[str, str]], list[str]]:
    if isinstance(spec.command, str):
        script = Template.compile(spec.command, quoted=True)
        if before is None:
            return lambda values: [SHELL, "-c", script.render(values)]
        return lambda values: [SHELL, "-c", before(values) + script.render(values)]
    arguments = [Template.compile(argument, quoted=False) for argument in spec.command]
    if before is None:
        return lambda values: [argument.render(values) for argument in arguments]
    return lambda values: [
        SHELL, "-c", before(values) + 'exec "$@"', "sh", *[argument.render(values) for argument in arguments]
    ]  # fmt: skip


def _before(spec: JobSpec) -> Callable[[Mapping[str, str]], str] | None:
    """From values to the lines that a shell runs before the command; None where there are none."""
    if not (spec.modules or spec.venv or spec.setup):
        return None
    venv = None if spec.venv is None else Template.compile(spec.venv, quoted=False)
    lines = Template.compile("\n".join(spec.setup), quoted=True)

    def script(values: Mapping[str, str]) -> str:
        parts = ["set -e"]
        if spec.modules:
            parts = [_FIND_MODULES, *parts, f"module load {' '.join(map(quote, spec.modules))}"]
        if venv is not None:
            parts.append(f". {quote(venv.render(values) + '/bin/activate')}")
        return "\n".join([*parts, lines.render(values), "set +e", ""])

    return script
