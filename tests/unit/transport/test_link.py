"""A link delivers each message once and in order, whatever becomes of the frames."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.model.messages import Frame, Message, Note
from pilotfish.transport.link import Link

RESEND, HEARTBEAT = 1.0, 20.0


def link() -> Link:
    return Link(resend_after=RESEND, heartbeat=HEARTBEAT)


def bare(frame: Frame | None) -> Frame | None:
    """Without its times."""
    return frame and Frame(frame.first, frame.handled, frame.messages)


def note(number: int) -> Note:
    return Note(str(number))


def carry(sender: Link, receiver: Link, now: float) -> list[Message]:
    """Give the sender's frame to the receiver, who handles it at once; what it delivered."""
    frame = sender.outgoing(now)
    messages = receiver.receive(frame, now) if frame else []
    receiver.handled(receiver.received)
    return messages


def test_messages_arrive_in_order_with_rising_numbers() -> None:
    left, right = link(), link()
    assert left.send(note(1), note(2)) == 2
    assert left.send(note(3)) == 3
    assert bare(left.outgoing(0.0)) == Frame(1, 0, (note(1), note(2), note(3)))
    left.send(note(4))
    frame = left.outgoing(0.1)
    assert frame is not None
    assert bare(frame) == Frame(4, 0, (note(4),))
    assert right.receive(Frame(1, 0, (note(1), note(2), note(3))), 0.1) == [note(1), note(2), note(3)]
    assert right.receive(frame, 0.1) == [note(4)]
    assert right.received == 4


def test_nothing_to_say_is_no_frame() -> None:
    left = link()
    assert left.outgoing(0.0) is None
    assert left.next_due() == float("inf")


def test_a_message_is_due_at_once() -> None:
    left = link()
    left.receive(Frame(1, 0, ()), 5.0)
    left.send(note(1))
    assert left.next_due() <= 5.0


def test_what_was_handled_is_told_with_the_next_message() -> None:
    left, right = link(), link()
    left.send(note(1))
    carry(left, right, 0.0)
    right.send(note(2))
    assert carry(right, left, 0.0) == [note(2)]
    assert left.acknowledged == 1
    assert left.next_due() > 0.05, "the answer itself needs no hurry"


def test_what_was_received_is_not_acknowledged_before_it_is_handled() -> None:
    left, right = link(), link()
    left.send(note(1), note(2))
    frame = left.outgoing(0.0)
    assert frame
    right.receive(frame, 0.0)
    assert right.outgoing(0.9) is None
    right.handled(1)
    assert bare(right.outgoing(0.9)) == Frame(1, 1, ())


def test_an_acknowledgement_alone_waits_a_moment_for_company() -> None:
    left, right = link(), link()
    left.send(note(1))
    carry(left, right, 10.0)
    assert right.outgoing(10.0) is None
    assert right.next_due() == 10.0 + 0.1
    assert bare(right.outgoing(right.next_due())) == Frame(1, 1, ())


def test_one_that_nobody_waits_for_waits_longer_but_not_until_all_is_sent_again() -> None:
    for acknowledge_after, waits in ((0.3, 0.3), (HEARTBEAT, RESEND / 2)):
        right = Link(resend_after=RESEND, heartbeat=HEARTBEAT, acknowledge_after=acknowledge_after)
        left = link()
        left.send(note(1))
        carry(left, right, 10.0)
        assert right.next_due() == 10.0 + waits


def test_acknowledgements_are_not_acknowledged() -> None:
    left, right = link(), link()
    left.send(note(1))
    carry(left, right, 0.0)
    carry(right, left, 0.5)
    assert left.acknowledged == 1
    assert left.outgoing(HEARTBEAT - 0.01) is None
    assert right.outgoing(HEARTBEAT - 0.01) is None


def test_silence_ends_with_a_heartbeat() -> None:
    left, right = link(), link()
    left.send(note(1))
    carry(left, right, 0.0)
    carry(right, left, 0.5)
    assert left.next_due() == HEARTBEAT
    assert bare(left.outgoing(HEARTBEAT)) == Frame(2, 0, ())
    assert left.next_due() == 2 * HEARTBEAT


def test_every_frame_is_a_sign_of_life() -> None:
    left = Link(resend_after=RESEND, heartbeat=HEARTBEAT, now=3.0)
    assert left.last_heard == 3.0
    left.receive(Frame(1, 0, ()), 4.0)
    left.receive(Frame(7, 0, (note(1),)), 5.0)
    assert left.last_heard == 5.0


def test_what_is_not_acknowledged_is_sent_again_with_growing_patience() -> None:
    left = link()
    left.send(note(1), note(2))
    sent = []
    now = 0.0
    for _ in range(7):
        frame = left.outgoing(now)
        if frame and frame.messages:
            assert bare(frame) == Frame(1, 0, (note(1), note(2)))
            sent.append(now)
        now = left.next_due()
    assert sent == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 47.0]


def test_progress_restores_patience() -> None:
    left = link()
    left.send(note(1), note(2))
    for now in (0.0, 1.0, 3.0):
        assert left.outgoing(now)
    left.receive(Frame(1, 1, ()), 3.5)
    assert left.next_due() == 4.5
    assert bare(left.outgoing(4.5)) == Frame(2, 0, (note(2),))


def test_new_messages_do_not_put_off_lost_ones() -> None:
    left, right = link(), link()
    left.send(note(1))
    left.outgoing(0.0)  # lost
    for tenth in range(1, 10):
        left.send(note(tenth))
        assert carry(left, right, tenth / 10) == []
    left.send(note(10))
    assert carry(left, right, 1.0) == [note(1), *(note(n) for n in range(1, 11))]


def test_a_repeated_frame_is_acknowledged_once_more_and_adds_nothing() -> None:
    left, right = link(), link()
    left.send(note(1))
    frame = left.outgoing(0.0)
    assert frame
    assert right.receive(frame, 0.0) == [note(1)]
    right.handled(1)
    assert right.outgoing(0.1)  # lost
    assert right.receive(frame, 1.0) == []
    assert bare(right.outgoing(1.1)) == Frame(1, 1, ())


def test_a_frame_that_overlaps_adds_its_end() -> None:
    right = link()
    right.receive(Frame(1, 0, (note(1), note(2))), 0.0)
    assert right.receive(Frame(2, 0, (note(2), note(3))), 0.0) == [note(3)]


def test_a_frame_after_a_gap_adds_nothing() -> None:
    right = link()
    assert right.receive(Frame(2, 0, (note(2),)), 0.0) == []
    assert right.received == 0
    assert right.receive(Frame(1, 0, (note(1), note(2))), 0.0) == [note(1), note(2)]


def test_an_acknowledgement_of_what_was_never_sent_is_ignored() -> None:
    left = link()
    left.send(note(1))
    left.outgoing(0.0)
    left.receive(Frame(1, 99, ()), 0.0)
    assert left.acknowledged == 1
    assert left.send(note(2)) == 2


class Fate(NamedTuple):
    """What becomes of one frame."""

    copies: int
    delay: float


FATES = st.lists(st.builds(Fate, st.integers(0, 2), st.floats(0, 5)), max_size=60)


class Sea:
    """Two links and a transport that treats frames as fate has it, and well once fate is used up."""

    def __init__(self, fates: list[Fate], handling: Callable[[int, int], int]) -> None:
        self.links = (link(), link())
        self.delivered: tuple[list[Message], list[Message]] = ([], [])
        self.fates = iter(fates)
        self.handling = handling
        self.under_way: list[tuple[float, int, Frame]] = []
        self.now = 0.0

    def advance(self, until: float) -> None:
        while self.now < until:
            for side in (0, 1):
                frame = self.links[side].outgoing(self.now)
                if frame:
                    fate = next(self.fates, Fate(1, 0.0))
                    for copy in range(fate.copies):
                        self.under_way.append((self.now + fate.delay * (copy + 1), 1 - side, frame))
            arrived = [one for one in self.under_way if one[0] <= self.now]
            self.under_way = [one for one in self.under_way if one[0] > self.now]
            for _, side, frame in sorted(arrived, key=lambda one: one[0]):
                receiver = self.links[side]
                self.delivered[side].extend(receiver.receive(frame, self.now))
                receiver.handled(self.handling(side, receiver.received))
            self.now += 0.25


@given(FATES, st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.integers(1, 3)), max_size=25))
def test_over_a_sea_of_troubles_all_arrive_once_and_in_order(
    fates: list[Fate], wishes: list[tuple[float, bool, int]]
) -> None:
    slow = {0: 0, 1: 0}

    def handle_late(side: int, received: int) -> int:
        """Acknowledge what had been received the time before, as one who commits first."""
        handled, slow[side] = slow[side], received
        return handled

    sea = Sea(fates, handle_late)
    given_to: tuple[list[Message], list[Message]] = ([], [])
    for pause, right, count in wishes:
        side = int(right)
        messages = [note(len(given_to[side]) + n) for n in range(count)]
        given_to[side].extend(messages)
        sea.links[side].send(*messages)
        sea.advance(sea.now + pause)
    sea.advance(sea.now + 500.0)
    assert sea.delivered == (given_to[1], given_to[0])
    assert [one.acknowledged for one in sea.links] == [len(given_to[0]), len(given_to[1])]


def test_each_side_knows_until_when_the_other_has_heard_it() -> None:
    left, right = link(), link()
    assert left.known_to_live == float("-inf")
    left.send(note(1))
    carry(left, right, 3.0)
    right.send(note(1))
    late = right.outgoing(4.0)
    left.send(note(2))
    left.outgoing(5.0)  # is lost
    assert late is not None
    left.receive(late, 9.0)
    assert left.last_heard == 9.0
    assert left.known_to_live == 3.0  # of what was said later nobody knows whether it was heard
