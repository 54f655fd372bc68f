"""The bytes of the load, built before it starts.

Connections send a ring of frames over and over, each from another place in it, and the server must
send back the ring of replies. The payloads in a ring differ, so a reply that is lost, doubled, out
of order, or another connection's does not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from random import Random

from attrs import field, frozen
from wsproto.frame_protocol import FrameProtocol

RING = 64
RING_BYTES = 1 << 20
ECHO = "."  # what a payload begins with that asks a server for nothing but to be sent back


@frozen(kw_only=True, slots=False)
class Stream:
    """Rings of frames of equal length.

    Args:
        frames: How many a ring holds.
        request: The ring to send, all its frames in a row.
        reply: The ring that must come back.
        goodbye: Sent before a connection is closed, where the protocol has such a thing.
    """

    frames: int
    request: bytes = field(repr=False)
    reply: bytes = field(repr=False)
    goodbye: bytes

    @property
    def request_size(self) -> int:
        """Length of one frame to send, bytes."""
        return len(self.request) // self.frames

    @property
    def reply_size(self) -> int:
        """Length of one reply, bytes."""
        return len(self.reply) // self.frames

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
