"""The table of addresses: what is tried when, and what is forgotten."""

from __future__ import annotations

import pytest

from netserver.backplane.url import Address
from netserver.backplane.zeromq.address_book import (
    BACKOFF,
    FORGET_AFTER,
    AddressBook,
    Origin,
    Phase,
)
from netserver.backplane.zeromq.wire import MOST_PEERS, PeerInfo

OWN = Address("me", 1)
A, B, C = (PeerInfo(Address(name, 1)) for name in "abc")
ID_A, ID_B = b"a" * 16, b"b" * 16


@pytest.fixture
def book() -> AddressBook:
    return AddressBook(b"me" * 8, OWN, lambda: 1.0)


def bring_up(book: AddressBook, info: PeerInfo, peer: bytes, now: float) -> None:
    assert info.address in book.take_due(now)
    assert book.met(info.address, peer, info, now) is Phase.UP


def test_a_new_address_is_tried_once_at_once(book: AddressBook) -> None:
    assert book.add(A, Origin.LISTED, 0.0)
    assert not book.add(A, Origin.TOLD, 0.0)
    assert not book.settled
    assert book.take_due(0.0) == [A.address]
    assert book.take_due(100.0) == []
    assert book.met(A.address, ID_A, A, 0.1) is Phase.UP
    assert book.settled
    assert book.up == [A]


def test_its_own_address_is_none(book: AddressBook) -> None:
    assert not book.add(PeerInfo(OWN), Origin.LISTED, 0.0)
    book.add(A, Origin.LISTED, 0.0)
    book.take_due(0.0)
    assert book.met(A.address, b"me" * 8, A, 0.0) is Phase.SELF
    assert book.settled
    assert book.take_due(1e9) == []


def test_what_fails_is_tried_again_ever_more_rarely_and_for_ever(book: AddressBook) -> None:
    book.add(A, Origin.LISTED, 0.0)
    now, waits = 0.0, []
    for _ in range(20):
        assert book.take_due(now) == [A.address]
        book.lost(A.address, now)
        step = 0.01
        while not book.take_due(now + step):
            step += 0.01
        waits.append(step)
        book.lost(A.address, now + step)
        book.again(now := now + step)
        book.forget(now)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(BACKOFF.first, abs=0.02)
    assert waits[-1] == pytest.approx(BACKOFF.cap, abs=0.02)


def test_one_that_was_told_of_is_forgotten_after_a_while_and_listed_ones_never(
    book: AddressBook,
) -> None:
    for info, origin in ((A, Origin.LISTED), (B, Origin.TOLD)):
        book.add(info, origin, 0.0)
    bring_up(book, A, ID_A, 0.0)
    assert book.met(B.address, ID_B, B, 0.0) is Phase.UP
    for info in (A, B):
        book.lost(info.address, 1000.0)
    book.forget(1000.0 + FORGET_AFTER - 1)
    assert len(book) == 2
    book.forget(1000.0 + FORGET_AFTER)
    assert (book.phase(A.address), book.phase(B.address)) == (Phase.WAITING, None)


def test_one_that_says_goodbye_is_forgotten_at_once_if_only_told_of(book: AddressBook) -> None:
    for info, origin in ((A, Origin.LISTED), (B, Origin.TOLD)):
        book.add(info, origin, 0.0)
    bring_up(book, A, ID_A, 0.0)
    book.met(B.address, ID_B, B, 0.0)
    for info in (A, B):
        book.lost(info.address, 1.0, left=True)
    assert (book.phase(A.address), book.phase(B.address)) == (Phase.WAITING, None)


def test_one_that_calls_is_tried_at_once(book: AddressBook) -> None:
    book.add(A, Origin.LISTED, 0.0)
    for _ in range(10):
        book.take_due(1e6)
        book.lost(A.address, 1e6)
    assert book.take_due(1e6) == []
    assert not book.calls(A, 1e6)
    assert book.take_due(1e6) == [A.address]
    assert book.calls(B, 1e6)


def test_one_peer_has_one_link_and_its_other_address_takes_over(book: AddressBook) -> None:
    book.add(A, Origin.LISTED, 0.0)
    book.add(B, Origin.TOLD, 0.0)
    bring_up(book, A, ID_A, 0.0)
    assert book.met(B.address, ID_A, B, 0.0) is Phase.ALIAS
    assert book.take_due(50.0) == []
    book.lost(A.address, 50.0)
    assert book.take_due(50.0) == [B.address]
    assert book.met(B.address, ID_A, B, 50.0) is Phase.UP


def test_one_that_is_up_is_not_tried_under_the_address_that_it_tells(book: AddressBook) -> None:
    book.add(A, Origin.LISTED, 0.0)
    book.take_due(0.0)
    book.met(A.address, ID_A, C, 0.0)
    assert not book.add(C, Origin.TOLD, 0.0)
    assert book.up == [C]


def test_another_server_at_the_same_address_is_a_new_one(book: AddressBook) -> None:
    book.add(A, Origin.LISTED, 0.0)
    bring_up(book, A, ID_A, 0.0)
    book.lost(A.address, 9.0)
    bring_up(book, A, ID_B, 9.0 + BACKOFF.first)


def test_what_a_name_no_longer_has_is_forgotten_in_time(book: AddressBook) -> None:
    book.named([A.address, B.address], 0.0)
    assert set(book.take_due(0.0)) == {A.address, B.address}
    for info in (A, B):
        book.lost(info.address, 0.0)
    book.forget(1e6)
    assert len(book) == 2
    book.named([A.address, C.address], 1e6)
    book.forget(1e6 + FORGET_AFTER)
    assert book.phase(B.address) is None
    assert book.phase(A.address) is book.phase(C.address) is Phase.WAITING


def test_the_table_has_an_end(book: AddressBook) -> None:
    for port in range(1, 2 * MOST_PEERS):
        book.add(PeerInfo(Address("x", port)), Origin.TOLD, 0.0)
    assert len(book) == MOST_PEERS


def test_again_means_as_if_for_the_first_time(book: AddressBook) -> None:
    book.add(A, Origin.LISTED, 0.0)
    bring_up(book, A, ID_A, 0.0)
    book.lost(A.address, 1.0)
    book.again(1.0)
    assert not book.settled
    assert book.take_due(1.0) == [A.address]
