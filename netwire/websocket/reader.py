"""Every frame but the whole data frame: control frames, fragments, frames that arrive in pieces.

A whole binary one in pieces is `netwire.websocket.split.SplitFrame`'s.

Control frames are wsproto's to parse, but for plain ones that are all there: pings and pongs, of
which a peer may send very many, and the close that says nothing but 1000. wsproto gets exactly
their bytes: payloads of messages, which may be long and compressed, never pass through it, because
it has no limits.
"""

from __future__ import annotations

from typing import TypeAlias

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason

from netwire.errors import InvalidPayload, ProtocolError
from netwire.limits import Limits
from netwire.websocket.assembly import Assembly
from netwire.websocket.compression import Compression
from netwire.websocket.frames import (
    BINARY,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MASKED,
    MAX_CONTROL,
    PING,
    PONG,
    RESERVED,
    TEXT,
    Header,
    parse_header,
)
from netwire.websocket.masking import apply_mask, cut
from netwire.wire import Message

Control: TypeAlias = ws.Ping | ws.Pong | ws.CloseConnection
Found: TypeAlias = Message | Control

_DATA = (CONTINUATION, TEXT, BINARY)

# Of control frames a peer may send very many of the first two, and every connection ends by one of
# the third: it took a tenth of a handshake that is closed at once.
_PINGS: dict[int, type[ws.Ping] | type[ws.Pong]] = {FIN | PING: ws.Ping, FIN | PONG: ws.Pong}
_WHOLE = (*_PINGS, FIN | CLOSE)
_NORMAL = CloseReason.NORMAL_CLOSURE.to_bytes(2)


class FrameReader:
    """Reads frames from a frame boundary until it is `idle` at another one.

    It is made when needed and dropped when idle: an idle reader remembers nothing.

    Args:
        mask: The mask bit that the peer's frames must have.
        limits: What a message may have.
        compression: What was agreed on; None where nothing was.

    Attributes:
        since: When the message in it was first asked about; None before.
    """

    __slots__ = (
        "_compression",
        "_control",
        "_final",
        "_in_control",
        "_key",
        "_limits",
        "_mask",
        "_message",
        "_remaining",
        "since",
    )

    def __init__(self, mask: int, limits: Limits, compression: Compression | None) -> None:
        self._mask = mask
        self._limits = limits
        self._compression = compression
        self._control: Connection | None = None  # 5 KiB, so not before it is needed
        self._message: Assembly | None = None  # the message whose frames are arriving
        # Of the frame that is arriving: bytes that have not, its kind, the key for what is next.
        self._remaining = 0
        self._in_control = False
        self._final = False
        self._key = b""
        self.since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether it stands between two frames, and between two messages."""
        return not self._remaining and self._message is None

    def read(self, data: bytes, position: int) -> tuple[int, list[Found]]:
        """Read one frame, or what is there of it.

        Returns:
            Where reading stopped, which is ``position`` when the header is not complete, and
            what was found: mostly one thing or none.

        Raises:
            RemoteError: The peer broke a rule.
        """
        start = position
        if not self._remaining:
            header = parse_header(data, position)
            if header is None:
                return position, []
            start = header.payload
            if header.first in _WHOLE and (found := self._whole(data, position, header)):
                return start + header.length, [found]
            self._in_control = header.opcode not in _DATA
            if not self._in_control:
                self._begin(header, data[position + 1] & MASKED)
                self._key = data[start - 4 : start]
            self._remaining = header.length
        end = min(start + self._remaining, len(data))
        self._remaining -= end - start
        if self._in_control:
            return end, self._read_control(data[position:end])
        return end, self._add(data, start, end)

    def _begin(self, header: Header, mask: int) -> None:
        """Check the header of a data frame."""
        reserved = header.first & RESERVED
        compressed = reserved == COMPRESSED and self._compression is not None
        if reserved and not compressed:
            raise ProtocolError("reserved bit set")
        if mask != self._mask:
            raise ProtocolError("frame not masked" if self._mask else "frame masked")
        if header.opcode == CONTINUATION:
            if self._message is None:
                raise ProtocolError("continuation of no message")
            if compressed:
                raise ProtocolError("continuation that says it is compressed")
        elif self._message is not None:
            raise ProtocolError("message within a message")
        else:
            compression = self._compression if compressed else None
            self._message = Assembly(header.opcode == TEXT, compression, self._limits)
        self._message.admit(header.length)
        self._final = bool(header.first & FIN)

    def _add(self, data: bytes, start: int, end: int) -> list[Found]:
        """Add what is there of a frame's payload to its message."""
        message = self._message
        assert message is not None  # made when the header was read
        if self._mask:
            key = self._key
            piece = apply_mask(cut(data, start, end), key)
            turn = end - start & 3
            self._key = key[turn:] + key[:turn]
        else:
            piece = data[start:end]
        final = self._final and not self._remaining
        message.add(piece, final)
        if not final:
            return []
        self._message = None
        return [message.finish()]

    def _whole(self, data: bytes, position: int, header: Header) -> Control | None:
        """A ping, a pong or a plain close that is all there and has no fault (RFC 6455, 5.5)."""
        start = header.payload
        stop = start + header.length
        masked = data[position + 1] & MASKED
        if stop > len(data) or header.length > MAX_CONTROL or masked != self._mask:
            return None
        payload = data[start:stop]
        if masked:
            payload = apply_mask(payload, data[start - 4 : start])
        if header.first != FIN | CLOSE:
            return _PINGS[header.first](payload)
        if payload != _NORMAL:
            return None  # what else a close may say, and may not, wsproto knows
        return ws.CloseConnection(CloseReason.NORMAL_CLOSURE, "")

    def _read_control(self, data: bytes) -> list[Found]:
        control = self._control
        if control is None:
            # A server's peer masks, and a client's does not.
            role = ConnectionType.SERVER if self._mask else ConnectionType.CLIENT
            control = self._control = Connection(role)
        control.receive_data(data)
        found: list[Found] = []
        for event in control.events():
            assert isinstance(event, ws.Ping | ws.Pong | ws.CloseConnection)
            if isinstance(event, ws.CloseConnection) and control.state is ConnectionState.OPEN:
                # Not a close of the peer's: so wsproto reports a broken rule.
                if event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
                    raise InvalidPayload("text that is not UTF-8")
                raise ProtocolError(event.reason or "")
            found.append(event)
        return found
