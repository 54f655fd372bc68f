"""The audience in C: `audience.c`, called through ctypes."""

from __future__ import annotations

import ctypes
import select
from collections.abc import Sequence

from benchmark.histogram import Histogram
from benchmark.load.client import LoadError, hang_up
from benchmark.load.native import Failure, Ring
from benchmark.load.native_tls import Channel
from benchmark.load.stream import Stream


class _Report(ctypes.Structure):
    """`struct audience_report` of audience.c."""

    _fields_ = (
        ("published", ctypes.c_uint64),
        ("completed", ctypes.c_uint64),
        ("deliveries", ctypes.c_uint64),
        ("maximum", ctypes.c_uint64),
        ("heard", ctypes.c_uint64),
        ("failure", Failure),
    )


class Audience:
    """Connections of which the first publishes and all get what it publishes. One thread uses it.

    It takes ownership of its sockets. Times are nanoseconds of `time.monotonic_ns`.

    Args:
        library: Where what `benchmark.load.library` compiled is.
        sockets: Open, non-blocking, their handshakes done.
        stream: The bytes to publish and to expect.
        outstanding: Messages under way at a time; the stream's ring must hold more.

    Attributes:
        histogram: The time from publishing a message to its last delivery, since it was last
            cleared.
    """

    def __init__(
        self, library: str, sockets: Sequence[Channel], stream: Stream, outstanding: int
    ) -> None:
        self.histogram = Histogram()
        self._sockets = sockets
        self._stream = stream
        self._ring = Ring.of(stream)
        self._epoll = select.epoll()
        self._report = _Report()
        self._library = ctypes.CDLL(library)
        self._library.audience_new.restype = ctypes.c_void_p
        counts = self.histogram.counts
        audience = self._library.audience_new(
            self._epoll.fileno(),
            (ctypes.c_int * len(sockets))(*(s.fileno() for s in sockets)),
            len(sockets),
            ctypes.byref(self._ring),
            ctypes.c_uint64(outstanding),
            (ctypes.c_uint64 * len(counts)).from_buffer(counts),
            ctypes.byref(self._report),
        )
        if not audience:
            raise LoadError("the kernel refused to watch the connections")
        self._audience = ctypes.c_void_p(audience)

    def run(self, until: int) -> None:
        """Publish and receive until the given time.

        Raises:
            Mismatch: What came is not what was published next: it was lost, doubled or torn.
            Unasked: More came than was published.
            ConnectionLost: A connection ended.
        """
        self._report.maximum = self.histogram.maximum
        status = self._library.audience_run(self._audience, ctypes.c_uint64(until))
        self.histogram.maximum = self._report.maximum
        self._report.failure.check(status)

    @property
    def deliveries(self) -> int:
        """Messages received whole by all connections together, since the beginning."""
        return int(self._report.deliveries)

    @property
    def completed(self) -> int:
        """Messages that everybody got."""
        return int(self._report.completed)

    @property
    def under_way(self) -> int:
        """Messages published that somebody has not got."""
        return int(self._report.published) - self.completed

    def stop_publishing(self) -> None:
        """From now on publish no new message."""
        self._library.audience_stop_publishing(self._audience)

    def silent_since(self, before: int) -> int | None:
        """Number of a connection that is owed a message, if nobody got a byte since `before`."""
        if not self.under_way or self._report.heard >= before:
            return None
        return int(self._library.audience_owed(self._audience))

    def close(self) -> None:
        """Say goodbye on every connection and close it."""
        self._library.audience_free(self._audience)
        self._epoll.close()
        hang_up(self._sockets, self._stream.goodbye)
