"""``pilotfish completion``: what a shell needs to complete command lines, and what it asks while somebody types.

A shell gets a few lines that ask ``pilotfish completion words -- …`` at each TAB; the answer comes from the parsers
that read the command line for real, and from the store. What belongs here: these lines, and candidates for the next
word. What must not: options and commands themselves.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise

from pilotfish.cli.arguments import Parser
from pilotfish.cli.main import COMMANDS
from pilotfish.errors import PilotfishError

__all__ = ["candidates", "configure", "run"]

_ASK = "words"
"""In the place of a shell: print candidates for the last of the words that follow."""

_SCRIPTS = {
    "bash": """\
_pilotfish() {
    local line current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o bashdefault -o default -F _pilotfish pilotfish
""",
    "zsh": """\
#compdef pilotfish
_pilotfish() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[*]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _pilotfish pilotfish
""",
    "fish": """\
function __pilotfish_words
    set -l words (commandline -opc) (commandline -ct)
    $words[1] completion words -- $words[2..-1] 2>/dev/null
end
complete -c pilotfish -n 'count (__pilotfish_words) >/dev/null' -f -a '(__pilotfish_words)'
""",
}
"""What each shell is to read. Where there are no candidates it offers files."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = "pilotfish completion bash|zsh|fish"
    parser.epilog = (
        "bash: add `source <(pilotfish completion bash)` to ~/.bashrc. zsh: add `source <(pilotfish completion zsh)` "
        "to ~/.zshrc, below compinit. fish: `pilotfish completion fish > ~/.config/fish/completions/pilotfish.fish`."
    )
    parser.add_argument("shell", choices=[*_SCRIPTS, _ASK], metavar="SHELL", help="bash, zsh or fish")


def run(arguments: argparse.Namespace) -> int:
    """Print the lines for a shell, or candidates one a line."""
    if arguments.shell == _ASK:
        sys.stdout.writelines(f"{word}\n" for word in candidates(arguments.command or [""]))
    else:
        sys.stdout.write(_SCRIPTS[arguments.shell])
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of the words, which may be begun, can become; nothing where only a file would do.

    Args:
        words: of the command line without the program's name.

    """
    # bash makes words of their own of the signs in `--state=failed` and `sim:3`.
    *before, current = ["" if word == "=" else word for word in words]
    before = [word for word in before if word]
    if not before:
        found: Iterable[str] = (*COMMANDS, "--help", "--version")
    elif before[0] not in COMMANDS or "--" in before or ":" in (before[-1], current):
        found = ()
    else:
        parser = Parser(prog=f"pilotfish {before[0]}", description="")
        import_module(COMMANDS[before[0]][0]).configure(parser)
        found = _next(parser, before, current)
    return [word for word in found if word.startswith(current)]


def _next(parser: Parser, before: Sequence[str], current: str) -> Iterable[str]:
    actions = parser._actions  # noqa: SLF001 - argparse has no other door
    options = {name: action for action in actions for name in action.option_strings if action.help != argparse.SUPPRESS}
    known = options.get(before[-1])
    if known is not None and known.nargs != 0:
        return _values(known, before)
    if current.startswith("-"):
        return options
    positional = [action for action in actions if not action.option_strings]
    return _values(positional[0], before) if positional else ()


def _values(action: argparse.Action, before: Sequence[str]) -> Iterable[str]:
    """What may stand where the action expects a value."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices if choice != _ASK]
    if action.metavar not in ("ID", "JOB", "NAME"):
        return ()
    try:
        return _campaigns(before) if action.dest == "campaign" else _jobs(before) if action.metavar != "NAME" else ()
    except (PilotfishError, OSError):  # there is nothing, or nobody who answers: then nothing can be offered
        return ()


def _campaigns(before: Sequence[str]) -> list[str]:
    from pilotfish.cli.inquiry import store_of
    from pilotfish.manager.campaigns import campaigns

    return [folder.name for folder in campaigns(store_of(_place(before)))]


def _jobs(before: Sequence[str]) -> list[str]:
    from pilotfish.cli.inquiry import Inquiry
    from pilotfish.manager.api import Names

    with Inquiry.about(_place(before)) as inquiry:
        return inquiry.ask(Names(), list[str])


def _place(before: Sequence[str]) -> argparse.Namespace:
    """The store and the campaign that the words before name."""
    said = dict(pairwise(before))
    return argparse.Namespace(**{option: said.get(f"--{option}") for option in ("store", "campaign", "server")})
