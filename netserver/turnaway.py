"""Telling a peer that there is no place for it, so that it knows why and when to come again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from netwire import Response, State, TlsError, Wire, events
from netwire.tls import TlsEngine

# In how many seconds a client may try again: the Foreman has measured anew by then.
RETRY_AFTER = 1

NO_PLACE = Response(
    503,
    "No node can keep the declared latency.\n",
    headers=(("Retry-After", str(RETRY_AFTER)),),
)

TOO_MANY = Response(
    503,
    "Too many connections from this address.\n",
    headers=(("Retry-After", str(RETRY_AFTER)),),
)


class TurnAway(asyncio.Protocol):
    """Answers one peer: HTTP 503 where it speaks HTTP, the end of the stream elsewhere.

    Then it drops what comes until the peer ends its own side: closing at once would reset the
    connection, and the peer could lose the answer. Owned by the thread of the listener's node.

    Args:
        wire: The peer's protocol.
        tls: Its encryption; None for plain bytes.
        timeout: How long it may take altogether, seconds; then the connection is cut.
        done: Called with it once it has ended.
        response: What a peer that speaks HTTP is answered.
    """

    __slots__ = (
        "_answered",
        "_done",
        "_response",
        "_timeout",
        "_timer",
        "_tls",
        "_transport",
        "_wire",
    )

    def __init__(
        self,
        wire: Wire,
        tls: TlsEngine | None,
        timeout: float,
        done: Callable[[TurnAway], object],
        response: Response = NO_PLACE,
    ) -> None:
        self._wire = wire
        self._tls = tls
        self._timeout = timeout
        self._done = done
        self._response = response
        self._answered = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, sock: socket.socket) -> None:
        """Adopt the socket, which is its own from here on."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self, sock)
        except BaseException as error:
            sock.close()
            self._done(self)
            if not isinstance(error, OSError):  # the peer has gone: nobody is left to be told
                raise

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---------------------------------------------------------------- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self.abort)
        if self._tls is None and self._wire.state is State.OPEN:
            self._answer(b"")

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        for event in self._wire.receive(data):
            match event:
                case events.Requested() | events.PlainRequest():
                    self._answer(self._wire.respond(self._response))
                case events.Failed():
                    self._answer(event.reply)

    def eof_received(self) -> bool:
        return False  # it is closed now

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._done(self)

    # ---------------------------------------------------------------- the answer

    def _decrypt(self, tls: TlsEngine, data: bytes) -> bytes:
        assert self._transport is not None
        try:
            plain = tls.receive(data)
        except TlsError:
            plain = b""
            self._answered = True
        if output := tls.take_output():
            self._transport.write(output)
        if self._answered:
            self._transport.close()
        elif tls.handshaken and self._wire.state is State.OPEN:
            self._answer(b"")
        return b"" if self._answered else plain

    def _answer(self, answer: bytes) -> None:
        transport, tls = self._transport, self._tls
        assert transport is not None
        self._answered = True
        if tls is not None:
            answer = (tls.encrypt(answer) if answer else b"") + tls.close()
        if answer:
            transport.write(answer)
        try:
            transport.write_eof()
        except OSError:  # the peer has reset the connection
            transport.abort()
