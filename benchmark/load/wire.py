"""One connection's bytes: rings of frames sent, replies compared, nothing kept (`wire.h`)."""

from __future__ import annotations

import selectors
import socket
import ssl

from benchmark.load.client import (
    ConnectionLost,
    Corrupt,
    Mismatch,
    Unasked,
    Undecodable,
    WrongByte,
)
from benchmark.load.deflate import MOST_CONTROL, PING, Inflater
from benchmark.load.native_tls import Channel
from benchmark.load.stream import Stream

BUFFER = 1 << 18
_WHOLE = (0x81, 0x82)  # the first byte of a WebSocket message in one frame
_PING_LENGTH = 256  # stands for the length of a ping that has not come
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A connection that sends a ring of frames over and over. One thread uses it.

    Args:
        number: What errors call it.
        sock: Open, non-blocking, its handshakes done.
        stream: The bytes to send and to expect.
        first: The frame it begins with; counted on from the end of the ring to its beginning.
        selector: Registers itself there with `owner`, to be read, and to be written when need be.
        owner: What the selector tells with an event.

    Attributes:
        queued: Messages that are to be sent, since the beginning.
    """

    __slots__ = (
        "_first",
        "_inflater",
        "_owner",
        "_ping",
        "_received",
        "_selector",
        "_sent",
        "_writing",
        "number",
        "queued",
        "sock",
        "stream",
    )

    def __init__(
        self,
        number: int,
        sock: Channel,
        stream: Stream,
        first: int,
        selector: selectors.BaseSelector,
        owner: object,
    ) -> None:
        self.number = number
        assert isinstance(sock, socket.socket)  # what C drives is not driven here
        self.sock = sock
        self.stream = stream
        self.queued = 0
        self._first = first % stream.frames
        self._sent = stream.start(self._first)  # bytes, from the beginning of the ring
        self._received = 0  # bytes, from where this connection begins
        self._ping = 0  # bytes of the server's ping that are still to come
        self._inflater: Inflater | None = None
        if stream.deflate is not None:
            self._inflater = Inflater(stream.deflate.server_takeover, stream.reply_size)
        self._writing = False
        self._selector = selector
        self._owner = owner
        selector.register(sock, selectors.EVENT_READ, owner)

    @property
    def answered(self) -> int:
        """Replies that came whole, and equal to what was sent."""
        return self._received // self.stream.reply_size

    def flush(self, most: float = float("inf")) -> None:
        """Send what is queued, as far as the kernel takes it.

        Args:
            most: Bytes of requests that may be under way unanswered.

        Raises:
            ConnectionLost: The connection ended.
        """
        start, ring = self.stream.start, len(self.stream.request)
        end = min(start(self._first + self.queued), start(self._first + self.answered) + most)
        refused = False
        try:
            while self._sent < end:
                begin = self._sent % ring
                stop = int(begin + min(ring, end - self._sent))
                self._sent += self.sock.send(self.stream.request_twice[begin:stop])
        except _WOULD_BLOCK:
            refused = True
        except OSError as error:
            raise self._lost(str(error)) from error
        if refused != self._writing:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if refused else 0)
            self._selector.modify(self.sock, events, self._owner)
            self._writing = refused

    def receive(self, buffer: memoryview) -> None:
        """Receive what is there, and compare.

        Raises:
            Mismatch: It is not what was sent.
            Corrupt: It cannot be inflated.
            Unasked: It is more than was asked for.
            ConnectionLost: The connection ended.
        """
        try:
            size = self.sock.recv_into(buffer)
            # What TLS has decrypted already, no selector will report.
            while size and isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
                self._unpack(buffer[:size])
                size = self.sock.recv_into(buffer)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            raise self._lost(str(error)) from error
        if not size:
            raise self._lost("closed")
        self._unpack(buffer[:size])

    def _unpack(self, data: memoryview) -> None:
        if self._inflater is None:
            self._compare(data)
            return
        try:
            for message in self._inflater.receive(data):
                self._compare(memoryview(message))
        except WrongByte as wrong:
            where = (wrong.offset, wrong.expected, wrong.received)
            raise Mismatch(self.number, self.answered, *where) from None
        except Undecodable:
            raise Corrupt(self.number, self.answered) from None

    def _compare(self, data: memoryview) -> None:
        size, ring = self.stream.reply_size, len(self.stream.reply)
        data = data[self._skip_ping(data) if self._ping else 0 :]
        while data:
            owed = self.queued * size - self._received
            begin = (self._first * size + self._received) % ring
            piece = bytes(data[: min(ring, owed)])
            expected = bytes(self.stream.reply_twice[begin : begin + len(piece)])
            good = len(piece)
            if piece != expected:
                good = next(i for i, byte in enumerate(piece) if byte != expected[i])
            self._received += good
            data = data[good:]
            if good and good == len(piece):
                continue
            skipped = self._skip_ping(data)
            if not skipped and not piece:
                raise Unasked(self.number, self.queued)
            if not skipped:
                message, offset = divmod(self._received, size)
                raise Mismatch(self.number, message, offset, expected[good], piece[good])
            data = data[skipped:]

    def _skip_ping(self, data: memoryview) -> int:
        """How much of this is a ping between two replies of a WebSocket server; not answered."""
        done = 0
        between = not self._received % self.stream.reply_size
        if not self._ping and between and data and data[0] == PING:
            if self.stream.reply[0] not in _WHOLE:
                return 0
            self._ping, done = _PING_LENGTH, 1
        if self._ping == _PING_LENGTH:
            if done == len(data):
                return done
            self._ping, done = data[done], done + 1
            if self._ping > MOST_CONTROL:
                raise Mismatch(self.number, self.answered, 1, MOST_CONTROL, self._ping)
        skipped = min(self._ping, len(data) - done)
        self._ping -= skipped
        return done + skipped

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(self.number, self.answered, why)
