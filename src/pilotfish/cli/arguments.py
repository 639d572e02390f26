"""How commands read their arguments: one parser whose errors are ours, and the options that many share.

What belongs here: argparse and its habits. What must not: what an option does.
"""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from pilotfish.errors import NotYetSupportedError, UserError

__all__ = ["Parser", "add_later", "add_place", "add_server", "refuse_contrary"]


_WIDTH = 100


class _Formatter(argparse.HelpFormatter):
    """Of one width everywhere: asking the terminal for its own costs an import in each command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_WIDTH)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`UserError` and takes no abbreviated options."""

    def __init__(self, *, prog: str, description: str = "") -> None:
        """Begin a command's parser; what is shown in its help comes from the table of commands."""
        super().__init__(prog=prog, description=description, formatter_class=_Formatter, allow_abbrev=False)
        for usual in (None, "store"):
            self.register("action", usual, _Once)

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, with all that stands behind ``--`` untouched in `command`; None: there is no ``--``."""
        end = words.index("--") if "--" in words else len(words)
        arguments = self.parse_args(words[:end])
        arguments.command = list(words[end + 1 :]) if "--" in words else None
        return arguments

    def error(self, message: str) -> NoReturn:
        """Refuse the command line in one line."""
        raise UserError(f"{message}; see `{self.prog} --help`")


class _Once(argparse.Action):
    """Keeps a value; an option that is given again is refused, as nobody can tell which value was meant."""

    _given = False

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        _option_string: str | None = None,
    ) -> None:
        if self._given and self.option_strings:
            raise argparse.ArgumentError(self, "given twice, and it takes one value")
        self._given = True
        setattr(namespace, self.dest, values)


class _Later(argparse.Action):
    """Refuses an option."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        raise NotYetSupportedError(f"{option_string} is not yet supported; see docs/limits.md")


def add_later(parser: argparse.ArgumentParser, *options: str) -> None:
    """Options of the specification that this release refuses, whether or not a value follows them."""
    for option in options:
        parser.add_argument(option, nargs="?", action=_Later, help=argparse.SUPPRESS)


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that say which campaign is meant, and the one for machines."""
    parser.add_argument("--store", metavar="DIR", help="where campaigns lie (default: the nearest .pilotfish upward)")
    parser.add_argument("--campaign", metavar="NAME", help="which campaign (default: the one that ran last)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_server(parser)


def add_server(parser: argparse.ArgumentParser) -> None:
    """The option that says which server is meant."""
    parser.add_argument(
        "--server", metavar="ADDRESS", help="of a `pilotfish serve`: unix:STORE (default: $PILOTFISH_SERVER)"
    )


def refuse_contrary(arguments: argparse.Namespace, *pairs: tuple[str, str]) -> None:
    """Refuse options that contradict each other, by the names of their values. Raises UserError."""
    for pair in pairs:
        if all(getattr(arguments, name) for name in pair):
            one, other = (f"--{name.replace('_', '-')}" for name in pair)
            raise UserError(f"{one} and {other} contradict each other: choose one")
