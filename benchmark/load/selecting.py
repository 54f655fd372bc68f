"""The load client in Python: wherever there is no C compiler, and for TLS."""

from __future__ import annotations

import select
import selectors
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from time import monotonic_ns

from benchmark.histogram import Histogram
from benchmark.load.client import ConnectionLost, LoadClient, Mismatch, Unasked, hang_up
from benchmark.load.stream import Stream

BUFFER = 1 << 18
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Lane:
    """One connection: what was queued, sent and received on it since the beginning."""

    __slots__ = (
        "first",
        "heard",
        "number",
        "queued",
        "received",
        "sent",
        "sent_at",
        "sock",
        "writing",
    )

    def __init__(self, number: int, sock: socket.socket, first: int) -> None:
        self.number = number
        self.sock = sock
        self.first = first  # where in the ring this connection begins, frames
        self.queued = 0  # messages
        self.sent = 0  # bytes
        self.received = 0  # bytes
        self.heard = 0  # when a byte last came, or when a first reply became due
        self.sent_at: deque[int] = deque()  # when, or for when, each message in flight was sent
        self.writing = False


class SelectingClient(LoadClient):
    """Sockets and a selector, driven by Python.

    Args:
        sockets: Open, non-blocking, their handshakes done; TLS ones too.
        stream: The bytes to send and to expect.
        in_flight: Messages each connection keeps under way in a closed loop.
        rate: Messages a second of each connection in an open loop, or None.
    """

    name = "python"

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        stream: Stream,
        in_flight: int,
        rate: float | None,
    ) -> None:
        self.histogram = Histogram()
        self._request = memoryview(stream.request * 2)  # twice, so that no piece of a ring wraps
        self._reply = memoryview(stream.reply * 2)
        self._stream = stream
        self._in_flight = in_flight
        self._interval = 0 if rate is None else round(1e9 / rate)
        self._buffer = memoryview(bytearray(BUFFER))
        self._selector = selectors.DefaultSelector()
        self._lanes = [_Lane(n, s, n % stream.frames) for n, s in enumerate(sockets)]
        for lane in self._lanes:
            self._selector.register(lane.sock, selectors.EVENT_READ, lane)
        self._messages = 0
        self._queued = 0
        self._scheduled = 0
        self._start = 0
        self._sending = True

    def run(self, until: int) -> None:
        if not self._start:
            self._start = monotonic_ns()
            if not self._interval:
                for lane in self._lanes:
                    self._queue(lane, self._in_flight, monotonic_ns(), monotonic_ns())
        while (now := monotonic_ns()) < until:
            wake = until
            if self._interval and self._sending:
                wake = min(wake, self._send_due(now))
            if not self._sending and not self.outstanding:
                return
            for key, events in self._wait(wake - now):
                if events & selectors.EVENT_WRITE:
                    self._flush(key.data)
                if events & selectors.EVENT_READ:
                    self._receive(key.data)

    def _wait(self, rest: int) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._interval:
            return self._selector.select(rest / 1e9)
        # select() sleeps to the microsecond, which a schedule needs; epoll only to the millisecond.
        readable, _, _ = select.select([self._selector], [], [], max(0, rest) / 1e9)
        return self._selector.select(0) if readable else []

    def _due_at(self, number: int) -> int:
        return self._start + number * self._interval // len(self._lanes)

    def _send_due(self, now: int) -> int:
        while (due := self._due_at(self._scheduled)) <= now:
            lane = self._lanes[self._scheduled % len(self._lanes)]
            self._scheduled += 1
            self._queue(lane, 1, now, due)
        return due

    def _queue(self, lane: _Lane, messages: int, now: int, counted_from: int) -> None:
        if not lane.sent_at:
            lane.heard = now
        lane.sent_at.extend([counted_from] * messages)
        lane.queued += messages
        self._queued += messages
        self._flush(lane)

    def _flush(self, lane: _Lane) -> None:
        size = self._stream.request_size
        ring = len(self._stream.request)
        end = lane.queued * size
        try:
            while lane.sent < end:
                begin = (lane.first * size + lane.sent) % ring
                lane.sent += lane.sock.send(
                    self._request[begin : begin + min(ring, end - lane.sent)]
                )
        except _WOULD_BLOCK:
            pass
        except OSError as error:
            raise self._lost(lane, str(error)) from error
        writing = lane.sent < end
        if writing != lane.writing:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._selector.modify(lane.sock, events, lane)
            lane.writing = writing

    def _receive(self, lane: _Lane) -> None:
        try:
            size = lane.sock.recv_into(self._buffer)
            # What TLS has decrypted already, no selector will report.
            while size and isinstance(lane.sock, ssl.SSLSocket) and lane.sock.pending():
                self._received(lane, size)
                size = lane.sock.recv_into(self._buffer)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            raise self._lost(lane, str(error)) from error
        if not size:
            raise self._lost(lane, "closed")
        self._received(lane, size)

    def _received(self, lane: _Lane, size: int) -> None:
        now = monotonic_ns()
        lane.heard = now
        reply = self._stream.reply_size
        before = lane.received // reply
        self._compare(lane, self._buffer[:size])
        whole = lane.received // reply - before
        for _ in range(whole):
            self.histogram.record(now - lane.sent_at.popleft())
        self._messages += whole
        if whole and self._sending and not self._interval:
            self._queue(lane, whole, now, now)

    def _compare(self, lane: _Lane, data: memoryview) -> None:
        reply = self._stream.reply_size
        ring = len(self._stream.reply)
        owed = lane.queued * reply - lane.received
        done = 0
        while done < min(len(data), owed):
            begin = (lane.first * reply + lane.received) % ring
            piece = bytes(data[done : min(done + ring, owed)])
            expected = bytes(self._reply[begin : begin + len(piece)])
            if piece != expected:
                at = next(i for i, byte in enumerate(piece) if byte != expected[i])
                message, offset = divmod(lane.received + at, reply)
                raise Mismatch(lane.number, message, offset, expected[at], piece[at])
            done += len(piece)
            lane.received += len(piece)
        if len(data) > owed:
            raise Unasked(lane.number, lane.queued)

    def _lost(self, lane: _Lane, why: str) -> ConnectionLost:
        return ConnectionLost(lane.number, lane.received // self._stream.reply_size, why)

    @property
    def messages(self) -> int:
        return self._messages

    @property
    def outstanding(self) -> int:
        return self._queued - self._messages

    def stop_sending(self) -> None:
        self._sending = False

    def silent_since(self, before: int) -> int | None:
        silent = (lane.number for lane in self._lanes if lane.sent_at and lane.heard < before)
        return next(silent, None)

    def close(self) -> None:
        self._selector.close()
        hang_up((lane.sock for lane in self._lanes), self._stream.goodbye)
