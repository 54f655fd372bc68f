"""What every framing of a byte stream shares, and what a framing of your own subclasses."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from netwire.errors import ConnectionLost, InvalidPayload, LocalError, RemoteError
from netwire.events import Closed, Event, Failed
from netwire.limits import Limits
from netwire.wire import Message, State, Transform, Wire

# Looked up for every message, and an enum's members are slow to look up.
_OPEN = State.OPEN


_NOTHING = (0, None)
"""The length of what was resumed last, and since when it was asked about: nothing was."""


class Beginning(bytearray):
    """The beginning of a message.

    Attributes:
        since: When it was first asked about; None before.
    """

    __slots__ = ("since",)

    since: float | None

    def __init__(self, rest: bytes, since: float | None) -> None:
        super().__init__(rest)
        self.since = since


class Framing(Wire):
    """A wire that only marks where messages begin and end: no handshake, no close, no pings.

    Subclass it and write `decode` and `encode_payload`; the rest is here. What arrives is always
    ``bytes`` (unless a transform makes it ``str``); a ``str`` that is sent goes as UTF-8.

    A framing whose encoding depends on arguments of its own gives ``encoding_key`` a value that
    tells them apart.

    Args:
        limits: Only ``message`` applies.
        transform: Changes payloads on their way out and in; None leaves them alone.
    """

    __slots__ = ("_need", "_rest", "_resumed", "encoding_key", "limits", "transform")

    def __init__(self, limits: Limits = Limits(), *, transform: Transform | None = None) -> None:
        self.state = State.OPEN
        self.limits = limits
        self.transform = transform
        self.encoding_key = type(self) if transform is None else None
        self._rest: bytes | bytearray = b""
        self._need = 0
        self._resumed: tuple[int, float | None] = _NOTHING

    @abstractmethod
    def decode(self, data: bytes, into: list[bytes]) -> None:
        """Append to ``into`` every message that is whole now, and keep what is left over.

        `keep` and `resume` hold the rest between calls, in memory proportional to what arrived.

        Raises:
            RemoteError: The bytes are bad; the messages before them are in ``into`` already. The
                wire fails with it, and this method is not called again.
        """

    @abstractmethod
    def encode_payload(self, payload: bytes) -> bytes:
        """One payload as the bytes to write.

        Raises:
            ValueError: This framing cannot carry such a payload.
        """

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun and not ended, so that an end of stream would cut it."""
        return bool(self._rest)

    def keep(self, rest: bytes, need: int) -> None:
        """Hold the beginning of a message.

        Args:
            rest: What is left over, not empty.
            need: How long it must grow, bytes, before it is worth looking at again.
        """
        length, since = self._resumed
        # Where all of what was resumed is kept again, it is the beginning of the same message.
        self._rest = Beginning(rest, since if len(rest) == length else None)
        self._need = need

    def resume(self, data: bytes) -> bytes:
        """What was kept with ``data`` behind it; ``b""`` while that is less than what is needed.

        However small the pieces, each byte is copied a fixed number of times.
        """
        if len(self._rest) + len(data) < self._need:
            self._rest += data
            return b""
        whole = b"".join((self._rest, data))
        self._resumed = len(whole), getattr(self._rest, "since", None)
        self._rest = b""
        return whole

    def receive(self, data: bytes) -> list[Event]:
        if self.state is not _OPEN or not data:
            return []
        # Any, because lists are invariant, and a second one would be paid for by every message.
        messages: Any = []
        try:
            self.decode(data, messages)
        except RemoteError as error:
            return self._handed_on(messages, error)
        events: list[Event] = messages
        return events if self.transform is None else self._handed_on(messages, None)

    def _handed_on(self, messages: Any, failure: RemoteError | None) -> list[Event]:
        """The messages as they were before the peer's transform, and how it ends, if it does."""
        events: list[Event] = messages
        if self.transform is not None:
            events, refused = self._transformed(self.transform, messages)
            failure = refused or failure
        if failure is not None:
            self._end()
            events.append(Failed(failure, b""))
        return events

    def begun(self, now: float, *, anew: bool = False) -> float | None:
        rest = self._rest
        if not isinstance(rest, Beginning):
            return None
        if rest.since is None or anew:
            rest.since = now
        return rest.since

    def receive_eof(self) -> list[Event]:
        if self.state is not _OPEN:
            return []
        cut = self.mid_message
        self._end()
        if cut:
            return [Failed(ConnectionLost("the stream ended in mid-message"), b"")]
        return [Closed(1000, "", b"")]

    def encode(self, message: Message) -> bytes:
        if self.state is not _OPEN:
            raise LocalError("cannot send: the connection is closed")
        if self.transform is not None and isinstance(message, bytes | str):
            message = self.transform.outgoing(message)
        if isinstance(message, str):
            message = message.encode()
        elif not isinstance(message, bytes):
            raise TypeError(f"a message is bytes or str, not {type(message).__name__}")
        return self.encode_payload(message)

    def close(self, code: int = 1000, reason: str = "") -> bytes:
        """End the wire; a stream framing has no way to send a code or a reason."""
        self._end()
        return b""

    def _end(self) -> None:
        self.state = State.CLOSED
        self._rest = b""

    @staticmethod
    def _transformed(
        transform: Transform, messages: list[bytes]
    ) -> tuple[list[Event], RemoteError | None]:
        events: list[Event] = []
        for message in messages:
            try:
                events.append(transform.incoming(message))
            except ValueError as error:
                # The text of a foreign error may quote the payload, so the peer is not told it.
                refused = InvalidPayload("the transform refused the payload")
                refused.__cause__ = error
                return events, refused
        return events, None
