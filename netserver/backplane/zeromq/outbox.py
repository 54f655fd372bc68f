"""What is on its way to one peer, in bytes. Pure: no socket, no clock."""

from __future__ import annotations

from netserver.backplane.zeromq.wire import CHUNK, DATA

# Publishing waits for a peer that has so many bytes unacknowledged: several times what a link
# carries in a round trip, so that one which is merely busy never runs dry.
PAUSE_AT = 512 * 1024

# More than this is not kept for a peer, bytes: the largest message fits above the mark before.
DROP_AT = 2 * 1024 * 1024

# What a frame costs ZeroMQ beside its bytes, so that many small ones are bounded as well.
FRAME_COST = 128

# The subscriber tells what it has received after so many bytes: four times per `PAUSE_AT`.
CREDIT_EVERY = PAUSE_AT // 4


class Outbox:
    """Joins records into frames, and counts what the peer has not acknowledged.

    ZeroMQ counts messages, not bytes, and tells nobody how many are queued: so each end counts all
    bytes of its link, and the peer says what it has received.

    Attributes:
        dropped: The records that did not fit.
        stalled: Whether the peer has let somebody wait in vain, and not caught up since: then it is
            waited for no more, so that one that is slow for long slows nobody else down.
    """

    __slots__ = ("_acknowledged", "_records", "_sent", "_size", "dropped", "stalled")

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._size = 0
        self._sent = 0
        self._acknowledged = 0
        self.dropped = 0
        self.stalled = False

    @property
    def held(self) -> int:
        """The bytes that the peer has not acknowledged."""
        return self._sent + self._size - self._acknowledged

    @property
    def crowded(self) -> bool:
        """Whether publishing should wait for it."""
        return self.held > PAUSE_AT and not self.stalled

    def put(self, record: bytes) -> bool:
        """Add a message, or drop it; whether there is a chunk full."""
        if self.held + len(record) + FRAME_COST > DROP_AT:
            self.dropped += 1
            return False
        self._records.append(record)
        self._size += len(record)
        return self._size >= CHUNK

    def take(self) -> bytes | None:
        """All messages put in, as one frame; None without any."""
        if not self._records:
            return None
        frame = b"".join((DATA, *self._records))
        self._records.clear()
        self._size = 0
        self.count(frame)
        return frame

    def count(self, frame: bytes) -> bool:
        """Count a frame that is sent; False if it is too much."""
        self._sent += len(frame) + FRAME_COST
        return self._sent - self._acknowledged <= 2 * DROP_AT

    def acknowledge(self, received: int) -> None:
        """The peer has received so many bytes in all; what cannot be is ignored."""
        if self._acknowledged < received <= self._sent:
            self._acknowledged = received
            if self.held < PAUSE_AT // 2:
                self.stalled = False
