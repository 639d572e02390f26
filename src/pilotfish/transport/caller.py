"""The other end of a manager's connections for those who only ask: one question at a time in each thread.

What belongs here: reaching the manager, also a later one, and how long that is tried. What must not: questions.
"""

import math
import os
import select
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from pilotfish.errors import PilotfishError, UnavailableError, UserError
from pilotfish.model.messages import Answer, Ask, Message, Refusal
from pilotfish.transport.base import Connection, DisconnectedError
from pilotfish.transport.link import Link
from pilotfish.transport.local import connect

__all__ = ["Caller"]

_PAUSE = 0.05
"""Seconds between two attempts to reach the manager."""
_RESEND_AFTER = 1.0
"""Seconds."""
_LONGEST_WAIT = 3600.0
"""Seconds of one wait where nothing is due."""


class Caller:
    """Asks a manager. Nothing is connected before the first question; every thread, and every fork, has its own line.

    Args:
        address: where the manager listens now; raises UnavailableError while nobody can tell.
        patience: seconds for which a manager that is away, or does not answer, is waited for.

    """

    def __init__(self, address: Callable[[], Path], patience: float) -> None:
        """Nobody is asked yet."""
        self._address, self._patience = address, patience
        self._mine = _OfThread()

    def ask(self, name: str, arguments: dict[str, Any], *, again: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401 - as many shapes as questions
        """The answer to a question.

        Args:
            name: of the question.
            arguments: its own.
            again: whether it may be asked twice: where the manager has gone before it answered, nobody knows whether
                what was asked for has been done.
            timeout: seconds that the answer may take; None: it comes at once.

        Raises:
            PilotfishError: it was refused; a UserError where the caller can mend that.
            TimeoutError: `timeout` is over.
            UnavailableError: the manager is away, or hangs.

        """
        deadline = monotonic() + (self._patience if timeout is None else timeout)
        while True:
            conversation = self._mine.conversation = self._reach()
            try:
                answer = conversation.ask(Ask(name, arguments), deadline)
            except DisconnectedError as gone:
                if not again:
                    reason = f"the manager ended before it answered `{name}`: nobody knows whether that was done"
                    raise UnavailableError(reason) from gone
            except TimeoutError:
                self._mine.hang_up()  # whoever comes too late must not be taken for the answer to something else
                if timeout is None:
                    raise UnavailableError(f"the manager has not answered for {self._patience:g} s") from None
                raise
            except BaseException:
                self._mine.hang_up()
                raise
            else:
                return self._value(answer)

    def tell(self, message: Message) -> None:
        """Tell the manager something if it is there, else do not."""
        now = monotonic()
        conversation = self._mine.living()
        if conversation is None and now >= self._mine.try_at:
            try:
                conversation = self._mine.conversation = _Conversation(connect(self._address()))
            except UnavailableError:
                self._mine.try_at = now + _RESEND_AFTER
        if conversation is not None:
            conversation.tell(message, now)

    def _reach(self) -> "_Conversation":
        """The connection of this thread, made where there is none; waits for a manager that is away."""
        until = monotonic() + self._patience
        while (conversation := self._mine.living()) is None:
            try:
                return _Conversation(connect(self._address()))
            except UnavailableError as error:
                if monotonic() >= until:
                    reason = f"the manager has been away for {self._patience:g} s: {error}"
                    raise UnavailableError(reason) from error
            time.sleep(_PAUSE)
        return conversation

    def _value(self, answer: Answer | Refusal) -> object:
        if isinstance(answer, Answer):
            return answer.value
        self._mine.hang_up()
        refused = UserError(answer.reason) if answer.exit_code == UserError.exit_code else PilotfishError(answer.reason)
        refused.exit_code = answer.exit_code
        raise refused


class _OfThread(threading.local):
    """What each thread has for itself."""

    conversation: "_Conversation | None" = None
    try_at = 0.0
    """When to try to reach the manager again."""

    def living(self) -> "_Conversation | None":
        """The connection, if it is this process's own and the manager is still there."""
        if self.conversation is not None and not self.conversation.lives():
            self.hang_up()
        return self.conversation

    def hang_up(self) -> None:
        """Let go of the connection."""
        if self.conversation is not None:
            self.conversation.close()
            self.conversation = None


class _Conversation:
    """One connection, and the thread's end of its link."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._process = connection, os.getpid()
        self._link = Link(resend_after=_RESEND_AFTER, heartbeat=math.inf, now=monotonic())
        self.close = weakref.finalize(self, connection.close)  # also when its thread has ended

    def lives(self) -> bool:
        if self._process != os.getpid():
            return False  # it is our parent's
        try:
            self._hear()
        except DisconnectedError:
            return False
        return True

    def ask(self, question: Ask, deadline: float) -> Answer | Refusal:
        """Wait for the answer. Raises DisconnectedError, TimeoutError."""
        self._link.send(question)
        while (now := monotonic()) < deadline:
            self._push(now)
            self._wait(min(deadline, self._link.next_due()) - now)
            for message in self._hear():
                if isinstance(message, Answer | Refusal):
                    self._push(self._link.next_due())  # the acknowledgement: nobody is here later to send it
                    return message
        raise TimeoutError

    def tell(self, message: Message, now: float) -> None:
        """Send it, unless what was sent before waits already."""
        if not self._connection.unsent:
            self._link.send(message)
            self._push(now)

    def _push(self, now: float) -> None:
        frame = self._link.outgoing(now)
        if frame is not None:
            self._connection.send(frame)

    def _hear(self) -> list[Message]:
        self._connection.flush()
        now = monotonic()
        messages = [one for frame in self._connection.receive() for one in self._link.receive(frame, now)]
        self._link.handled(self._link.received)
        return messages

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | (select.POLLOUT if self._connection.unsent else 0))
        poll.poll(math.ceil(1000 * max(0.0, min(seconds, _LONGEST_WAIT))))
