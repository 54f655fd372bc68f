"""The load clients in C, compiled when needed, and the closed loop, called through ctypes."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.histogram import Histogram
from benchmark.load.client import (
    ConnectionLost,
    LoadClient,
    LoadError,
    Mismatch,
    Unasked,
    hang_up,
)
from benchmark.load.stream import Stream

COMPILE_TIMEOUT = 30.0
_SOURCES = tuple(Path(__file__).with_name(name) for name in ("load.c", "paced.c", "audience.c"))
_MISMATCH, _UNASKED, _LOST, _FAILED = 1, 2, 3, 4


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
    )

    @classmethod
    def of(cls, stream: Stream) -> Ring:
        """The ring of a stream."""
        request, reply = stream.request_twice.obj, stream.reply_twice.obj
        return cls(stream.frames, stream.request_size, stream.reply_size, request, reply)


class _Report(ctypes.Structure):
    """`struct report` of load.c."""

    _fields_ = (
        ("messages", ctypes.c_uint64),
        ("queued", ctypes.c_uint64),
        ("maximum", ctypes.c_uint64),
        ("failure", Failure),
    )


def compile_library(directory: Path) -> Path | None:
    """Compile the clients into `directory`.

    Returns:
        The library, or None where there is no C compiler or no epoll to use it with.

    Raises:
        LoadError: There is a compiler and it failed; the message holds what it said.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = directory / "load.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), *map(str, _SOURCES)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT, check=False
    )
    if done.returncode:
        raise LoadError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return library


class NativeClient(LoadClient):
    """Plain TCP and Unix sockets, driven by C; the interpreter lock is free meanwhile.

    Args:
        library: What `compile_library` returned.
        sockets: Open, non-blocking, their handshakes done.
        stream: The bytes to send and to expect.
        in_flight: Messages each connection keeps under way.
    """

    name = "c"

    def __init__(
        self,
        library: str,
        sockets: Sequence[socket.socket],
        stream: Stream,
        in_flight: int,
    ) -> None:
        self.histogram = Histogram()
        self._sockets = sockets
        self._stream = stream
        self._ring = Ring.of(stream)
        self._epoll = select.epoll()
        self._report = _Report()
        self._library = ctypes.CDLL(library)
        self._library.load_new.restype = ctypes.c_void_p
        counts = self.histogram.counts
        load = self._library.load_new(
            self._epoll.fileno(),
            (ctypes.c_int * len(sockets))(*(s.fileno() for s in sockets)),
            len(sockets),
            ctypes.byref(self._ring),
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
        hang_up(self._sockets, self._stream.goodbye)
