"""The table of addresses: what is tried when, and what is forgotten."""

from __future__ import annotations

import pytest

from netserver.backplane.url import Address
from netserver.backplane.zeromq.peers import BACKOFF, FORGET_AFTER, Origin, Peers, Phase
from netserver.backplane.zeromq.wire import MOST_PEERS, PeerInfo

OWN = Address("me", 1)
A, B, C = (PeerInfo(Address(name, 1)) for name in "abc")
ID_A, ID_B = b"a" * 16, b"b" * 16


@pytest.fixture
def peers() -> Peers:
    return Peers(b"me" * 8, OWN, lambda: 1.0)


def bring_up(peers: Peers, info: PeerInfo, peer: bytes, now: float) -> None:
    assert info.address in peers.take_due(now)
    assert peers.met(info.address, peer, info, now) is Phase.UP


def test_a_new_address_is_tried_once_at_once(peers: Peers) -> None:
    assert peers.add(A, Origin.LISTED, 0.0)
    assert not peers.add(A, Origin.TOLD, 0.0)
    assert not peers.settled
    assert peers.take_due(0.0) == [A.address]
    assert peers.take_due(100.0) == []
    assert peers.met(A.address, ID_A, A, 0.1) is Phase.UP
    assert peers.settled
    assert peers.up == [A]


def test_its_own_address_is_none(peers: Peers) -> None:
    assert not peers.add(PeerInfo(OWN), Origin.LISTED, 0.0)
    peers.add(A, Origin.LISTED, 0.0)
    peers.take_due(0.0)
    assert peers.met(A.address, b"me" * 8, A, 0.0) is Phase.SELF
    assert peers.settled
    assert peers.take_due(1e9) == []


def test_what_fails_is_tried_again_ever_more_rarely_and_for_ever(peers: Peers) -> None:
    peers.add(A, Origin.LISTED, 0.0)
    now, waits = 0.0, []
    for _ in range(20):
        assert peers.take_due(now) == [A.address]
        peers.lost(A.address, now)
        step = 0.01
        while not peers.take_due(now + step):
            step += 0.01
        waits.append(step)
        peers.lost(A.address, now + step)
        peers.again(now := now + step)
        peers.forget(now)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(BACKOFF.first, abs=0.02)
    assert waits[-1] == pytest.approx(BACKOFF.cap, abs=0.02)


def test_one_that_was_told_of_is_forgotten_after_a_while_and_listed_ones_never(
    peers: Peers,
) -> None:
    for info, origin in ((A, Origin.LISTED), (B, Origin.TOLD)):
        peers.add(info, origin, 0.0)
    bring_up(peers, A, ID_A, 0.0)
    assert peers.met(B.address, ID_B, B, 0.0) is Phase.UP
    for info in (A, B):
        peers.lost(info.address, 1000.0)
    peers.forget(1000.0 + FORGET_AFTER - 1)
    assert len(peers) == 2
    peers.forget(1000.0 + FORGET_AFTER)
    assert (peers.phase(A.address), peers.phase(B.address)) == (Phase.WAITING, None)


def test_one_that_says_goodbye_is_forgotten_at_once_if_only_told_of(peers: Peers) -> None:
    for info, origin in ((A, Origin.LISTED), (B, Origin.TOLD)):
        peers.add(info, origin, 0.0)
    bring_up(peers, A, ID_A, 0.0)
    peers.met(B.address, ID_B, B, 0.0)
    for info in (A, B):
        peers.lost(info.address, 1.0, left=True)
    assert (peers.phase(A.address), peers.phase(B.address)) == (Phase.WAITING, None)


def test_one_that_calls_is_tried_at_once(peers: Peers) -> None:
    peers.add(A, Origin.LISTED, 0.0)
    for _ in range(10):
        peers.take_due(1e6)
        peers.lost(A.address, 1e6)
    assert peers.take_due(1e6) == []
    assert not peers.calls(A, 1e6)
    assert peers.take_due(1e6) == [A.address]
    assert peers.calls(B, 1e6)


def test_one_peer_has_one_link_and_its_other_address_takes_over(peers: Peers) -> None:
    peers.add(A, Origin.LISTED, 0.0)
    peers.add(B, Origin.TOLD, 0.0)
    bring_up(peers, A, ID_A, 0.0)
    assert peers.met(B.address, ID_A, B, 0.0) is Phase.ALIAS
    assert peers.take_due(50.0) == []
    peers.lost(A.address, 50.0)
    assert peers.take_due(50.0) == [B.address]
    assert peers.met(B.address, ID_A, B, 50.0) is Phase.UP


def test_one_that_is_up_is_not_tried_under_the_address_that_it_tells(peers: Peers) -> None:
    peers.add(A, Origin.LISTED, 0.0)
    peers.take_due(0.0)
    peers.met(A.address, ID_A, C, 0.0)
    assert not peers.add(C, Origin.TOLD, 0.0)
    assert peers.up == [C]


def test_another_server_at_the_same_address_is_a_new_one(peers: Peers) -> None:
    peers.add(A, Origin.LISTED, 0.0)
    bring_up(peers, A, ID_A, 0.0)
    peers.lost(A.address, 9.0)
    bring_up(peers, A, ID_B, 9.0 + BACKOFF.first)


def test_what_a_name_no_longer_has_is_forgotten_in_time(peers: Peers) -> None:
    peers.named([A.address, B.address], 0.0)
    assert set(peers.take_due(0.0)) == {A.address, B.address}
    for info in (A, B):
        peers.lost(info.address, 0.0)
    peers.forget(1e6)
    assert len(peers) == 2
    peers.named([A.address, C.address], 1e6)
    peers.forget(1e6 + FORGET_AFTER)
    assert peers.phase(B.address) is None
    assert peers.phase(A.address) is peers.phase(C.address) is Phase.WAITING


def test_the_table_has_an_end(peers: Peers) -> None:
    for port in range(1, 2 * MOST_PEERS):
        peers.add(PeerInfo(Address("x", port)), Origin.TOLD, 0.0)
    assert len(peers) == MOST_PEERS


def test_again_means_as_if_for_the_first_time(peers: Peers) -> None:
    peers.add(A, Origin.LISTED, 0.0)
    bring_up(peers, A, ID_A, 0.0)
    peers.lost(A.address, 1.0)
    peers.again(1.0)
    assert not peers.settled
    assert peers.take_due(1.0) == [A.address]
