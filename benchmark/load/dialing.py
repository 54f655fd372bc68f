"""Handshakes over and over, in C only: `dial.c`, called through ctypes."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import os
import select
from urllib.parse import urlsplit

from benchmark.histogram import Histogram
from benchmark.load.client import LoadClient, LoadError
from benchmark.load.native import Report
from benchmark.load.native_tls import NativeTlsContext
from benchmark.load.plan import Plan
from benchmark.load.stream import build_stream

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Dialer(LoadClient):
    """Connects, shakes hands, closes, again and again, as often at a time as there are connections.

    `messages` counts handshakes whose close was answered; `histogram` has the time from connecting
    to the answered handshake.

    Args:
        plan: With a library, and ``ws`` or ``wss`` on 127.0.0.1.

    Raises:
        LoadError: It is another plan.
    """

    name = "c"

    def __init__(self, plan: Plan) -> None:
        where = urlsplit(plan.url)
        if plan.library is None or plan.transport not in ("ws", "wss"):
            raise LoadError("handshakes need the load client in C, and ws or wss")
        if where.hostname != "127.0.0.1":
            raise LoadError(f"handshakes go to 127.0.0.1, not to {where.hostname}")
        self.histogram = Histogram()
        self._epoll = select.epoll()
        self._report = Report()
        self._tls = None
        if plan.transport == "wss":
            assert plan.certificate is not None
            self._tls = NativeTlsContext(plan.library, plan.certificate)
        key = base64.b64encode(os.urandom(16))
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        request = (
            f"GET / HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        goodbye = build_stream("ws", 0).goodbye
        self._kept = (request, accept, goodbye)  # what C points to
        self._library = ctypes.CDLL(plan.library)
        self._library.dial_new.restype = ctypes.c_void_p
        counts = self.histogram.counts
        self._dial = ctypes.c_void_p(
            self._library.dial_new(
                self._epoll.fileno(),
                plan.connections,
                where.port,
                ctypes.c_void_p(None if self._tls is None else self._tls.handle),
                ctypes.c_char_p(b"127.0.0.1"),
                *map(ctypes.c_char_p, self._kept),
                ctypes.c_size_t(len(goodbye)),
                (ctypes.c_uint64 * len(counts)).from_buffer(counts),
                ctypes.byref(self._report),
            )
        )

    def run(self, until: int) -> None:
        self._report.maximum = self.histogram.maximum
        status = self._library.dial_run(self._dial, ctypes.c_uint64(until))
        self.histogram.maximum = self._report.maximum
        self._report.failure.check(status)

    @property
    def messages(self) -> int:
        return int(self._report.messages)

    @property
    def outstanding(self) -> int:
        return int(self._report.queued - self._report.messages)

    def stop_sending(self) -> None:
        self._library.dial_stop_sending(self._dial)

    def silent_since(self, before: int) -> int | None:
        number = self._library.dial_silent_since(self._dial, ctypes.c_uint64(before))
        return None if number < 0 else int(number)

    def close(self) -> None:
        self._library.dial_free(self._dial)
        self._epoll.close()
        if self._tls is not None:
            self._tls.close()
