"""Every frame but the whole data frame: control frames, fragments, frames that arrive in pieces.

wsproto parses them. Around it stands what it lacks: the boundaries of frames, so that it gets
exactly the bytes meant for it; the limits of a message; and the assembly of its pieces.
"""

from __future__ import annotations

from io import BytesIO
from typing import TypeAlias

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason

from netwire.errors import InvalidPayload, MessageTooBig, ProtocolError, TooManyFragments
from netwire.limits import Limits
from netwire.websocket.frames import BINARY, CONTINUATION, TEXT, Header, parse_header
from netwire.wire import Message

Found: TypeAlias = Message | ws.Ping | ws.Pong | ws.CloseConnection


class FrameReader:
    """Reads frames from a frame boundary until it is `idle` at another one.

    It is made when needed and dropped when idle, because the wsproto object in it costs 5 KiB,
    and an idle reader remembers nothing.

    Args:
        client: Whether we are the client, whose peer must not mask.
        limits: What a message may have.

    Attributes:
        since: When the message in it was first asked about; None before.
    """

    __slots__ = (
        "_connection",
        "_fragments",
        "_limits",
        "_message",
        "_remaining",
        "_size",
        "_text",
        "since",
    )

    def __init__(self, client: bool, limits: Limits) -> None:
        self._connection = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
        self._limits = limits
        self._remaining = 0  # bytes of the current frame that have not arrived
        # The pieces of the message so far, text as UTF-8: a list of small pieces, or a StringIO,
        # which is one, would cost many times their bytes.
        self._message: BytesIO | None = None
        self._text = False
        self._size = 0  # bytes that the frames of this message have declared
        self._fragments = 0
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
            if header.opcode in (CONTINUATION, TEXT, BINARY):
                self._admit(header)
            self._remaining = header.length
            start = header.payload
        end = min(start + self._remaining, len(data))
        self._remaining -= end - start
        self._connection.receive_data(data[position:end])
        return end, self._collect()

    def _admit(self, header: Header) -> None:
        """Count a data frame, and check the message's limits before anything of it is kept."""
        if self._message is None:
            self._message = BytesIO()
            self._text = header.opcode == TEXT
            self._size = self._fragments = 0
        self._size += header.length
        self._fragments += 1
        if self._size > self._limits.message:
            raise MessageTooBig(self._size, self._limits.message)
        if self._fragments > self._limits.fragments:
            raise TooManyFragments(self._limits.fragments)

    def _collect(self) -> list[Found]:
        found: list[Found] = []
        for event in self._connection.events():
            if isinstance(event, ws.Message):
                assert self._message is not None  # made when the header was read
                self._message.write(event.data.encode() if self._text else event.data)
                if event.message_finished:
                    payload = self._message.getvalue()
                    found.append(payload.decode() if self._text else payload)
                    self._message = None
                continue
            assert isinstance(event, ws.Ping | ws.Pong | ws.CloseConnection)
            if (
                isinstance(event, ws.CloseConnection)
                and self._connection.state is ConnectionState.OPEN
            ):
                # Not a close of the peer's: so wsproto reports a broken rule.
                if event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
                    raise InvalidPayload("text that is not UTF-8")
                raise ProtocolError(event.reason or "")
            found.append(event)
        return found
