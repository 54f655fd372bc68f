"""The opening handshake as a server sees it (RFC 6455, section 4.2)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

import h11
from attrs import frozen
from wsproto.utilities import generate_accept_token

from netwire.errors import HandshakeError, LocalError
from netwire.events import PlainRequest, Requested
from netwire.http import Headers, Request, Response
from netwire.limits import Limits
from netwire.websocket.compression import Terms, terms
from netwire.websocket.deflate import Deflate, agree
from netwire.websocket.head import HeadCollector, parse_request

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # base64 of 16 bytes


def tokens(headers: Headers, name: str) -> list[str]:
    """The elements of a header that is a comma-separated list, in order."""
    values = ",".join(headers.get_all(name)).split(",")
    return [token for value in values if (token := value.strip(" \t"))]


def has_token(headers: Headers, name: str, token: str) -> bool:
    """Whether a list header holds a token, in any case."""
    return token in (value.lower() for value in tokens(headers, name))


@frozen
class _Rule:
    """What a WebSocket handshake must not be, and how it is refused then."""

    broken: Callable[[Request, str], bool]
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


# In the order in which they are checked; the first broken one answers. That there is exactly one
# Host, and that Content-Length is a number, is seen to where the head is parsed.
_RULES = (
    _Rule(
        lambda request, version: version != "1.1",
        400,
        "a WebSocket handshake is HTTP/1.1",
    ),
    _Rule(
        lambda request, version: request.method != "GET",
        405,
        "a WebSocket handshake is a GET",
        (("Allow", "GET"),),
    ),
    _Rule(
        lambda request, version: (
            "Transfer-Encoding" in request.headers
            or any(value.strip("0") for value in request.headers.get_all("Content-Length"))
        ),
        400,
        "a WebSocket handshake has no body",
    ),
    _Rule(
        lambda request, version: not has_token(request.headers, "Connection", "upgrade"),
        400,
        "Upgrade without Connection: Upgrade",
    ),
    _Rule(
        lambda request, version: request.headers.get_all("Sec-WebSocket-Version") != ["13"],
        426,
        "the version of WebSocket is 13",
        (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
    ),
    _Rule(
        lambda request, version: len(request.headers.get_all("Sec-WebSocket-Key")) != 1,
        400,
        "not exactly one Sec-WebSocket-Key",
    ),
    _Rule(
        lambda request, version: not _KEY.fullmatch(request.headers["Sec-WebSocket-Key"]),
        400,
        "Sec-WebSocket-Key that is not base64 of 16 bytes",
    ),
)


class ServerHandshake:
    """One handshake, from the first byte to the answer.

    Args:
        limits: Of the head, and of what may be kept until it is answered.
        compression: What to agree on if the client offers it; None for nothing.

    Attributes:
        terms: Of the compression that the answer agrees on; None for none.
    """

    __slots__ = (
        "_collector",
        "_compression",
        "_limits",
        "behind",
        "request",
        "terms",
        "upgrade",
    )

    def __init__(self, limits: Limits, compression: Deflate | None) -> None:
        self._compression = compression
        self.terms: Terms | None = None
        self._collector: HeadCollector | None = HeadCollector(limits)
        self._limits = limits
        self.request: Request | None = None
        self.upgrade = False
        self.behind = bytearray()
        """What came behind a request to upgrade: the first frames."""

    def receive(self, data: bytes) -> Iterator[Requested | PlainRequest]:
        """Take what arrived, and report the request once it is whole.

        Raises:
            HandshakeError: What came is no request, one that breaks a rule, or more than is kept.
        """
        if self._collector is not None:
            collected = self._collector.receive(data)
            if collected is None:
                return
            self._collector = None
            head, data = collected
            yield self._read(head)
        if self.upgrade:  # the body of a plain request is nobody's
            self.behind += data
            if len(self.behind) > self._limits.head:
                raise HandshakeError("too much sent before the handshake was answered", 400)

    def _read(self, head: bytes) -> Requested | PlainRequest:
        method, target, version, lines = parse_request(head)
        headers = Headers(lines)
        self.request = request = Request(
            method=sys.intern(method),
            target=target,
            headers=headers,
            subprotocols=tuple(tokens(headers, "Sec-WebSocket-Protocol")),
        )
        if not version.startswith("1."):
            raise HandshakeError(f"HTTP/{version} is not spoken here", 505)
        if not has_token(headers, "Upgrade", "websocket"):
            return PlainRequest(request)
        for rule in _RULES:
            if rule.broken(request, version):
                raise HandshakeError(rule.reason, rule.status, rule.headers)
        self.upgrade = True
        return Requested(request)

    def accept(self, subprotocol: str | None, headers: tuple[tuple[str, str], ...]) -> bytes:
        """The answer that opens the connection.

        Raises:
            LocalError: No upgrade was asked for, or not with this subprotocol.
            ValueError: A header that may not be sent.
        """
        if self.request is None or not self.upgrade:
            raise LocalError("there is no handshake to accept")
        key = self.request.headers["Sec-WebSocket-Key"].encode("ascii")
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", generate_accept_token(key).decode("ascii")),
        ]
        if subprotocol is not None:
            if subprotocol not in self.request.subprotocols:
                raise LocalError(f"subprotocol {subprotocol!r} was not offered")
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        if self._compression is not None:
            offers = tokens(self.request.headers, "Sec-WebSocket-Extensions")
            agreed = agree(offers, self._compression)
            if agreed is not None:
                agreement, answered = agreed
                self.terms = terms(agreement, self._compression, client=False)
                fields.append(("Sec-WebSocket-Extensions", answered))
        if headers:
            _check(headers)
        self.request.headers.pack()
        lines = [f"{name}: {value}\r\n" for name, value in (*fields, *headers)]
        answer = f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n"
        return answer.encode("latin-1")

    def respond(self, response: Response) -> bytes:
        """Any other answer; without its body where HEAD was asked."""
        return response.encode(head_only=self.request is not None and self.request.method == "HEAD")

    def refuse(self, error: HandshakeError) -> bytes:
        """The answer to what `receive` raised."""
        assert error.status is not None
        return self.respond(Response(error.status, f"{error.reason}\n", headers=error.headers))


def _check(headers: tuple[tuple[str, str], ...]) -> None:
    """See that these may be sent. What else an answer has is ours, or was read of a request."""
    try:
        h11.InformationalResponse(
            status_code=101,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        )
    except h11.LocalProtocolError as error:
        raise ValueError(str(error)) from error
