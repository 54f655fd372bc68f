"""The open loop in C: `paced.c`, called through ctypes."""

from __future__ import annotations

import ctypes
import select
from array import array
from collections.abc import Sequence

from benchmark.load.client import LoadError, hang_up
from benchmark.load.native import Failure, channels_of, rings_of
from benchmark.load.native_tls import Channel
from benchmark.load.pacing import Pacer
from benchmark.load.stream import Stream
from benchmark.load.timetable import MOST_IN_FLIGHT

assert array("I").itemsize == ctypes.sizeof(ctypes.c_uint32)


class _Timetable(ctypes.Structure):
    """`struct timetable` of paced.c."""

    _fields_ = (
        ("messages", ctypes.c_uint64),
        ("next", ctypes.c_uint64),
        ("answered", ctypes.c_uint64),
        ("order", ctypes.c_void_p),
        ("begin", ctypes.c_void_p),
        ("due", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
        ("heard", ctypes.c_void_p),
        ("failure", Failure),
    )


class NativePacer(Pacer):
    """Connections driven by C.

    Args:
        library: Where what `benchmark.load.library` compiled is.
        channels: Open, non-blocking, their handshakes done.
        streams: The bytes that each one sends and expects.
        firsts: The frame that each one begins with.
        due: As for every `Pacer`.
        start: When the timetable begins, `time.monotonic_ns`.
    """

    name = "c"

    def __init__(
        self,
        library: str,
        channels: Sequence[Channel],
        streams: Sequence[Stream],
        firsts: Sequence[int],
        due: Sequence[array[int]],
        start: int,
    ) -> None:
        super().__init__(due)
        self._channels = channels
        self._streams = streams
        self._rings = rings_of(streams)
        self._epoll = select.epoll()
        arrays = (self.order, self.begin, self.due, self.taken, self.heard)
        self._timetable = _Timetable(len(self.due), 0, 0, *(a.buffer_info()[0] for a in arrays))
        self._library = ctypes.CDLL(library)
        self._library.paced_new.restype = ctypes.c_void_p
        count = len(channels)
        paced = self._library.paced_new(
            self._epoll.fileno(),
            *channels_of(channels),
            self._rings,
            (ctypes.c_uint64 * count)(*firsts),
            count,
            ctypes.c_uint64(MOST_IN_FLIGHT),
            ctypes.c_uint64(start),
            ctypes.byref(self._timetable),
        )
        if not paced:
            raise LoadError("the kernel refused to watch the connections")
        self._paced = ctypes.c_void_p(paced)

    def run(self, until: int) -> None:
        status = self._library.paced_run(self._paced, ctypes.c_uint64(until))
        self._timetable.failure.check(status)

    @property
    def answered(self) -> int:
        return int(self._timetable.answered)

    def close(self) -> None:
        self._library.paced_free(self._paced)
        self._epoll.close()
        for channel, stream in zip(self._channels, self._streams, strict=True):
            hang_up([channel], stream.goodbye)
