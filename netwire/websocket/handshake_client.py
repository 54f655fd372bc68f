"""The opening handshake as a client sees it (RFC 6455, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable

import h11
from attrs import frozen
from wsproto.utilities import generate_accept_token, generate_nonce

from netwire.errors import HandshakeError
from netwire.http import Headers, Response
from netwire.limits import Limits
from netwire.websocket.compression import Terms, terms
from netwire.websocket.deflate import Deflate, confirm, offer
from netwire.websocket.handshake_server import has_token, tokens
from netwire.websocket.head import HeadCollector


@frozen
class _Rule:
    """What the answer that opens the connection must not be."""

    broken: Callable[[Headers, ClientHandshake], bool]
    reason: str


_RULES = (
    _Rule(
        lambda headers, handshake: not has_token(headers, "Upgrade", "websocket"),
        "the server upgrades to something else",
    ),
    _Rule(
        lambda headers, handshake: not has_token(headers, "Connection", "upgrade"),
        "the server does not say that it upgrades",
    ),
    _Rule(
        lambda headers, handshake: (
            headers.get_all("Sec-WebSocket-Accept") != [handshake.accept_token]
        ),
        "the server's Sec-WebSocket-Accept is wrong",
    ),
    _Rule(
        lambda headers, handshake: (
            headers.get_all("Sec-WebSocket-Protocol")
            not in [[], *([offered] for offered in handshake.subprotocols)]
        ),
        "the server chose a subprotocol that was not offered",
    ),
    _Rule(
        lambda headers, handshake: (
            "Sec-WebSocket-Extensions" in headers and handshake.compression is None
        ),
        "the server chose an extension that was not offered",
    ),
)


class ClientHandshake:
    """One handshake, from the request to the server's answer.

    Args:
        host: The Host header's value.
        target: Path and query.
        limits: Of the answer's head.
        headers: Further headers.
        subprotocols: To offer, best first.
        origin: The Origin header's value, or None for none.
        compression: What to offer; None for nothing.

    Attributes:
        terms: Of the compression that was agreed on; None for none.

    Raises:
        ValueError: Something of it may not stand in an HTTP request.
    """

    __slots__ = (
        "_collector",
        "_http",
        "accept_token",
        "compression",
        "hello",
        "subprotocols",
        "terms",
    )

    def __init__(
        self,
        host: str,
        target: str,
        limits: Limits,
        headers: tuple[tuple[str, str], ...],
        subprotocols: tuple[str, ...],
        origin: str | None,
        compression: Deflate | None,
    ) -> None:
        self._collector = HeadCollector(limits)
        self._http = h11.Connection(h11.CLIENT)
        key = generate_nonce()
        self.accept_token: str = generate_accept_token(key).decode("ascii")
        self.subprotocols: tuple[str, ...] = subprotocols
        self.compression: Deflate | None = compression
        self.terms: Terms | None = None
        fields = [
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key.decode("ascii")),
            ("Sec-WebSocket-Version", "13"),
        ]
        if subprotocols:
            fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        if compression is not None:
            fields.append(("Sec-WebSocket-Extensions", offer(compression)))
        if origin is not None:
            fields.append(("Origin", origin))
        try:
            request = h11.Request(
                method="GET",
                target=target,
                headers=[
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in (*fields, *headers)
                ],
            )
            self.hello = self._http.send(request) or b""
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from error

    def receive(self, data: bytes) -> tuple[Response, bytes] | None:
        """Take what arrived.

        Returns:
            The answer that opens the connection, and the bytes behind it; None while it is not
            complete. The body of a refusal is not waited for.

        Raises:
            HandshakeError: It does not open the connection.
        """
        try:
            collected = self._collector.receive(data)
        except HandshakeError as error:
            raise HandshakeError(error.reason, status=None) from error
        if collected is None:
            return None
        head, behind = collected
        self._http.receive_data(head)
        try:
            answer = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise HandshakeError(f"not an HTTP answer: {error}", status=None) from error
        assert isinstance(answer, h11.InformationalResponse | h11.Response)
        lines = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in answer.headers.raw_items()
        )
        status = answer.status_code
        if status != 101:
            raise HandshakeError("the server refused the handshake", status, lines)
        headers = Headers(lines)
        for rule in _RULES:
            if rule.broken(headers, self):
                raise HandshakeError(rule.reason, status, lines)
        if self.compression is not None and "Sec-WebSocket-Extensions" in headers:
            try:
                agreed = confirm(tokens(headers, "Sec-WebSocket-Extensions"), self.compression)
            except ValueError as error:
                raise HandshakeError(str(error), status, lines) from error
            self.terms = terms(agreed, self.compression, client=True)
        return Response(status, headers=lines), behind
