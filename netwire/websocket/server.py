"""The server's side of a WebSocket connection."""

from __future__ import annotations

from collections.abc import Hashable

from netwire.errors import HandshakeError, LocalError, RemoteError
from netwire.events import Event
from netwire.http import Response
from netwire.limits import Limits
from netwire.websocket.compression import Terms
from netwire.websocket.deflate import Deflate
from netwire.websocket.handshake_server import ServerHandshake
from netwire.websocket.wire import WebSocket
from netwire.wire import State, Transform


class WebSocketServer(WebSocket):
    """One connection that a client opened to us.

    Args:
        limits: How much the peer may make us hold.
        transform: Changes the payloads of messages on their way out and in.
        compression: How to compress, if the client offers it; None not to.
    """

    __slots__ = ("_handshake", "encoding_key")

    def __init__(
        self,
        limits: Limits = Limits(),
        *,
        transform: Transform | None = None,
        compression: Deflate | None = None,
    ) -> None:
        super().__init__(client=False, limits=limits, transform=transform)
        # A server masks nothing, so every connection's bytes are the same.
        self.encoding_key: Hashable = ("websocket", "server") if transform is None else None
        self._handshake: ServerHandshake | None = ServerHandshake(limits, compression)

    def _receive_handshake(self, data: bytes) -> list[Event]:
        assert self._handshake is not None
        events: list[Event] = []
        try:
            # Step by step, so that a fault behind the request leaves the request reported.
            events.extend(self._handshake.receive(data))
        except HandshakeError as error:
            events.append(self._fail(error))
        return events

    def accept(
        self, subprotocol: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """Answer `Requested` with yes; then call ``receive(b"")`` for what came behind it.

        Raises:
            LocalError: There is no request to answer, or the peer did not offer the subprotocol.
            ValueError: A header that may not be sent.
        """
        if self._handshake is None:
            raise LocalError("there is no handshake to accept")
        answer = self._handshake.accept(subprotocol, headers)
        behind, agreed = bytes(self._handshake.behind), self._handshake.terms
        self._enter(State.OPEN)
        if agreed is not None:
            self._compress(agreed)
        self._held = behind
        self.subprotocol = subprotocol
        return answer

    def respond(self, response: Response) -> bytes:
        """Answer `Requested` or `PlainRequest` with an HTTP response; the wire is CLOSED then.

        Raises:
            LocalError: There is no request to answer.
        """
        if self._handshake is None or self._handshake.request is None:
            raise LocalError("there is no request to answer")
        answer = self._handshake.respond(response)
        self._enter(State.CLOSED)
        return answer

    def receive_eof(self) -> list[Event]:
        handshake = self._handshake
        if handshake is not None and handshake.request is not None and not handshake.upgrade:
            return []  # a plain request is whole, and may be answered to who only half-closed
        return super().receive_eof()

    def _compress(self, terms: Terms) -> None:
        super()._compress(terms)
        if self.encoding_key is not None:
            # With context taken over what is sent depends on what was sent before.
            self.encoding_key = None if terms.ours.context else ("websocket", "server", terms)

    def _failure_reply(self, error: RemoteError) -> bytes:
        if self._handshake is not None and isinstance(error, HandshakeError):
            return self._handshake.refuse(error)
        return super()._failure_reply(error)

    def _enter(self, state: State) -> None:
        super()._enter(state)
        self._handshake = None  # every state that is entered lies behind it
