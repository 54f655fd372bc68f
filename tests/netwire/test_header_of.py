"""What goes ahead of a long message that is written as it is: what `encode` makes, or None."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import pytest

from netwire import FRAMINGS, Deflate, Message, Wire, parse_url
from netwire.factory import client_wire, server_wire
from netwire.framing.envelope import Envelope

HEAD = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


class Twice:
    """A transform."""

    def outgoing(self, message: Message) -> Message:
        return message + message  # type: ignore[operator]

    def incoming(self, message: Message) -> Message:
        return message


def opened(url: str, **options: object) -> Wire:
    wire = server_wire(parse_url(url), **options)  # type: ignore[arg-type]
    if url.startswith("ws"):
        wire.receive(HEAD)
        wire.accept()
    return wire


@pytest.mark.parametrize("url", ["ws://x", "tcp://x:1"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 1023, 1024, 65535, 65536, 300_000])
def test_it_is_what_encode_puts_ahead(url: str, size: int) -> None:
    message = bytes(size)
    wire = opened(url)
    head = wire.header_of(message)
    assert head is not None
    assert head + message == wire.encode(message)


def closed(url: str) -> Wire:
    wire = opened(url)
    wire.close()
    return wire


OTHERS: dict[str, Callable[[], Wire]] = {
    "compressed": lambda: opened("ws://x", compression=Deflate()),
    "transformed": lambda: opened("ws://x", transform=Twice),
    "transformed envelope": lambda: opened("tcp://x:1", transform=Twice),
    "not open yet": lambda: server_wire(parse_url("ws://x")),
    "closing": lambda: closed("ws://x"),
    "closed": lambda: closed("tcp://x:1"),
    "a client, which masks": lambda: client_wire(parse_url("ws://x")),
    "lines": lambda: FRAMINGS["lines"](),
}


@pytest.mark.parametrize("case", OTHERS)
def test_encode_has_to_be_asked(case: str) -> None:
    assert OTHERS[case]().header_of(bytes(100_000)) is None


def test_what_an_envelope_cannot_carry() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 10**9

    with pytest.raises(ValueError, match="1000000000 bytes is longer"):
        opened("tcp://x:1").header_of(Long())


class Summed(Envelope):
    """A checksum ahead of each payload."""

    def encode(self, message: Message) -> bytes:
        assert isinstance(message, bytes)
        return super().encode(crc32(message).to_bytes(4) + message)


class Hidden(Envelope):
    def encode_payload(self, payload: bytes) -> bytes:
        return super().encode_payload(bytes(byte ^ 1 for byte in payload))


class Same(Envelope):
    """Nothing that concerns what is sent."""


@pytest.mark.parametrize("size", [10, 2000, 20_000])
def test_what_a_subclass_makes_of_messages_is_sent(size: int) -> None:
    message = bytes(size)
    assert Summed().header_of(message) is None
    assert Summed().encode(message).endswith(crc32(message).to_bytes(4) + message)
    assert Hidden().header_of(message) is None
    assert Hidden().encode(message).endswith(b"\1" * size)
    header = Same().header_of(message)
    assert header is not None
    assert header + message == Same().encode(message) == Envelope().encode(message)
