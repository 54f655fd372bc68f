"""Handshakes that are slow, too long, malformed, or something else in disguise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmark.hostile.frames import BINARY, frame
from benchmark.hostile.making import attack
from benchmark.hostile.peer import HEAD, Attack, Peer

FOREIGN = "https://evil.example"
ALLOWED = "https://good.example"  # the only page that the listener ``origin`` lets in


def head_with(*lines: str) -> bytes:
    """The handshake with more header lines."""
    return HEAD[:-2] + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def _send(data: bytes, peer: Peer) -> None:
    peer.send(data)


def _nothing(peer: Peer) -> None:
    """Connected, and silent."""


def _drip(peer: Peer) -> None:
    """A byte now and then, so that there is always something coming, and never all of it."""
    while True:
        peer.drip(b"GET / HTTP/1.1\r\n", 0.02)
        peer.drip(b"X: y\r\n" * 1000, 0.02)


def _half(peer: Peer) -> None:
    peer.send(HEAD[:-4])


def _endless_line(peer: Peer) -> None:
    peer.send(b"GET / HTTP/1.1\r\nX: ")
    while True:
        peer.send(b"x" * 4096)


def _with_frames(peer: Peer) -> None:
    """What a client may do: not wait for the answer. It is to be served."""
    peer.sock.sendall(HEAD + frame(BINARY, b"hello"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += peer.sock.recv(1)
    peer.expect(b"\x82\x05hello")


def attacks() -> Iterator[Attack]:
    """The family."""
    yield attack("silence", _nothing, "end", opened=False, deadline="handshake")
    yield attack("half a head", _half, "end", opened=False, deadline="handshake")
    yield attack("head byte by byte", _drip, "end", opened=False, deadline="handshake")
    yield attack(
        "frames in the handshake's segment", _with_frames, "served", opened=False, noted=1006
    )
    yield attack(
        "header line without end", _endless_line, "HTTP 431", "end", opened=False, noted=1002
    )
    yield attack(
        "request smuggled behind an upgrade",
        partial(_send, b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"),
        "close 1002",
        noted=1002,
    )
    for name, head, status in (
        ("thousands of headers", head_with(*["X: y"] * 5000), 431),
        ("a hundred thousand empty lines", b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 100_000, 431),
        ("bare line feeds", HEAD.replace(b"\r\n", b"\n"), 400),
        ("a bare line feed", head_with("X: y\nTransfer-Encoding: chunked"), 400),
        ("NUL in a header", head_with("X: \0"), 400),
        ("space before a colon", head_with("Content-Length : 5"), 400),
        ("two hosts", head_with("Host: y"), 400),
        ("no host", HEAD.replace(b"Host: x\r\n", b""), 400),
        ("body by length", head_with("Content-Length: 5") + b"GET /", 400),
        ("two lengths", head_with("Content-Length: 5", "Content-Length: 6"), 400),
        ("body in chunks", head_with("Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        ("two keys", head_with("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
        ("another version", HEAD.replace(b"Version: 13", b"Version: 8"), 426),
        ("HTTP/1.0", HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("POST", HEAD.replace(b"GET", b"POST"), 405),
        ("garbage", bytes(range(128, 256)) + b"\r\n\r\n", 400),
        ("TLS where there is none", bytes((22, 3, 1, 2, 0, 1)) + bytes(16 * 1024), 431),
    ):
        yield attack(name, partial(_send, head), f"HTTP {status}", opened=False, noted=1002)
    yield attack(
        "two requests at once",
        partial(_send, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2),
        "HTTP 426",
        opened=False,
    )
    for name, origins in (
        ("foreign origin", [FOREIGN]),
        ("null origin", ["null"]),
        ("origin twice", [ALLOWED, FOREIGN]),
        ("two origins in one", [f"{ALLOWED}, {FOREIGN}"]),
    ):
        head = head_with(*(f"Origin: {origin}" for origin in origins))
        yield attack(name, partial(_send, head), "HTTP 403", where="origin", opened=False)
