"""The frames between peers, whole and broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver.backplane.url import Address
from netserver.backplane.zeromq import wire
from netserver.backplane.zeromq.wire import (
    LARGEST_REQUEST,
    MOST_PEERS,
    SUBJECTS_CHUNK,
    Action,
    Change,
    Farewell,
    Introduction,
    Kind,
    Malformed,
    PeerInfo,
)

ID = bytes(range(16))
INFO = PeerInfo(Address("10.0.0.1", 5000), bytes(range(32)))
OTHERS = (PeerInfo(Address("chat-2.example", 1)), PeerInfo(Address("::1", 65535)))

READERS: dict[Kind, Callable[[bytes], object]] = {
    Kind.HELLO: wire.read_introduction,
    Kind.WELCOME: wire.read_introduction,
    Kind.PEERS: wire.read_peers,
    Kind.CHANGE: wire.read_change,
    Kind.ACK: wire.read_ack,
    Kind.BEAT: wire.read_beat,
    Kind.DATA: lambda frame: list(wire.read_data(frame)),
    Kind.BYE: wire.read_bye,
}

# One of each kind that has something.
FRAMES = {
    Kind.HELLO: wire.introduction(Kind.HELLO, Introduction(ID, INFO)),
    Kind.WELCOME: wire.introduction(Kind.WELCOME, Introduction(ID, INFO, OTHERS)),
    Kind.PEERS: wire.peers(OTHERS),
    Kind.CHANGE: wire.change(7, Action.ADD, b"a.b\nc"),
    Kind.ACK: wire.ack(7),
    Kind.BEAT: wire.beat(7, 8),
    Kind.DATA: wire.DATA + wire.record("a.b", b"payload") + wire.record("c", b""),
    Kind.BYE: wire.bye(Farewell.LEAVING),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_tells_its_kind(kind: Kind) -> None:
    assert wire.kind_of(FRAMES[kind]) is kind


def test_frames_come_back_as_they_were() -> None:
    assert wire.read_introduction(FRAMES[Kind.HELLO]) == Introduction(ID, INFO)
    assert wire.read_introduction(FRAMES[Kind.WELCOME]) == Introduction(ID, INFO, OTHERS)
    assert wire.read_peers(FRAMES[Kind.PEERS]) == list(OTHERS)
    assert wire.read_change(FRAMES[Kind.CHANGE]) == Change(7, Action.ADD, ("a.b", "c"))
    assert wire.read_ack(FRAMES[Kind.ACK]) == 7
    assert wire.read_beat(FRAMES[Kind.BEAT]) == (7, 8)
    assert list(wire.read_data(FRAMES[Kind.DATA])) == [("a.b", b"payload"), ("c", b"")]
    assert wire.read_bye(FRAMES[Kind.BYE]) is Farewell.LEAVING
    assert wire.read_change(wire.change(1, Action.BEGIN, b"")).subjects == ()


@pytest.mark.parametrize(
    "frame", [b"", b"\x01", b"\x02\x01", b"\x00\x01", b"\x01\x00", b"\x01\x0b", b"\xff\xff"]
)
def test_another_version_and_an_unknown_kind_are_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        wire.kind_of(frame)


@pytest.mark.parametrize("kind", FRAMES)
def test_cut_off_anywhere_it_is_malformed_or_another_whole_one(kind: Kind) -> None:
    whole, read = FRAMES[kind], READERS[kind]
    for end in range(2, len(whole)):
        try:
            assert read(whole[:end]) != read(whole)
        except Malformed:
            pass


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=300))
def test_any_bytes_are_read_or_malformed(kind: Kind, body: bytes) -> None:
    try:
        READERS[kind](bytes((wire.VERSION, kind)) + body)
    except Malformed:
        pass


@given(st.lists(st.tuples(st.sampled_from(["a", "a.b", "x" * 200]), st.binary(max_size=500))))
def test_messages_come_back_in_order(messages: list[tuple[str, bytes]]) -> None:
    frame = wire.DATA + b"".join(wire.record(*message) for message in messages)
    assert list(wire.read_data(frame)) == messages


def test_a_broken_record_takes_none_of_those_before() -> None:
    reader = wire.read_data(FRAMES[Kind.DATA] + b"\xff\xff\xff\xff\xff\xff")
    assert [next(reader), next(reader)] == [("a.b", b"payload"), ("c", b"")]
    with pytest.raises(Malformed):
        next(reader)


@pytest.mark.parametrize(
    "body", [b"a\n", b"a\n\nb", b"a b", b"\xff", b"*", b"x" * 201, b"a..b", b"\n"]
)
def test_a_subject_that_is_none_makes_a_change_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_change(wire.change(1, Action.ADD, body))


def test_tens_of_thousands_of_subjects_go_in_pieces_that_a_publisher_reads() -> None:
    subjects = [f"client.{number:0190}" for number in range(10_000)]
    frames = [wire.change(1, Action.EXTEND, chunk) for chunk in wire.chunks(subjects)]
    assert max(map(len, frames)) <= SUBJECTS_CHUNK + 16 <= LARGEST_REQUEST
    assert [each for frame in frames for each in wire.read_change(frame).subjects] == subjects
    assert list(wire.chunks([])) == []


def test_too_many_addresses_and_an_address_that_is_none_are_malformed() -> None:
    for infos in (
        [INFO] * (MOST_PEERS + 2),
        [PeerInfo(Address("a b", 1))],
        [PeerInfo(Address("a", 0))],
    ):
        with pytest.raises(Malformed):
            wire.read_peers(wire.peers(infos))
    with pytest.raises(Malformed):
        wire.read_introduction(bytes((1, Kind.HELLO)) + ID)
