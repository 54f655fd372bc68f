"""The bytes of the load, built before it starts.

Connections send a ring of frames over and over, each from another place in it, and the server must
send back the ring of replies. The payloads in a ring differ, so a reply that is lost, doubled, out
of order, or another connection's does not go unnoticed.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from random import Random

from attrs import field, frozen
from wsproto.frame_protocol import (
    MAX_PAYLOAD_NORMAL,
    MAX_PAYLOAD_TWO_BYTE,
    FrameProtocol,
    XorMaskerSimple,
)

from benchmark.load.deflate import Negotiated, compress_all

RING = 64
RING_BYTES = 1 << 20
RINGS = 8  # of compressed text, which connections share: each begins at the beginning of one
TWINS = ("0", "1")  # what the payloads of two begin with that get what the other one sends
ECHO = "."  # what a payload begins with that asks a server for nothing but to be sent back


@frozen(kw_only=True, slots=False)
class Stream:
    """Rings of frames, the replies of equal length.

    Args:
        frames: How many a ring holds.
        request: The ring to send, all its frames in a row.
        reply: The ring that must come back; what it is inflated to where there is `deflate`.
        goodbye: Sent before a connection is closed, where the protocol has such a thing.
        starts: Where each request begins, and the ring ends; None where all are of equal length.
        deflate: What was agreed on about compression; None where there is none.
    """

    frames: int
    request: bytes = field(repr=False)
    reply: bytes = field(repr=False)
    goodbye: bytes
    starts: array[int] | None = field(default=None, repr=False)
    deflate: Negotiated | None = None

    @property
    def request_size(self) -> int:
        """Length of one frame to send, bytes."""
        return len(self.request) // self.frames

    @property
    def reply_size(self) -> int:
        """Length of one reply, bytes."""
        return len(self.reply) // self.frames

    def start(self, number: int) -> int:
        """Where the request of that number begins, bytes, counted on over all rounds."""
        if self.starts is None:
            return number * self.request_size
        rounds, number = divmod(number, self.frames)
        return rounds * len(self.request) + self.starts[number]

    @cached_property
    def request_twice(self) -> memoryview:
        """The ring to send twice in a row, so that a piece of it never wraps."""
        return memoryview(self.request * 2)

    @cached_property
    def reply_twice(self) -> memoryview:
        """The ring of replies twice in a row."""
        return memoryview(self.reply * 2)


def build_stream(
    transport: str,
    size: int,
    frames: int = 2,
    opening: str = ECHO,
    exceptions: Mapping[int, str] | None = None,
) -> Stream:
    """The rings for a transport.

    Args:
        transport: A URL scheme of `benchmark.load.plan.TRANSPORTS`.
        size: Payload of each frame, bytes.
        frames: The fewest that a ring may hold.
        opening: What each payload begins with, as far as it fits.
        exceptions: Frames that begin otherwise, by number; None for none.
    """
    frames = max(frames, min(RING, RING_BYTES // max(size, 1)), 2)
    exceptions = exceptions or {}
    random = Random(size)
    payloads = [
        (exceptions.get(number, opening).encode() + random.randbytes(size))[:size]
        for number in range(frames)
    ]
    if transport.startswith("ws"):
        client = FrameProtocol(client=True, extensions=[])
        server = FrameProtocol(client=False, extensions=[])
        request = b"".join(client.send_data(p, fin=True) for p in payloads)
        reply = b"".join(server.send_data(p, fin=True) for p in payloads)
        goodbye = bytes(client.close(1000))
    else:
        request = reply = b"".join(_envelope(p) for p in payloads)
        goodbye = b""
    return Stream(frames=frames, request=request, reply=reply, goodbye=goodbye)


def _envelope(payload: bytes) -> bytes:
    length = str(len(payload))
    return f"{len(length)}{length}".encode() + payload


def build_text_streams(
    size: int, deflate: Negotiated, frames: int = 2, count: int = RINGS
) -> list[Stream]:
    """Rings of compressed text that looks like JSON, each with other payloads.

    A connection must begin one at its beginning, since every other frame may refer to those before.

    Args:
        size: Payload of each frame, inflated, bytes.
        deflate: What was agreed on.
        frames: The fewest that a ring may hold.
        count: How many rings.
    """
    frames = max(frames, RING)
    random = Random(size)
    streams = []
    for _ in range(count):
        payloads = [json_text(random, size) for _ in range(frames)]
        requests = [_text_frame(data, random) for data in compress_all(payloads, deflate)]
        streams.append(
            Stream(
                frames=frames,
                request=b"".join(requests),
                reply=b"".join(payloads),
                goodbye=bytes(FrameProtocol(client=True, extensions=[]).close(1000)),
                starts=array("Q", accumulate(map(len, requests), initial=0)),
                deflate=deflate,
            )
        )
    return streams


def json_text(random: Random, size: int) -> bytes:
    """So many bytes of what an API might send: equal names, unequal values."""
    text = ""
    while len(text) < size:
        fields = {
            "id": random.getrandbits(48),
            "time": f"2025-06-{random.randint(10, 28)}T12:{random.randint(10, 59)}:00Z",
            "symbol": random.choice(("ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO")),
            "price": round(random.uniform(1, 1000), 2),
            "side": random.choice(("buy", "sell")),
            "tags": random.sample(("new", "urgent", "retail", "partial", "hidden"), 2),
        }
        text += json.dumps(fields) + ","
    return text[:size].encode()


def _text_frame(data: bytes, random: Random) -> bytes:
    """A whole compressed text frame of a client (RFC 6455, section 5.2; RSV1 of RFC 7692)."""
    length = len(data)
    if length <= MAX_PAYLOAD_NORMAL:
        head = struct.pack("!BB", 0xC1, 0x80 | length)
    elif length <= MAX_PAYLOAD_TWO_BYTE:
        head = struct.pack("!BBH", 0xC1, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0xC1, 0x80 | 127, length)
    mask = random.randbytes(4)
    return head + mask + XorMaskerSimple(mask).process(bytearray(data))
