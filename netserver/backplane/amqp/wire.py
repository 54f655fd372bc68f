"""AMQP 0-9-1 between bytes and meaning: what comes in put together, what goes out taken apart.

No socket, no clock. pamqp reads and writes the single frames; this keeps the order and the limits
of them, as much as one connection with one channel needs. Source: AMQP 0-9-1, sections 2.3 and 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from attrs import define
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.constants import FRAME_END
from pamqp.exceptions import PAMQPException
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from netserver.backplane.errors import BackplaneError

# The only channel besides 0, which is the connection's own.
CHANNEL = 1

# Bytes of a frame around what it carries, and before it.
OVERHEAD = 8
_HEAD = struct.Struct(">BHI")
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8

# Bytes of a frame before both sides have agreed on more.
SMALLEST_FRAME_MAX = 4096

# What pamqp lets out when bytes are not what they should be.
_UNREADABLE = (PAMQPException, ValueError, LookupError, TypeError, struct.error, OverflowError)


class WireError(BackplaneError, ValueError):
    """The broker sent what AMQP does not allow, or what we have no room for."""


@define
class Content:
    """A message from the broker.

    Attributes:
        method: What it comes with: delivered, or returned to its publisher.
        properties: What its publisher said of it.
        body: The message.
    """

    method: Basic.Deliver | Basic.Return
    properties: Basic.Properties
    body: bytes


Incoming: TypeAlias = Frame | Content


class Reader:
    """Makes methods and messages of bytes, however these are cut. Not thread-safe.

    Args:
        body_max: The most bytes of a message; a longer one is left out, and nothing else.

    Attributes:
        frame_max: The most bytes of a frame.
    """

    def __init__(self, body_max: int) -> None:
        self.frame_max = SMALLEST_FRAME_MAX
        self._body_max = body_max
        self._buffer = bytearray()
        self._content: Content | None = None  # one that is not complete
        self._parts: list[bytes] | None = None  # of its body; None while the header is missing
        self._missing = 0  # bytes of its body
        self._skipped = False  # whether it is too long

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """All that these bytes complete, in order. To be used up before the next call.

        Raises:
            WireError: They are not what a broker sends; nothing can be read any more.
        """
        self._buffer += data
        at = 0
        try:
            while frame := self._next_frame(at):
                kind, channel, end = frame
                payload = bytes(self._buffer[at:end])
                at = end
                if kind == _HEARTBEAT:
                    continue
                if channel not in (0, CHANNEL):
                    raise WireError(f"a frame for channel {channel}, which was never opened")
                if (complete := self._take(kind, payload)) is not None:
                    yield complete
        finally:
            del self._buffer[:at]

    def _next_frame(self, at: int) -> tuple[int, int, int] | None:
        """The kind, the channel and the end of the frame that begins there; None if it is cut."""
        if len(self._buffer) < at + _HEAD.size:
            return None
        kind, channel, size = _HEAD.unpack_from(self._buffer, at)
        if kind not in (_METHOD, _HEADER, _BODY, _HEARTBEAT):
            raise WireError(f"no AMQP 0-9-1: a frame of kind {kind}")
        if size > self.frame_max - OVERHEAD:
            raise WireError(f"a frame of {size} bytes, over the {self.frame_max} agreed on")
        end = at + OVERHEAD + size
        if len(self._buffer) < end:
            return None
        if self._buffer[end - 1] != FRAME_END:
            raise WireError("a frame without its end")
        return kind, channel, end

    def _take(self, kind: int, frame: bytes) -> Incoming | None:
        if kind == _BODY:
            return self._take_body(frame[_HEAD.size : -1])
        try:
            _, _, value = unmarshal(frame)
        except _UNREADABLE as error:
            # The last is what is wrong; pamqp tells the address of an object before it.
            why = error.args[-1] if error.args else type(error).__name__
            raise WireError(f"a frame that cannot be read: {why}") from error
        if isinstance(value, ContentHeader):
            return self._take_header(value)
        if not isinstance(value, Frame):
            raise WireError(f"{value.name} in the frame of a method")
        if isinstance(value, Basic.Deliver | Basic.Return):
            self._expect_no_content(value.name)
            self._content = Content(value, Basic.Properties(), b"")
            return None
        if not value.name.startswith("Connection."):  # those are of channel 0, and may come between
            self._expect_no_content(value.name)
        return value

    def _take_header(self, header: ContentHeader) -> Content | None:
        if self._content is None or self._parts is not None:
            raise WireError("the header of a message that was not announced")
        self._content.properties = header.properties
        self._parts = []
        self._missing = header.body_size
        self._skipped = header.body_size > self._body_max
        return self._finish() if self._missing == 0 else None

    def _take_body(self, part: bytes) -> Content | None:
        if self._parts is None or len(part) > self._missing:
            raise WireError("more of a message than was announced")
        self._missing -= len(part)
        if not self._skipped:
            self._parts.append(part)
        return self._finish() if self._missing == 0 else None

    def _finish(self) -> Content | None:
        content, parts = self._content, self._parts
        assert content is not None
        assert parts is not None
        self._content = self._parts = None
        if self._skipped:
            return None
        content.body = b"".join(parts)
        return content

    def _expect_no_content(self, name: str) -> None:
        if self._content is not None:
            raise WireError(f"{name} in the middle of a message")


def method(frame: Frame) -> bytes:
    """A method as it is sent, on the channel that it belongs to."""
    return marshal(frame, 0 if frame.name.startswith("Connection.") else CHANNEL)


def message(
    frame: Basic.Publish, properties: Basic.Properties, body: bytes, frame_max: int
) -> bytes:
    """A message as it is sent, its body in as many frames as it takes."""
    most = frame_max - OVERHEAD
    header = ContentHeader(body_size=len(body), properties=properties)
    parts = [marshal(frame, CHANNEL), marshal(header, CHANNEL)]
    parts += [
        marshal(ContentBody(body[start : start + most]), CHANNEL)
        for start in range(0, len(body), most)
    ]
    return b"".join(parts)
