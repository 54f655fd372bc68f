"""Collecting an HTTP head from a stream, before any of it is parsed (RFC 9112, section 2)."""

from __future__ import annotations

from netwire.errors import HandshakeError
from netwire.limits import Limits

_END = b"\r\n\r\n"


class HeadCollector:
    """Gathers bytes up to the blank line that ends a head.

    Line breaks and limits are checked here and not by the parser, so that a head is judged alike
    whether it came in one read or byte by byte.
    """

    __slots__ = ("_buffer", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._buffer = bytearray()
        self._limits = limits

    def receive(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take what arrived.

        Returns:
            The head with its blank line, and the bytes behind it; None before it is complete.

        Raises:
            HandshakeError: It is longer than the limits (431), or breaks a line with a bare LF,
                at which parsers differ, so that requests can be smuggled by it (400).
        """
        buffer = self._buffer
        seen = len(buffer)
        buffer += data
        found = buffer.find(_END, max(seen - len(_END) + 1, 0))
        end = len(buffer) if found < 0 else found + len(_END)
        limit = self._limits.head
        stop = min(end, limit)
        if buffer.count(b"\n", seen, stop) != buffer.count(b"\r\n", max(seen - 1, 0), stop):
            raise HandshakeError("line break without carriage return", 400)
        if end > limit:
            raise HandshakeError(f"head of more than {limit} bytes", 431)
        if found < 0:
            return None
        head = bytes(buffer[:end])
        if head.count(b"\r\n") - 2 > self._limits.headers:  # two are not a header's: first, blank
            raise HandshakeError(f"more than {self._limits.headers} header lines", 431)
        return head, bytes(buffer[end:])
