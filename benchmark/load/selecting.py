"""The closed loop in Python: wherever there is no C compiler, and for TLS (`load.c`)."""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Sequence
from time import monotonic_ns

from benchmark.histogram import Histogram
from benchmark.load.client import LoadClient, hang_up
from benchmark.load.native_tls import Channel
from benchmark.load.stream import Stream
from benchmark.load.wire import BUFFER, Wire


class _Lane:
    """One connection and the messages in flight on it."""

    __slots__ = ("heard", "sent_at", "wire")

    def __init__(
        self,
        number: int,
        channel: Channel,
        stream: Stream,
        first: int,
        selector: selectors.BaseSelector,
    ) -> None:
        self.wire = Wire(number, channel, stream, first, selector, self)
        self.heard = 0  # when a byte last came, or when a first reply became due
        self.sent_at: deque[int] = deque()  # when each message in flight was sent


class SelectingClient(LoadClient):
    """Sockets and a selector, driven by Python.

    Args:
        channels: Open, non-blocking, their handshakes done; TLS ones too.
        streams: The bytes that each one sends and expects.
        firsts: The frame that each one begins with.
        in_flight: Messages each connection keeps under way.
    """

    name = "python"

    def __init__(
        self,
        channels: Sequence[Channel],
        streams: Sequence[Stream],
        firsts: Sequence[int],
        in_flight: int,
    ) -> None:
        self.histogram = Histogram()
        deflate = streams[0].deflate
        self.negotiated = None if deflate is None else deflate.answer
        self._in_flight = in_flight
        self._goodbye = streams[0].goodbye
        self._buffer = memoryview(bytearray(BUFFER))
        self._selector = selectors.DefaultSelector()
        self._lanes = [
            _Lane(number, *one, self._selector)
            for number, one in enumerate(zip(channels, streams, firsts, strict=True))
        ]
        self._messages = 0
        self._queued = 0
        self._sending = True

    def run(self, until: int) -> None:
        if not self._queued:
            for lane in self._lanes:
                self._queue(lane, self._in_flight, monotonic_ns())
        while (now := monotonic_ns()) < until:
            if not self._sending and not self.outstanding:
                return
            for key, events in self._selector.select((until - now) / 1e9):
                if events & selectors.EVENT_WRITE:
                    key.data.wire.flush()
                if events & selectors.EVENT_READ:
                    self._receive(key.data)

    def _queue(self, lane: _Lane, messages: int, now: int) -> None:
        if not lane.sent_at:
            lane.heard = now
        lane.sent_at.extend([now] * messages)
        lane.wire.queued += messages
        self._queued += messages
        lane.wire.flush()

    def _receive(self, lane: _Lane) -> None:
        before = lane.wire.answered
        lane.wire.receive(self._buffer)
        lane.heard = now = monotonic_ns()
        whole = lane.wire.answered - before
        for _ in range(whole):
            self.histogram.record(now - lane.sent_at.popleft())
        self._messages += whole
        if whole and self._sending:
            self._queue(lane, whole, now)

    @property
    def messages(self) -> int:
        return self._messages

    @property
    def outstanding(self) -> int:
        return self._queued - self._messages

    def stop_sending(self) -> None:
        self._sending = False

    def silent_since(self, before: int) -> int | None:
        silent = (lane.wire.number for lane in self._lanes if lane.sent_at and lane.heard < before)
        return next(silent, None)

    def close(self) -> None:
        self._selector.close()
        hang_up((lane.wire.sock for lane in self._lanes), self._goodbye)
