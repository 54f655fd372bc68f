"""Frames that the protocol does not allow, and lengths that lie (RFC 6455, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmark.hostile.making import attack
from benchmark.hostile.peer import Attack, Peer

FIN, MASK = 0x80, 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LIMIT = 1 << 20  # bytes of a message, the server's default

PROTOCOL, PAYLOAD, TOO_BIG = 1002, 1007, 1009


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0) -> bytes:
    """A masked frame; its masking key is 0, so that the payload is as it was."""
    return header(opcode, len(payload), fin=fin, bits=bits) + bytes(4) + payload


def header(
    opcode: int, length: int, *, fin: bool = True, bits: int = 0, width: int | None = None
) -> bytes:
    """A header up to the masking key.

    Args:
        opcode: Of the frame.
        length: What it declares.
        fin: Whether it is the message's last.
        bits: The reserved ones, 0x40, 0x20, 0x10.
        width: Bytes of the length's long form; None for the form that fits.
    """
    if width is None:
        width = 0 if length < 126 else 2 if length < 1 << 16 else 8
    first = (FIN if fin else 0) | bits | opcode
    if not width:
        return bytes((first, MASK | length))
    return bytes((first, MASK | (126 if width == 2 else 127))) + length.to_bytes(width)


def _send(data: bytes, peer: Peer) -> None:
    peer.send(data)


def _drip(data: bytes, peer: Peer) -> None:
    peer.drip(data)


def _broken_rules() -> Iterator[tuple[str, bytes, int]]:
    for bits in (0x40, 0x20, 0x10, 0x70):
        yield f"reserved bits {bits:#x}", frame(TEXT, b"x", bits=bits), PROTOCOL
    for opcode in (3, 7, 11, 15):
        yield f"reserved opcode {opcode}", frame(opcode, b"x"), PROTOCOL
    yield "unmasked", bytes((FIN | BINARY, 5)) + b"hello", PROTOCOL
    yield "unmasked ping", bytes((FIN | PING, 0)), PROTOCOL
    yield "continuation of nothing", frame(CONTINUATION, b"x"), PROTOCOL
    yield "message within a message", frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), PROTOCOL
    yield "ping in fragments", frame(PING, b"x", fin=False), PROTOCOL
    yield "long ping", frame(PING, bytes(126)), PROTOCOL
    yield "close of one byte", frame(CLOSE, b"x"), PROTOCOL
    yield "close with a code of nobody", frame(CLOSE, (1005).to_bytes(2)), PROTOCOL
    yield "length in a long form", header(BINARY, 5, width=8) + bytes(4) + b"hello", PROTOCOL
    yield "text that is no UTF-8", frame(TEXT, b"\xc0\xaf"), PAYLOAD
    yield "close whose reason is no UTF-8", frame(CLOSE, b"\x03\xe8\xff"), PAYLOAD
    yield (
        "text in fragments that is no UTF-8",
        frame(TEXT, b"fine", fin=False) + frame(CONTINUATION, b"\xff"),
        PAYLOAD,
    )


def _lying_lengths() -> Iterator[tuple[str, bytes, int]]:
    for name, length, code in (
        ("one byte too long", LIMIT + 1, TOO_BIG),
        ("length 2^31", 1 << 31, TOO_BIG),
        ("length 2^32", 1 << 32, TOO_BIG),
        ("length 2^63 - 1", (1 << 63) - 1, TOO_BIG),
        ("length 2^63", 1 << 63, PROTOCOL),
        ("length 2^64 - 1", (1 << 64) - 1, PROTOCOL),
    ):
        yield name, header(BINARY, length, width=8) + bytes(4) + b"x", code


def _half_a_message(peer: Peer) -> None:
    """As much as a message may have, declared; next to nothing of it sent; then gone."""
    peer.drip(header(BINARY, LIMIT) + bytes(4) + b"next to nothing")
    peer.shut()


def _fragments_too_long(peer: Peer) -> None:
    """Fragments that are a message too long only when they are added up."""
    peer.send(frame(TEXT, bytes(1024), fin=False))
    for _ in range(2 * LIMIT // 65536):
        peer.send(frame(CONTINUATION, bytes(65536), fin=False))


def _endless(payload: bytes, peer: Peer) -> None:
    """A message that never ends, in fragments of so little."""
    peer.send(frame(BINARY, b"", fin=False))
    while True:
        peer.send(frame(CONTINUATION, payload, fin=False) * 100)


def attacks() -> Iterator[Attack]:
    """The family."""
    faults: list[tuple[str, Callable[[Peer], None], int]] = [
        (name, partial(_send, data), code) for name, data, code in _broken_rules()
    ]
    for name, data, code in _lying_lengths():
        faults.append((name, partial(_send, data), code))
        faults.append((f"{name}, dripped", partial(_drip, data), code))
    faults += [
        ("fragments that add up", _fragments_too_long, TOO_BIG),
        ("endless fragments of nothing", partial(_endless, b""), TOO_BIG),
        ("endless fragments of a byte", partial(_endless, b"x"), TOO_BIG),
    ]
    for name, strike, code in faults:
        yield attack(name, strike, f"close {code}", noted=code)
    yield attack("half a message, and gone", _half_a_message, "end", noted=1006)
    for name, data, code in (
        ("envelope of a gigabyte", b"9999999999x", TOO_BIG),
        ("envelope one byte too long", b"71048577x", TOO_BIG),
        ("envelope of nonsense", b"hello", PROTOCOL),
        ("envelope with a leading zero", b"2012", PROTOCOL),
    ):
        yield attack(name, partial(_send, data), "end", where="tcp", noted=code)
        yield attack(f"{name}, dripped", partial(_drip, data), "end", where="tcp", noted=code)
