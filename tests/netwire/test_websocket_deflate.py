"""permessage-deflate: what is agreed on; messages whole, in pieces, and hostile; both roles."""

from __future__ import annotations

import gc
import json
import os
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwire import (
    Closed,
    Deflate,
    Event,
    Failed,
    HandshakeError,
    InvalidPayload,
    Limits,
    Message,
    MessageTooBig,
    More,
    Opened,
    Ping,
    ProtocolError,
    RemoteError,
    State,
)
from netwire.websocket import WebSocketClient, WebSocketServer, compression
from netwire.websocket.frames import (
    BINARY,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    TEXT,
    build_frame,
)

Wire: TypeAlias = WebSocketServer | WebSocketClient
ROLES = ["server", "client"]
KEEPING = Deflate(server_context=True, client_context=True)
CONFIGS = {
    "no context": Deflate(),
    "context": KEEPING,
    "small windows": Deflate(
        server_context=True, client_context=True, server_window_bits=9, client_window_bits=9
    ),
    "one side": Deflate(server_context=True, server_window_bits=15, level=9, memory_level=9),
}
TAIL = b"\0\0\xff\xff"
JSON = json.dumps([{"id": i, "user": f"user{i % 7}", "text": "hello there"} for i in range(20)])


@pytest.fixture(autouse=True, params=["zlib", "fastest"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test with Python's own zlib, and with the faster one, which must do the same."""
    if request.param == "zlib":
        monkeypatch.setattr(compression, "engine", zlib)
    else:
        assert compression.engine is not zlib, "the extra speed is not installed"


def pair(
    server: Deflate | None = KEEPING, client: Deflate | None = None, limits: Limits = Limits()
) -> tuple[WebSocketServer, WebSocketClient]:
    """Both ends of one connection, open."""
    ours = WebSocketServer(limits, compression=server)
    theirs = WebSocketClient("a", limits=limits, compression=client or server)
    ours.receive(theirs.start())
    (opened,) = theirs.receive(ours.accept())
    assert isinstance(opened, Opened)
    return ours, theirs


def one(role: str, config: Deflate = KEEPING, limits: Limits = Limits()) -> Wire:
    return pair(config, limits=limits)[role == "client"]


def bomb(size: int) -> bytes:
    """Nothing but zeros, compressed a thousandfold."""
    if size not in _bombs:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -12)
        pieces = [deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)]
        pieces += deflater.compress(bytes(size % (1 << 20))), deflater.flush(zlib.Z_SYNC_FLUSH)
        _bombs[size] = b"".join(pieces).removesuffix(TAIL)
    return _bombs[size]


_bombs: dict[int, bytes] = {}


def deflated(payload: bytes, flush: int = zlib.Z_SYNC_FLUSH, bits: int = 12) -> bytes:
    """As a peer would send it, that never sent anything before."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -bits)
    return (deflater.compress(payload) + deflater.flush(flush)).removesuffix(TAIL)


def frame(role: str, first: int, payload: bytes = b"") -> bytes:
    """A frame that this role may receive, with this first byte."""
    built = build_frame(BINARY, payload, MASKED if role == "server" else 0)
    return bytes((first,)) + built[1:]


def fragments(role: str, opcode: int, payload: bytes, count: int) -> bytes:
    """A compressed message in so many frames."""
    step = -(-len(payload) // count)
    pieces = [payload[i * step : (i + 1) * step] for i in range(count)]
    stream = b""
    for i, piece in enumerate(pieces):
        first = COMPRESSED | opcode if i == 0 else CONTINUATION
        stream += frame(role, first | (FIN if i == count - 1 else 0), piece)
    return stream


def everything(wire: Wire, data: bytes, step: int = 1 << 30) -> Iterator[Event]:
    """What the wire reports, asked again for what it keeps."""
    for i in range(0, len(data), step):
        piece = data[i : i + step]
        more = True
        while more:
            more = False
            for event in wire.receive(piece):
                assert not more
                if isinstance(event, More):
                    more, piece = True, b""
                else:
                    yield event


def received(role: str, data: bytes, limits: Limits = Limits(), **options: Any) -> list[Event]:
    """What this role reports: the same for every size of piece."""

    def comparable(events: list[Event]) -> list[object]:
        return [(type(e.error), e.error.close_code) if isinstance(e, Failed) else e for e in events]

    whole = list(everything(one(role, limits=limits, **options), data))
    for step in (1, 2, 5, 1000) if len(data) < 3000 else (997, 4096):
        pieces = list(everything(one(role, limits=limits, **options), data, step))
        assert comparable(pieces) == comparable(whole), step
    return whole


def failure(role: str, data: bytes, limits: Limits = Limits(), **options: Any) -> RemoteError:
    (failed,) = received(role, data + frame(role, FIN | BINARY, b"behind"), limits, **options)
    assert isinstance(failed, Failed)
    assert failed.reply
    return failed.error


# The handshake


def answered(offers: str | list[str], config: Deflate = KEEPING) -> tuple[WebSocketServer, str]:
    """A server, and what it answers to a client's Sec-WebSocket-Extensions."""
    lines = [offers] if isinstance(offers, str) else offers
    hello = WebSocketClient("a", headers=tuple(("Sec-WebSocket-Extensions", o) for o in lines))
    server = WebSocketServer(compression=config)
    server.receive(hello.start())
    answer = server.accept().decode()
    said = [line for line in answer.split("\r\n") if line.startswith("Sec-WebSocket-Extensions")]
    assert len(said) <= 1
    return server, said[0].partition(": ")[2] if said else ""


FULL = Deflate(
    server_context=True, client_context=True, server_window_bits=15, client_window_bits=15
)


@pytest.mark.parametrize(
    ("config", "offers", "answer"),
    [
        (FULL, "permessage-deflate", "permessage-deflate"),
        (FULL, "permessage-deflate; client_max_window_bits", "permessage-deflate"),
        (FULL, 'permessage-deflate;server_max_window_bits="10"', "; server_max_window_bits=10"),
        (FULL, "permessage-deflate; server_max_window_bits = 15", "; server_max_window_bits=15"),
        (FULL, "permessage-deflate; server_max_window_bits=8", "; server_max_window_bits=8"),
        (
            FULL,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover",
        ),
        (KEEPING, "permessage-deflate", "; server_max_window_bits=12"),
        (
            KEEPING,
            "permessage-deflate; client_max_window_bits",
            "; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            KEEPING,
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=11",
            "; server_max_window_bits=11; client_max_window_bits=10",
        ),
        (
            Deflate(),
            "permessage-deflate; client_max_window_bits",
            "; server_no_context_takeover; client_no_context_takeover",
        ),
        # Several: the first that can be kept.
        (FULL, "foo, permessage-deflate; bar, permessage-deflate, permessage-deflate", ""),
        (FULL, ["x-webkit-deflate-frame", "permessage-deflate"], ""),
        (
            FULL,
            "permessage-deflate; server_max_window_bits=16, permessage-deflate; "
            "server_max_window_bits=9, permessage-deflate",
            "; server_max_window_bits=9",
        ),
    ],
)
def test_offers_that_are_taken(config: Deflate, offers: str | list[str], answer: str) -> None:
    server, said = answered(offers, config)
    assert said == "permessage-deflate" + answer.removeprefix("permessage-deflate")
    assert server.receive(frame("server", FIN | COMPRESSED | TEXT, deflated(b"x"))) == ["x"]


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "foo",
        ";=,\x80",
        "Xpermessage-deflate",
        "permessage-deflate; client_max_window_bits=abc",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=-9",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_max_window_bits=1\N{SUPERSCRIPT TWO}",
        "permessage-deflate; client_max_window_bits=",
        'permessage-deflate; client_max_window_bits=""',
        'permessage-deflate; client_max_window_bits="10',
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=0",
        "permessage-deflate; server_max_window_bits=99999999999999999999",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; mystery",
        "permessage-deflate;",
        "permessage-deflate; ; server_no_context_takeover",
        "permessage-deflate; =10",
        "permessage-deflate; server_max_window_bits=10=11",
        "permessage-deflate" + "; server_no_context_takeover=" + "x" * 8000,
        "permessage-deflate" + "; a" * 3000,
    ],
)
def test_offers_that_are_declined(offer: str) -> None:
    server, said = answered(offer)
    assert said == ""
    (failed,) = server.receive(frame("server", FIN | COMPRESSED | TEXT, deflated(b"x")))
    assert isinstance(failed, Failed)
    assert type(failed.error) is ProtocolError
    assert answered(offer + ", permessage-deflate")[1].startswith("permessage-deflate")


def open_client(answer: str | None, config: Deflate | None) -> tuple[WebSocketClient, Event]:
    """A client whose server gives this answer to its offer."""
    client = WebSocketClient("a", compression=config)
    server = WebSocketServer()
    server.receive(client.start())
    extra = () if answer is None else (("Sec-WebSocket-Extensions", answer),)
    (event,) = client.receive(server.accept(headers=extra))
    return client, event


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        (FULL, "permessage-deflate"),
        (FULL, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"),
        (FULL, 'permessage-deflate; client_no_context_takeover; client_max_window_bits="9"'),
        (FULL, "permessage-deflate; server_no_context_takeover"),
        (KEEPING, "permessage-deflate; server_max_window_bits=12"),
        (Deflate(), "permessage-deflate; server_no_context_takeover"),
    ],
)
def test_answers_that_open(config: Deflate, answer: str) -> None:
    client, event = open_client(answer, config)
    assert isinstance(event, Opened)
    assert client.receive(frame("client", FIN | COMPRESSED | TEXT, deflated(b"x", bits=9))) == ["x"]
    assert client.encode(JSON)[0] in (FIN | COMPRESSED | TEXT, FIN | TEXT)


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        (None, "permessage-deflate"),
        (FULL, ""),
        (FULL, "foo"),
        (FULL, "permessage-deflate, permessage-deflate"),
        (FULL, "permessage-deflate, foo"),
        (FULL, "permessage-deflate; foo"),
        (FULL, "permessage-deflate; client_max_window_bits"),
        (FULL, "permessage-deflate; client_max_window_bits=abc"),
        (FULL, "permessage-deflate; client_max_window_bits=16"),
        (FULL, "permessage-deflate; server_max_window_bits=7"),
        (FULL, "permessage-deflate; server_max_window_bits"),
        (FULL, "permessage-deflate; server_no_context_takeover=0"),
        (FULL, "permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
        (KEEPING, "permessage-deflate"),  # a larger window than asked for
        (KEEPING, "permessage-deflate; server_max_window_bits=13"),
        (Deflate(), "permessage-deflate"),  # would take context over
    ],
)
def test_answers_that_fail_the_handshake(config: Deflate | None, answer: str) -> None:
    client, event = open_client(answer, config)
    assert isinstance(event, Failed)
    assert isinstance(event.error, HandshakeError)
    assert event.error.status == 101
    assert client.state is State.CLOSED


def test_a_server_that_declines() -> None:
    for server, client in ((None, FULL), (FULL, None)):
        ours = WebSocketServer(compression=server)
        theirs = WebSocketClient("a", compression=client)
        ours.receive(theirs.start())
        answer = ours.accept()
        assert b"Extensions" not in answer
        theirs.receive(answer)
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            data = sender.encode(JSON)
            assert len(data) > len(JSON)
            assert receiver.receive(data) == [JSON]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_offer_is_answered_or_declined(text: str) -> None:
    for offer in (text.strip(), ("permessage-deflate; " + text).strip()):
        answered(offer)
        _, event = open_client(offer, KEEPING)
        assert isinstance(event, Opened | Failed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 0},
        {"level": 10},
        {"level": 1.5},
        {"memory_level": 0},
        {"memory_level": 10},
        {"server_window_bits": 8},
        {"client_window_bits": 16},
        {"server_context": 1},
        {"client_context": None},
        {"threshold": 0},
    ],
)
def test_a_config_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Deflate(**wrong)


# Messages


@pytest.mark.parametrize("name", CONFIGS)
def test_messages_cross_both_ways(name: str) -> None:
    ends = pair(CONFIGS[name])
    random = os.urandom(3000)
    messages: list[Message] = [
        JSON, "", b"", "é" * 5000, JSON.encode(), random, b"x" * 127, b"x" * 128, random, JSON,
        JSON * 100, os.urandom(70_000),
    ]  # fmt: skip
    for sender, receiver in (ends, ends[::-1]):
        stream = b"".join(sender.encode(message) for message in messages)
        assert receiver.receive(stream) == messages
        for step in (13, 5000):
            stream = b"".join(sender.encode(message) for message in messages)
            assert list(everything(receiver, stream, step)) == messages
        assert len(sender.encode(JSON)) < len(JSON) / 2


def test_context_makes_the_same_again_short() -> None:
    for config, shorter in ((KEEPING, True), (Deflate(), False)):
        for wire in pair(config):
            message = JSON[:1000]
            first, again = wire.encode(message), wire.encode(message)
            assert (len(again) < len(first) / 2) is shorter


def test_what_would_grow_or_is_short_is_sent_as_it_is() -> None:
    for wire in pair(Deflate(threshold=50)):
        assert wire.encode(os.urandom(1000))[0] == FIN | BINARY
        assert wire.encode("x" * 49)[0] == FIN | TEXT
        assert wire.encode("x" * 50)[0] == FIN | COMPRESSED | TEXT


def test_a_window_of_8_bits_is_inflated_and_not_used() -> None:
    server, said = answered("permessage-deflate; server_max_window_bits=8", FULL)
    assert said.endswith("server_max_window_bits=8")
    assert server.encode(JSON)[0] == FIN | TEXT
    client, _ = open_client("permessage-deflate; client_max_window_bits=8", FULL)
    assert client.encode(JSON)[0] == FIN | TEXT
    assert server.receive(client.encode(JSON)) == [JSON]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_fragments(role: str, count: int) -> None:
    payload = deflated(JSON.encode())
    for opcode, message in ((TEXT, JSON), (BINARY, JSON.encode())):
        stream = fragments(role, opcode, payload, count)
        assert received(role, stream, config=Deflate()) == [message]
        assert received(role, stream + frame(role, FIN | TEXT, b"plain")) == [message, "plain"]


@pytest.mark.parametrize("role", ROLES)
def test_a_ping_within_a_compressed_message(role: str) -> None:
    payload = deflated(JSON.encode())
    stream = (
        frame(role, COMPRESSED | TEXT, payload[:9])
        + frame(role, FIN | PING, b"?")
        + frame(role, FIN | CONTINUATION, payload[9:])
    )
    for step in (1, 1000):
        ping, message = everything(one(role), stream, step)
        assert isinstance(ping, Ping)
        assert message == JSON


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("payload", [b"\0", b"\2\0", b"\2", b"\0\0\0\xff\xff\0"])
def test_empty_messages(role: str, payload: bytes) -> None:
    """Section 7.2.3.6, and others that say nothing."""
    data = frame(role, FIN | COMPRESSED | TEXT, payload)
    assert received(role, data, config=Deflate()) == [""]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("config", [KEEPING, Deflate()])
@pytest.mark.parametrize("behind", [b"", b"\0"])
def test_final_blocks(role: str, config: Deflate, behind: bytes) -> None:
    """Section 7.2.3.4: a peer that ends each message's data for good."""
    payload = deflated(b"Hello", zlib.Z_FINISH) + behind
    stream = frame(role, FIN | COMPRESSED | TEXT, payload) + fragments(role, TEXT, payload, 4)
    assert received(role, stream, config=config) == ["Hello", "Hello"]


@pytest.mark.parametrize("role", ROLES)
def test_nothing_follows_a_final_block(role: str) -> None:
    payload = deflated(b"Hello", zlib.Z_FINISH)
    for behind in (b"\1", b"\0\0", payload, payload * 100, b"\0" * 70_000):
        for count in (1, 3):
            data = fragments(role, TEXT, payload + behind, count)
            assert isinstance(failure(role, data), InvalidPayload)


@pytest.mark.parametrize("role", ROLES)
def test_examples_of_the_rfc(role: str) -> None:
    """Section 7.2.3: one block, a context used, no compression, two blocks."""
    first = "f248cdc9c90700"
    for stream in (
        ["c107" + first, "c105f200110000"],
        ["4103f248cd", "8004c9c90700", "c105f200110000"],
        ["c10b000500faff48656c6c6f00"],
        ["c10df248050000 00ffffcac9c90700"],
    ):
        wire = one(role)
        events: list[Event] = []
        for each in stream:
            raw = bytes.fromhex(each)
            events += wire.receive(frame(role, raw[0], raw[2:]))
        assert set(events) == {"Hello"}


# Faults


@pytest.mark.parametrize("role", ROLES)
def test_the_compressed_bit_where_it_may_not_be(role: str) -> None:
    begun = frame(role, COMPRESSED | TEXT, deflated(b"x" * 100)[:3])
    plain = frame(role, TEXT, b"x")
    for data in (
        begun + frame(role, FIN | COMPRESSED | CONTINUATION, b"x"),
        plain + frame(role, COMPRESSED | CONTINUATION, b"x"),
        frame(role, FIN | COMPRESSED | CONTINUATION, b"x"),
        frame(role, FIN | COMPRESSED | PING, b"x"),
        begun + frame(role, FIN | COMPRESSED | PING, b"x"),
        frame(role, FIN | COMPRESSED | 8, b"\3\xe8"),
        frame(role, FIN | COMPRESSED | 3, b"x"),
        frame(role, FIN | 0x20 | COMPRESSED | TEXT, b"x"),
        frame(role, FIN | 0x10 | COMPRESSED | TEXT, b"x"),
    ):
        error = failure(role, data)
        assert type(error) is ProtocolError
        assert error.close_code == 1002


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("payload", [b"\xff", b"\xff" * 500, b"\6\xff\xff", b"\0\0\0\0\0"])
def test_what_cannot_be_inflated(role: str, payload: bytes) -> None:
    for count in (1, 2):
        error = failure(role, fragments(role, BINARY, payload, count))
        assert isinstance(error, InvalidPayload)
        assert error.close_code == 1007


@pytest.mark.parametrize("role", ROLES)
def test_a_reference_to_what_is_not_there(role: str) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    datas = []
    for _ in range(2):
        data = deflater.compress(JSON.encode()) + deflater.flush(zlib.Z_SYNC_FLUSH)
        datas.append(frame(role, FIN | COMPRESSED | TEXT, data.removesuffix(TAIL)))
    wire = one(role, FULL)
    assert wire.receive(b"".join(datas)) == [JSON, JSON]
    wire = one(role, Deflate())
    message, failed = wire.receive(b"".join(datas))
    assert message == JSON
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InvalidPayload)


@pytest.mark.parametrize("role", ROLES)
def test_text_that_is_not_utf8(role: str) -> None:
    payload = deflated(b"a" * 200 + b"\xff" + b"b" * 200)
    for count in (1, 3):
        assert isinstance(failure(role, fragments(role, TEXT, payload, count)), InvalidPayload)


# Limits

LIMIT = 100_000


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("config", [KEEPING, Deflate()])
@pytest.mark.parametrize("surplus", [-1, 0, 1, 2, 255 * LIMIT])
@pytest.mark.parametrize("count", [1, 2, 20])
def test_the_limit_is_of_what_is_inflated(
    role: str, config: Deflate, surplus: int, count: int
) -> None:
    limits = Limits(message=LIMIT)
    stream = fragments(role, BINARY, bomb(LIMIT + surplus), count)
    if surplus <= 0:
        whole = bytes(LIMIT + surplus)
        assert received(role, stream * 2, limits, config=Deflate()) == [whole, whole]
    else:
        error = failure(role, stream, limits, config=config)
        assert isinstance(error, MessageTooBig)
        assert error.close_code == 1009
        assert (error.size, error.limit) == (LIMIT + 1, LIMIT)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("step", [1, 7, 1 << 30])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\xff" + b"a" * LIMIT, 1007),
        (b"a" * (LIMIT - 1) + b"\xff" + b"a" * LIMIT, 1007),
        (b"a" * LIMIT + "é".encode() * LIMIT, 1009),
        (b"a" * (2 * LIMIT) + b"\xff", 1009),
    ],
)
def test_of_two_faults_the_first_counts_however_it_is_split(
    role: str, text: bytes, code: int, count: int, step: int
) -> None:
    stream = fragments(role, TEXT, deflated(text), count)
    (failed,) = everything(one(role, Deflate(), Limits(message=LIMIT)), stream, step)
    assert isinstance(failed, Failed)
    assert failed.error.close_code == code


@pytest.mark.parametrize("role", ROLES)
def test_what_grows_when_compressed_may_be_as_long_as_the_limit(role: str) -> None:
    limits = Limits(message=LIMIT)
    payload = os.urandom(LIMIT)
    deflater = zlib.compressobj(1, zlib.DEFLATED, -9, 1)
    data = (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
    assert len(data) > LIMIT
    for count in (1, 2):
        assert received(role, fragments(role, BINARY, data, count), limits) == [payload]
    first = frame(role, FIN | COMPRESSED | BINARY, b"\0" * (2 * LIMIT))
    assert isinstance(failure(role, first, limits), MessageTooBig)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("step", [65_536, 1 << 30])
@pytest.mark.parametrize("count", [1, 10])
def test_a_bomb_costs_no_more_than_the_limit(role: str, step: int, count: int) -> None:
    data = fragments(role, BINARY, bomb(256 << 20), count)
    wire = one(role)
    tracemalloc.start()
    try:
        began = time.perf_counter()
        before, _ = tracemalloc.get_traced_memory()
        (failed,) = everything(wire, data, step)
        _, peak = tracemalloc.get_traced_memory()
        seconds = time.perf_counter() - began
    finally:
        tracemalloc.stop()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, MessageTooBig)
    assert peak - before < 4 << 20
    assert seconds < 5


@pytest.mark.parametrize("role", ROLES)
def test_many_bombs_in_one_read_are_inflated_a_few_at_a_time(role: str) -> None:
    limit = 1 << 20
    whole = frame(role, FIN | COMPRESSED | BINARY, deflated(b"\0" * limit))
    split = fragments(role, BINARY, deflated(b"\0" * limit), 3)
    wire = one(role, Deflate())
    data = (whole + split) * 50 + frame(role, FIN | TEXT, b"end") + whole[:5]
    assert len(data) < 200_000
    found = 0
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        events = wire.receive(data)
        while isinstance(events[-1], More):
            assert 1 <= len(events) <= 3
            assert events[:-1] == [b"\0" * limit] * (len(events) - 1)
            found += len(events) - 1
            events = wire.receive(b"")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 8 << 20
    *last, end = events
    assert found + len(last) == 100
    assert end == "end"
    assert wire.receive(whole[5:]) == [b"\0" * limit]


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_inflated_while_closing(role: str) -> None:
    wire = one(role)
    wire.close()
    data = frame(role, FIN | COMPRESSED | BINARY, bomb(256 << 20)) + frame(role, FIN | 8, b"\3\xe8")
    assert list(everything(wire, data)) == [Closed(1000, "", b"")]


# Memory and shared encodings


def test_an_idle_connection_without_context_holds_nothing() -> None:
    for config, bound in ((None, 256), (Deflate(), 512)):
        server, client = pair(config, Deflate())
        hello = WebSocketClient("a", compression=Deflate()).start()
        message = client.encode(JSON)
        wires = [server]
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(200):
                server = WebSocketServer(compression=config)
                server.receive(hello)
                server.accept()
                assert server.receive(message) == [JSON]
                assert server.receive(message[:50]) == []
                assert server.receive(message[50:]) == [JSON]
                server.encode(JSON)
                wires.append(server)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (after - before) / 200 < bound


def test_the_end_frees_what_was_held() -> None:
    for role in ROLES:
        ours, theirs = pair(KEEPING) if role == "server" else pair(KEEPING)[::-1]
        ours.receive(theirs.encode(JSON))
        ours.encode(JSON)
        assert ours._compression is not None
        ours.receive(theirs.close())
        assert ours.state is State.CLOSED
        assert ours._compression is None


def test_encoding_keys() -> None:
    (one_, client), (other, _) = pair(Deflate()), pair(Deflate())
    plain = pair(None, FULL)[0]
    assert one_.encoding_key == other.encoding_key
    assert hash(one_.encoding_key) == hash(other.encoding_key)
    assert one_.encode(JSON) == other.encode(JSON)
    assert one_.encoding_key != plain.encoding_key
    assert pair(Deflate(level=9))[0].encoding_key != one_.encoding_key
    assert pair(KEEPING)[0].encoding_key is None
    assert client.encoding_key is None


class Reverse:
    def outgoing(self, message: Message) -> Message:
        return message[::-1]

    def incoming(self, message: Message) -> Message:
        return message[::-1]


def test_a_transform_works_on_what_is_not_compressed() -> None:
    server = WebSocketServer(compression=Deflate(), transform=Reverse())
    client = WebSocketClient("a", compression=Deflate())
    server.receive(client.start())
    client.receive(server.accept())
    assert server.encoding_key is None
    assert client.receive(server.encode(JSON)) == [JSON[::-1]]
    data = client.encode(JSON)
    assert data[0] & COMPRESSED
    assert server.receive(data) == [JSON[::-1]]
    assert list(everything(server, client.encode(JSON), 10)) == [JSON[::-1]]


# Anything at all

texts = st.text(st.characters(codec="utf-8"), max_size=300)
messages = st.one_of(
    st.binary(max_size=2000),
    texts,
    st.builds(lambda text, count: text * count, texts, st.integers(1, 100)),
)
configs = st.builds(
    Deflate,
    level=st.integers(1, 9),
    memory_level=st.integers(1, 9),
    server_window_bits=st.integers(9, 15),
    client_window_bits=st.integers(9, 15),
    server_context=st.booleans(),
    client_context=st.booleans(),
    threshold=st.integers(1, 200),
)


@settings(deadline=None)
@given(configs, st.lists(messages, max_size=8), st.integers(1, 3000))
def test_round_trips(config: Deflate, messages: list[Message], step: int) -> None:
    ends = pair(config)
    for sender, receiver in (ends, ends[::-1]):
        stream = b"".join(sender.encode(message) for message in messages)
        assert list(everything(receiver, stream, step)) == messages


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans(), st.booleans(), st.integers(1, 50))
def test_any_payload_gives_a_message_or_our_error(
    payload: bytes, client: bool, keeping: bool, step: int
) -> None:
    role = ROLES[client]
    limits = Limits(message=1000)
    config = KEEPING if keeping else Deflate()
    stream = fragments(role, TEXT, payload, 1) + fragments(role, BINARY, payload, 3)
    events = list(everything(one(role, config, limits), stream, step))
    for event in events:
        assert isinstance(event, bytes | str | Failed)
        if isinstance(event, Failed):
            assert isinstance(event.error, InvalidPayload | MessageTooBig)
