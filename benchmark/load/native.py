"""The closed loop in C, called through ctypes, and what it shares with the open one."""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Sequence
from typing import Any

from benchmark.histogram import Histogram
from benchmark.load.client import (
    ConnectionLost,
    Corrupt,
    LoadClient,
    LoadError,
    Mismatch,
    Unasked,
    hang_up,
)
from benchmark.load.native_tls import Channel, tls_of
from benchmark.load.stream import Stream

_MISMATCH, _UNASKED, _LOST, _FAILED, _CORRUPT = 1, 2, 3, 4, 5
_NO_DEFLATE, _WITH_TAKEOVER, _WITHOUT_TAKEOVER = 0, 1, 2


class Failure(ctypes.Structure):
    """`struct failure` of wire.h."""

    _fields_ = (
        ("connection", ctypes.c_int64),
        ("message", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("number_of_error", ctypes.c_int32),
        ("expected", ctypes.c_int32),
        ("received", ctypes.c_int32),
    )

    def check(self, status: int) -> None:
        """Raise what a status other than OK stands for."""
        if status == _MISMATCH:
            raise Mismatch(self.connection, self.message, self.offset, self.expected, self.received)
        if status == _UNASKED:
            raise Unasked(self.connection, self.message)
        if status == _LOST:
            error = self.number_of_error
            why = os.strerror(error) if error else "closed"
            raise ConnectionLost(self.connection, self.message, why)
        if status == _CORRUPT:
            raise Corrupt(self.connection, self.message)
        if status == _FAILED:
            raise LoadError("the kernel refused to wait for the connections")


class Ring(ctypes.Structure):
    """`struct ring` of wire.h; it points into the stream's memory, which must stay."""

    _fields_ = (
        ("frames", ctypes.c_uint64),
        ("request_size", ctypes.c_uint64),
        ("reply_size", ctypes.c_uint64),
        ("request", ctypes.c_char_p),
        ("reply", ctypes.c_char_p),
        ("starts", ctypes.c_void_p),
        ("deflate", ctypes.c_int32),
    )

    @classmethod
    def of(cls, stream: Stream) -> Ring:
        """The ring of a stream."""
        request, reply = stream.request_twice.obj, stream.reply_twice.obj
        starts = None if stream.starts is None else stream.starts.buffer_info()[0]
        deflate = _NO_DEFLATE
        if stream.deflate is not None:
            deflate = _WITH_TAKEOVER if stream.deflate.server_takeover else _WITHOUT_TAKEOVER
        sizes = (stream.frames, stream.request_size, stream.reply_size)
        return cls(*sizes, request, reply, starts, deflate)


def rings_of(streams: Sequence[Stream]) -> ctypes.Array[Any]:
    """An array of pointers to the ring of each; streams that are one have one ring."""
    rings = {id(stream): Ring.of(stream) for stream in streams}
    pointers = [ctypes.pointer(rings[id(stream)]) for stream in streams]
    return (ctypes.POINTER(Ring) * len(pointers))(*pointers)


def channels_of(channels: Sequence[Channel]) -> tuple[ctypes.Array[Any], ctypes.Array[Any]]:
    """Their descriptors, and OpenSSL's objects behind them or null pointers."""
    count = len(channels)
    descriptors = (ctypes.c_int * count)(*(channel.fileno() for channel in channels))
    return descriptors, (ctypes.c_void_p * count)(*map(tls_of, channels))


class Report(ctypes.Structure):
    """`struct report` of report.h."""

    _fields_ = (
        ("messages", ctypes.c_uint64),
        ("queued", ctypes.c_uint64),
        ("maximum", ctypes.c_uint64),
        ("failure", Failure),
    )


class NativeClient(LoadClient):
    """Connections driven by C; the interpreter lock is free meanwhile.

    Args:
        library: Where what `benchmark.load.library` compiled is.
        channels: Open, non-blocking, their handshakes done.
        streams: The bytes that each one sends and expects.
        firsts: The frame that each one begins with.
        in_flight: Messages each connection keeps under way.
        twins: Whether each two in a row get what the other one sends; they begin with one frame.
    """

    name = "c"

    def __init__(
        self,
        library: str,
        channels: Sequence[Channel],
        streams: Sequence[Stream],
        firsts: Sequence[int],
        in_flight: int,
        twins: bool = False,
    ) -> None:
        self.histogram = Histogram()
        deflate = streams[0].deflate
        self.negotiated = None if deflate is None else deflate.answer
        self._channels = channels
        self._streams = streams
        self._rings = rings_of(streams)
        self._epoll = select.epoll()
        self._report = Report()
        self._library = ctypes.CDLL(library)
        self._library.load_new.restype = ctypes.c_void_p
        counts = self.histogram.counts
        load = self._library.load_new(
            self._epoll.fileno(),
            *channels_of(channels),
            self._rings,
            (ctypes.c_uint64 * len(firsts))(*firsts),
            len(channels),
            ctypes.c_int(twins),
            ctypes.c_uint64(in_flight),
            (ctypes.c_uint64 * len(counts)).from_buffer(counts),
            ctypes.byref(self._report),
        )
        if not load:
            raise LoadError("the kernel refused to watch the connections")
        self._load = ctypes.c_void_p(load)

    def run(self, until: int) -> None:
        self._report.maximum = self.histogram.maximum
        status = self._library.load_run(self._load, ctypes.c_uint64(until))
        self.histogram.maximum = self._report.maximum
        self._report.failure.check(status)

    @property
    def messages(self) -> int:
        return int(self._report.messages)

    @property
    def outstanding(self) -> int:
        return int(self._report.queued - self._report.messages)

    def stop_sending(self) -> None:
        self._library.load_stop_sending(self._load)

    def silent_since(self, before: int) -> int | None:
        number = self._library.load_silent_since(self._load, ctypes.c_uint64(before))
        return None if number < 0 else int(number)

    def close(self) -> None:
        self._library.load_free(self._load)
        self._epoll.close()
        hang_up(self._channels, self._streams[0].goodbye)
