"""The entry of the command ``pilotfish``: finds the command, loads its module alone, and tells errors in one line.

What belongs here: the table of commands and the one place where errors become exit codes. What must
not: anything a command needs; ``--version`` is answered before anything else is imported.
"""

import os
import sys
from contextlib import suppress

from pilotfish import __version__

__all__ = ["COMMANDS", "LATER", "entry", "main"]

COMMANDS = {
    "run": ("pilotfish.cli.run", "run a job file, or one command, to its end"),
    "map": ("pilotfish.cli.map", "run one command for each argument, as GNU parallel does"),
    "serve": ("pilotfish.cli.serve", "be a manager that stays, for submissions and sessions"),
    "submit": ("pilotfish.cli.submit", "give a server a job file, a command, or a job of a Python class"),
    "jobs": ("pilotfish.cli.jobs", "list jobs, with the states of their tasks"),
    "wait": ("pilotfish.cli.wait", "wait until jobs or tasks have ended"),
    "tasks": ("pilotfish.cli.tasks", "list tasks: state, outcome, time, memory"),
    "show": ("pilotfish.cli.show", "show all that is known of a job or a task"),
    "logs": ("pilotfish.cli.logs", "print what tasks wrote"),
    "explain": ("pilotfish.cli.explain", "say why a task is in its state, and what it waits for"),
    "cancel": ("pilotfish.cli.wishes", "give up tasks: end those that run"),
    "hold": ("pilotfish.cli.wishes", "keep tasks back until they are released"),
    "release": ("pilotfish.cli.wishes", "let held tasks go"),
    "retry": ("pilotfish.cli.wishes", "run again what failed, was cancelled or skipped"),
    "alloc": ("pilotfish.cli.alloc", "get allocations of a batch system for a manager that lives"),
    "agent": ("pilotfish.cli.agent", "run on a node, for a manager on another one"),
    "doctor": ("pilotfish.cli.doctor", "tell what would go wrong on this machine, or in this allocation"),
    "clean": ("pilotfish.cli.clean", "delete campaigns"),
    "schema": ("pilotfish.cli.schema", "print the JSON Schema of the job file"),
    "completion": ("pilotfish.cli.completion", "print what a shell needs to complete commands"),
}
"""Name, and its module with one line of help. A module offers ``configure(parser)`` and ``run(arguments) -> int``."""

_TAKE_COMMAND = frozenset({"completion", "map", "run", "submit"})
"""Those to whom ``--`` means: what follows is a command of the user's, in `arguments.command`."""

LATER = ("config", "import", "nodes", "report", "simulate", "top")
"""Commands of the specification that this release refuses."""

_INTERRUPTED, _BROKEN_PIPE, _BUG = 130, 141, 70


def entry() -> None:
    """Be the process: run the command of ``sys.argv`` and end with its exit code."""
    _open_closed()
    code = main()
    with suppress(OSError):  # who read it has gone
        sys.stderr.flush()
    # All is flushed and closed by now; taking the interpreter's modules apart would cost 15 ms more.
    os._exit(code)


def _open_closed() -> None:
    """Let those of our standard streams that were closed by whoever started us lead nowhere.

    Else there is nothing to write to, and a file that is opened later would have the number of one of them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It gets the lowest number that is free: its own.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing is raised, whatever happens."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in ("--version", "-V"):
        sys.stdout.write(f"pilotfish {__version__}\n")
        return 0
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _abandon_stdout()
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a line and a code
        return _tell(error)
    return code


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h"):
        (sys.stdout if words else sys.stderr).write(_help())
        return 0 if words else 2
    from importlib import import_module

    from pilotfish.cli.arguments import Parser

    name, *rest = words
    if name not in COMMANDS:
        raise _unknown(name)
    path, summary = COMMANDS[name]
    module = import_module(path)
    parser = Parser(prog=f"pilotfish {name}", description=summary[0].upper() + summary[1:] + ".")
    module.configure(parser)
    try:
        arguments = parser.parse_words(rest)
        if arguments.command and name not in _TAKE_COMMAND:
            parser.error(f"`pilotfish {name}` takes no command after --")
        code: int = module.run(arguments)
    except SystemExit as stop:  # argparse has printed the help
        return int(stop.code or 0)
    return code


def _help() -> str:
    lines = [f"  {name:<11}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pilotfish COMMAND …",
            "",
            "Runs very many jobs, each on exactly the cores and memory that it asks for.",
            "",
            *lines,
            "",
            "`pilotfish COMMAND --help` tells more; `pilotfish --version` the version.",
            "",
        ]
    )


def _unknown(name: str) -> Exception:
    from pilotfish.errors import NotYetSupportedError, UserError

    if name in LATER:
        return NotYetSupportedError(f"`{name}` is not yet supported; see docs/limits.md")
    if name.startswith("-"):
        return UserError(f"the command comes first, then its options: `pilotfish COMMAND {name}`")
    from pilotfish.ui.words import nearest

    way_out = nearest(name, (*COMMANDS, *LATER)) or "; see `pilotfish --help`"
    return UserError(f"there is no command `{name}`{way_out}")


def _tell(error: Exception) -> int:
    from pilotfish.errors import PilotfishError

    if os.environ.get("PILOTFISH_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, PilotfishError):
        message, code = str(error), error.exit_code
    elif isinstance(error, OSError):
        message, code = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part), 1
    else:
        message, code = f"internal error, please report it: {type(error).__name__}: {error}", _BUG
    sys.stderr.write(f"pilotfish: error: {_shown(' '.join(message.split()))}\n")
    return code


def _shown(line: str) -> str:
    """The line with escapes for what a terminal would obey: a message may quote anything."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def _abandon_stdout() -> int:
    """Whoever read our output has enough; what is still buffered must not be complained about at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _BROKEN_PIPE
