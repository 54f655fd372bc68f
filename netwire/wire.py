"""The one face of every protocol: bytes in, events out; messages in, bytes out.

A `Wire` is the whole protocol state of one connection. It does no I/O, knows no loop, no thread
and no clock, so a connection can be carried from one event loop to another by handing its wire
over. It is not thread-safe: at every moment one thread owns it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Protocol, TypeAlias

from netwire.events import Event, More
from netwire.http import Response

Message: TypeAlias = bytes | str

# What is read at a time where others wait for their turn: a quarter of a millisecond, at most.
MANY = 512  # messages
PART = 4 * 1024  # bytes after which they are counted; six hundred tiny messages


class State(Enum):
    """Where a connection stands; it only ever goes down this list."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Transform(Protocol):
    """Changes payloads on their way out and in: encryption, signing, a codec.

    One is made per connection, so it may keep state (a counter, a key). Each call gets and gives
    one whole message; `incoming` undoes what the peer's `outgoing` did. Raising any
    ``ValueError`` from `incoming` fails the connection with 1007.
    """

    def outgoing(self, message: Message) -> Message: ...

    def incoming(self, message: Message) -> Message: ...


TransformFactory: TypeAlias = Callable[[], Transform]


class Wire(ABC):
    """The protocol of one connection.

    Attributes:
        state: Where it stands. A wire without a handshake begins `State.OPEN`. It becomes
            CLOSING when we have sent our close and the peer has not, CLOSED once both have, or
            when it failed.
        encoding_key: Wires with equal keys encode equal messages to equal bytes, so that a
            broadcast encodes once; None when each connection's bytes are its own. Bytes that have
            a key depend on nothing but their message, so some may be left out; without one, every
            message that was encoded is written, in order: they may depend on those before them.
            Where there is a key, `encode` depends on nothing else, and any thread may call it.
        answering: Whether a wire that is CLOSED still encodes, until `conclude` or `receive_eof`:
            messages came in one read with the end, and may be answered before the end is.
    """

    __slots__ = ("state",)

    state: State
    encoding_key: Hashable = None
    answering: bool = False

    def start(self) -> bytes:
        """What this side sends first, before anything arrives (a client's handshake)."""
        return b""

    @abstractmethod
    def receive(self, data: bytes) -> list[Event]:
        """Take what arrived and tell what it meant, in order.

        The same events come out however the stream was split. Never raises for what a peer sent:
        a fault is the last event, `Failed`. ``b""`` is allowed and reports what was held back
        (after ``accept``, and after `netwire.events.More`).
        """

    @abstractmethod
    def begun(self, now: float, *, anew: bool = False) -> float | None:
        """When the message that has begun and not ended was first asked about.

        So that whoever has a clock, and asks now and then, learns of one that does not end.

        Args:
            now: The time; it is remembered where nobody has asked about this message before.
            anew: Whether to forget when that was.

        Returns:
            None between two messages, and where a protocol cannot tell.
        """

    def receive_part(self, data: bytes) -> list[Event]:
        """The same as `receive`, but it stops where it would take long, and tells `More` then.

        So others can have their turn before the rest is read.
        """
        if len(data) <= PART:
            return self.receive(data)
        events: list[Event] = []
        position = 0
        while position < len(data) and len(events) < MANY:
            events += self.receive(data[position : position + PART])
            position += PART
        if position < len(data) and self.state is not State.CLOSED:
            events.append(More(data[position:]))
        return events

    @abstractmethod
    def receive_eof(self) -> list[Event]:
        """The peer will send nothing more: `Closed`, `Failed`, or nothing when already known."""

    def conclude(self) -> None:
        """What came before the end is dealt with, and the end is next: encode nothing more."""
        return

    @abstractmethod
    def encode(self, message: Message) -> bytes:
        """One message as the bytes to write.

        Raises:
            TypeError: It is neither ``bytes`` nor ``str``.
            ValueError: The protocol cannot carry it, such as text that UTF-8 does not have.
            LocalError: The wire is not open.
        """

    def header_of(self, message: bytes) -> bytes | None:
        """What `encode` puts ahead of this message, where that is all it does to it.

        So a long message can be written behind it, and is not copied. None where it is changed,
        and where the wire is not open: `encode` has to be asked then.

        Raises:
            ValueError: The protocol cannot carry it.
        """
        return None

    def accept(
        self, subprotocol: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """Answer `Requested` with yes; then call ``receive(b"")`` for what came behind it.

        Raises:
            LocalError: There is no request to answer, or the peer did not offer the subprotocol.
            ValueError: A header that may not be sent.
        """
        return b""

    def respond(self, response: Response) -> bytes:
        """Answer `Requested` or `PlainRequest` with an HTTP response; the wire is CLOSED then.

        A wire without HTTP gives ``b""``.
        """
        self.state = State.CLOSED
        return b""

    def ping(self, payload: bytes = b"") -> bytes:
        """Ask the peer to answer.

        ``b""`` where the protocol has no such thing, or the wire is not open.
        """
        return b""

    @abstractmethod
    def close(self, code: int = 1000, reason: str = "") -> bytes:
        """Begin to close, or answer the peer's close. ``b""`` when already done.

        A protocol without a closing handshake goes to CLOSED at once.

        Raises:
            ValueError: The code may not be sent (RFC 6455, section 7.4), or the reason is over
                123 bytes.
        """
