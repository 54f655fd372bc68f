"""A message that comes in one read with the end of its connection is answered all the same."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from netserver import Connection
from netwire.websocket.frames import CLOSE, MASKED, TEXT, build_frame

HELLO = build_frame(TEXT, b"hello", MASKED)
ECHO = build_frame(TEXT, b"hello", 0)
CLOSES = {
    "a close": (build_frame(CLOSE, b"\x03\xe8", MASKED), build_frame(CLOSE, b"\x03\xe8", 0)),
    "a fault": (b"\xa1\x80\0\0\0\0", b"\x03\xea"),
    "bad text": (build_frame(TEXT, b"\xff", MASKED), b"\x03\xef"),
}
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


class Closing(Connection):
    """Closes by itself, when it is too late for that."""

    def on_message(self, message: bytes | str) -> None:
        self.send(message)
        self.close(4321, "me first")


class Raising(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)
        raise ValueError("on purpose")


def talk(site: Any, receive_all: Any, kind: type[Connection], data: bytes) -> bytes:
    """All that comes back for these bytes, the handshake's answer aside."""
    listener = site.listen("ws://127.0.0.1:0", kind)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as sock:
        sock.sendall(HANDSHAKE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        sock.sendall(data)
        answer: bytes = receive_all(sock)
    return answer


@pytest.mark.both_loops
@pytest.mark.parametrize("name", CLOSES)
@pytest.mark.parametrize("count", [1, 3, 500])
def test_it_is_answered_first(site: Any, receive_all: Any, name: str, count: int) -> None:
    sent, expected = CLOSES[name]
    answer = talk(site, receive_all, Echo, HELLO * count + sent)
    assert answer.startswith(ECHO * count)
    assert expected in answer.removeprefix(ECHO * count)
    assert answer.count(b"\x88") == 1
    assert len(site.journal.until("close")) == 1


@pytest.mark.parametrize("count", [1, 500])
def test_the_stream_ends_too(site: Any, receive_all: Any, count: int) -> None:
    end, expected = CLOSES["a close"]
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as sock:
        sock.sendall(HANDSHAKE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        sock.sendall(HELLO * count + end)
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == ECHO * count + expected


@pytest.mark.parametrize("kind", [Closing, Raising])
def test_the_peers_end_counts(site: Any, receive_all: Any, kind: type[Connection]) -> None:
    sent, expected = CLOSES["a close"]
    assert talk(site, receive_all, kind, HELLO + sent) == ECHO + expected
    assert site.journal.until("close")[0][2] == 1000


def test_what_is_sent_once_the_end_is_told_is_not(site: Any, receive_all: Any) -> None:
    sent = []

    class Late(Echo):
        def on_close(self, code: int, reason: str) -> None:
            sent.append(self.send("late"))

    end, expected = CLOSES["a close"]
    assert talk(site, receive_all, Late, HELLO + end) == ECHO + expected
    site.journal.until("close")
    assert sent == [False]
