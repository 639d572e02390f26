"""Plain command lists: one shell command a line, comments and blank lines left out.

A list is one job with an array of its lines, so that 100,000 commands are one record. What belongs here: what a
line is. What must not: anything about the commands.
"""

from pilotfish.errors import JobFileError

__all__ = ["COMMAND", "read_commands"]

COMMAND = "{value:raw}"
"""The command of the job whose array values are the lines: each line is given to the shell as it stands."""


def read_commands(text: str, file: str) -> tuple[str, ...]:
    """The commands, in their order. `file` is what errors call it.

    Raises JobFileError for a script (its lines are no separate commands) and for a command that goes on
    in the next line.
    """
    if text.startswith("#!"):
        msg = f"is a script, not a list of commands: to run it, type pilotfish run -- {file}"
        raise JobFileError(msg, file=file, line=1)
    commands = []
    for number, line in enumerate(text.split("\n"), 1):
        command = line.removesuffix("\r")
        if not command.strip() or command.lstrip().startswith("#"):
            continue
        if (len(command) - len(command.rstrip("\\"))) % 2:
            msg = "a command ends with its line: join it with the next one, without the last backslash"
            raise JobFileError(msg, file=file, line=number)
        commands.append(command)
    return tuple(commands)
