"""What a person reads on stderr while a campaign runs, and when it has ended.

What belongs here: one line of progress, how often it is written, the closing summary. What must not:
anything that asks for figures; they come in as arguments, and so does the time.
"""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, TextIO

from pilotfish.model.quantities import format_seconds
from pilotfish.model.states import FINAL, TaskState
from pilotfish.ui.words import counted, ending_words, plural, shortened, state_counts

__all__ = ["Progress", "progress_line", "summary"]

_TERMINAL_PERIOD = 0.25
_PLAIN_PERIOD = 5.0
_RATE_WINDOW = 30.0
"""Seconds over which the rate is measured: long enough to be calm, short enough to follow a change."""


def progress_line(totals: Mapping[TaskState, int], rate: float) -> str:
    """``412/1,000 tasks · 2 running · 1 failed · 210/s · about 3s left``.

    Args:
        totals: the number of tasks in each state.
        rate: tasks that end per second; 0 where it is not known yet.

    """
    everything = sum(totals.values())
    ended = _ended(totals)
    parts = [f"{counted(ended)}/{counted(everything)} task{'s' * (everything != 1)}"]
    running = totals.get(TaskState.running, 0) + totals.get(TaskState.stopping, 0)
    parts.append(f"{counted(running)} running")
    bad = (TaskState.failed, TaskState.cancelled, TaskState.skipped)
    parts += [f"{counted(totals[state])} {state.name}" for state in bad if totals.get(state)]
    if rate > 0 and ended < everything:
        per_second = f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
        parts += [per_second, f"about {format_seconds(max(1, round((everything - ended) / rate)))} left"]
    return " · ".join(parts)


class Progress:
    """The progress of one run on a stream: one line written again and again on a terminal, else a line now and then."""

    def __init__(self, stream: TextIO, totals: Mapping[TaskState, int], now: float) -> None:
        """Begin to measure; nothing is written yet.

        Args:
            stream: usually stderr; whether it is a terminal decides how it is used.
            totals: the tasks in each state at the start; what has ended by then does not count for the rate.
            now: any clock in seconds that does not go back.

        """
        self._stream = stream
        self._terminal = stream.isatty()
        self._period = _TERMINAL_PERIOD if self._terminal else _PLAIN_PERIOD
        self._next = now + self._period
        self._samples = deque([(now, _ended(totals))])
        self._told = ""

    def due(self, now: float) -> bool:
        """Whether `update` would write something at this time; cheap, to be asked in every turn of a loop."""
        return now >= self._next

    def update(self, totals: Mapping[TaskState, int], now: float) -> None:
        """Write how far it is, if it is time to and something has changed."""
        if now < self._next:
            return
        self._next = now + self._period
        line = progress_line(totals, self._rate(_ended(totals), now))
        if line == self._told:
            return
        self._told = line
        if self._terminal:
            self._stream.write(f"\r{line[: _columns(self._stream) - 1]}\x1b[K")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        """Write a line of its own; on a terminal the progress line comes back below it."""
        self.clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()
        if self._terminal:
            self._next = 0.0

    def clear(self) -> None:
        """Take the progress line off the terminal, before something else is written there."""
        if self._terminal and self._told:
            self._told = ""
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _rate(self, ended: int, now: float) -> float:
        """Tasks that ended per second of late; where none has of late, since the start of the samples."""
        samples = self._samples
        if ended > samples[-1][1]:
            samples.append((now, ended))
        while len(samples) > 2 and samples[1][0] <= now - _RATE_WINDOW:
            samples.popleft()
        then, before = samples[0]
        return (ended - before) / (now - then) if now > then else 0.0


def summary(
    totals: Mapping[TaskState, int],
    failures: Sequence[Mapping[str, Any]],
    *,
    seconds: float,
    again: str,
    place: str = "",
) -> str:
    """What a run says at its end: counts, the first failures, what to type next.

    Args:
        totals: the number of tasks in each state.
        failures: the answer to the question `failures` of `manager.api`.
        seconds: how long the run took.
        again: the command that runs what is left.
        place: options that lead later commands to the same campaign, such as `` --store x``.

    """
    counts = state_counts({state.name: count for state, count in totals.items()})
    lines = [f"{plural(sum(totals.values()), 'task')} in {format_seconds(seconds)}: {counts or 'none'}"]
    lines += [f"  {_failure(failure)}" for failure in failures]
    more = totals.get(TaskState.failed, 0) - len(failures)
    if more > 0:
        lines.append(f"  … and {counted(more)} more")
    return "\n".join([*lines, *(f"next: {hint}" for hint in _hints(totals, failures, again, place))])


def _hints(
    totals: Mapping[TaskState, int], failures: Sequence[Mapping[str, Any]], again: str, place: str
) -> Sequence[str]:
    if totals.get(TaskState.succeeded, 0) + totals.get(TaskState.skipped, 0) == sum(totals.values()):
        return [f"pilotfish tasks{place}"]
    if not failures:
        return [again]
    return [f"pilotfish logs{place} {quote(failures[0]['name'])}", f"pilotfish tasks{place} --failed", again]


def _failure(failure: Mapping[str, Any]) -> str:
    value = f" ({shortened(failure['value'])})" if failure["value"] else ""
    how = ending_words(failure["outcome"], failure["code"], failure["reason"])
    said = f": {failure['last_line']}" if failure["last_line"] else ""
    return f"{failure['name']}{value}  {how}{said}"


def _ended(totals: Mapping[TaskState, int]) -> int:
    return sum(totals.get(state, 0) for state in FINAL)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
