"""The WebSocket handshake, both roles: accepted, refused, limited, and split anyhow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwire import (
    ConnectionLost,
    Event,
    Failed,
    HandshakeError,
    Limits,
    LocalError,
    Opened,
    PlainRequest,
    Requested,
    Response,
    State,
)
from netwire.websocket import WebSocketClient, WebSocketServer
from netwire.websocket.head import _parse_odd, _parse_plain

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, section 1.3, as is the token
TOKEN = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

FIELDS = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
LIMITS = Limits()
FRAME = b"\x82\x83\0\0\0\0abc"


def request(
    line: str = "GET /chat?room=1 HTTP/1.1", *more: str, **changes: str | list[str] | None
) -> bytes:
    """A handshake with some fields changed, doubled (a list), or left out (None)."""
    fields: dict[str, str | list[str] | None] = {**FIELDS}
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [line]
    for name, value in fields.items():
        values = [] if value is None else [value] if isinstance(value, str) else value
        lines += [f"{name}: {each}" for each in values]
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")


def describe(events: list[Event]) -> list[object]:
    """The events as values that compare: an error is equal to none but itself."""
    return [
        (type(event.error), str(event.error), event.reply) if isinstance(event, Failed) else event
        for event in events
    ]


def byte_by_byte(wire: WebSocketServer | WebSocketClient, data: bytes) -> list[Event]:
    return [event for i in range(len(data)) for event in wire.receive(data[i : i + 1])]


def served(data: bytes, limits: Limits = LIMITS) -> list[tuple[WebSocketServer, list[Event]]]:
    """Two servers, and what they report of the same bytes, whole and byte by byte."""
    whole, dripped = WebSocketServer(limits), WebSocketServer(limits)
    return [(whole, whole.receive(data)), (dripped, byte_by_byte(dripped, data))]


def refused(data: bytes, limits: Limits = LIMITS) -> tuple[HandshakeError, bytes]:
    """How a server refuses it: whole, byte by byte and with more behind it, all the same."""
    whole = WebSocketServer(limits).receive(data)
    for wire, events in served(data, limits) + served(data + FRAME * 3, limits):
        assert describe(events) == describe(whole)
        assert wire.state is State.CLOSED
        assert wire.receive(data) == []
        assert wire.receive_eof() == []
    (failed,) = whole
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, HandshakeError)
    return failed.error, failed.reply


# Server: yes


def test_accept_computes_the_token_of_the_rfc() -> None:
    wire = WebSocketServer()
    (event,) = wire.receive(request())
    assert isinstance(event, Requested)
    assert event.request.path == "/chat"
    assert event.request.query == {"room": ["1"]}
    assert event.request.headers["host"] == "example.com"
    assert ("Sec-WebSocket-Key", KEY) in event.request.headers.lines
    lines_before = event.request.headers.lines
    answer = wire.accept(headers=(("X-Who", "me"),))
    assert event.request.headers.lines == lines_before
    assert wire.state is State.OPEN
    assert wire.subprotocol is None
    line, *lines = answer.decode().split("\r\n")
    assert line == "HTTP/1.1 101 Switching Protocols"
    assert f"Sec-WebSocket-Accept: {TOKEN}" in lines
    assert "X-Who: me" in lines
    assert lines[-2:] == ["", ""]
    assert not any(line.startswith("Sec-WebSocket-Protocol") for line in lines)


def test_what_came_behind_the_request_comes_after_accept() -> None:
    for split in (False, True):
        wire = WebSocketServer()
        data = request() + FRAME + FRAME[:4]
        events = byte_by_byte(wire, data) if split else wire.receive(data)
        assert [type(event) for event in events] == [Requested]
        wire.accept()
        assert wire.receive(b"") == [b"abc"]
        assert wire.receive(FRAME[4:]) == [b"abc"]


def test_what_came_behind_the_request_goes_before_what_comes_then() -> None:
    wire = WebSocketServer()
    wire.receive(request() + FRAME)
    wire.accept()
    assert wire.receive(b"\x81\x82\0\0\0\0hi") == [b"abc", "hi"]


def test_no_more_than_the_limit_is_kept_until_the_answer() -> None:
    limits = Limits(head=1000)
    for surplus in (0, 1):
        behind = b"x" * (1000 + surplus)
        whole = WebSocketServer(limits)
        events = whole.receive(request() + behind)
        dripped = WebSocketServer(limits)
        assert describe(byte_by_byte(dripped, request() + behind)) == describe(events)
        assert isinstance(events[0], Requested)
        assert len(events) == 1 + surplus
    assert isinstance(events[1], Failed)
    assert events[1].reply.startswith(b"HTTP/1.1 400 ")
    with pytest.raises(LocalError):
        whole.accept()


def test_subprotocols() -> None:
    data = request(Sec_WebSocket_Protocol=["chat.v2,, chat.v1", "other"])
    wire = WebSocketServer()
    (event,) = wire.receive(data)
    assert isinstance(event, Requested)
    assert event.request.subprotocols == ("chat.v2", "chat.v1", "other")
    with pytest.raises(LocalError, match="'chat' was not offered"):
        wire.accept("chat")
    assert b"\r\nSec-WebSocket-Protocol: chat.v1\r\n" in wire.accept("chat.v1")
    assert wire.subprotocol == "chat.v1"


@pytest.mark.parametrize("offer", ["permessage-deflate; client_max_window_bits=abc", ";=,\x80", ""])
def test_extensions_are_neither_read_nor_agreed_to(offer: str) -> None:
    wire = WebSocketServer()
    wire.receive(request(Sec_WebSocket_Extensions=offer))
    assert b"Extensions" not in wire.accept()


def test_accept_wants_a_request_and_sendable_headers() -> None:
    wire = WebSocketServer()
    with pytest.raises(LocalError):
        wire.accept()
    wire.receive(request())
    for bad in (("X-A", "1\r\nX-B: 2"), ("X A", "1"), ("X-A", "\N{SNOWMAN}")):
        with pytest.raises(ValueError, match=r"(?i)illegal|encode"):
            wire.accept(headers=(bad,))
    wire.accept()
    with pytest.raises(LocalError):
        wire.accept()
    with pytest.raises(LocalError):
        wire.respond(Response())


# Server: no

BAD = {
    "HTTP/1.0": (request("GET / HTTP/1.0"), 400),
    "HTTP/2.0": (request("GET / HTTP/2.0"), 505),
    "plain HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "POST": (request("POST / HTTP/1.1"), 405),
    "HEAD": (request("HEAD / HTTP/1.1"), 405),
    "body": (request(Content_Length="5"), 400),
    "chunked body": (request(Transfer_Encoding="chunked"), 400),
    "two lengths": (request(Content_Length=["0", "5"]), 400),
    "bad length": (request(Content_Length="-1"), 400),
    "unknown coding": (request(Transfer_Encoding="gzip"), 501),
    "no Connection": (request(Connection=None), 400),
    "Connection without Upgrade": (request(Connection="keep-alive, upgrades"), 400),
    "no version": (request(Sec_WebSocket_Version=None), 426),
    "old version": (request(Sec_WebSocket_Version="8"), 426),
    "two versions": (request(Sec_WebSocket_Version=["13", "8"]), 426),
    "no key": (request(Sec_WebSocket_Key=None), 400),
    "two keys": (request(Sec_WebSocket_Key=[KEY, "x"]), 400),
    "empty key": (request(Sec_WebSocket_Key=""), 400),
    "short key": (request(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "long key": (request(Sec_WebSocket_Key=KEY + KEY), 400),
    "key not base64": (request(Sec_WebSocket_Key="!" * 22 + "=="), 400),
    "no Host": (request(Host=None), 400),
    "two Hosts": (request(Host=["a", "b"]), 400),
    "not HTTP": (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    "no request line": (b"\r\n\r\n", 400),
    "bad header": (request("GET / HTTP/1.1", "no colon"), 400),
    "bad header name": (request("GET / HTTP/1.1", "a b: c"), 400),
    "space before colon": (request("GET / HTTP/1.1", "a : c"), 400),
    "bare LF": (request().replace(b"\r\nUpgrade", b"\nUpgrade"), 400),
    "bare LF at the end": (request()[:-4] + b"\n\n", 400),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_handshake(name: str) -> None:
    data, status = BAD[name]
    error, reply = refused(data)
    assert error.status == status
    assert f"(HTTP {status})" in str(error)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in head
    assert body == (b"" if name == "HEAD" else error.reason.encode() + b"\n")
    if status == 426:
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in head
    if status == 405:
        assert b"\r\nAllow: GET\r\n" in head


@pytest.mark.parametrize(
    "data",
    [
        request(Content_Length="0"),
        request(Connection=["keep-alive", "UPGRADE"], Upgrade="h2c, WebSocket"),
        request(Origin="null"),
    ],
)
def test_odd_but_good_handshake(data: bytes) -> None:
    (event,) = WebSocketServer().receive(data)
    assert isinstance(event, Requested)


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_head_limit(surplus: int) -> None:
    data = request()
    limits = Limits(head=len(data) - surplus)
    if surplus <= 0:
        for _, events in served(data, limits):
            assert [type(event) for event in events] == [Requested]
    else:
        error, _ = refused(data, limits)
        assert error.status == 431


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_header_lines_limit(surplus: int) -> None:
    data = request("GET / HTTP/1.1", *(f"X-{i}: {i}" for i in range(100 - len(FIELDS) + surplus)))
    if surplus <= 0:
        (event,) = WebSocketServer().receive(data)
        assert isinstance(event, Requested)
    else:
        error, _ = refused(data)
        assert error.status == 431


def test_endless_head() -> None:
    error, _ = refused(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000)
    assert error.status == 431


def test_a_bare_line_feed_counts_only_within_the_limit() -> None:
    limits = Limits(head=100)
    line = b"GET /" + b"x" * 100
    error, _ = refused(line[:99] + b"\n", limits)
    assert error.status == 400
    error, _ = refused(line[:100] + b"\n", limits)
    assert error.status == 431


# Server: plain HTTP


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "GET"),
        (b"GET /health HTTP/1.0\r\n\r\n", "GET"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST"),
        (request(Upgrade="h2c"), "GET"),
        (request(Upgrade=None), "GET"),
    ],
)
def test_plain_request(data: bytes, method: str) -> None:
    for wire, events in served(data):
        (event,) = events
        assert isinstance(event, PlainRequest)
        assert event.request.method == method
        assert wire.receive(b"x" * 100_000) == []  # a body is nobody's
        assert wire.receive_eof() == []  # a half-close does not take the answer away
        with pytest.raises(LocalError):
            wire.accept()
        answer = wire.respond(Response(200, "fine"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nfine")
        assert wire.state is State.CLOSED


def test_head_gets_no_body() -> None:
    wire = WebSocketServer()
    wire.receive(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = wire.respond(Response(200, "fine"))
    assert b"\r\nContent-Length: 4\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_respond_refuses_a_handshake() -> None:
    wire = WebSocketServer()
    with pytest.raises(LocalError):
        wire.respond(Response())
    wire.receive(request())
    assert wire.respond(Response(403, "no")).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert wire.state is State.CLOSED
    assert wire.receive(FRAME) == []


@pytest.mark.parametrize("data", [b"", b"GET / HT", request()])
def test_end_of_stream_in_the_handshake(data: bytes) -> None:
    wire = WebSocketServer()
    wire.receive(data)
    (failed,) = wire.receive_eof()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ConnectionLost)
    assert failed.reply == b""


@pytest.mark.parametrize("wire", [WebSocketServer(), WebSocketClient("a")])
def test_closing_in_the_handshake_sends_nothing(wire: WebSocketServer | WebSocketClient) -> None:
    assert wire.ping() == b""
    with pytest.raises(LocalError, match="connecting"):
        wire.encode(b"early")
    assert wire.close() == b""
    assert wire.state is State.CLOSED
    assert wire.receive(request()) == []
    assert wire.start() == b""


# Client


def answer_to(
    wire: WebSocketClient, line: str = "HTTP/1.1 101 Switching Protocols", **changes: str | None
) -> bytes:
    """A server's answer with some fields changed or left out (None)."""
    server = WebSocketServer()
    server.receive(wire.start())
    fields: dict[str, str | None] = {
        name: value
        for name, _, value in (
            each.partition(": ") for each in server.accept().decode().split("\r\n")[1:-2]
        )
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


def test_the_request_of_a_client() -> None:
    wire = WebSocketClient(
        "[::1]:8080",
        "/a?b=c",
        headers=(("Authorization", "Bearer x"),),
        subprotocols=("one", "two"),
        origin="https://example.com",
    )
    server = WebSocketServer()
    (event,) = server.receive(wire.start())
    assert isinstance(event, Requested)
    assert event.request.target == "/a?b=c"
    assert event.request.subprotocols == ("one", "two")
    assert event.request.headers["Host"] == "[::1]:8080"
    assert event.request.headers["Origin"] == "https://example.com"
    assert event.request.headers["Authorization"] == "Bearer x"
    (opened,) = wire.receive(server.accept("two"))
    assert isinstance(opened, Opened)
    assert wire.subprotocol == server.subprotocol == "two"
    assert wire.start() == b""


def test_each_client_has_a_key_of_its_own() -> None:
    starts = [WebSocketClient("a").start() for _ in range(2)]
    keys = [re.search(rb"Sec-WebSocket-Key: (.*)\r\n", start) for start in starts]
    first, second = (key and key[1] for key in keys)
    assert first
    assert first != second


def test_frames_behind_the_answer_come_with_it() -> None:
    for split in (False, True):
        wire = WebSocketClient("a")
        data = answer_to(wire, X_Who="me") + b"\x81\x02hi\x82\x01"
        opened, *rest = byte_by_byte(wire, data) if split else wire.receive(data)
        assert isinstance(opened, Opened)
        assert opened.response is not None
        assert opened.response.status == 101
        assert ("X-Who", "me") in opened.response.headers
        assert rest == ["hi"]
        assert wire.receive(b"x") == [b"x"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "a\r\nb"},
        {"target": "/a b"},
        {"target": "/\r\nX: y"},
        {"headers": (("X", "\N{SNOWMAN}"),)},
        {"origin": "a\nb"},
        {"subprotocols": ("a\r\nb",)},
    ],
)
def test_a_client_sends_no_malformed_request(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"host": "a", **wrong}
    with pytest.raises(ValueError, match=r"(?i)illegal|encode"):
        WebSocketClient(**arguments)  # type: ignore[arg-type]


BAD_ANSWERS: dict[str, tuple[dict[str, str | None], int | None, str]] = {
    "wrong token": ({"Sec_WebSocket_Accept": TOKEN}, 101, "Accept"),
    "no token": ({"Sec_WebSocket_Accept": None}, 101, "Accept"),
    "other upgrade": ({"Upgrade": "h2c"}, 101, "something else"),
    "no Connection": ({"Connection": None}, 101, "does not say"),
    "subprotocol": ({"Sec_WebSocket_Protocol": "three"}, 101, "subprotocol"),
    "subprotocols": ({"Sec_WebSocket_Protocol": "one, two"}, 101, "subprotocol"),
    "extension": ({"Sec_WebSocket_Extensions": "permessage-deflate"}, 101, "extension"),
    "bad bytes": ({"Connection": "\xff"}, 101, "does not say"),
    "not found": ({"line": "HTTP/1.1 404 Not Found"}, 404, "refused"),
    "redirect": ({"line": "HTTP/1.1 302 Found", "Location": "/b"}, 302, "refused"),
    "early hints": ({"line": "HTTP/1.1 103 Early Hints"}, 103, "refused"),
    "success": ({"line": "HTTP/1.1 200 OK", "Content_Length": "1000"}, 200, "refused"),
    "not HTTP": ({"line": "SSH-2.0-OpenSSH"}, None, "not an HTTP answer"),
    "not HTTP, at length": ({"line": "SSH-2.0-" + "x" * 200}, None, "not an HTTP answer"),
    "too long": ({"X": "y" * 2000}, None, "head of more than 1000 bytes"),
    "bare LF": ({"X": "y\nZ: z"}, None, "carriage return"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answer(name: str) -> None:
    changes, status, reason = BAD_ANSWERS[name]
    for step in (1, 7, 10_000):
        wire = WebSocketClient("a", subprotocols=("one", "two"), limits=Limits(head=1000))
        data = answer_to(wire, **changes) + FRAME  # type: ignore[arg-type]
        events = [e for i in range(0, len(data), step) for e in wire.receive(data[i : i + step])]
        (failed,) = events
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, HandshakeError)
        assert failed.error.status == status
        assert reason in failed.error.reason
        assert failed.reply == b""
        assert wire.state is State.CLOSED
        if name == "redirect":
            assert ("Location", "/b") in failed.error.headers


def test_end_of_stream_before_the_answer() -> None:
    wire = WebSocketClient("a")
    wire.receive(b"HTTP/1.1 101")
    (failed,) = wire.receive_eof()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ConnectionLost)


# Anything at all

heads = st.lists(
    st.sampled_from([b"GET / HTTP/1.1", b"HTTP/1.1 101 x", b"\r\n", b"\n", b"Host: a", b"\r", b":"])
    | st.sampled_from([f"{name}: {value}".encode() for name, value in FIELDS.items()])
    | st.binary(max_size=8),
    max_size=30,
).map(b"\r\n".join)


@given(heads, st.integers(1, 20))
def test_no_bytes_get_anything_but_our_errors(data: bytes, step: int) -> None:
    data += b"\r\n\r\n"
    for make in (WebSocketServer, lambda limits: WebSocketClient("a", limits=limits)):
        whole = make(Limits(head=200, headers=10))
        split = make(Limits(head=200, headers=10))
        events = [e for i in range(0, len(data), step) for e in split.receive(data[i : i + step])]
        assert describe(events) == describe(whole.receive(data))
        assert all(
            isinstance(e.error, HandshakeError) if isinstance(e, Failed) else True for e in events
        )
        assert describe(split.receive_eof()) == describe(whole.receive_eof())


PIECES = (
    "GET ",
    "/a?b",
    " HTTP/1.1",
    " HTTP/1.0",
    "\r\n",
    "\r\n",
    "\r\n",
    "Host: a",
    "X: ä\xa0 y ",
    "host:",
    "Content-Length: 0",
    "X:\t1\t",
    " folded",
    "\x01",
    "\x7f",
    "\x00",
    "\x0b",
    ": ",
    "POST ",
    "é",
    "Transfer-Encoding: chunked",
    "X-Y: 1 2",
    "\r",
    "\x85",
)


@given(data=st.lists(st.sampled_from(PIECES), max_size=12))
def test_a_plain_request_is_read_as_h11_reads_it(data: list[str]) -> None:
    for start in ("", "GET /x HTTP/1.1\r\nHost: a\r\n"):
        head = f"{start}{''.join(data)}\r\n\r\n".encode("latin-1")
        head = head[: head.index(b"\r\n\r\n") + 4]  # as the collector gives it
        plain = _parse_plain(head)
        if plain is not None:
            assert plain == _parse_odd(head)


def test_what_is_odd_is_left_to_h11() -> None:
    head = "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n"
    assert _parse_plain(head.format("X: 1").encode()) is not None
    for odd in (
        "Host: b",
        "Content-Length: 0",
        "transfer-encoding: x",
        " y",
        "X : 1",
        "X: \x01",
        ":",
    ):
        assert _parse_plain(head.format(odd).encode()) is None, odd
