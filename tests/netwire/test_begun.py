"""Since when a message has been unfinished, as far as anybody asked."""

from __future__ import annotations

import pytest

from netwire import FRAMINGS, Limits, Wire
from netwire.websocket.server import WebSocketServer

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def opened() -> Wire:
    wire = WebSocketServer(Limits())
    wire.receive(HANDSHAKE)
    wire.accept()
    return wire


PIECES = {
    "websocket": (b"\x82\x84\0\0\0\0lo", b"ng"),
    "header": (b"\x82", b"\x84\0\0\0\0long"),
    "fragments": (b"\x02\x82\0\0\0\0lo", b"\x80\x82\0\0\0\0ng"),
    "envelope": (b"14lo", b"ng"),
    "length-prefix": (b"\0\0\0\4lo", b"ng"),
    "lines": (b"lo", b"ng\n"),
}


def wire_for(name: str) -> Wire:
    return FRAMINGS[name]() if name in FRAMINGS else opened()


@pytest.mark.parametrize("name", PIECES)
def test_from_when_it_was_first_asked(name: str) -> None:
    begin, end = PIECES[name]
    wire = wire_for(name)
    assert wire.begun(1.0) is None
    wire.receive(begin)
    assert wire.begun(2.0) == 2.0
    assert wire.begun(3.0) == 2.0
    assert wire.begun(4.0, anew=True) == 4.0
    assert wire.begun(5.0) == 4.0
    assert len(wire.receive(end)) == 1
    assert wire.begun(6.0) is None
    wire.receive(begin)
    assert wire.begun(7.0) == 7.0
    assert len(wire.receive(end)) == 1


def test_what_has_no_messages_between_two_reads() -> None:
    wire = FRAMINGS["raw"]()
    wire.receive(b"x")
    assert wire.begun(1.0) is None


def test_before_it_is_open_and_after() -> None:
    wire = WebSocketServer(Limits())
    wire.receive(HANDSHAKE[:20])
    assert wire.begun(1.0) is None
    closed = opened()
    closed.receive(b"\x82")
    closed.receive_eof()
    assert closed.begun(1.0) is None


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("websocket", b"\x82\xff" + (70_000).to_bytes(8) + b"keys" + b"x"),
        ("fragments", b"\x02\xff" + (70_000).to_bytes(8) + b"keys" + b"x"),
        ("envelope", b"570000x"),
        ("length-prefix", (70_000).to_bytes(4) + b"x"),
    ],
)
def test_a_header_in_drips_does_not_begin_anew(name: str, stream: bytes) -> None:
    wire = wire_for(name)
    for at in range(len(stream)):
        assert wire.receive(stream[at : at + 1]) == []
        assert wire.begun(float(at)) == 0.0


def test_what_was_asked_about_before_is_not_the_next() -> None:
    wire = opened()
    short = b"\x82\x81\0\0\0\0x"
    wire.receive(b"\x82")
    assert wire.begun(1.0) == 1.0
    assert wire.receive(short[1:] + b"\x82") == [b"x"]
    assert wire.begun(2.0) == 2.0
    envelope = FRAMINGS["envelope"]()
    envelope.receive(b"1")
    assert envelope.begun(1.0) == 1.0
    assert envelope.receive(b"1x1") == [b"x"]
    assert envelope.begun(2.0) == 2.0
