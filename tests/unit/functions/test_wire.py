"""How messages between a keeper and its worker are told apart in what arrives."""

import msgspec

from pilotfish.functions.wire import Batch, Call, framed, unframed

_BATCHES = [Batch(None, (Call(position, 1, b"x" * position),)) for position in (0, 1, 1000)]


def test_messages_that_came_together_are_told_apart() -> None:
    arrived = bytearray(b"".join(map(framed, _BATCHES)))
    assert [msgspec.msgpack.decode(one, type=Batch) for one in unframed(arrived)] == _BATCHES
    assert not arrived


def test_what_came_half_waits_for_the_rest() -> None:
    sent, arrived, taken = b"".join(map(framed, _BATCHES)), bytearray(), []
    for byte in sent:
        arrived.append(byte)
        taken += [msgspec.msgpack.decode(one, type=Batch) for one in unframed(arrived)]
    assert taken == _BATCHES
    assert not arrived
