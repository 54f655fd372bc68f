"""The face of the open loop, and its client in Python: without a C compiler, and for TLS.

Every message goes out when the timetable says, whatever has come back, up to `MOST_IN_FLIGHT`.
"""

from __future__ import annotations

import heapq
import select
import selectors
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from time import monotonic_ns
from typing import ClassVar

from benchmark.load.client import hang_up
from benchmark.load.native_tls import Channel
from benchmark.load.stream import Stream
from benchmark.load.timetable import MOST_IN_FLIGHT, NEVER
from benchmark.load.wire import BUFFER, Wire


class Pacer(ABC):
    """Connections that keep a timetable. One thread uses it; it takes ownership of its sockets.

    Args:
        due: When each message is to be sent, line by line, nanoseconds after the start, ascending
            within each line.

    Attributes:
        name: What a report calls it.
        begin: Where each line's messages begin in the arrays.
        due: Of all messages, line after line, and so are the next two.
        taken: When each message was taken up, or `NEVER`; late when this process was.
        heard: When the last byte of its reply was back, or `NEVER`.
        order: The line of each message in the order of the times due.
    """

    name: ClassVar[str]

    def __init__(self, due: Sequence[array[int]]) -> None:
        self.begin = array("Q")
        self.due = array("q")
        for times in due:
            self.begin.append(len(self.due))
            self.due.extend(times)
        self.taken = array("q", [NEVER]) * len(self.due)
        self.heard = array("q", [NEVER]) * len(self.due)
        tagged = ([(time, line) for time in times] for line, times in enumerate(due))
        self.order = array("I", (line for _, line in heapq.merge(*tagged)))

    @abstractmethod
    def run(self, until: int) -> None:
        """Keep the timetable until then (`time.monotonic_ns`), or until everything is answered.

        Raises:
            Mismatch: A reply is not what was sent.
            Unasked: More came than was asked for.
            ConnectionLost: A connection ended.
        """

    @property
    @abstractmethod
    def answered(self) -> int:
        """Replies that came whole, and equal to what was sent."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye on every connection and close it."""


class SelectingPacer(Pacer):
    """Sockets and a selector, driven by Python.

    Args:
        channels: Open, non-blocking, their handshakes done; TLS ones too.
        streams: The bytes that each one sends and expects.
        firsts: The frame that each one begins with.
        due: As for every `Pacer`.
        start: When the timetable begins, `time.monotonic_ns`.
    """

    name = "python"

    def __init__(
        self,
        channels: Sequence[Channel],
        streams: Sequence[Stream],
        firsts: Sequence[int],
        due: Sequence[array[int]],
        start: int,
    ) -> None:
        super().__init__(due)
        self._start = start
        self._next = 0
        self._answered = 0
        self._buffer = memoryview(bytearray(BUFFER))
        self._selector = selectors.DefaultSelector()
        self._wires = [
            Wire(number, sock, stream, first, self._selector, number)
            for number, (sock, stream, first) in enumerate(
                zip(channels, streams, firsts, strict=True)
            )
        ]

    def run(self, until: int) -> None:
        while (now := monotonic_ns()) < until and self._answered < len(self.due):
            wake = min(until, self._take_up(now))
            # select() sleeps to the microsecond; epoll only to the millisecond.
            rest = max(0, wake - monotonic_ns()) / 1e9
            if not select.select([self._selector], [], [], rest)[0]:
                continue
            for key, events in self._selector.select(0):
                wire = self._wires[key.data]
                if events & selectors.EVENT_WRITE:
                    wire.flush(MOST_IN_FLIGHT)
                if events & selectors.EVENT_READ:
                    self._receive(wire)

    def _take_up(self, now: int) -> int:
        """Send what is due, and say when there is more, or something later than any run."""
        while self._next < len(self.order):
            wire = self._wires[self.order[self._next]]
            message = self.begin[wire.number] + wire.queued
            due = self._start + self.due[message]
            if due > now:
                return due
            self.taken[message] = now - self._start
            wire.queued += 1
            self._next += 1
            wire.flush(MOST_IN_FLIGHT)
        return 1 << 62

    def _receive(self, wire: Wire) -> None:
        before = self.begin[wire.number] + wire.answered
        wire.receive(self._buffer)
        now = monotonic_ns() - self._start
        after = self.begin[wire.number] + wire.answered
        self.heard[before:after] = array("q", [now]) * (after - before)
        self._answered += after - before
        wire.flush(MOST_IN_FLIGHT)

    @property
    def answered(self) -> int:
        return self._answered

    def close(self) -> None:
        self._selector.close()
        for wire in self._wires:
            hang_up([wire.sock], wire.stream.goodbye)
