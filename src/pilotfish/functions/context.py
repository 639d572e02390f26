"""What a function can know of the task that it is, and say about it: ``pf.current()``.

What belongs here: the view that user code gets. What must not: how it reaches the manager.
"""

import math
import os
import signal
import threading
from time import monotonic
from types import FrameType
from typing import Never

from pilotfish.errors import UserError
from pilotfish.functions.keyvalues import KeyValues
from pilotfish.functions.line import Line
from pilotfish.functions.wire import Assignment
from pilotfish.model.messages import Progressed
from pilotfish.model.quantities import parse_seconds
from pilotfish.model.resources import Slots

__all__ = ["Current", "Deferred", "current", "deferral", "enter"]

_BETWEEN_TOLD = 0.1
"""Seconds: whoever looks at a million tasks is told of each ten times a second at most."""


class Deferred(BaseException):
    """Ends a task that shall run again later."""

    def __init__(self, seconds: float, reason: str) -> None:
        """After so many seconds, because of that."""
        super().__init__(seconds, reason)
        self.seconds, self.reason = seconds, reason


class Current:
    """The task that runs in this process."""

    def __init__(self, assignment: Assignment, line: Line) -> None:
        """Of this job; the task is set by `begin`."""
        self._assignment, self._line = assignment, line
        self.position = 0
        """Which of the job's calls it is, from 0."""
        self.attempt = 0
        """Number of the try, from 1."""
        self.kv = KeyValues(line)
        """Values that all tasks of the campaign or session share."""
        self._tell_at = -math.inf
        self._listens = False
        self._told_to_end = False

    def begin(self, position: int, attempt: int) -> None:
        """Another call begins."""
        self.position, self.attempt = position, attempt
        self._tell_at = -math.inf

    def end(self) -> bool:
        """The call is over: whether it had been told to end."""
        if self._listens:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._listens = False
        return self._told_to_end

    @property
    def name(self) -> str:
        """As it is shown and asked for: ``simulate:17``."""
        return f"{self._assignment.name}:{self.position}"

    @property
    def node(self) -> str:
        """Where it runs."""
        return os.fsdecode(self._assignment.env[b"PILOTFISH_NODE"])

    @property
    def slots(self) -> Slots:
        """The very cores and GPUs that it was given: ``slots.cores``, ``slots.gpus``, ``slots.memory`` in bytes."""
        return self._assignment.slots

    @property
    def time_limit(self) -> float | None:
        """Seconds after which an attempt is ended; None: there is no limit."""
        return self._assignment.time

    @property
    def stopping(self) -> bool:
        """Whether the task has been told to end: cancelled, out of time, or about to lose its node.

        A task that never asks is ended at once. One that has asked may go on for its `grace`, to save what it has; then
        it is killed. What it returns counts no more. Ask first in the main thread: elsewhere that is a UserError.
        """
        if not self._listens:
            if threading.current_thread() is not threading.main_thread():
                raise UserError("ask for pilotfish.current().stopping in the main thread of the task first")
            signal.signal(signal.SIGTERM, self._stop)
            self._listens = True
        return self._told_to_end

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell those who watch how far the task has come. Costs next to nothing: ten times a second it is passed on.

        Args:
            fraction: from 0 to 1.
            text: for people.

        """
        if not 0 <= fraction <= 1:
            raise UserError(f"progress is a fraction from 0 to 1, not {fraction!r}")
        now = monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _BETWEEN_TOLD
            self._line.tell(Progressed(self._assignment.job, self.position, float(fraction), str(text)))

    def defer(self, delay: float | str, reason: str = "") -> Never:
        """End this attempt, and let the task run again later; that uses up none of its retries.

        Args:
            delay: ``"30s"``, ``"10m"``, or seconds.
            reason: for those who ask why it waits.

        """
        raise Deferred(parse_seconds(delay), reason)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_end = True


def deferral(error: BaseException) -> Deferred | None:
    """What defers the task that has raised this, be it from several coroutines at once; None: nothing does."""
    if isinstance(error, BaseExceptionGroup):
        wanted, others = error.split(Deferred)
        return None if wanted is None or others is not None else deferral(wanted.exceptions[0])
    return error if isinstance(error, Deferred) else None


_ENTERED: list[Current] = []


def enter(task: Current) -> None:
    """Let `current` answer with this from now on, in every thread."""
    _ENTERED[:] = [task]


def current() -> Current:
    """The task that the caller is. Raises UserError outside of one."""
    if not _ENTERED:
        raise UserError("pilotfish.current() answers in functions that pilotfish calls, and this is not one")
    return _ENTERED[0]
