"""How commands read their arguments: one parser whose errors are ours, and the options that many share.

What belongs here: argparse and its habits. What must not: what an option does.
"""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from pilotfish.errors import NotYetSupportedError, UserError

__all__ = ["Parser", "add_later", "add_place"]


_WIDTH = 100


class _Formatter(argparse.HelpFormatter):
    """Of one width everywhere: asking the terminal for its own costs an import in each command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_WIDTH)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`UserError` and takes no abbreviated options."""

    def __init__(self, *, prog: str, description: str) -> None:
        """Begin a command's parser; what is shown in its help comes from the table of commands."""
        super().__init__(prog=prog, description=description, formatter_class=_Formatter, allow_abbrev=False)

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, with all that stands behind ``--`` untouched in `command`."""
        end = words.index("--") if "--" in words else len(words)
        arguments = self.parse_args(words[:end])
        arguments.command = list(words[end + 1 :])
        return arguments

    def error(self, message: str) -> NoReturn:
        """Refuse the command line in one line."""
        raise UserError(f"{message}; see `{self.prog} --help`")


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
    add_later(parser, "--server")
