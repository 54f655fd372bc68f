"""What can go wrong with a server.

ServerError
├── ListenError (OSError)         an address that cannot be listened on: in use, not allowed
├── CertificateError (ValueError) a certificate or key that cannot be read or does not fit
├── BackplaneError                what goes wrong between servers (`netserver.backplane`)
├── OverQuota                     an address has as many connections as it may
├── IdentityTaken                 another connection has the identity, and there may be only one
├── Unanswered                    nobody answered `Server.ask`
└── Reject                        raised by `on_connect` to refuse a connection
"""

from __future__ import annotations


class ServerError(Exception):
    """Base of every error of this package."""


class ListenError(ServerError, OSError):
    """An address that cannot be listened on.

    Attributes:
        url: The address asked for.
        reason: What the system said, in words.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot listen on {self.url}: {self.reason}"


class CertificateError(ServerError, ValueError):
    """A certificate or key that cannot be used.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OverQuota(ServerError):
    """An address has as many connections as `ServerConfig.max_connections_per_address` allows.

    Attributes:
        host: The address.
        most: What is allowed.
    """

    def __init__(self, host: str, most: int | None) -> None:
        super().__init__(host, most)
        self.host = host
        self.most = most

    def __str__(self) -> str:
        return f"{self.host} has {self.most} connections already"


class IdentityTaken(ServerError):
    """Another connection, here or on another server, has the identity.

    Attributes:
        identity: The identity.
    """

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        self.identity = identity

    def __str__(self) -> str:
        return f"{self.identity!r} is connected already"


class Unanswered(ServerError):
    """Nobody answered.

    Attributes:
        identity: Who was asked.
        reason: Why not: nobody is there, the deadline has passed, or what was raised there.
    """

    def __init__(self, identity: str, reason: str) -> None:
        super().__init__(identity, reason)
        self.identity = identity
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.identity!r} did not answer: {self.reason}"


class Reject(ServerError):
    """Raise it in `Connection.on_connect` to refuse the connection.

    Args:
        status: The HTTP status that a WebSocket client is answered with, 400 to 599. Where there
            is no handshake, the connection is closed without a word.
        reason: The body of that answer.
        headers: Further headers of it.
    """

    def __init__(
        self, status: int = 403, reason: str = "", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"a refusal has a status of 400 to 599, not {status!r}")
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def __str__(self) -> str:
        return f"refused with {self.status}" + (f": {self.reason}" if self.reason else "")
