"""What came before the end, in one read with it, can still be answered; nothing else can."""

from __future__ import annotations

import pytest

from netwire import Closed, Failed, Limits, LocalError, Message, State
from netwire.websocket import WebSocketClient, WebSocketServer
from netwire.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    TEXT,
    build_frame,
)

ROLES = ["server", "client"]
ENDS = {
    "close": (CLOSE, b"\x03\xe8", FIN | CLOSE),
    "no opcode": (TEXT, b"x", FIN | 3),
    "reserved bit": (TEXT, b"x", FIN | 0x20 | TEXT),
    "bad text": (TEXT, b"\xff", FIN | TEXT),
}


def one(role: str) -> WebSocketServer | WebSocketClient:
    """One end of a connection that is open."""
    server, client = WebSocketServer(Limits()), WebSocketClient("a", limits=Limits())
    server.receive(client.start())
    client.receive(server.accept())
    return server if role == "server" else client


def frame(role: str, opcode: int, payload: bytes = b"", first: int | None = None) -> bytes:
    """A frame that this role may receive; ``first`` replaces its first byte."""
    built = build_frame(opcode, payload, MASKED if role == "server" else 0)
    return built if first is None else bytes((first,)) + built[1:]


def end(role: str, name: str) -> bytes:
    opcode, payload, first = ENDS[name]
    return frame(role, opcode, payload, first=first)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ENDS)
def test_a_message_before_the_end_can_be_answered(role: str, name: str) -> None:
    wire = one(role)
    events = wire.receive(frame(role, TEXT, b"hello") + end(role, name) + frame(role, PING))
    assert events[0] == "hello"
    assert isinstance(events[1], Closed | Failed)
    assert len(events) == 2
    assert wire.state is State.CLOSED
    assert wire.answering
    mask = MASKED if role == "client" else 0
    assert len(wire.encode("hello")) == len(build_frame(TEXT, b"hello", mask))
    assert len(wire.encode(b"hello")) == len(build_frame(BINARY, b"hello", mask))
    wire.conclude()
    assert not wire.answering
    with pytest.raises(LocalError):
        wire.encode("late")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("before", ["fragments", "ping", "nothing", "a read of its own"])
@pytest.mark.parametrize("name", ENDS)
def test_only_messages_of_the_same_read(role: str, before: str, name: str) -> None:
    wire = one(role)
    data = b""
    if before == "fragments":
        data = frame(role, TEXT, b"hel", first=TEXT) + frame(role, CONTINUATION, b"lo")
    elif before == "ping":
        data = frame(role, PING)
    elif before == "a read of its own":
        assert wire.receive(frame(role, TEXT, b"hello")) == ["hello"]
    wire.receive(data + end(role, name))
    assert wire.answering == (before == "fragments")


@pytest.mark.parametrize("role", ROLES)
def test_nothing_after_our_own_close(role: str) -> None:
    wire = one(role)
    wire.close()
    wire.receive(frame(role, TEXT, b"hello") + end(role, "close"))
    assert not wire.answering
    with pytest.raises(LocalError):
        wire.encode("late")


@pytest.mark.parametrize("role", ROLES)
def test_nothing_after_the_end_of_the_stream(role: str) -> None:
    wire = one(role)
    wire.receive(frame(role, TEXT, b"hello") + end(role, "close"))
    assert wire.receive_eof() == []
    with pytest.raises(LocalError):
        wire.encode("late")


@pytest.mark.parametrize("message", [b"x", "x"])
def test_nothing_while_it_is_not_open_yet(message: Message) -> None:
    with pytest.raises(LocalError):
        WebSocketServer(Limits()).encode(message)
