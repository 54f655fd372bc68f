"""An HTTP head: collected from a stream before any of it is parsed, and parsed (RFC 9112)."""

from __future__ import annotations

import re
from typing import TypeAlias

import h11

from netwire.errors import HandshakeError
from netwire.limits import Limits

_END = b"\r\n\r\n"

# What nearly every request looks like: no byte in it that might be read in two ways.
_PLAIN = re.compile(
    rb"GET [!-~]+ HTTP/1\.1\r\n(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\t -~\x80-\xff]*\r\n)+\r\n"
)

# What h11 has rules for; plain is one of the first, and none of the others.
_RULED = ("host", "content-length", "transfer-encoding")

Lines: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields: names as they were sent, and values without the space around them."""


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


def parse_request(head: bytes) -> tuple[str, str, str, Lines]:
    """A request's method, target, version such as ``1.1``, and header fields.

    What is plain is read right here, in a tenth of the time; all else, and what is wrong, is h11's.

    Raises:
        HandshakeError: It is none.
    """
    return _parse_plain(head) or _parse_odd(head)


def _parse_plain(head: bytes) -> tuple[str, str, str, Lines] | None:
    if not _PLAIN.fullmatch(head):
        return None
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    cut = [line.partition(":") for line in rest]
    if [name for line in cut if (name := line[0].lower()) in _RULED] != ["host"]:
        return None
    lines = tuple([(name, value.strip(" \t")) for name, _, value in cut])
    return "GET", first[4:-9], "1.1", lines


def _parse_odd(head: bytes) -> tuple[str, str, str, Lines]:
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(head)
    try:
        parsed = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise HandshakeError(str(error), error.error_status_hint) from error
    assert isinstance(parsed, h11.Request)
    return (
        parsed.method.decode("ascii"),
        parsed.target.decode("latin-1"),
        parsed.http_version.decode("ascii"),
        tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in parsed.headers.raw_items()
        ),
    )
