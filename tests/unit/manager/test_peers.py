"""Who is told something when: as early as it must be, and no turn of the loop for nothing."""

from collections.abc import Sequence
from math import inf

import pytest

from pilotfish.manager.peers import Peer, Rota
from pilotfish.model.messages import Frame, Note
from pilotfish.transport.link import Link

HEARTBEAT, RESEND = 2.0, 5.0


class Wire:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []

    def fileno(self) -> int:
        return -1

    def receive(self) -> Sequence[Frame]:
        return ()

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    @property
    def unsent(self) -> bool:
        return False

    def flush(self) -> None: ...

    def close(self) -> None: ...


def peer_of(rota: Rota) -> tuple[Peer, Wire]:
    wire = Wire()
    return Peer(wire, Link(resend_after=RESEND, heartbeat=HEARTBEAT), rota), wire


def test_what_is_said_leaves_with_the_next_push_in_one_frame() -> None:
    rota = Rota()
    peer, wire = peer_of(rota)
    assert rota.next_due() == inf
    peer.send(Note("a"))
    peer.send(Note("b"), Note("c"))
    assert rota.next_due() == -inf
    rota.push(0.0)
    assert [frame.messages for frame in wire.sent] == [(Note("a"), Note("b"), Note("c"))]
    assert rota.next_due() == HEARTBEAT


def test_who_was_told_something_meanwhile_needs_no_heartbeat_before_its_time() -> None:
    rota = Rota()
    (busy, _), (idle, wire) = peer_of(rota), peer_of(rota)
    busy.send(Note("a"))
    rota.push(0.0)
    idle.send(Note("a"))
    rota.push(1.0)
    assert rota.next_due() == HEARTBEAT, "of the one that was told something at 0"
    busy.send(Note("b"))
    rota.push(1.5)
    assert rota.next_due() == 1.0 + HEARTBEAT, "of the other one"
    rota.push(rota.next_due())
    assert [frame.messages for frame in wire.sent] == [(Note("a"),), ()]
    assert rota.next_due() == 1.5 + HEARTBEAT


def test_who_is_told_a_lot_is_looked_at_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    rota = Rota()
    peer, wire = peer_of(rota)
    looks = 0
    look = Link.next_due

    def counted(link: Link) -> float:
        nonlocal looks
        looks += 1
        return look(link)

    monkeypatch.setattr(Link, "next_due", counted)
    for number in range(100):
        now = number / 100
        peer.send(Note("a"))
        rota.push(now)
        rota.next_due()
        peer.link.receive(Frame(number + 1, number + 1, (Note("b"),)), now)
        peer.handled(number + 1)
        rota.push(now)
        rota.next_due()
    assert looks <= 100 * 5
    assert len(wire.sent) >= 100


def test_who_has_gone_wakes_nobody_twice() -> None:
    rota = Rota()
    peer, wire = peer_of(rota)
    peer.send(Note("a"))
    rota.push(0.0)
    peer.gone = True
    rota.push(rota.next_due())
    assert rota.next_due() == inf
    assert len(wire.sent) == 1
