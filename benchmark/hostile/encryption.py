"""TLS that is none, is cut short, or never gets done (RFC 8446)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from functools import partial

from benchmark.hostile.making import attack
from benchmark.hostile.peer import HEAD, Attack, Peer

BAD = 1015


def _send(data: bytes, peer: Peer) -> None:
    peer.send(data)


def _nothing(peer: Peer) -> None:
    """Connected, and silent."""


def _half_a_hello(peer: Peer) -> None:
    peer.send(peer.hello()[:100])


def _drip_a_hello(peer: Peer) -> None:
    """Slower than the deadline, and always something coming."""
    peer.drip(peer.hello(), 0.02)


def _broken_hello(peer: Peer) -> None:
    hello = bytearray(peer.hello())
    hello[20:] = bytes(len(hello) - 20)
    peer.send(bytes(hello))


def _encrypted_silence(peer: Peer) -> None:
    """The handshake of TLS, and none of WebSocket."""
    peer.encrypt()


def _encrypted_half(peer: Peer) -> None:
    peer.encrypt()
    peer.send(HEAD[:40])


def _bare_record(data: bytes, peer: Peer) -> None:
    """Good until it is open; then bytes that TLS cannot have written."""
    assert isinstance(peer.sock, ssl.SSLSocket)
    raw = peer.sock.detach()
    peer.sock = socket.socket(fileno=raw)
    peer.sock.settimeout(15.0)
    peer.send(data)


def attacks() -> Iterator[Attack]:
    """The family."""
    yield attack("silence, wss", _nothing, "end", where="wss", opened=False, deadline="handshake")
    yield attack(
        "half a hello", _half_a_hello, "end", where="wss", opened=False, deadline="handshake"
    )
    yield attack(
        "hello byte by byte", _drip_a_hello, "end", where="wss", opened=False, deadline="handshake"
    )
    yield attack(
        "silence behind TLS", _encrypted_silence, "end",
        where="wss", opened=False, deadline="handshake",
    )  # fmt: skip
    yield attack(
        "half a head behind TLS", _encrypted_half, "end",
        where="wss", opened=False, deadline="handshake",
    )  # fmt: skip
    for name, data in (
        ("HTTP where TLS is expected", HEAD),
        ("garbage where TLS is expected", bytes(range(256)) * 4),
        ("record of a kind that is none", b"\xff\x03\x03\xff\xff" + bytes(65535)),
        ("record that is too long", b"\x16\x03\x01\xff\xff" + bytes(65535)),
    ):
        yield attack(name, partial(_send, data), "end", where="wss", opened=False, noted=BAD)
    yield attack("broken hello", _broken_hello, "end", where="wss", opened=False, noted=BAD)
    for name, data in (
        ("forged record", b"\x17\x03\x03\x00\x20" + bytes(32)),
        ("record in the clear", b"GET / HTTP/1.1\r\n\r\n"),
    ):
        yield attack(name, partial(_bare_record, data), "end", where="wss", noted=BAD)
