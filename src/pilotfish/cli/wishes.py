"""``pilotfish cancel``, ``hold``, ``release``, ``retry``: something done to tasks, by a living manager or in its store.

What belongs here: arguments and words of these four. What must not: which tasks are meant, and what becomes of them
(:mod:`pilotfish.manager.wishes`).
"""

import argparse
import sys

from pilotfish.cli.arguments import add_place
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import print_json
from pilotfish.errors import UserError
from pilotfish.manager.answers import Done
from pilotfish.manager.wishes import Wish
from pilotfish.ui.words import counted, plural, state_counts

__all__ = ["configure", "done_words", "run"]

_DONE = {"cancel": "cancelled", "hold": "held", "release": "released", "retry": "to run again"}
"""What tasks are then, by the verb."""
_UNATTENDED = {
    "cancel": "the next `pilotfish run` runs cancelled tasks again: `pilotfish hold` keeps them back",
    "hold": "the next `pilotfish run` leaves {them} alone",
    "release": "`pilotfish run` with the same file goes on",
    "retry": "`pilotfish run` with the same file runs {them}",
}
"""What a person should know where no manager runs."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; the command that the parser is for is the verb."""
    verb = parser.prog.rpartition(" ")[2]
    parser.set_defaults(verb=verb)
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="a job or a task: 17, 17:3, sim, sim:3; several may be given"
    )
    if verb == "retry":
        parser.add_argument(
            "--failed", action="store_true", help="only what failed, of all jobs or those that are named"
        )
    else:
        parser.add_argument("--all", action="store_true", help="all tasks of the campaign")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have it done and say what was; 0 also where there was nothing to do."""
    everything = arguments.failed if arguments.verb == "retry" else arguments.all
    if not arguments.ids and not everything:
        which = "--failed" if arguments.verb == "retry" else "--all"
        raise UserError(f"say what to {arguments.verb}: one or more IDs, or {which}")
    if arguments.ids and everything and arguments.verb != "retry":
        raise UserError(f"--all and IDs ({arguments.ids[0]}) at once: choose one")
    failed = arguments.verb == "retry" and arguments.failed
    with Inquiry.about(arguments) as inquiry:
        done = inquiry.wish(Wish(arguments.verb, tuple(arguments.ids) or None, failed))
    if arguments.json:
        print_json(done)
    else:
        sys.stderr.write(f"{done_words(done)}\n")
    return 0


def done_words(done: Done) -> str:
    """``3 tasks cancelled, 1 is being ended``, or why nothing was done."""
    if not (done.tasks or done.ending or done.running or done.schedules):
        return f"nothing to {done.verb}: {state_counts(done.states) or 'there are no tasks'}"
    parts = [f"{plural(done.tasks, 'task')} {_DONE[done.verb]}"] if done.tasks else []
    if done.ending:
        number = counted(done.ending) if parts else plural(done.ending, "task")
        parts.append(f"{number} {'is' if done.ending == 1 else 'are'} being ended")
    if done.running:
        number = counted(done.running) if parts else plural(done.running, "task")
        parts.append(f"{number} {'runs on and is' if done.running == 1 else 'run on and are'} held afterwards")
    them = "it" if done.tasks + done.ending + done.running == 1 else "them"
    if done.skipped:
        parts.append(f"{counted(done.skipped)} skipped that {'depends' if done.skipped == 1 else 'depend'} on {them}")
    if done.schedules:
        parts.append(f"{plural(done.schedules, 'schedule')} taken back")
    unattended = "" if done.live else f"; no manager is running: {_UNATTENDED[done.verb].format(them=them)}"
    return ", ".join(parts) + unattended
