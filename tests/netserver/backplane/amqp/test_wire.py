"""AMQP's frames: read whole and in pieces, wrong ones refused, messages taken apart."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Connection, Queue
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from netserver.backplane.amqp.wire import Content, Incoming, Reader, WireError, message, method

BODY_MAX = 100


def header(size: int) -> bytes:
    return marshal(ContentHeader(body_size=size, properties=Basic.Properties(app_id="me")), 1)


def body(part: bytes) -> bytes:
    return marshal(ContentBody(part), 1)


DELIVER = marshal(Basic.Deliver("tag", 1, False, "foreman", "client.1"), 1)
RETURN = marshal(Basic.Return(312, "NO_ROUTE", "foreman", "client.2"), 1)
BIND_OK = method(Queue.BindOk())
BLOCKED = method(Connection.Blocked("low on disk"))
HEARTBEAT = Heartbeat().marshal()

STREAM = b"".join(
    [
        *(BIND_OK, HEARTBEAT),
        *(DELIVER, header(5), body(b"he"), HEARTBEAT, body(b"l"), BLOCKED, body(b"lo")),
        *(DELIVER, header(0)),
        *(RETURN, header(1), body(b"x")),
        *(DELIVER, header(BODY_MAX + 1), body(bytes(BODY_MAX)), body(b"x")),  # too long
        *(DELIVER, header(BODY_MAX), body(bytes(BODY_MAX))),
    ]
)
READ = [
    "Queue.BindOk",
    "Connection.Blocked",
    ("client.1", b"hello"),
    ("client.1", b""),
    ("client.2", b"x"),
    ("client.1", bytes(BODY_MAX)),
]


def shown(incoming: Incoming) -> object:
    if isinstance(incoming, Content):
        assert incoming.properties.app_id == "me"
        return incoming.method.routing_key, incoming.body
    return incoming.name


def read(reader: Reader, data: bytes, size: int) -> list[object]:
    return [
        shown(incoming)
        for start in range(0, len(data), size)
        for incoming in reader.feed(data[start : start + size])
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 50, len(STREAM)])
def test_the_same_is_read_however_it_is_cut(size: int) -> None:
    assert read(Reader(BODY_MAX), STREAM, size) == READ


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"AMQP\0\0\x09\1", "no AMQP 0-9-1", id="another version"),
        pytest.param(b"HTTP/1.1 400 Bad", "no AMQP 0-9-1", id="another protocol"),
        pytest.param(struct.pack(">BHI", 1, 0, 4089), "over the 4096", id="a long frame"),
        pytest.param(struct.pack(">BHI", 3, 1, 2**32 - 1), "over the 4096", id="a huge frame"),
        pytest.param(BIND_OK[:-1] + b"\0", "without its end", id="no end"),
        pytest.param(struct.pack(">BHI", 1, 0, 0) + b"\xce", "cannot be read", id="empty"),
        pytest.param(
            struct.pack(">BHIHH", 1, 1, 4, 9, 9) + b"\xce", "cannot be read", id="unknown method"
        ),
        pytest.param(marshal(Queue.BindOk(), 2), "channel 2", id="another channel"),
        pytest.param(header(1), "not announced", id="a header alone"),
        pytest.param(body(b"x"), "more of a message", id="a body alone"),
        pytest.param(DELIVER + body(b"x"), "more of a message", id="no header"),
        pytest.param(DELIVER + header(1) + body(b"xy"), "more of a message", id="too much body"),
        pytest.param(DELIVER + header(1) + header(1), "not announced", id="two headers"),
        pytest.param(DELIVER + DELIVER, "middle of a message", id="two at once"),
        pytest.param(DELIVER + BIND_OK, "middle of a message", id="a method between"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_no_broker_sends_is_refused(data: bytes, reason: str, size: int) -> None:
    with pytest.raises(WireError, match=reason):
        read(Reader(BODY_MAX), data, size)


@given(
    st.binary(max_size=60),
    st.integers(0, len(STREAM)),
    st.integers(0, len(STREAM)),
    st.integers(1, 80),
)
@example(b"\x00\x00\x80", 314, 317, 1)  # text that is no UTF-8
def test_any_bytes_are_read_or_refused_alike_in_pieces(
    noise: bytes, start: int, stop: int, size: int
) -> None:
    data = STREAM[:start] + noise + STREAM[stop:]

    def outcome(size: int) -> list[object]:
        reader, outcome = Reader(BODY_MAX), list[object]()
        try:
            for at in range(0, len(data), size):
                for incoming in reader.feed(data[at : at + size]):
                    outcome += [incoming.body if isinstance(incoming, Content) else incoming.name]
        except WireError as error:
            outcome += [str(error)]
        return outcome

    assert outcome(size) == outcome(len(data) or 1)


@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 20_000])
def test_a_message_is_taken_apart_into_frames_that_are_not_too_long(size: int) -> None:
    sent = bytes(range(256)) * (size // 256 + 1)
    publish = Basic.Publish(0, "foreman", "client.1")
    data = message(publish, Basic.Properties(app_id="me"), sent[:size], 4096)
    assert data.startswith(method(publish))
    # Read as if the broker had delivered it: the frames of the content are the same.
    delivered = DELIVER + data[len(method(publish)) :]
    assert read(Reader(size), delivered, 5000) == [("client.1", sent[:size])]


@pytest.mark.parametrize(("frame", "channel"), [(Connection.CloseOk(), 0), (Queue.BindOk(), 1)])
def test_a_method_goes_on_its_channel(frame: Frame, channel: int) -> None:
    assert struct.unpack_from(">BH", method(frame)) == (1, channel)
