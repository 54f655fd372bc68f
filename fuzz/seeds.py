"""Inputs to begin with: good conversations, and what is odd in one way each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from fuzz.handshakes import TOKEN
from netserver.backplane.zeromq import wire as mesh
from netserver.cluster.frames import Kind, encode, encode_head, encode_message, encode_record
from netserver.cluster.presence import Member, Notice, encode_notice
from netwire import FRAMINGS
from netwire.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    TEXT,
)

RSV1 = 0x40
"""In a message's first frame: it is compressed (RFC 7692, section 6)."""

KEY = b"\x37\xfa\x21\x3d"  # of RFC 6455, section 5.7

LENGTHS = (125, 126, 127, 65535, 65536, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)

CLOSE_CODES = (0, 999, *range(1000, 1017), 2999, 3000, 3999, 4000, 4999, 5000, 65535)


def frame(
    first: int, payload: bytes = b"", mask: int = 0, *, length: int | None = None, width: int = 0
) -> bytes:
    """A frame, as odd as it is asked for.

    Args:
        first: The first byte: flags and opcode.
        payload: What follows the header.
        mask: The mask bit.
        length: The length to declare; None declares the payload's.
        width: Bytes to declare it in, 2 or 8; 0 takes the shortest form.
    """
    declared = len(payload) if length is None else length
    width = width or (0 if declared < 126 else 2 if declared < 1 << 16 else 8)
    code = {0: declared, 2: 126, 8: 127}[width]
    header = bytes((first, mask | code)) + (declared.to_bytes(width) if width else b"")
    if not mask:
        return header + payload
    return header + KEY + bytes(byte ^ KEY[i & 3] for i, byte in enumerate(payload))


def websocket_streams(mask: int) -> Iterator[bytes]:
    """Streams of frames, as a peer whose frames have this mask bit sends them."""

    def f(first: int, payload: bytes = b"", **odd: int) -> bytes:
        return frame(first, payload, mask, **odd)

    text, binary, more = FIN | TEXT, FIN | BINARY, FIN | CONTINUATION
    ping, pong, close = FIN | PING, FIN | PONG, FIN | CLOSE

    yield f(text, b"Hello") + f(binary, bytes(range(256))) + f(ping, b"Hello") + f(close)
    yield f(TEXT, b"Hel") + f(ping) + f(CONTINUATION) + f(pong, b"x") + f(more, b"lo") + f(text)
    yield f(BINARY) + f(CONTINUATION) + f(CONTINUATION) + f(more) + f(binary)
    yield f(binary) * 5 + f(ping) * 5 + f(text) * 5
    smile = "a\N{SNOWMAN}\N{GRINNING FACE}".encode()
    for at in range(len(smile) + 1):
        yield f(TEXT, smile[:at]) + f(ping) + f(more, smile[at:]) + f(text, smile)
    for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x98"):
        yield f(text, b"ok" + bad) + f(text, b"after")
        yield f(TEXT, bad[:1]) + f(CONTINUATION, bad[1:]) + f(more, b"x")
    for opcode in range(16):
        for flags in (0, FIN, FIN | 0x40, FIN | 0x20, FIN | 0x10):
            yield f(text, b"before") + f(flags | opcode, b"xy") + f(text, b"after")
        yield f(TEXT, b"begun") + f(FIN | opcode, b"xy") + f(more, b"rest")
    for code in CLOSE_CODES:
        yield f(close, code.to_bytes(2) + b"why") + f(text, b"after")
    yield f(close, b"\x03") + f(close)
    yield f(close, b"\x03\xe8\xff")
    yield f(close, b"\x03\xe8" + b"r" * 123) + f(close)
    for opcode in (PING, PONG, CLOSE):
        for size in (124, 125, 126, 127):
            yield f(FIN | opcode, (b"\x03\xe8" + b"x" * 125)[:size])
        yield f(FIN | opcode, length=1 << 40)
    for first in (binary, text, BINARY, more):
        for length in LENGTHS:
            yield f(first, b"x" * 20, length=length)
    for first in (binary, text):
        yield f(first, b"short", width=2) + f(text)
        yield f(first, b"short", width=8) + f(text)
        yield f(first, b"x" * 200, width=8) + f(text)
    for size in (124, 125, 126, 127, 200):
        yield f(binary, b"b" * size) + f(text, b"t" * size) + f(BINARY, b"b" * size) + f(more, b"b")
    for first in (text, BINARY, ping, close):
        yield frame(first, b"\x03\xe8y", mask ^ MASKED) + f(text, b"after")


def limited_websocket_streams(mask: int) -> Iterator[bytes]:
    """Messages at the limits of `fuzz.inputs.LIMITS`, to be tried with each of them."""
    for limit in (16, 125, 127):
        for size in (limit, limit + 1):
            payload = b"m" * size
            whole = frame(FIN | BINARY, payload, mask)
            yield whole + frame(FIN | TEXT, payload, mask)
            for count in range(2, 6):
                step = -(-size // count)
                pieces = [payload[i : i + step] for i in range(0, size, step)]
                stream = frame(TEXT, pieces[0], mask)
                for piece in pieces[1:-1]:
                    stream += frame(CONTINUATION, piece, mask) + frame(FIN | PING, b"x", mask)
                yield stream + frame(FIN | CONTINUATION, pieces[-1], mask) + whole
        yield frame(FIN | BINARY, b"m" * (limit + 1), mask ^ MASKED)
        yield frame(FIN | CONTINUATION, b"m" * (limit + 1), mask)


def deflated_streams(mask: int) -> Iterator[bytes]:
    """Streams of compressed messages; those without compression are tried with it too."""

    def f(first: int, payload: bytes = b"") -> bytes:
        return frame(first, payload, mask)

    text, binary, more = FIN | RSV1 | TEXT, FIN | RSV1 | BINARY, FIN | CONTINUATION
    for wbits in (9, 15):
        deflater = zlib.compressobj(6, zlib.DEFLATED, -wbits)
        one, two, big = (
            (deflater.compress(plain) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
            for plain in (b"hello hello", "hello h\u00e9llo".encode(), bytes(5000))
        )
        yield (
            f(text, one) + f(text, two) + f(FIN | TEXT, b"plain") + f(binary, big) + f(FIN | CLOSE)
        )
        yield f(text, one) * 3
        for at in range(0, len(two), 2):
            ping = f(FIN | PING, b"x")
            yield (
                f(RSV1 | TEXT, two[:at]) + ping + f(CONTINUATION) + f(more, two[at:]) + f(text, one)
            )
        yield f(RSV1 | BINARY, one) + f(more | RSV1, two)
        yield f(RSV1 | BINARY, one) + f(binary, two)
        yield f(text, one[:-1]) + f(text, one)
        yield f(FIN | RSV1 | PING, one)
    whole = zlib.compressobj(6, zlib.DEFLATED, -9)
    final = whole.compress(b"the last block") + whole.flush()
    for behind in (b"", b"\0", b"\0\0", b"\0" * 5, b"\0" * 6, b"\0\0\0\xff\xff", b"x", final):
        yield f(text, final + behind) + f(text, one) + f(text, two)
        yield f(RSV1 | TEXT, final) + f(more, behind) + f(text, one)
    for bad in (b"", b"\0", b"\xff", b"\x07", b"\x02\x07\0", b"\xc2\x0c\0", b"\x4b\x04\0\0"):
        yield f(text, bad) + f(binary, bad) + f(text, one)
    stored = b"\0\x04\0\xfb\xff\xff\xfe\xfd\xfc\0"
    yield f(binary, stored) + f(text, stored)
    yield f(binary, b"\x02\0" * 30 + one)


def long_websocket_streams(mask: int) -> Iterator[bytes]:
    """Streams at the widths of a length and at the limits: too long to be mutated."""
    yield frame(FIN | BINARY, bytes(40_000), mask, width=8)
    for size in (65535, 65536, 70_000, 70_001):
        payload = "é".encode() * (size // 2) + b"x" * (size % 2)
        for opcode in (TEXT, BINARY):
            yield frame(FIN | opcode, payload, mask) + frame(FIN | PING, b"x", mask)
            yield (
                frame(opcode, payload[:30_001], mask)
                + frame(FIN | PING, b"x", mask)
                + frame(FIN | CONTINUATION, payload[30_001:], mask)
            )


def framing_streams(name: str) -> Iterator[bytes]:
    """Streams in one of the framings."""
    wire = FRAMINGS[name]()
    payloads = (b"", b"hello", b"x" * 15, b"x" * 16, b"x" * 17, b"x" * 125, b"x" * 126, b"x" * 1024)
    yield b"".join([wire.encode(payload) for payload in payloads])
    yield from (wire.encode(payload) for payload in payloads)
    yield from (wire.encode(payload)[:-1] for payload in payloads)
    match name:
        case "envelope":
            yield from (b"1011a2100123456789", b"0", b"20", b"205hello", b"1x", b"2 5")
            yield from (b"9999999999", b"9000000005", b"3+12", b"41_00", b"12abc", b"\xff", b":")
            yield from (bytes(100), b"15hello" + bytes(100), b"15hello/", b"15hello11x" + b"9")
        case "length-prefix":
            yield from (length.to_bytes(4) + b"x" * 20 for length in (0, 20, 21, 1 << 31))
            yield b"\xff\xff\xff\xff"
        case "lines":
            yield from (b"one\r\ntwo\nthr\ree\n\n\r\n\r\r\nrest\r", b"\n\r\n\r")
            yield from (b"x" * 16 + b"\r\r", b"x" * 17 + b"\r\n", b"x" * 20 + b"\r")
            yield b"x" * 16 + b"\r\n" + b"x" * 16 + b"\r"


_FIELDS = {
    b"Host": b"example.com",
    b"Upgrade": b"websocket",
    b"Connection": b"keep-alive, Upgrade",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version": b"13",
    b"Origin": b"null",
}


_LINES = (
    *(b"GET / HTTP/1.0", b"GET / HTTP/2.0", b"HEAD / HTTP/1.1", b"POST / HTTP/1.1", b"", b"GET"),
    *(b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /\x80 HTTP/1.1", b"\x16\x03\x01\x02"),
    *(b"PRI * HTTP/2.0", b"CONNECT a:1 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"G\0T / HTTP/1.1"),
)

_ODD_FIELDS = (
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b" folded: x"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Expect: 100-continue"),
    *(b"Sec-WebSocket-Protocol: a, b", b"Sec-WebSocket-Protocol: \xff"),
    b"Sec-WebSocket-Extensions: permessage-deflate; a=b",
    *(b"X : y", b": y", b"X", b"X: \0", b"X: \xff", b"X: " + b"y" * 1000, b"X:", b"X: a\rb"),
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"\r\n".join([b"X: y"] * 101),
)

_ANSWER_FIELDS = (
    *(b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Protocol: other", b"X: \0", b"X"),
    *(b"Sec-WebSocket-Extensions: permessage-deflate", b"Content-Length: 5", b"X: \xff"),
    *(b"Transfer-Encoding: chunked", b"Set-Cookie: a=b\r\nSet-Cookie: c=d"),
)


def _head(line: bytes, fields: dict[bytes, bytes], *more: bytes) -> bytes:
    lines = [b"%b: %b" % field for field in fields.items()]
    return b"\r\n".join([line, *lines, *more, b"", b""])


def request_streams() -> Iterator[bytes]:
    """What a client sends from its first byte on."""
    good = _head(b"GET /chat?room=1 HTTP/1.1", _FIELDS)
    frames = frame(FIN | TEXT, b"early", MASKED) + frame(FIN | PING, b"x", MASKED)
    yield from (good, good + frames, good + frames[:-1], good + bytes(1100), good[:-2], good * 2)
    yield good.replace(b"\r\n", b"\n")
    yield good.replace(b"\r\n", b"\r")
    for name in _FIELDS:
        fields = {**_FIELDS}
        value = fields.pop(name)
        yield _head(b"GET / HTTP/1.1", fields)
        yield _head(b"GET / HTTP/1.1", _FIELDS, b"%b: %b" % (name, value))
        yield _head(b"GET / HTTP/1.1", _FIELDS | {name: b""})
        yield _head(b"GET / HTTP/1.1", _FIELDS | {name: b"x, \xff;="})
    for line in _LINES:
        yield _head(line, _FIELDS)
    for odd in _ODD_FIELDS:
        yield _head(b"GET / HTTP/1.1", _FIELDS, odd)
    for plain in (b"GET", b"HEAD", b"POST", b"DELETE"):
        yield _head(plain + b" / HTTP/1.1", {b"Host": b"a", b"Content-Length": b"4"}) + b"body"
    yield b"\r\n" + good
    yield b"GET / HTTP/1.1\r\nX: " + b"y" * 400 + b"\n"
    for limit in (200, 400, 1024):
        yield good.replace(b"Origin: null\r\n", b"") + bytes(limit)
        yield good.replace(b"Origin: null\r\n", b"") + bytes(limit + 1)
        yield _head(b"GET / HTTP/1.1", {b"Host": b"a"}) + bytes(2 * limit)


def answer_streams() -> Iterator[bytes]:
    """What a server sends from its first byte on."""
    fields = {
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Accept": TOKEN.encode(),
    }
    good = _head(b"HTTP/1.1 101 Switching Protocols", fields)
    frames = frame(FIN | TEXT, b"early") + frame(FIN | PING, b"x") + frame(FIN | CLOSE)
    yield from (good, good + frames, good + frames[:-1], good[:-2], good + good)
    yield good.replace(b"\r\n", b"\n")
    for name in fields:
        yield _head(b"HTTP/1.1 101 x", {key: fields[key] for key in fields if key != name})
        yield _head(b"HTTP/1.1 101 x", fields | {name: b"else"})
        yield _head(b"HTTP/1.1 101 x", fields, b"%b: %b" % (name, fields[name]))
    for line in (b"HTTP/1.1 101", b"HTTP/1.0 101 x", b"HTTP/1.1 100 x", b"HTTP/1.1 200 OK"):
        yield _head(line, fields)
    for line in (b"HTTP/1.1 404 x", b"HTTP/1.1 999 x", b"HTTP/1.1 1 x", b"", b"SSH-2.0-x", b"\xff"):
        yield _head(line, fields, b"Content-Length: 3") + b"no\n"
    for odd in _ANSWER_FIELDS:
        yield _head(b"HTTP/1.1 101 x", fields, odd) + frames


def tls_streams() -> Iterator[bytes]:
    """Garbage in place of TLS records, and damage to good ones."""
    yield from (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")
    yield from (b"\x80\x2e\x01", b"\x15\x03\x03\0\x02\x02\x28", b"\x17\x03\x03\xff\xff")
    yield from (b"\x16\x03\x01\0\0", bytes(50))
    yield from (bytes((kind, 0, 100, 7)) for kind in range(4))
    yield from (bytes((kind, 0, 2, 0xFF)) for kind in range(4))


def cluster_frames() -> Iterator[bytes]:
    """What servers send each other, and some of it cut or odd."""
    member = Member("ann", {"mood": ["good", None]}, "there", 1)
    notices = [
        Notice(1, (member,)),
        Notice(2, (member, Member(None, 0, "there", 2)), (1,), hello=True),
        Notice(3, (), (2, 1), last=False),
    ]
    head = encode_head(bytes(8), "room/1")
    yield head
    bodies = [encode_notice(notice, group) for notice in notices for group in (None, "g")]
    for kind in Kind:
        whole = head + encode_message(kind, "text", number=7, key="key") + encode_record(kind)
        yield whole
        yield whole[:-1]
        yield head + encode(kind, 255, (1 << 32) - 1, "", b"\xff\x00")
    for kind in (Kind.PRESENCE, Kind.MEMBERS):
        yield head + b"".join(encode_record(kind, body) for body in bodies)
        for body in (*bodies, b'{"v":1e9}', b'{"v":1,"came":[[1,"a",[[[[1]]]]]]}', b"[[[["):
            yield head + encode_record(kind, body)


def mesh_frames() -> Iterator[bytes]:
    """What the peers of a mesh send each other."""
    for kind in mesh.Kind:
        for body in (b"", bytes(8), b"\xff" * 16, b"\0\1a\0\0\0\0"):
            yield bytes((mesh.VERSION, kind)) + body
    yield mesh.ack(1)
    yield mesh.beat(1, 2)
    yield mesh.bye(mesh.Farewell.FULL)
    yield mesh.DATA + mesh.record("a.b", b"payload") + mesh.record("c", b"")
    for chunk in mesh.chunks(["a.b", "c"]):
        yield mesh.change(1, mesh.Action.ADD, chunk)


def seeds(target: str) -> list[bytes]:
    """The inputs that a target begins with."""
    if target in _WHOLE:
        return [b"", *_WHOLE[target]()]
    limited: list[bytes] = []
    long: list[bytes] = []
    match target:
        case "websocket-server" | "websocket-client":
            mask = MASKED if target == "websocket-server" else 0
            streams = [*websocket_streams(mask)]
            limited = [*limited_websocket_streams(mask)]
            long = [*long_websocket_streams(mask)]
        case "deflate-server" | "deflate-client":
            mask = MASKED if target == "deflate-server" else 0
            streams = [*websocket_streams(mask)]
            limited = [*deflated_streams(mask), *limited_websocket_streams(mask)]
        case "server-handshake":
            limited, streams = [*request_streams()], []
        case "client-handshake":
            limited, streams = [*answer_streams()], []
        case "tls":
            streams = [*tls_streams()]
        case _:
            limited, streams = [*framing_streams(target)], []
    # Every choice for some, and for those of interest all four limits.
    inputs = [bytes((i % 16, i * 7 & 0xFF)) + stream for i, stream in enumerate(streams)]
    for i, stream in enumerate(limited):
        inputs += [bytes((limits | (i & 3) << 2, i * 7 & 0xFF)) + stream for limits in range(4)]
    inputs += [bytes((limits, 0xFF)) + stream for stream in long for limits in (0, 3)]
    return [b"", *inputs]


# Targets whose inputs are frames, and no streams with limits.
_WHOLE: dict[str, Callable[[], Iterator[bytes]]] = {
    "cluster-frames": cluster_frames,
    "zmq-peer": mesh_frames,
}
