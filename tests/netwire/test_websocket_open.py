"""The open WebSocket: messages, limits, pings, the close; whole, in pieces, and both roles."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from netwire import (
    Closed,
    ConnectionLost,
    Event,
    Failed,
    InvalidPayload,
    Limits,
    LocalError,
    Message,
    MessageTooBig,
    Opened,
    Ping,
    Pong,
    ProtocolError,
    State,
)
from netwire.errors import RemoteError, TooManyFragments
from netwire.websocket import WebSocketClient, WebSocketServer, reader
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
)
from netwire.wire import Transform

LIMITS = Limits()
ROLES = ["server", "client"]


def pair(
    limits: Limits = LIMITS, transform: Callable[[], Transform | None] = lambda: None
) -> tuple[WebSocketServer, WebSocketClient]:
    """Both ends of one connection, open."""
    server = WebSocketServer(limits, transform=transform())
    client = WebSocketClient("a", limits=limits, transform=transform())
    server.receive(client.start())
    (opened,) = client.receive(server.accept())
    assert isinstance(opened, Opened)
    return server, client


def one(role: str, limits: Limits = LIMITS) -> WebSocketServer | WebSocketClient:
    return pair(limits)[role == "client"]


def mask_of(role: str) -> int:
    """The mask bit of what this role receives."""
    return MASKED if role == "server" else 0


def frame(role: str, opcode: int, payload: bytes = b"", first: int | None = None) -> bytes:
    """A frame that this role may receive; ``first`` replaces its first byte."""
    built = build_frame(opcode, payload, mask_of(role))
    return built if first is None else bytes((first,)) + built[1:]


def part(role: str, opcode: int, payload: bytes = b"") -> bytes:
    """A frame with more of its message to come."""
    return frame(role, opcode, payload, first=opcode)


def describe(events: list[Event]) -> list[object]:
    """The events as values that compare, whatever key a reply was masked with."""
    described: list[object] = []
    for event in events:
        match event:
            case Failed(error, reply):
                described.append((type(error), str(error), len(reply)))
            case Ping(payload, reply):
                described.append((Ping, payload, len(reply)))
            case Closed(code, reason, reply):
                described.append((Closed, code, reason, len(reply)))
            case _:
                described.append(event)
    return described


def received(role: str, data: bytes, limits: Limits = LIMITS) -> list[Event]:
    """What this role reports: the same for every size of piece (small ones for short streams)."""
    whole = one(role, limits).receive(data)
    for step in (1, 2, 5, 1000) if len(data) < 5000 else (997, 4096):
        wire = one(role, limits)
        events = [e for i in range(0, len(data), step) for e in wire.receive(data[i : i + step])]
        assert describe(events) == describe(whole), step
    return whole


def failure(role: str, data: bytes, limits: Limits = LIMITS) -> RemoteError:
    """The one event with which this role fails, and tells the peer by a close frame."""
    trailing = frame(role, BINARY, b"behind")
    (failed,) = received(role, data + trailing, limits)
    assert isinstance(failed, Failed)
    server, client = pair()
    peer = client if role == "server" else server
    (closed,) = peer.receive(failed.reply)
    assert isinstance(closed, Closed)
    assert (closed.code, closed.reason) == (failed.error.close_code, failed.error.reason)
    return failed.error


# Messages

SIZES = [0, 1, 2, 3, 125, 126, 127, 1023, 1024, 1025, 65535, 65536, 70001]


@pytest.mark.parametrize("size", SIZES)
def test_messages_cross_both_ways(size: int) -> None:
    server, client = pair()
    binary = bytes(i % 251 for i in range(size))
    text = "é" * (size // 2) + "x" * (size % 2)
    messages: list[Message] = [binary, text, binary]
    for sender, receiver in ((server, client), (client, server)):
        stream = b"".join(sender.encode(message) for message in messages)
        assert receiver.receive(stream) == messages
        cut = len(stream) // 3
        assert receiver.receive(stream[:cut]) + receiver.receive(stream[cut:]) == messages


@pytest.mark.parametrize("role", ROLES)
def test_fragments_with_pings_between(role: str) -> None:
    data = (
        part(role, TEXT, b"h\xc3")
        + frame(role, PING, b"1")
        + part(role, CONTINUATION)
        + frame(role, PONG, b"2")
        + frame(role, CONTINUATION, b"\xa9")
        + frame(role, BINARY, b"whole")
        + part(role, BINARY)
        + frame(role, CONTINUATION)
    )
    for end in (b"", frame(role, TEXT, b"x"), part(role, BINARY, b"begun")):
        ping, pong, text, *rest = received(role, data + end)
        assert isinstance(ping, Ping)
        assert ping.payload == b"1"
        assert pong == Pong(b"2")
        assert text == "hé"
        assert rest[:2] == [b"whole", b""]


def test_a_reply_to_a_ping_is_a_pong() -> None:
    server, client = pair()
    for asked, asking in ((server, client), (client, server)):
        (ping,) = asked.receive(asking.ping(b"are you there"))
        assert isinstance(ping, Ping)
        assert asking.receive(ping.reply) == [Pong(b"are you there")]


@pytest.mark.parametrize("role", ROLES)
def test_whole_pings_and_pongs_need_no_wsproto(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    receiver = one(role)
    monkeypatch.setattr(reader, "Connection", None)  # 5 KiB and 12 microseconds
    data = frame(role, PING, b"1" * 125) + part(role, BINARY) + frame(role, PONG)
    ping, pong = receiver.receive(data)
    assert isinstance(ping, Ping)
    assert ping.payload == b"1" * 125
    assert pong == Pong(b"")


@pytest.mark.parametrize("message", [None, 1, bytearray(b"x"), ["x"]])
def test_only_bytes_and_str_are_messages(message: object) -> None:
    for wire in (*pair(), *pair(transform=Shift)):
        with pytest.raises(TypeError, match="a message is bytes or str, not"):
            wire.encode(message)  # type: ignore[arg-type]


def test_text_with_surrogates_is_not_sent() -> None:
    for wire in pair():
        with pytest.raises(UnicodeEncodeError):
            wire.encode("\ud800")


def test_a_ping_is_short() -> None:
    for wire in pair():
        assert len(wire.ping(b"x" * 125)) >= 127
        with pytest.raises(ValueError, match="126 bytes is over 125"):
            wire.ping(b"x" * 126)


def test_a_client_masks_each_frame_with_a_new_key() -> None:
    _, client = pair()
    zeros = b"\0" * 4
    keys = {client.encode(zeros)[2:6] for _ in range(3000)}
    assert len(keys) > 2990  # four random bytes seldom meet twice


# Faults

FAULTS = {
    "continuation of nothing": (FIN | CONTINUATION, b""),
    "reserved data opcode": (FIN | 3, b""),
    "reserved control opcode": (FIN | 11, b""),
    "fragmented ping": (PING, b""),
    "long ping": (FIN | PING, b"x" * 126),
    "first reserved bit": (FIN | 0x40 | TEXT, b"x"),
    "second reserved bit": (FIN | 0x20 | BINARY, b"x"),
    "third reserved bit": (FIN | 0x10 | PING, b"x"),
    "close of one byte": (FIN | CLOSE, b"x"),
    "close with a code that is never sent": (FIN | CLOSE, (1006).to_bytes(2)),
    "close with a code below all": (FIN | CLOSE, (999).to_bytes(2)),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", FAULTS)
def test_protocol_errors(role: str, name: str) -> None:
    first, payload = FAULTS[name]
    error = failure(role, frame(role, 0, payload, first=first))
    assert type(error) is ProtocolError
    assert error.close_code == 1002


@pytest.mark.parametrize("role", ROLES)
def test_a_message_within_a_message(role: str) -> None:
    for opcode in (TEXT, BINARY):
        assert type(failure(role, part(role, TEXT) + frame(role, opcode, b"x"))) is ProtocolError


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
@pytest.mark.parametrize("size", [1, 200, 70_000])
def test_wrong_masking(role: str, opcode: int, size: int) -> None:
    payload = b"x" * (min(size, 125) if opcode == PING else size)
    data = build_frame(opcode, payload, mask_of(role) ^ MASKED)
    assert type(failure(role, data)) is ProtocolError


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "length",
    [b"\x7e\0\x05", b"\x7e\0\x7d", b"\x7f" + (65535).to_bytes(8), b"\x7f" + bytes(8)],
)
def test_lengths_not_in_their_shortest_form(role: str, length: bytes) -> None:
    mask = mask_of(role)
    data = b"\x82" + bytes((length[0] | mask,)) + length[1:] + bytes(4 if mask else 0)
    assert type(failure(role, data + bytes(70_000))) is ProtocolError


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("first", [FIN | BINARY, TEXT, FIN | CONTINUATION])
@pytest.mark.parametrize("length", [1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_huge_lengths_are_refused_from_the_header(role: str, first: int, length: int) -> None:
    mask = mask_of(role)
    data = bytes((first, 127 | mask)) + length.to_bytes(8) + bytes(4 if mask else 0)
    if first == FIN | CONTINUATION:
        data = part(role, BINARY) + data
    error = failure(role, data)
    if length < 1 << 63:
        assert isinstance(error, MessageTooBig)
        assert (error.size, error.limit) == (length, LIMITS.message)
    else:
        assert type(error) is ProtocolError


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("bad", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0"])
def test_text_that_is_not_utf8(role: str, bad: bytes) -> None:
    half = len(bad) // 2
    for data in (
        frame(role, TEXT, bad),
        frame(role, TEXT, bad * 50),
        part(role, TEXT, b"good") + frame(role, CONTINUATION, bad),
        part(role, TEXT, bad[:half]) + frame(role, CONTINUATION, bad[half:]),
        frame(role, CLOSE, (1000).to_bytes(2) + bad),
    ):
        error = failure(role, data)
        assert isinstance(error, InvalidPayload)
        assert error.close_code == 1007


@pytest.mark.parametrize("role", ROLES)
def test_bad_text_is_refused_before_its_frame_ends(role: str) -> None:
    begun = frame(role, TEXT, b"ab\xff" + b"x" * 1000)[:-990]
    (failed,) = received(role, begun)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InvalidPayload)


@pytest.mark.parametrize("role", ROLES)
def test_messages_before_a_fault_arrive(role: str) -> None:
    good = frame(role, BINARY, b"1") + frame(role, TEXT, b"2")
    for bad in (frame(role, TEXT, b"\xff"), frame(role, 3)):
        *messages, failed = received(role, good + bad)
        assert messages == [b"1", "2"]
        assert isinstance(failed, Failed)


# Limits


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("limit", [10, 300, 70_000])
@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_message_limit(role: str, opcode: int, limit: int, surplus: int) -> None:
    limits = Limits(message=limit)
    payload = b"x" * (limit + surplus)
    message = payload if opcode == BINARY else payload.decode()
    whole = frame(role, opcode, payload)
    pieces = (
        part(role, opcode, payload[:4])
        + part(role, CONTINUATION, payload[4:7])
        + frame(role, CONTINUATION, payload[7:])
    )
    for data in (whole, pieces):
        if surplus <= 0:
            twice = [message, message]
            assert received(role, data * 2, limits) == twice
        else:
            error = failure(role, data, limits)
            assert isinstance(error, MessageTooBig)
            assert (error.size, error.limit) == (limit + 1, limit)
            assert error.close_code == 1009


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_fragments_limit(role: str, size: int, surplus: int) -> None:
    limits = Limits(fragments=20)
    payload = b"x" * size
    data = (
        part(role, BINARY, payload)
        + part(role, CONTINUATION, payload) * (18 + surplus)
        + frame(role, CONTINUATION, payload)
    )
    if surplus <= 0:
        message = payload * (20 + surplus)
        assert received(role, data * 2, limits) == [message, message]
    else:
        error = failure(role, data, limits)
        assert isinstance(error, TooManyFragments)
        assert error.limit == 20
        assert error.close_code == 1009


def test_a_declared_length_holds_no_memory() -> None:
    limits = Limits(message=1 << 62)
    tracemalloc.start()
    try:
        for role in ROLES:
            wire = one(role, limits)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            mask = mask_of(role)
            wire.receive(bytes((FIN | BINARY, 127 | mask)) + (1 << 61).to_bytes(8) + bytes(4))
            assert wire.receive(bytes(1000)) == []
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < 65_536
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_dripped_message_is_held_once(opcode: int) -> None:
    """Bytes held stay within a small multiple of what arrived, at every point of the way."""
    size, at_a_time = 900_000, 50
    elsewhere = 262_144  # what other threads of the tests' process may allocate meanwhile
    wire = one("server")
    data = frame("server", opcode, b"x" * size)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        last = len(data) - at_a_time
        for i in range(0, last, at_a_time):
            assert wire.receive(data[i : min(i + at_a_time, last)]) == []
            if i % (1000 * at_a_time) == 0:
                held, peak = tracemalloc.get_traced_memory()
                assert held - before < 2 * i + elsewhere
                assert peak - before < 2 * i + elsewhere
        (message,) = wire.receive(data[last:])
        assert isinstance(message, bytes | str)
        assert len(message) == size
    finally:
        tracemalloc.stop()


def test_an_idle_connection_is_small() -> None:
    count = 1000
    # As after a request, a message in pieces, and a ping: nothing of those is kept.
    pieces = part("server", TEXT, b"a") + frame("server", CONTINUATION, b"b")
    ping = frame("server", PING, b"x")
    hello = WebSocketClient("a").start()
    wires = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            wire = WebSocketServer()
            wire.receive(hello)
            wire.accept()
            assert len(wire.receive(pieces + ping)) == 2
            wires.append(wire)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 256


# Closing


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"", 1005, ""),
        ((1000).to_bytes(2), 1000, ""),
        ((1001).to_bytes(2) + "adiós".encode(), 1001, "adiós"),
        ((4999).to_bytes(2) + b"x" * 123, 4999, "x" * 123),
    ],
)
def test_the_peer_closes(role: str, payload: bytes, code: int, reason: str) -> None:
    data = frame(role, BINARY, b"last") + frame(role, CLOSE, payload) + frame(role, TEXT, b"late")
    message, closed = received(role, data)
    assert message == b"last"
    assert isinstance(closed, Closed)
    assert (closed.code, closed.reason) == (code, reason)
    server, client = pair()
    peer = client if role == "server" else server
    (echoed,) = peer.receive(closed.reply)
    assert isinstance(echoed, Closed)
    assert (echoed.code, echoed.reason) == (code, "")


@pytest.mark.parametrize("role", ROLES)
def test_a_close_within_a_message(role: str) -> None:
    data = part(role, TEXT, b"beg") + frame(role, CLOSE, (1000).to_bytes(2))
    (closed,) = received(role, data)
    assert isinstance(closed, Closed)
    assert closed.code == 1000


def test_we_close() -> None:
    for swapped in (False, True):
        ours, theirs = reversed(pair()) if swapped else pair()
        sent = ours.close(4000, "enough")
        assert ours.state is State.CLOSING
        assert ours.close() == b""
        assert ours.ping() == b""
        with pytest.raises(LocalError, match="closing"):
            ours.encode(b"x")
        (closed,) = theirs.receive(sent)
        assert closed == Closed(4000, "enough", closed.reply)  # type: ignore[union-attr]
        assert theirs.state is State.CLOSED
        assert theirs.close() == b""
        assert isinstance(closed, Closed)
        assert ours.receive(closed.reply) == [Closed(4000, "", b"")]
        for wire in (ours, theirs):
            assert wire.state is State.CLOSED
            assert wire.receive(closed.reply) == []
            assert wire.receive_eof() == []
            with pytest.raises(LocalError, match="closed"):
                wire.encode(b"x")


def test_both_close_at_once() -> None:
    server, client = pair()
    crossing = server.close(1001), client.close(1000)
    assert client.receive(crossing[0]) == [Closed(1001, "", b"")]
    assert server.receive(crossing[1]) == [Closed(1000, "", b"")]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_while_closing_only_the_close_counts(role: str, step: int) -> None:
    wire = one(role)
    wire.receive(part(role, TEXT, b"beg") + frame(role, CONTINUATION, b"un")[:1])
    wire.close()
    data = (
        frame(role, CONTINUATION, b"un")[1:]
        + frame(role, BINARY, b"late")
        + frame(role, PING)
        + frame(role, CLOSE, (1000).to_bytes(2))
        + frame(role, BINARY, b"later")
    )
    events = [e for i in range(0, len(data), step) for e in wire.receive(data[i : i + step])]
    assert events == [Closed(1000, "", b"")]


@pytest.mark.parametrize("role", ROLES)
def test_a_fault_while_closing_gets_no_second_close(role: str) -> None:
    wire = one(role)
    wire.close()
    (failed,) = wire.receive(frame(role, 3))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ProtocolError)
    assert failed.reply == b""


@pytest.mark.parametrize("role", ROLES)
def test_the_stream_ends_without_a_close(role: str) -> None:
    for begun in (b"", b"\x82", part(role, TEXT, b"x")):
        for closing in (False, True):
            wire = one(role)
            assert wire.receive(begun) == []
            if closing:
                wire.close()
            (failed,) = wire.receive_eof()
            assert isinstance(failed, Failed)
            assert isinstance(failed.error, ConnectionLost)
            assert failed.error.close_code == 1006
            assert failed.reply == b""
            assert wire.receive_eof() == []


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999]
)
def test_codes_that_are_sent_are_understood(code: int) -> None:
    server, client = pair()
    (closed,) = client.receive(server.close(code))
    assert isinstance(closed, Closed)
    assert closed.code == code


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000])
def test_codes_that_are_not_sent(code: int) -> None:
    for wire in (*pair(), WebSocketServer()):
        state = wire.state
        with pytest.raises(ValueError, match="may not be sent"):
            wire.close(code)
        assert wire.state is state


def test_a_reason_is_short() -> None:
    server, client = pair()
    with pytest.raises(ValueError, match="124 bytes is over 123"):
        server.close(1000, "é" * 62)
    (closed,) = client.receive(server.close(1000, "é" * 61))
    assert isinstance(closed, Closed)
    assert closed.reason == "é" * 61


# Transforms


class Shift:
    """A transform with state: each message's bytes go up by how many messages went before."""

    def __init__(self) -> None:
        self.sent = 0
        self.got = 0

    def outgoing(self, message: Message) -> Message:
        self.sent += 1
        data = b"t" + message.encode() if isinstance(message, str) else b"b" + message
        return bytes((byte + self.sent) % 256 for byte in data)

    def incoming(self, message: Message) -> Message:
        self.got += 1
        payload = message.encode() if isinstance(message, str) else message
        data = bytes((byte - self.got) % 256 for byte in payload)
        if data[:1] not in (b"t", b"b"):
            raise ValueError("secret")
        return data[1:].decode() if data[:1] == b"t" else data[1:]


def test_a_transform_works_on_whole_messages() -> None:
    server, client = pair(transform=Shift)
    messages: list[Message] = ["é", b"\0\1", "", b"x" * 2000]
    for sender, receiver in ((server, client), (client, server)):
        stream = b"".join(sender.encode(message) for message in messages)
        assert receiver.receive(stream[:-5]) == messages[:-1]
        assert receiver.receive(stream[-5:]) == messages[-1:]


@pytest.mark.parametrize("payload", [b"zz", b"z" * 200])
def test_a_transform_may_refuse(payload: bytes) -> None:
    for opcode in (TEXT, BINARY):
        for size in (1, 1000):
            server, client = pair(transform=Shift)
            for role, wire in (("server", server), ("client", client)):
                data = frame(role, opcode, payload)
                (failed,) = (
                    e for i in range(0, len(data), size) for e in wire.receive(data[i : i + size])
                )
                assert isinstance(failed, Failed)
                assert isinstance(failed.error, InvalidPayload)
                assert "secret" not in str(failed.error)
                assert "secret" in str(failed.error.__cause__)
                assert failed.reply != b""


def test_encoding_keys() -> None:
    (server, client), (other, _) = pair(), pair()
    assert server.encoding_key is not None
    assert server.encoding_key == other.encoding_key
    assert server.encode("same") == other.encode("same")
    assert client.encoding_key is None
    assert pair(transform=Shift)[0].encoding_key is None
