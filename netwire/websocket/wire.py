"""The open WebSocket, as both roles share it: messages, pings, the close (RFC 6455, section 5)."""

from __future__ import annotations

from abc import abstractmethod

import wsproto.events as ws

from netwire.errors import ConnectionLost, InvalidPayload, LocalError, RemoteError
from netwire.events import Closed, Event, Failed, More, Ping, Pong
from netwire.limits import Limits
from netwire.websocket.assembly import inflate
from netwire.websocket.close import close_payload, echo_payload
from netwire.websocket.compression import Compression, Terms
from netwire.websocket.frames import (
    BINARY,
    BINARY_HEADERS,
    CLOSE,
    COMPRESSED,
    FIN,
    MASKED,
    MAX_CONTROL,
    PING,
    PONG,
    TEXT,
    TEXT_HEADERS,
    build_frame,
    build_header,
)
from netwire.websocket.masking import apply_mask, cut
from netwire.websocket.reader import FrameReader
from netwire.websocket.split import SplitFrame
from netwire.wire import MANY, PART, Message, State, Transform, Wire

# Looked up for every message, so bound to names of this module.
_OPEN = State.OPEN
_WHOLE_BINARY = FIN | BINARY
_WHOLE_DATA = (FIN | TEXT, FIN | BINARY)
_WHOLE_DEFLATED_BINARY = FIN | COMPRESSED | BINARY
_WHOLE_DEFLATED = (FIN | COMPRESSED | TEXT, FIN | COMPRESSED | BINARY)
_TABLE_SIZE = len(BINARY_HEADERS)
_SHORT = 1023
_WHOLE_SHORT = [build_header(BINARY, length, MASKED) for length in range(_SHORT + 1)]
_from_bytes = int.from_bytes

# What is read at a time where others wait for their turn, beside `MANY`.
MOST_ODD = 64  # frames that are the reader's: a ping takes 4 microseconds, a fragment 10
ODD_BYTES = 4096  # of such a frame's message count as much as one frame more

_ALL = (1 << 30) - 1  # more than one read ever holds, and quicker to compare than a longer number

_LONGEST = (1 << 63) - 1
"""Bytes that a frame may declare (section 5.2)."""

_NO_LENGTH = 1 << 64
"""Stands for the length of a frame that is not ours to read."""


class _Asked(bytes):
    """What begins with a piece of a header that was asked about, and when that was first.

    Rarely made, so it may have a dictionary, which a kind of ``bytes`` needs for an attribute.
    """

    since: float


def _asked(data: bytes, position: int) -> float | None:
    """When what begins at ``position`` was first asked about; None when it was not."""
    return data.since if position == 0 and isinstance(data, _Asked) else None


def _rest(data: bytes, position: int) -> bytes:
    """What is there from ``position`` on."""
    return data[position:] if position else data


class WebSocket(Wire):
    """A WebSocket connection, not yet open.

    Args:
        client: Whether we are the client, who masks.
        limits: How much the peer may make us hold.
        transform: Changes the payloads of messages on their way out and in.

    Attributes:
        subprotocol: What the handshake agreed upon; None before it and when there is none.
    """

    __slots__ = (
        "_altered",  # whether messages are changed on their way out
        "_compression",  # what the handshake agreed upon, or None
        "_held",  # what arrived but could not be used yet: a piece of a header, mostly nothing
        "_limits",
        "_mask_in",  # the mask bit of the frames that the peer sends, and of those we send
        "_mask_out",
        "_max_message",
        "_reader",  # what is in the middle of a frame or of a message, or None
        "_transform",
        "answering",
        "subprotocol",
    )

    def __init__(self, client: bool, limits: Limits, transform: Transform | None) -> None:
        self.state = State.CONNECTING
        self.answering = False
        self.subprotocol: str | None = None
        self._altered = transform is not None
        self._compression: Compression | None = None
        self._held = b""
        self._limits = limits
        self._mask_in, self._mask_out = (0, MASKED) if client else (MASKED, 0)
        self._max_message = min(limits.message, _LONGEST)
        self._reader: FrameReader | SplitFrame | None = None
        self._transform = transform

    # Receiving

    def receive_part(self, data: bytes) -> list[Event]:
        return self.receive(data, MOST_ODD, PART)

    def receive(self, data: bytes, odd: int = _ALL, part: int = _ALL) -> list[Event]:
        """As for every wire.

        For `receive_part` it stops after so many ``odd`` frames, or after `MANY` messages, which
        are counted after every ``part`` bytes.
        """
        if self.state is not _OPEN:
            return self._receive_unopen(data, odd)
        mask = self._mask_in
        transform = self._transform
        if self._held:
            data = self._take_held(data)
        elif mask and self._reader is None and transform is None:
            # Mostly one short binary frame comes, and all of it: its header says just that.
            start = 8 if len(data) >= 8 + 126 else 6
            length = len(data) - start
            if (
                0 <= length <= _SHORT
                and data[: start - 4] == _WHOLE_SHORT[length]
                and length <= self._max_message
            ):
                return [apply_mask(data[start:], data[start - 4 : start])]
        events: list[Event] = []
        header = 6 if mask else 2  # a short header's bytes, its masking key included
        position = 0
        end = len(data)
        enough = part if part < end else end  # min() would cost a message a tenth
        # A whole data frame that is all there is read right here; everything for speed. Whatever
        # is odd about a frame, its faults too, is left to the reader.
        while position < enough or (
            position < end
            and len(events) < MANY
            and (enough := min(end, position + part))  # seldom passed, and always true
        ):
            if self._reader is None:
                try:
                    length = data[position + 1] ^ mask
                    if length < 126:
                        start = position + header
                    elif length == 126:
                        start = position + header + 2
                        length = data[position + 2] << 8 | data[position + 3]
                        if length < 126:
                            length = _NO_LENGTH
                    elif length == 127:
                        start = position + header + 8
                        length = _from_bytes(data[position + 2 : position + 10])
                        if length < 1 << 16:
                            length = _NO_LENGTH
                    else:  # the mask bit is wrong
                        start, length = position, _NO_LENGTH
                    first = data[position]
                    stop = start + length
                    if stop <= end and length <= self._max_message and first in _WHOLE_DATA:
                        if mask:
                            payload = apply_mask(cut(data, start, stop), data[start - 4 : start])
                        else:
                            payload = data[start:stop]
                        message = payload if first == _WHOLE_BINARY else payload.decode()
                        events.append(message if transform is None else self._incoming(message))
                        position = stop
                        continue
                    if first == _WHOLE_BINARY and start <= end < stop <= start + self._max_message:
                        key = data[start - 4 : start] if mask else b""
                        self._reader = SplitFrame(key, length, _asked(data, position))
                        position = start
                    if (
                        self._compression is not None
                        and stop <= end
                        and length <= self._max_message
                        and first in _WHOLE_DEFLATED
                    ):
                        events.append(self._inflated(data, start, stop, first))
                        position = stop
                        if self._compression.inflated > self._max_message:
                            return self._go_on_later(data, position, events)
                        continue
                except IndexError:
                    pass  # the header is not complete
                except UnicodeDecodeError:
                    events.append(self._fail(InvalidPayload("text that is not UTF-8")))
                    self._allow_answers(events)
                    break
                except RemoteError as error:
                    events.append(self._fail(error))
                    self._allow_answers(events)
                    break
            found = len(events)
            position = self._read_odd(data, position, events)
            if self.state is not _OPEN:
                self._allow_answers(events)
                break
            odd -= _effort(events[found:])
            if odd <= 0 or self._is_inflated:
                return self._go_on_later(data, position, events)
        if position < end and not self._is_closed:
            return self._go_on_later(data, position, events)
        return events

    @property
    def _is_inflated(self) -> bool:
        """Whether so much was inflated that the messages should be taken first."""
        return self._compression is not None and self._compression.inflated > self._max_message

    def _go_on_later(self, data: bytes, position: int, events: list[Event]) -> list[Event]:
        """Keep the rest for the next call, so that one takes neither long nor much memory."""
        if self._compression is not None:
            self._compression.inflated = 0
        if position < len(data):
            self._held = _rest(data, position)
            events.append(More())
        return events

    def _allow_answers(self, events: list[Event]) -> None:
        """The last of these is the end: what they bring before it can still be answered."""
        self.answering = any(isinstance(event, bytes | str) for event in events)

    def conclude(self) -> None:
        self.answering = False

    def _inflated(self, data: bytes, start: int, stop: int, first: int) -> Message:
        """The message of a whole compressed frame."""
        assert self._compression is not None
        payload = data[start:stop]
        if self._mask_in:
            payload = apply_mask(payload, data[start - 4 : start])
        text = first != _WHOLE_DEFLATED_BINARY
        message = inflate(self._compression, payload, text, self._max_message)
        return message if self._transform is None else self._incoming(message)

    def _receive_unopen(self, data: bytes, odd: int) -> list[Event]:
        if self.state is State.CONNECTING:
            return self._receive_handshake(data)
        if self.state is State.CLOSED:
            return []
        # CLOSING: nothing is wanted of the peer any more but its close.
        data = self._take_held(data)
        events: list[Event] = []
        position = 0
        while position < len(data):
            found = len(events)
            position = self._read_odd(data, position, events)
            odd -= _effort(events[found:])
            if odd <= 0 and position < len(data):
                self._held = data[position:]
                events.append(More())
                break
        return [event for event in events if isinstance(event, Closed | Failed | More)]

    @abstractmethod
    def _receive_handshake(self, data: bytes) -> list[Event]:
        """What `receive` does while CONNECTING."""

    def _take_held(self, data: bytes) -> bytes:
        held, self._held = self._held, b""
        if not isinstance(held, _Asked):
            return held + data
        asked = _Asked(held + data)
        asked.since = held.since
        return asked

    def _read_odd(self, data: bytes, position: int, events: list[Event]) -> int:
        """Let the reader read one frame, or a part of it; where to go on is returned."""
        reader = self._reader
        if reader is None:
            reader = self._reader = FrameReader(self._mask_in, self._limits, self._compression)
            reader.since = _asked(data, position)
        try:
            after, found = reader.read(data, position)
            events += [self._event(item) for item in found]
        except RemoteError as error:
            events.append(self._fail(error))
        if self.state is State.CLOSED:
            return len(data)
        if reader.idle:
            self._reader = None
        if after == position:
            self._held = _rest(data, position)
            return len(data)
        return after

    def _event(self, item: Message | ws.Ping | ws.Pong | ws.CloseConnection) -> Event:
        if isinstance(item, ws.Ping):
            payload = bytes(item.payload)
            return Ping(payload, build_frame(PONG, payload, self._mask_out))
        if isinstance(item, ws.Pong):
            return Pong(bytes(item.payload))
        if isinstance(item, ws.CloseConnection):
            code = int(item.code)
            reply = self._close_frame(echo_payload(code))
            self._enter(State.CLOSED)
            return Closed(code, item.reason or "", reply)
        return item if self._transform is None else self._incoming(item)

    def _incoming(self, message: Message) -> Message:
        assert self._transform is not None
        try:
            return self._transform.incoming(message)
        except ValueError as error:
            raise InvalidPayload("message that cannot be transformed back") from error

    def begun(self, now: float, *, anew: bool = False) -> float | None:
        reader = self._reader
        if reader is not None:
            if reader.since is None or anew:
                reader.since = now
            return reader.since
        if not self._held or self.state is not _OPEN:
            return None
        if not isinstance(self._held, _Asked) or anew:
            self._held = _Asked(self._held)
            self._held.since = now
        return self._held.since

    def receive_eof(self) -> list[Event]:
        if self.state is State.CLOSED:
            self.answering = False
            return []
        return [self._fail(ConnectionLost(f"the stream ended while {self.state.value}"))]

    # Sending

    def encode(self, message: Message) -> bytes:
        """One message as the bytes to write.

        Raises:
            TypeError: It is neither ``bytes`` nor ``str``.
            UnicodeEncodeError: Text with surrogates, which UTF-8 does not have.
            LocalError: The wire is not open.
        """
        if self.state is not _OPEN and not self.answering:
            raise LocalError(f"cannot send while {self.state.value}")
        if self._altered:
            return self._encode_altered(message)
        if isinstance(message, bytes):
            if self._mask_out:
                return build_frame(BINARY, message, MASKED)
            length = len(message)
            if length < _TABLE_SIZE:
                return BINARY_HEADERS[length] + message
            return build_header(BINARY, length) + message
        if isinstance(message, str):
            payload = message.encode()
            if not self._mask_out and len(payload) < _TABLE_SIZE:
                return TEXT_HEADERS[len(payload)] + payload
            return build_frame(TEXT, payload, self._mask_out)
        raise TypeError(f"a message is bytes or str, not {type(message).__name__}")

    def header_of(self, message: bytes) -> bytes | None:
        if self.state is not _OPEN or self._altered or self._mask_out:
            return None
        return build_header(BINARY, len(message))

    def _encode_altered(self, message: Message) -> bytes:
        if not isinstance(message, bytes | str):
            raise TypeError(f"a message is bytes or str, not {type(message).__name__}")
        if self._transform is not None:
            message = self._transform.outgoing(message)
        opcode, payload = (
            (BINARY, message) if isinstance(message, bytes) else (TEXT, message.encode())
        )
        if self._compression is not None:
            deflated = self._compression.deflate(payload)
            if deflated is not None:
                return build_frame(COMPRESSED | opcode, deflated, self._mask_out)
        return build_frame(opcode, payload, self._mask_out)

    def ping(self, payload: bytes = b"") -> bytes:
        """Ask the peer to answer; ``b""`` when the connection is not open.

        Raises:
            ValueError: The payload is over 125 bytes.
        """
        if len(payload) > MAX_CONTROL:
            raise ValueError(f"ping payload of {len(payload)} bytes is over {MAX_CONTROL}")
        return build_frame(PING, payload, self._mask_out) if self.state is _OPEN else b""

    def close(self, code: int = 1000, reason: str = "") -> bytes:
        frame = self._close_frame(close_payload(code, reason))
        if self.state is State.CONNECTING:
            self._enter(State.CLOSED)
        elif self.state is _OPEN:
            self._enter(State.CLOSING)
        return frame

    # State

    @property
    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def _close_frame(self, payload: bytes) -> bytes:
        """A close frame, or ``b""`` where none is owed: only the open connection sends one."""
        return build_frame(CLOSE, payload, self._mask_out) if self.state is _OPEN else b""

    def _fail(self, error: RemoteError) -> Failed:
        """The end by a fault of the peer's."""
        reply = self._failure_reply(error)
        self._enter(State.CLOSED)
        return Failed(error, reply)

    def _failure_reply(self, error: RemoteError) -> bytes:
        """What tells the peer its fault: nothing when it is no longer there, or not yet open."""
        # A reason from the handshake, which quotes the peer, may be too long for a close frame.
        if self.state is not _OPEN or isinstance(error, ConnectionLost):
            return b""
        return self._close_frame(close_payload(error.close_code, error.reason))

    def _compress(self, terms: Terms) -> None:
        """Compress from now on, as the handshake agreed."""
        self._compression = Compression(terms)
        self._altered = True

    def _enter(self, state: State) -> None:
        """Change the state; nothing is kept of what the new one has no use for."""
        self.state = state
        if state is State.CLOSED:
            self._held = b""
            self._reader = None
            self._compression = None
        elif state is State.CLOSING and self._compression is not None:
            self._compression.stop()


def _effort(found: list[Event]) -> int:
    """What reading an odd frame and what it brought counts for, in frames."""
    return 1 + sum(len(event) // ODD_BYTES for event in found if isinstance(event, bytes | str))
