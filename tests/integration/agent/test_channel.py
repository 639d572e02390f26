"""Messages between agent and keeper arrive whole and in order, however the stream cuts them."""

import os
import socket
from collections.abc import Iterator

import pytest

from pilotfish.agent.orders import Channel, ChannelClosedError, Order, Recorded
from pilotfish.model.messages import Note

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = (Channel(end) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


def receive(channel: Channel, other: Channel, count: int) -> list[Order]:
    messages: list[Order] = []
    while len(messages) < count:
        other.flush()
        messages += channel.receive()
    return messages


def test_messages_come_in_order(pair: Pair) -> None:
    one, other = pair
    for number in range(100):
        one.send(Recorded(number), Note(str(number)))
    assert other.receive() == [m for number in range(100) for m in (Recorded(number), Note(str(number)))]
    assert other.receive() == []


def test_a_message_may_be_longer_than_the_stream_takes(pair: Pair) -> None:
    one, other = pair
    long = Note("x" * 5_000_000)
    one.send(Recorded(1), long, Recorded(2))
    assert one.unsent
    assert receive(other, one, 3) == [Recorded(1), long, Recorded(2)]
    assert not one.unsent


def test_sending_never_waits(pair: Pair) -> None:
    one, other = pair
    for number in range(50_000):
        one.send(Recorded(number))
    assert one.unsent
    assert receive(other, one, 50_000) == [Recorded(number) for number in range(50_000)]


def test_a_descriptor_travels_with_a_message(pair: Pair) -> None:
    one, other = pair
    reading, writing = os.pipe()
    one.send_with(writing, Note("here"))
    os.close(writing)
    assert other.receive() == [Note("here")]
    (received,) = other.descriptors
    os.write(received, b"through")
    assert os.read(reading, 10) == b"through"
    os.close(reading)


def test_what_was_sent_before_the_end_is_given_out_first(pair: Pair) -> None:
    one, other = pair
    one.send(Recorded(1))
    one.close()
    assert other.receive() == [Recorded(1)]
    with pytest.raises(ChannelClosedError):
        other.receive()


def test_sending_to_nobody_is_silent(pair: Pair) -> None:
    one, other = pair
    other.close()
    one.send(Recorded(1))
    one.send(Recorded(2))
    assert not one.unsent
    with pytest.raises(ChannelClosedError):
        one.receive()
