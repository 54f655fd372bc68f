"""A WebSocket client for thousands of them: it says and hears short texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

TEXT = 0x81  # the first byte of a whole text frame (RFC 6455, section 5.2)
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(payload: bytes) -> bytes:
    """A client's text frame (RFC 6455, section 5.2), masked with zeros, which changes nothing."""
    length = len(payload)
    head = bytes([TEXT, 0x80 | length]) if length < 126 else b"\x81\xfe" + length.to_bytes(2)
    return head + bytes(4) + payload


class Wire(asyncio.Protocol):
    """A WebSocket client for short messages; it answers no pings, for it is not there so long.

    Args:
        url: Where to.
        opened: Called when the handshake is done.
        heard: Called with each message.
        ended: Called when the connection is gone.
    """

    def __init__(
        self,
        url: str,
        opened: Callable[[], None],
        heard: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        parts = urlsplit(url)
        self._hello = HANDSHAKE.format(path=parts.path or "/", host=parts.netloc).encode()
        self._opened, self._heard, self._ended = opened, heard, ended
        self._open = False
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        if not self._open:
            head, end, rest = data.partition(b"\r\n\r\n")
            if end and not head.startswith(b"HTTP/1.1 101"):
                self.close()
            if not end:
                self._data = data
                return
            data = rest
            self._open = True
            self._opened()
        while len(data) >= 2 and len(data) >= 2 + data[1]:
            if data[0] == TEXT:
                self._heard(data[2 : 2 + data[1]])
            data = data[2 + data[1] :]
        self._data = data

    def connection_lost(self, error: Exception | None) -> None:
        self._ended()

    def send(self, payload: bytes) -> None:
        """Send a text message; it has to be connected."""
        assert self._transport is not None
        self._transport.write(frame(payload))

    def close(self) -> None:
        """End it at once, if it is there."""
        if self._transport is not None:
            self._transport.abort()


def address_of(url: str) -> tuple[str, int]:
    """The host and port of a URL that has both."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
