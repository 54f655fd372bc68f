"""The asyncio client: one connection after the other behind one face."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from functools import partial
from types import TracebackType
from typing import Self

from netclient.connection import LOST, Connection, Timing
from netclient.dial import dial
from netclient.dispatcher import Call, Callback, Dispatcher, Hooks
from netclient.errors import ConnectionClosed, NotConnected, OperationTimeout, Unsupported
from netclient.queue import ByteQueue
from netclient.state import ClientState
from netclient.supervisor import Supervisor
from netwire import (
    Backoff,
    Deflate,
    Framing,
    Limits,
    Message,
    TransformFactory,
    client_wire,
    parse_url,
)


class Client:
    """A connection to a server that comes back when it is lost.

    Pull messages with `recv` or ``async for``, or have them pushed: give ``on_message``, or
    override it. Callbacks are sync or async, run in order and one at a time; one that raises is
    logged and closes the client with 1011. Everything runs on the event loop that called
    `connect`, and only its thread may use the client; for others there is
    `netclient.blocking.Client`.

    Delivery is at most once, in order: a message that was sent may be lost together with its
    connection, and is never sent again. What arrived before a loss can still be received.

    After a loss the client connects again, unless the server closed with a code that tells it
    not to: it does so after 1001, 1006, 1011 to 1014, and after any end of a framed stream, which
    has no codes. It gives up when the server refuses for good (most of HTTP 4xx, a certificate
    that is not trusted), or when ``reconnect`` allows no further attempt.

    Args:
        url: Whom to talk to; see `netwire.parse_url` for the forms.
        reconnect: The waits before connecting again; None means that a loss is the end.
        tls: What to trust under ``wss://`` and ``tls://``; None means the system's authorities.
        framing: How a stream is framed, a class or a name; None means envelopes.
        transform: Makes a `netwire.Transform` for each connection; None leaves payloads alone.
        compression: What to offer a WebSocket's server, see `netwire.Deflate`; None for nothing.
        limits: What the server may make us hold.
        headers: Further header fields of the WebSocket handshake.
        subprotocols: What to offer in it, best first.
        origin: Its Origin header; None sends none.
        open_timeout: For one attempt to connect, with all handshakes, seconds.
        close_timeout: How long the server may take to answer a close, seconds.
        send_timeout: How long `send` waits for room, or for a lost connection, seconds.
        ping_interval: Time between two pings of a WebSocket, seconds; None sends none.
        ping_timeout: How long the server may take to answer a ping, seconds.
        receive_queue: Bytes of messages not yet received from which nothing more is read. What
            one read brings is kept above it. While nothing is read, no ping is answered.
        send_queue: Bytes not yet sent from which `send` waits.
        on_open: Called after each connecting: ``on_open()``.
        on_message: Called for each message: ``on_message(message)``. `recv` is then not allowed.
        on_close: Called after each loss and close: ``on_close(code, reason)``.
        on_state: Called at each change: ``on_state(old, new)``.

    Raises:
        netwire.UrlError: ``url`` is not one.
        ValueError: A time-out or a size is not positive, or ``tls`` is given without TLS.
    """

    def __init__(
        self,
        url: str,
        *,
        reconnect: Backoff | None = Backoff(),
        tls: ssl.SSLContext | None = None,
        framing: type[Framing] | str | None = None,
        transform: TransformFactory | None = None,
        compression: Deflate | None = None,
        limits: Limits = Limits(),
        headers: tuple[tuple[str, str], ...] = (),
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        open_timeout: float = 10.0,
        close_timeout: float = 5.0,
        send_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float = 20.0,
        receive_queue: int = 1024 * 1024,
        send_queue: int = 1024 * 1024,
        on_open: Callback | None = None,
        on_message: Callback | None = None,
        on_close: Callback | None = None,
        on_state: Callback | None = None,
    ) -> None:
        self._endpoint = parse_url(url)
        self.url = url
        if tls is not None and not self._endpoint.secure:
            raise ValueError(f"tls is given, and {self._endpoint.scheme}:// has no TLS")
        if tls is None and self._endpoint.secure:
            # Here and not at each attempt: reading the system's authorities takes a while.
            tls = ssl.create_default_context()
        _check_positive(
            open_timeout=open_timeout,
            close_timeout=close_timeout,
            send_timeout=send_timeout,
            ping_interval=1.0 if ping_interval is None else ping_interval,
            ping_timeout=ping_timeout,
            receive_queue=receive_queue,
            send_queue=send_queue,
        )
        self._send_timeout = send_timeout
        self._send_queue = send_queue
        self._timing = Timing(
            close=close_timeout,
            ping_interval=ping_interval if self._endpoint.websocket else None,
            ping_timeout=ping_timeout,
        )
        self._make_wire = partial(
            client_wire,
            self._endpoint,
            limits=limits,
            framing=framing,
            transform=transform,
            compression=compression,
            headers=headers,
            subprotocols=subprotocols,
            origin=origin,
        )
        self._hooks = Hooks(
            on_open=on_open or self.on_open,
            on_message=on_message or self.on_message,
            on_close=on_close or self.on_close,
            on_state=on_state or self.on_state,
        )
        self._pushes = on_message is not None or type(self).on_message is not Client.on_message
        self._inbox: ByteQueue[Message] = ByteQueue(receive_queue)
        self._calls: ByteQueue[Call] = ByteQueue(receive_queue)
        self._sendable = asyncio.Event()
        self._dispatcher = Dispatcher(self._calls, self._callback_failed)
        self._supervisor = Supervisor(
            url,
            partial(
                dial,
                self._endpoint,
                self._make_connection,
                url=url,
                tls=tls,
                open_timeout=open_timeout,
                close_timeout=close_timeout,
            ),
            reconnect=reconnect,
            has_codes=self._endpoint.websocket,
            hooks=self._hooks,
            calls=self._calls,
            inbox=self._inbox,
            sendable=self._sendable,
        )

    # To be overridden, or given to the constructor.

    def on_open(self) -> Awaitable[None] | None:
        """Called each time a connection is open."""

    def on_message(self, message: Message) -> Awaitable[None] | None:
        """Called for each message, where it is overridden."""

    def on_close(self, code: int, reason: str) -> Awaitable[None] | None:
        """Called each time a connection has ended, whether or not another follows."""

    def on_state(self, old: ClientState, new: ClientState) -> Awaitable[None] | None:
        """Called at each change of `state`."""

    # Where it stands.

    @property
    def state(self) -> ClientState:
        """Where the client stands now; see `ClientState`."""
        return self._supervisor.state

    @property
    def subprotocol(self) -> str | None:
        """What the server chose of the subprotocols offered; None when it chose none."""
        connection = self._supervisor.connection
        return None if connection is None else connection.headers.get("Sec-WebSocket-Protocol")

    @property
    def close_code(self) -> int | None:
        """The code with which the latest connection ended; None while it has not."""
        connection = self._supervisor.connection
        return None if connection is None else connection.code

    @property
    def close_reason(self) -> str:
        """What was said, or noticed, of that end."""
        connection = self._supervisor.connection
        return "" if connection is None else connection.reason

    # Opening and closing.

    async def connect(self) -> None:
        """Connect; once in the life of a client. The first attempt is not repeated, so that a
        wrong address is noticed at once.

        Raises:
            ConnectFailed: The server cannot be reached, does not answer in time, or refuses.
            NotConnected: The client was connected or closed before.
            ConnectionClosed: Another task closed the client meanwhile.
            ValueError: The framing has no such name, or a header cannot be sent.
        """
        if self.state is not ClientState.IDLE:
            raise NotConnected(self.url, f"a client connects once; this one is {self.state.value}")
        self._dispatcher.start()
        try:
            await self._supervisor.open()
        except BaseException:
            await self._dispatcher.finish(self._timing.close)
            raise

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until everything has ended; at most about twice ``close_timeout``.

        Messages received before can still be got with `recv`; those that arrive after are
        dropped. Closing twice does no harm. Called from a callback, it does not wait for it.

        Raises:
            ValueError: The code may not be sent, or the reason is longer than 123 bytes.
        """
        self._supervisor.stop(code, reason)
        await self._supervisor.join()
        await self._dispatcher.finish(self._timing.close)

    async def wait_closed(self) -> None:
        """Wait until the client is closed for good: by `close`, by the server, or by a failure.

        Raises:
            ConnectionClosed: It did not end in good order.
            NotConnected: The client never connected.
        """
        self._require_connect()
        await self._supervisor.closed.wait()
        if not self._supervisor.ended_well:
            raise self._supervisor.closed_error() from self._supervisor.cause

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # Messages.

    async def send(self, message: Message) -> None:
        """Send one message: ``str`` as text, ``bytes`` as binary.

        Waits while more than ``send_queue`` bytes are unsent, and while the client reconnects.
        Returns when the message is in the write buffer, which says nothing of its arrival.
        Cancelled, it has not been sent.

        Raises:
            TypeError: It is neither ``bytes`` nor ``str``.
            ValueError: The framing cannot carry it.
            OperationTimeout: There was no room, or no connection, within ``send_timeout``.
            ConnectionClosed: The client is closed.
            NotConnected: The client never connected.
        """
        connection = self._supervisor.connection
        if connection is None or not connection.writable:
            connection = await self._writable()
        connection.write(message)

    async def recv(self, timeout: float | None = None) -> Message:
        """The next message. Cancelled, it loses none.

        Args:
            timeout: Seconds to wait; None waits as long as there is hope for a connection.

        Raises:
            OperationTimeout: Nothing came in time.
            ConnectionClosed: The client is closed, and everything that came was received.
            NotConnected: The client never connected.
            Unsupported: ``on_message`` takes the messages.
        """
        if self._pushes:
            raise Unsupported(self.url, "on_message takes the messages")
        self._require_connect()
        try:
            if timeout is None:
                return await self._inbox.get()
            async with asyncio.timeout(timeout):
                return await self._inbox.get()
        except EOFError:
            raise self._supervisor.closed_error() from self._supervisor.cause
        except TimeoutError:
            raise OperationTimeout(self.url, "receiving", timeout or 0.0) from None

    def __aiter__(self) -> Self:
        """Messages until the client is closed.

        Raises:
            ConnectionClosed: It did not end in good order: neither by `close`, nor by the server
                with 1000, 1001 or no code.
        """
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.recv()
        except ConnectionClosed:
            if self._supervisor.ended_well:
                raise StopAsyncIteration from None
            raise

    async def ping(self) -> float:
        """Ask the server to answer.

        Returns:
            The round trip, seconds.

        Raises:
            OperationTimeout: No answer within ``ping_timeout``.
            ConnectionClosed: The connection is not open, or was lost meanwhile.
            Unsupported: The URL is no WebSocket.
        """
        if not self._endpoint.websocket:
            raise Unsupported(self.url, "only WebSocket has pings")
        connection = self._supervisor.connection
        if connection is None or self.state is not ClientState.OPEN:
            raise self._supervisor.closed_error()
        try:
            async with asyncio.timeout(self._timing.ping_timeout):
                return await connection.ping()
        except ConnectionResetError as error:
            raise ConnectionClosed(self.url, LOST, str(error)) from error
        except TimeoutError:
            raise OperationTimeout(self.url, "a ping", self._timing.ping_timeout) from None

    # Inside.

    def _make_connection(self) -> Connection:
        return Connection(
            self._make_wire(),
            queue=self._calls if self._pushes else self._inbox,
            deliver=self._push if self._pushes else self._keep,
            sendable=self._sendable,
            send_limit=self._send_queue,
            timing=self._timing,
        )

    def _keep(self, message: Message) -> None:
        self._inbox.put(message, len(message))

    def _push(self, message: Message) -> None:
        self._calls.put((self._hooks.on_message, (message,)), len(message))

    async def _writable(self) -> Connection:
        self._require_connect()
        supervisor = self._supervisor
        try:
            async with asyncio.timeout(self._send_timeout):
                while True:
                    if supervisor.state in (ClientState.CLOSING, ClientState.CLOSED):
                        raise supervisor.closed_error() from supervisor.cause
                    connection = supervisor.connection
                    if connection is not None and connection.writable:
                        return connection
                    self._sendable.clear()
                    await self._sendable.wait()
        except TimeoutError:
            raise OperationTimeout(self.url, "sending", self._send_timeout) from None

    def _require_connect(self) -> None:
        if self.state is ClientState.IDLE:
            raise NotConnected(self.url, "call connect() first")

    def _callback_failed(self, error: Exception) -> None:
        self._supervisor.stop(1011, "", failure=error)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive and finite, not {value!r}")
