"""What can go wrong in a client. Each error names the URL.

    ClientError
    ├── NotConnected (RuntimeError)            `connect` was not called, or called twice
    ├── Unsupported (RuntimeError)             the URL's protocol has no such thing
    ├── OperationTimeout (TimeoutError)        sending, receiving or pinging took too long
    ├── ConnectFailed (ConnectionError)        no connection came about
    │   ├── ConnectTimeout (TimeoutError)      not within ``open_timeout``
    │   ├── CertificateRefused                 TLS would not trust the server
    │   └── HandshakeRefused                   the server answered, but not with yes
    └── ConnectionClosed (ConnectionError)     there was one, and it ended

An URL that is not one raises `netwire.UrlError`, a ValueError.
"""

from __future__ import annotations

from http import HTTPStatus


class ClientError(Exception):
    """Base of every error of this package.

    Attributes:
        url: Whom the client talks to.
    """

    def __init__(self, url: str, text: str) -> None:
        super().__init__(f"{url}: {text}")
        self.url = url


class NotConnected(ClientError, RuntimeError):
    """The client was used before `connect`, or connected a second time."""


class Unsupported(ClientError, RuntimeError):
    """The protocol of this URL has no such thing, or the client was set up for another use."""


class OperationTimeout(ClientError, TimeoutError):
    """An operation took longer than it may."""

    def __init__(self, url: str, operation: str, seconds: float) -> None:
        super().__init__(url, f"{operation} took longer than {seconds:g} s")


class ConnectFailed(ClientError, ConnectionError):
    """No connection came about."""

    final = False
    """Whether the same would happen again, so that it is not worth trying."""


class ConnectTimeout(ConnectFailed, TimeoutError):
    """Connecting, with all handshakes, took longer than it may."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(url, f"not connected within {seconds:g} s")


class CertificateRefused(ConnectFailed):
    """The server's certificate is not to be trusted."""

    final = True


class HandshakeRefused(ConnectFailed):
    """The server answered the handshake, but not with yes.

    Attributes:
        status: The HTTP status of its answer; None when the answer is no HTTP, or promises what
            was not asked for.
    """

    def __init__(self, url: str, status: int | None, reason: str) -> None:
        super().__init__(url, reason if status is None else f"{reason} (HTTP {status})")
        self.status = status
        # These two say "later"; a status from 500 says that the server is unwell. All others say
        # that what we ask for is wrong, and it will be next time (RFC 9110, section 15).
        later = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        self.final = status is None or (status < 500 and status not in later)


class ConnectionClosed(ClientError, ConnectionError):
    """The connection ended and is not coming back.

    Attributes:
        code: The close code (RFC 6455, section 7.4.1); 1006 when it was lost.
        reason: What the peer said of it, or what was noticed here.
    """

    def __init__(self, url: str, code: int, reason: str) -> None:
        super().__init__(url, f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason
