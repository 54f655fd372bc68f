"""The client's side of a WebSocket connection."""

from __future__ import annotations

from netwire.errors import HandshakeError
from netwire.events import Event, Opened
from netwire.http import Headers
from netwire.limits import Limits
from netwire.websocket.deflate import Deflate
from netwire.websocket.handshake_client import ClientHandshake
from netwire.websocket.wire import WebSocket
from netwire.wire import State, Transform


class WebSocketClient(WebSocket):
    """One connection that we open to a server.

    Args:
        host: The Host header's value, with the port where it is not the scheme's own.
        target: Path and query, percent-encoded.
        limits: How much the peer may make us hold.
        headers: Further headers of the handshake.
        subprotocols: To offer, best first.
        origin: The Origin header's value, or None for none.
        transform: Changes the payloads of messages on their way out and in.
        compression: How to compress, if the server can; None not to offer it.

    Raises:
        ValueError: Something of it may not stand in an HTTP request.
    """

    __slots__ = ("_handshake",)

    def __init__(
        self,
        host: str,
        target: str = "/",
        *,
        limits: Limits = Limits(),
        headers: tuple[tuple[str, str], ...] = (),
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        transform: Transform | None = None,
        compression: Deflate | None = None,
    ) -> None:
        super().__init__(client=True, limits=limits, transform=transform)
        self._handshake: ClientHandshake | None = ClientHandshake(
            host, target, limits, headers, subprotocols, origin, compression
        )

    def start(self) -> bytes:
        """The handshake's request."""
        return b"" if self._handshake is None else self._handshake.hello

    def _receive_handshake(self, data: bytes) -> list[Event]:
        assert self._handshake is not None
        try:
            answered = self._handshake.receive(data)
        except HandshakeError as error:
            return [self._fail(error)]
        if answered is None:
            return []
        response, behind = answered
        self.subprotocol = Headers(response.headers).get("Sec-WebSocket-Protocol")
        agreed = self._handshake.terms
        self._enter(State.OPEN)
        if agreed is not None:
            self._compress(agreed)
        return [Opened(response), *self.receive(behind)]

    def _enter(self, state: State) -> None:
        super()._enter(state)
        self._handshake = None  # every state that is entered lies behind it
