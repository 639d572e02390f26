"""Plain command lists: one shell command a line, comments and blank lines left out.

A list is one job with an array of its lines, so that 100,000 commands are one record. What belongs here: what a
line is. What must not: anything about the commands.
"""

import re
from collections.abc import Iterator

from pilotfish.errors import JobFileError
from pilotfish.formats.keys import MAX_TASKS
from pilotfish.formats.words import sendable

__all__ = ["COMMAND", "filled_lines", "read_commands"]

COMMAND = "{value:raw}"
"""The command of the job whose array values are the lines: each line is given to the shell as it stands."""


_FILLED = re.compile(r"[^\n]+")


def read_commands(text: str, file: str) -> tuple[str, ...]:
    """The commands, in their order. `file` is what errors call it.

    Raises JobFileError for a script (its lines are no separate commands) and for a command that goes on
    in the next line.
    """
    if text.startswith("#!"):
        msg = f"is a script, not a list of commands: to run it, type pilotfish run -- {file}"
        raise JobFileError(msg, file=file, line=1)
    commands = []
    for place, line in filled_lines(text):
        if line.lstrip().startswith("#"):
            continue
        try:
            commands.append(_command(line))
        except ValueError as error:
            raise JobFileError(str(error), file=file, line=text.count("\n", 0, place) + 1) from error
        if len(commands) > MAX_TASKS:
            break  # whoever makes an array of them refuses it
    return tuple(commands)


def filled_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, without what ends them, and where each begins."""
    for match in _FILLED.finditer(text):
        line = match[0].removesuffix("\r")
        if line and not line.isspace():
            yield match.start(), line


def _command(line: str) -> str:
    if (len(line) - len(line.rstrip("\\"))) % 2:
        msg = "a command ends with its line: join it with the next one, without the last backslash"
        raise ValueError(msg)
    return sendable(line)
