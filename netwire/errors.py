"""What can go wrong on the wire, and whose fault it is.

    WireError
    ├── LocalError (RuntimeError)          ours: the caller used a wire in the wrong state
    ├── UrlError (ValueError)              ours: an address that is not one of the forms allowed
    └── RemoteError (ValueError)           the peer's: carries the close code that tells it so
        ├── ProtocolError      1002        bytes that the protocol does not allow
        ├── InvalidPayload     1007        a payload that is not what it claims to be (bad UTF-8)
        ├── MessageTooBig      1009        longer than the limit, known from the header
        ├── TooManyFragments   1009        a message in more frames than the limit
        ├── ConnectionLost     1006        the stream ended in mid-message or without a close
        ├── TlsError           1015        TLS failed: no handshake, bad record, bad certificate
        └── HandshakeError                 not a handshake; carries the HTTP status to answer with

``LocalError`` is raised to the caller. A ``RemoteError`` never leaves a wire as an exception:
it arrives as the last event, in `netwire.events.Failed`, after every message that was complete.
A framing (`netwire.framing.Framing.decode`) raises it, and the wire around it makes the event.
"""

from __future__ import annotations


class WireError(Exception):
    """Base of every error of this package."""


class LocalError(WireError, RuntimeError):
    """A wire was used in a state that does not allow it."""


class UrlError(WireError, ValueError):
    """An address that cannot be used; `reason` says what is wrong and what is allowed."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"URL {self.url!r} {self.reason}"


class RemoteError(WireError, ValueError):
    """The peer broke a rule.

    Args:
        reason: What was wrong, in words that may be sent to the peer; no payload in it.

    Attributes:
        close_code: The WebSocket close code that says it (RFC 6455, section 7.4.1). On other
            transports it is what `on_close` is told.
    """

    close_code = 1002

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} ({self.close_code})"


class ProtocolError(RemoteError):
    """Bytes that the protocol does not allow."""


class InvalidPayload(RemoteError):
    """A payload that is not what it claims to be, such as text that is not UTF-8."""

    close_code = 1007


class MessageTooBig(RemoteError):
    """A message longer than the limit. `size` is what the peer declared or sent so far, bytes."""

    close_code = 1009

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of {size} bytes is over the limit of {limit}")
        self.size = size
        self.limit = limit


class TooManyFragments(RemoteError):
    """A message in more than `limit` frames."""

    close_code = 1009

    def __init__(self, limit: int) -> None:
        super().__init__(f"message of more than {limit} fragments")
        self.limit = limit


class ConnectionLost(RemoteError):
    """The stream ended in mid-message, or without the close that the protocol asks for."""

    close_code = 1006


class TlsError(RemoteError):
    """TLS failed: the handshake, a record, or the peer's certificate.

    Attributes:
        received: The plaintext that came, in the same read, before what failed.
    """

    close_code = 1015

    def __init__(self, reason: str, received: bytes = b"") -> None:
        super().__init__(reason)
        self.received = received


class HandshakeError(RemoteError):
    """What came is not the handshake that was expected.

    Attributes:
        status: On a server, the HTTP status answered. On a client, the status that the server
            answered with, or None when what it sent was not HTTP.
        headers: Further headers of that answer.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = 400,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers

    def __str__(self) -> str:
        return self.reason if self.status is None else f"{self.reason} (HTTP {self.status})"
