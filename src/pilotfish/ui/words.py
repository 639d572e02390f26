"""How states, outcomes, counts and moments are told to people: small pure functions from values to text.

What belongs here: wording that more than one command or view needs. What must not: layout, printing.
"""

import time
from collections.abc import Iterable, Mapping

from pilotfish.model.quantities import format_seconds
from pilotfish.model.states import Outcome

__all__ = [
    "counted",
    "ending_words",
    "moment",
    "nearest",
    "outcome_words",
    "plural",
    "shortened",
    "start_words",
    "state_counts",
]

_SHOWN = ("succeeded", "failed", "cancelled", "skipped", "running", "stopping", "ready", "waiting")
"""The states in the order in which a person asks for them."""


def plural(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``, ``12,000 tasks``."""
    return f"{counted(count)} {noun}{'s' * (count != 1)}"


def counted(count: int) -> str:
    """A count with its thousands apart: ``12,000``."""
    return f"{count:,}"


def state_counts(counts: Mapping[str, int]) -> str:
    """``988 succeeded, 10 failed, 2 running``, from counts by the names of states."""
    return ", ".join(f"{counted(counts[state])} {state}" for state in _SHOWN if counts.get(state))


def shortened(text: str, width: int = 40) -> str:
    """The text on one line, cut where it is longer than `width`."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def outcome_words(outcome: str, code: int) -> str:
    """How an attempt ended: ``exit code 3``, ``signal 9 (KILL)``, ``timed out``."""
    if outcome == Outcome.exited:
        return f"exit code {code}"
    if outcome == Outcome.signalled:
        return f"signal {code}{_signal_name(code)}"
    return "could not start" if outcome == Outcome.start_failed else outcome.replace("_", " ")


def ending_words(outcome: str | None, code: int | None, reason: str) -> str:
    """How a task or an attempt ended, with the reason; the reason alone where it says how, or was no attempt."""
    if outcome is None:
        return reason
    words = outcome_words(outcome, code or 0)
    if words in reason:
        return reason
    return f"{words} ({reason})" if reason else words


def _signal_name(number: int) -> str:
    from signal import Signals

    try:
        return f" ({Signals(number).name.removeprefix('SIG')})"
    except ValueError:  # a real-time signal: it has a number only
        return ""


def moment(seconds: float | None) -> str:
    """A time since 1970 as the local ``2026-01-31 12:00:00``; empty where there is none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def start_words(starts_at: float | None, now: float) -> str:
    """When something starts: ``at 14:03:10, in 2m10s``, with the day where that is another; empty: nobody can tell."""
    if starts_at is None:
        return ""
    day, _, clock = moment(starts_at).partition(" ")
    at = clock if moment(now).startswith(day) else f"{day} {clock}"
    return f"at {at}, in {format_seconds(max(0.0, round(starts_at - now)))}"


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean `x`?``, or nothing where no known word is near."""
    import difflib  # only where something is wrong

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{found[0]}`?" if found else ""
