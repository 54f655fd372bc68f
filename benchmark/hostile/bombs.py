"""Compression bombs: little on the wire that inflates to very much (RFC 7692)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache

from benchmark.hostile.frames import (
    BINARY,
    CONTINUATION,
    LIMIT,
    PAYLOAD,
    PROTOCOL,
    TEXT,
    TOO_BIG,
    frame,
)
from benchmark.hostile.making import attack
from benchmark.hostile.peer import Attack, Peer

COMPRESSED = 0x40
WHOLE = 256 * 1024 * 1024  # bytes that a bomb inflates to
TAIL = b"\0\0\xff\xff"


@cache
def deflated(size: int) -> bytes:
    """So many zeros as the payload of a compressed message."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [deflate.compress(bytes(min(LIMIT, size - at))) for at in range(0, size, LIMIT)]
    pieces.append(deflate.flush(zlib.Z_SYNC_FLUSH))
    return b"".join(pieces).removesuffix(TAIL)


def _in_one_frame(peer: Peer) -> None:
    peer.send(frame(BINARY, deflated(WHOLE), bits=COMPRESSED))


def _as_text(peer: Peer) -> None:
    peer.send(frame(TEXT, deflated(WHOLE), bits=COMPRESSED))


def _in_fragments(peer: Peer) -> None:
    payload = deflated(WHOLE)
    peer.send(frame(BINARY, payload[:1000], fin=False, bits=COMPRESSED))
    for at in range(1000, len(payload), 1000):
        peer.send(frame(CONTINUATION, payload[at : at + 1000], fin=False))
    peer.send(frame(CONTINUATION))


def _dripped(peer: Peer) -> None:
    """A bomb in the smallest of pieces, of which the last lights it."""
    peer.drip(frame(BINARY, deflated(2 * LIMIT), bits=COMPRESSED))


def _a_byte_too_much(peer: Peer) -> None:
    peer.send(frame(BINARY, deflated(LIMIT + 1), bits=COMPRESSED))


def _many_small(peer: Peer) -> None:
    """Messages none of which is too long, in one go, and nothing of the echo is read."""
    small = frame(BINARY, deflated(LIMIT), bits=COMPRESSED)
    peer.send(small * 64)
    peer.leave()


def attacks() -> Iterator[Attack]:
    """The family."""
    for name, strike in (
        ("bomb in one frame", _in_one_frame),
        ("bomb of text", _as_text),
        ("bomb in fragments", _in_fragments),
        ("bomb byte by byte", _dripped),
        ("bomb of a byte too much", _a_byte_too_much),
    ):
        yield attack(name, strike, f"close {TOO_BIG}", where="deflate", noted=TOO_BIG)
    yield attack("many small bombs", _many_small, "served", "end", where="deflate", noted=None)
    yield attack(
        "garbage for compressed",
        lambda peer: peer.send(frame(BINARY, b"\xff" * 100, bits=COMPRESSED)),
        f"close {PAYLOAD}", f"close {PROTOCOL}",
        where="deflate",
        noted=None,
    )  # fmt: skip
    yield attack(
        "compressed continuation",
        lambda peer: peer.send(
            frame(BINARY, deflated(100), fin=False, bits=COMPRESSED)
            + frame(CONTINUATION, deflated(100), bits=COMPRESSED)
        ),
        f"close {PROTOCOL}",
        where="deflate",
        noted=PROTOCOL,
    )
