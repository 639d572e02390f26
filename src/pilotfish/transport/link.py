"""Numbers and acknowledgements over a transport that may drop, repeat or reorder frames. No I/O, no clock.

One :class:`Link` stands on each side of a connection. It numbers what it is given, keeps it until the other side
has *handled* it, not only received it, and sends it again when that takes too long; what comes in is given
out in order, each message once. Times are seconds of any one clock, which the caller brings.

What belongs here: numbering, acknowledging, resending, heartbeats. What must not: what messages mean, sockets.
"""

from collections import deque

from pilotfish.model.messages import Frame, Message

__all__ = ["Link"]

_BACKOFF_LIMIT = 16
"""Times `resend_after`: the longest wait before what the other side is slow to handle is sent once more."""

_NEVER = float("inf")


class Link:
    """One side of one connection: `send` and `receive` messages, pass frames on.

    Frames go from `outgoing` to the transport and from the transport to `receive`. Call `outgoing` whenever
    something was sent, received or handled, and not later than `next_due`.
    """

    def __init__(
        self, *, resend_after: float, heartbeat: float, acknowledge_after: float = 0.1, now: float = 0.0
    ) -> None:
        """Nothing sent, nothing heard; durations in seconds.

        Args:
            resend_after: patience for an acknowledgement.
            heartbeat: silence after our first frame after which an empty one says that we live.
            acknowledge_after: so long a frame waits that only acknowledges, or half of `resend_after`, because most
                acknowledgements travel with messages.
            now: where `last_heard` begins.

        """
        self._resend_after, self._heartbeat = resend_after, heartbeat
        self._ack_after = min(acknowledge_after, resend_after / 2)
        self.last_heard = now
        """When a frame last came in."""
        self.known_to_live = -_NEVER
        """When that was made of ours which the other side has heard last: it knows that we lived then."""
        self.received = 0
        """Number of the last message that `receive` gave out: what `handled` may be told."""
        self.acknowledged = 0
        """Number of our last message that the other side has handled."""
        self.newest = -_NEVER
        """When the newest of the other side's frames was made, on its clock."""
        self._fresh: list[Message] = []
        self._flying: deque[Message] = deque()
        """Sent, not acknowledged."""
        self._handled = 0
        self._patience = resend_after
        self._resend_due = self._ack_due = self._heartbeat_due = _NEVER

    def send(self, *messages: Message) -> int:
        """Let messages leave with the next frame; the number of the last, which `acknowledged` will reach."""
        self._fresh += messages
        return self.acknowledged + len(self._flying) + len(self._fresh)

    def outgoing(self, now: float) -> Frame | None:
        """The frame that should leave now, None where there is nothing to say."""
        if now >= self._resend_due:
            # All of it: what follows a lost message was dropped by the other side too.
            self._flying += self._fresh
            self._fresh = []
            first, messages = self.acknowledged + 1, tuple(self._flying)
            self._patience = min(2 * self._patience, _BACKOFF_LIMIT * self._resend_after)
            self._resend_due = now + self._patience
        elif self._fresh or now >= self._ack_due or now >= self._heartbeat_due:
            first, messages = self.acknowledged + len(self._flying) + 1, tuple(self._fresh)
            if messages:
                if not self._flying:
                    self._resend_due = now + self._patience
                self._flying += messages
                self._fresh = []
        else:
            return None
        self._ack_due, self._heartbeat_due = _NEVER, now + self._heartbeat
        return Frame(first, self._handled, messages, now, self.newest)

    def receive(self, frame: Frame, now: float) -> list[Message]:
        """The messages that this frame adds: in order, none twice, none before its predecessor."""
        self.last_heard = now
        self.known_to_live = max(self.known_to_live, frame.heard)
        self.newest = max(self.newest, frame.sent)
        news = min(frame.handled - self.acknowledged, len(self._flying))
        if news > 0:
            for _ in range(news):
                self._flying.popleft()
            self.acknowledged += news
            self._patience = self._resend_after
            self._resend_due = now + self._patience if self._flying else _NEVER
        known = self.received + 1 - frame.first
        if not frame.messages or known < 0:
            return []  # after a gap: the other side will send all again
        if known >= len(frame.messages):
            self._owe_acknowledgement()  # the last one may be lost
            return []
        self.received += len(frame.messages) - known
        return list(frame.messages[known:])

    def handled(self, upto: int) -> None:
        """Acknowledge the other side's messages up to this number: they need never be sent again."""
        if upto > self._handled:
            self._handled = upto
            self._owe_acknowledgement()

    def next_due(self) -> float:
        """When `outgoing` must be called at the latest; infinite where only an event can change that."""
        if self._fresh:
            return self.last_heard
        return min(self._resend_due, self._ack_due, self._heartbeat_due)

    def _owe_acknowledgement(self) -> None:
        # Only a frame with messages is acknowledged, so that two silent sides do not thank each other for ever.
        self._ack_due = min(self._ack_due, self.last_heard + self._ack_after)
