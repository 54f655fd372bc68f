"""What holds of every stream: splitting changes nothing, and plain wsproto agrees with us."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import wsproto.events as ws
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType

from netwire import Closed, Event, Failed, Limits, Ping, Pong, RemoteError
from netwire.websocket import WebSocketClient, WebSocketServer
from netwire.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    TEXT,
    build_frame,
    parse_header,
)
from netwire.websocket.masking import apply_mask

HELLO = WebSocketClient("a").start()
UNLIMITED = Limits(message=1 << 63, fragments=1 << 63)
Outcome: TypeAlias = bytes | str | tuple[object, ...]


def opened(client: bool, limits: Limits) -> WebSocketServer | WebSocketClient:
    server = WebSocketServer(limits)
    if not client:
        server.receive(HELLO)
        server.accept()
        return server
    wire = WebSocketClient("a", limits=limits)
    server.receive(wire.start())
    wire.receive(server.accept())
    return wire


def outcome(event: Event) -> Outcome:
    match event:
        case bytes() | str():
            return event
        case Ping(payload) | Pong(payload):
            return (type(event).__name__, payload)
        case Closed(code, reason):
            return ("Closed", code, reason)
        case Failed(error):
            return ("Failed", error.close_code)
    raise AssertionError(event)


def ours(client: bool, pieces: list[bytes], limits: Limits = UNLIMITED) -> list[Outcome]:
    wire = opened(client, limits)
    return [outcome(event) for piece in pieces for event in wire.receive(piece)]


def plain(client: bool, pieces: list[bytes]) -> list[Outcome]:
    """What wsproto alone makes of it, its pieces of messages joined."""
    connection = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
    outcomes: list[Outcome] = []
    text, binary = "", b""
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            match event:
                case ws.TextMessage(data=data, message_finished=finished):
                    text += data
                    if finished:
                        outcomes.append(text)
                        text = ""
                case ws.BytesMessage(data=data, message_finished=finished):
                    binary += data
                    if finished:
                        outcomes.append(binary)
                        binary = b""
                case ws.Ping(payload=payload) | ws.Pong(payload=payload):
                    outcomes.append((type(event).__name__, bytes(payload)))
                case ws.CloseConnection(code=code) if connection.state is ConnectionState.OPEN:
                    return [*outcomes, ("Failed", int(code))]
                case ws.CloseConnection(code=code, reason=reason):
                    return [*outcomes, ("Closed", int(code), reason or "")]
    return outcomes


def split(data: bytes, cuts: list[float]) -> list[bytes]:
    at = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    return [data[i:j] for i, j in pairwise(at)]


cuts = st.lists(st.floats(0, 1), max_size=12)
sizes = st.sampled_from([0, 1, 2, 3, 124, 125, 126, 127, 1023, 1024, 1025, 65535, 65536])


@st.composite
def messages(draw: st.DrawFn) -> bytes | str:
    size = draw(sizes)
    if draw(st.booleans()):
        return (draw(st.binary(min_size=1, max_size=7)) * size)[:size]
    return (draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)) * size)[:size]


@st.composite
def streams(draw: st.DrawFn, client: bool) -> tuple[bytes, list[Outcome]]:
    """A valid stream and what it says: messages whole and in fragments, pings and pongs between."""
    mask = 0 if client else MASKED
    stream = bytearray()
    expected: list[Outcome] = []

    def control() -> None:
        if draw(st.booleans()):
            payload = draw(st.binary(max_size=125))
            opcode, name = draw(st.sampled_from([(PING, "Ping"), (PONG, "Pong")]))
            stream.extend(build_frame(opcode, payload, mask))
            expected.append((name, payload))

    for _ in range(draw(st.integers(1, 4))):
        control()
        message = draw(messages())
        payload = message.encode() if isinstance(message, str) else message
        opcode = TEXT if isinstance(message, str) else BINARY
        *first, last = split(payload, draw(st.lists(st.floats(0, 1), max_size=3)))
        for piece in first:
            built = build_frame(opcode, piece, mask)
            stream += bytes((opcode,)) + built[1:]
            opcode = CONTINUATION
            control()
        stream += build_frame(opcode, last, mask)
        expected.append(message)
    if draw(st.booleans()):
        stream += build_frame(CLOSE, b"\x03\xe8bye", mask)
        expected.append(("Closed", 1000, "bye"))
    return bytes(stream), expected


@settings(deadline=None)
@given(st.data(), st.booleans(), cuts)
def test_every_split_of_a_valid_stream_says_the_same(
    data: st.DataObject, client: bool, cuts: list[float]
) -> None:
    stream, expected = data.draw(streams(client))
    pieces = split(stream, cuts)
    assert ours(client, [stream]) == expected
    assert ours(client, pieces) == expected
    assert plain(client, pieces) == expected
    if len(stream) < 3000:
        assert ours(client, [stream[i : i + 1] for i in range(len(stream))]) == expected


@settings(deadline=None, max_examples=300)
@given(st.data(), st.booleans(), cuts)
def test_plain_wsproto_agrees_on_damaged_streams(
    data: st.DataObject, client: bool, cuts: list[float]
) -> None:
    stream = bytearray(data.draw(streams(client))[0][:2000])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(stream), 40) - 1))
        stream[at] = data.draw(st.integers(0, 255))
    # Zeros complete whatever header the stream ends in: we wait for it all, wsproto does not.
    damaged = bytes(stream) + bytes(16)
    expected = plain(client, [damaged])
    assert ours(client, [damaged]) == expected
    assert ours(client, split(damaged, cuts)) == expected


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.integers(1, 40), st.booleans())
def test_no_bytes_get_anything_but_our_errors(
    data: bytes, client: bool, step: int, closing: bool
) -> None:
    limits = Limits(message=100, fragments=3)
    wire = opened(client, limits)
    if closing:
        wire.close()
    events = [e for i in range(0, len(data), step) for e in wire.receive(data[i : i + step])]
    events += wire.receive_eof()
    *_, last = events
    assert isinstance(last, Closed | Failed)
    assert all(isinstance(e.error, RemoteError) for e in events if isinstance(e, Failed))
    if not closing:
        assert ours(client, [data], limits) == [
            each for each in map(outcome, events) if each != ("Failed", 1006)
        ]


@given(st.binary(max_size=1500), st.binary(min_size=4, max_size=4))
def test_masking_is_xor(payload: bytes, key: bytes) -> None:
    masked = apply_mask(payload, key)
    assert masked == bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    assert apply_mask(masked, key) == payload


@given(sizes, st.sampled_from([0, MASKED]), st.binary(max_size=9))
def test_a_header_says_where_its_payload_is(size: int, mask: int, before: bytes) -> None:
    built = build_frame(BINARY, bytes(size), mask)
    header = parse_header(before + built, len(before))
    assert header is not None
    assert header == (FIN | BINARY, size, len(before) + len(built) - size)
    for cut in range(len(built) - size):
        assert parse_header(before + built[:cut], len(before)) is None
