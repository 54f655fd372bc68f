"""The bytes of the load, built before it starts.

Every connection sends the same ring of frames over and over, each from another place in it, and
the server must send back the ring of replies. The payloads in a ring differ, so a reply that is
lost, doubled, out of order, or another connection's does not go unnoticed.
"""

from __future__ import annotations

from random import Random

from attrs import frozen
from wsproto.frame_protocol import FrameProtocol

RING = 64
RING_BYTES = 1 << 20


@frozen(kw_only=True)
class Stream:
    """Rings of frames of equal length.

    Args:
        frames: How many a ring holds.
        request: The ring to send, all its frames in a row.
        reply: The ring that must come back.
        goodbye: Sent before a connection is closed, where the protocol has such a thing.
    """

    frames: int
    request: bytes
    reply: bytes
    goodbye: bytes

    @property
    def request_size(self) -> int:
        """Length of one frame to send, bytes."""
        return len(self.request) // self.frames

    @property
    def reply_size(self) -> int:
        """Length of one reply, bytes."""
        return len(self.reply) // self.frames


def build_stream(transport: str, size: int, in_flight: int) -> Stream:
    """The rings for a transport.

    Args:
        transport: A URL scheme of `benchmark.load.plan.TRANSPORTS`.
        size: Payload of each frame, bytes.
        in_flight: A ring holds at least so many frames, so that one write can send them.
    """
    frames = max(in_flight, min(RING, RING_BYTES // max(size, 1)), 2)
    random = Random(size)
    payloads = [random.randbytes(size) for _ in range(frames)]
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
