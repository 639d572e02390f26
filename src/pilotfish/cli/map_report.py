"""What `map` says while it runs: the output of each task, whole, when it has ended; the exit code at the end.

What belongs here: streams, and in which order they are written. What must not: anything that changes what runs, but
for the end of it all where nothing can be written any more.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from pilotfish.cli.map_command import Commands
from pilotfish.cli.map_joblog import JobLog
from pilotfish.manager.start import Campaign
from pilotfish.model.attempts import OutputRef, Report
from pilotfish.model.changes import Change, Finish, Settle
from pilotfish.model.events import Draining
from pilotfish.model.jobs import task_name
from pilotfish.model.states import FINAL, TaskState
from pilotfish.ui.progress import Progress
from pilotfish.ui.words import ending_words, shortened

__all__ = ["INTERRUPTED", "MOST_FAILURES", "Ending", "MapReport", "Turns", "tagged"]

INTERRUPTED = 130
"""The exit code of a run that a signal has ended."""
MOST_FAILURES = 101
"""The exit code for more than a hundred failures; for fewer it is their number."""
_CHUNK = 2**20
"""Bytes of an output that are held in memory."""
_S = TaskState


class Ending(msgspec.Struct, frozen=True):
    """The end of one task."""

    position: int
    state: TaskState
    report: Report | None = None
    """Of its last attempt; None: it ended without one, or was cancelled."""


class Turns:
    """Lets the ends of tasks through as they come, or with `keep_order` in the order of the tasks.

    Those at the positions `ended` have had their turn in an earlier run.
    """

    def __init__(self, *, keep_order: bool, ended: Iterable[int] = ()) -> None:
        """Begin with the task at position 0."""
        self._keep_order = keep_order
        self._ended = frozenset(ended)
        self._next = 0
        self._early: dict[int, Ending] = {}

    def take(self, end: Ending) -> Iterator[Ending]:
        """The ends whose turn has come, now that this one is known."""
        if not self._keep_order or end.position < self._next:
            yield end
            return
        self._early[end.position] = end
        while self._next in self._early or self._next in self._ended:
            if self._next in self._early:
                yield self._early.pop(self._next)
            self._next += 1

    def rest(self) -> Iterator[Ending]:
        """Those whose turn has not come: a task before them never ended."""
        for position in sorted(self._early):
            yield self._early.pop(position)


def tagged(pieces: Iterable[bytes], tag: bytes) -> Iterator[bytes]:
    """The pieces of a text, with the tag before each of its lines."""
    at_start = True
    for piece in pieces:
        if at_start:
            yield tag
        at_start = piece.endswith(b"\n")
        inner = piece[:-1] if at_start else piece
        yield inner.replace(b"\n", b"\n" + tag)
        if at_start:
            yield b"\n"


class MapReport:
    """An observer of one campaign of `map`.

    Args:
        campaign: whose outputs are printed.
        commands: of its one job.
        turns: when each is printed.
        tag: print the arguments before each line.
        as_json: print one JSON object for each task instead of its output.
        bar: tell on stderr how far it is.
        log: is told of each task.

    """

    def __init__(
        self,
        campaign: Campaign,
        commands: Commands,
        *,
        turns: Turns,
        tag: bool,
        as_json: bool,
        bar: bool,
        log: JobLog | None,
    ) -> None:
        """Begin with nothing said."""
        self._campaign, self._commands, self._turns = campaign, commands, turns
        self._tag, self._bar, self._log = tag, bar, log
        self._print = self._print_json if as_json else self._print_whole
        self._progress: Progress | None = None
        self._outputs = campaign.folder / "outputs"
        self._trouble: OSError | None = None
        """Why nothing is said any more."""

    def recorded(self, changes: Sequence[Change]) -> None:
        """Print what has come to its end and its turn."""
        with self._writing():
            for end in _ends(changes):
                if self._log is not None and end.report is not None:
                    self._log.add(end.report, self._commands.line(end.position))
                for turn in self._turns.take(end):
                    self._print(turn)
            if self._log is not None:
                self._log.flush()
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Pass something on that a person should read, while there is somebody."""
        if self._trouble is not None:
            return
        with self._writing():
            self._clear()
            sys.stderr.write(f"pilotfish: {text}\n")
            sys.stderr.flush()

    def tick(self, now: float) -> None:
        """Tell how far it is, when that is wanted and it is time to."""
        if not self._bar:
            return
        totals = self._campaign.scheduler.totals()
        if self._progress is None:
            self._progress = Progress(sys.stderr, totals, now)
        with self._writing():
            self._progress.update(totals, now)

    def end(self, *, interrupted: bool) -> int:
        """Print what has not come to its turn; the exit code. Raises OSError for what made printing impossible."""
        with self._writing():
            for end in self._turns.rest():
                self._print(end)
            self._clear()
        if self._trouble is not None:
            raise self._trouble
        totals = self._campaign.scheduler.totals()
        if interrupted and any(totals[state] for state in TaskState if state not in FINAL):
            return INTERRUPTED
        return min(totals[_S.failed] or totals[_S.cancelled] + totals[_S.skipped], MOST_FAILURES)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Where nothing can be written any more, let the run end."""
        try:
            yield
        except OSError as error:
            if self._trouble is None:
                self._trouble = error
                self._campaign.drain(Draining(kill=True), "")

    def _print_whole(self, end: Ending) -> None:
        """Print what a task wrote."""
        report = end.report
        if report is None or self._trouble is not None:
            return
        self._clear()
        tag = f"{' '.join(self._commands.arguments(end.position))}\t".encode() if self._tag else b""
        for ref, stream in ((report.stdout, sys.stdout), (report.stderr, sys.stderr)):
            if ref is not None:
                sys.stdout.flush()
                pieces = self._pieces(ref)
                stream.buffer.writelines(tagged(pieces, tag) if tag else pieces)
                stream.flush()
        if report.reason:
            how = ending_words(report.outcome, report.code, report.reason)
            self.note(f"{self._name(end)} ({shortened(' '.join(self._commands.arguments(end.position)))}): {how}")

    def _print_json(self, end: Ending) -> None:
        """Print all that is known of a task on one line."""
        line: dict[str, object] = {
            "task": self._name(end),
            "arguments": self._commands.arguments(end.position),
            "state": end.state.name,
        }
        if end.report is not None:
            report = end.report
            line |= {"outcome": report.outcome.value, "code": report.code, "reason": report.reason}
            line |= {"started_at": report.started_at, "ended_at": report.ended_at}
            line |= {"stdout": self._text(report.stdout), "stderr": self._text(report.stderr)}
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")

    def _name(self, end: Ending) -> str:
        (job,) = self._campaign.scheduler.jobs.values()
        return task_name(job, end.position)

    def _text(self, ref: OutputRef | None) -> str:
        return "" if ref is None else b"".join(self._pieces(ref)).decode(errors="replace")

    def _pieces(self, ref: OutputRef) -> Iterator[bytes]:
        """An output, a little at a time."""
        with (self._outputs / ref.file).open("rb", buffering=0) as file:
            file.seek(ref.offset)
            left = ref.length
            while left and (piece := file.read(min(left, _CHUNK))):
                left -= len(piece)
                yield piece

    def _clear(self) -> None:
        if self._progress is not None:
            self._progress.clear()


def _ends(changes: Iterable[Change]) -> Iterator[Ending]:
    for change in changes:
        if isinstance(change, Settle) and change.state in FINAL:
            yield Ending(change.report.attempt.position, change.state, change.report)
        elif isinstance(change, Finish):
            yield from (Ending(position, change.state) for position in range(change.lo, change.hi))
