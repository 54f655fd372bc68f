"""Keeps a client connected: opens a connection, and another one when it is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from netclient.connection import LOST, Connection
from netclient.dispatcher import Call, Hooks
from netclient.errors import ConnectFailed, ConnectionClosed
from netclient.queue import ByteQueue
from netclient.state import TRANSITIONS, ClientState
from netwire import Backoff, Retry

# Closes that say the server or the path failed, not that we did something wrong: going away,
# lost, internal error, service restart, try again later, bad gateway (RFC 6455, section 7.4.1,
# and the IANA registry). An application's own codes (3000 to 4999) are its way to say "stay away".
_WORTH_RETRYING = frozenset({1001, LOST, 1011, 1012, 1013, 1014})

# Closes in good order; 1005 is a close frame without a code.
_NORMAL = frozenset({1000, 1001, 1005})


class Supervisor:
    """The state of a client, and the one task that changes its connection.

    Args:
        url: For errors.
        dial: Makes a connection that is open, or raises `ConnectFailed`.
        reconnect: The waits before dialling again; None means that a loss is the end.
        has_codes: Whether the protocol closes with codes, so that they can be judged.
        hooks: Whom to tell.
        calls: Where calls of hooks are put; closed at the end.
        inbox: Closed at the end.
        sendable: Set while a message may be written, and at the end.

    Attributes:
        state: Where the client stands.
        connection: The latest; None before the first.
        closed: Set when nothing more will happen.
        cause: What ended it, where that was an error.
    """

    def __init__(
        self,
        url: str,
        dial: Callable[[], Awaitable[Connection]],
        *,
        reconnect: Backoff | None,
        has_codes: bool,
        hooks: Hooks,
        calls: ByteQueue[Call],
        inbox: ByteQueue[Any],
        sendable: asyncio.Event,
    ) -> None:
        self.state = ClientState.IDLE
        self.connection: Connection | None = None
        self.closed = asyncio.Event()
        self.cause: BaseException | None = None
        self._url = url
        self._dial = dial
        self._reconnect = reconnect
        self._has_codes = has_codes
        self._hooks = hooks
        self._calls = calls
        self._inbox = inbox
        self._sendable = sendable
        self._opened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._code = LOST
        self._reason = ""

    async def open(self) -> None:
        """Start, and wait for the first connection.

        Raises:
            ConnectFailed: It did not come about.
            ConnectionClosed: `stop` was called meanwhile.
        """
        self._enter(ClientState.CONNECTING)
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await self._opened.wait()
        except asyncio.CancelledError:
            self.stop(1001, "cancelled")
            await self.join()
            raise
        if self.closed.is_set():
            await self.join()
            raise self.cause or self.closed_error()

    def stop(self, code: int, reason: str, failure: BaseException | None = None) -> None:
        """Begin to end; `closed` is set when it is done.

        Args:
            code: What to tell the server, where there is one.
            reason: The same in words.
            failure: Why, where it is no orderly end.

        Raises:
            ValueError: The code may not be sent, or the reason is too long.
        """
        if self.state is ClientState.OPEN and self.connection is not None:
            self.connection.close(code, reason)
            self._enter(ClientState.CLOSING)
            self.cause = failure
        elif self.state not in (ClientState.CLOSING, ClientState.CLOSED):
            self._finish(code, reason, failure)
            if self._task is not None:
                self._task.cancel()
        self._stopped = self._stopped or failure is None

    async def join(self) -> None:
        """Wait until it has ended and its task with it."""
        await self.closed.wait()
        if self._task is not None:
            await asyncio.wait({self._task})

    @property
    def ended_well(self) -> bool:
        """Whether it was stopped here, or closed by the server in good order."""
        return self._stopped or (self.cause is None and self._code in _NORMAL)

    def closed_error(self) -> ConnectionClosed:
        """The error that says how the connection ended."""
        if self.state is ClientState.CLOSED or self.connection is None:
            return ConnectionClosed(self._url, self._code, self._reason)
        return ConnectionClosed(self._url, self.connection.code or LOST, self.connection.reason)

    async def _run(self) -> None:
        retry = None if self._reconnect is None else Retry(self._reconnect)
        loop = asyncio.get_running_loop()
        try:
            connection = await self._dial()
            while True:
                self._use(connection)
                opened_at = loop.time()
                await connection.lost.wait()
                code, reason = connection.code or LOST, connection.reason
                self._calls.put((self._hooks.on_close, (code, reason)), 0)
                if retry is None or not self._worth_retrying(connection):
                    self._finish(code, reason, self.cause or connection.error)
                    return
                self._enter(ClientState.RECONNECTING)
                connection = await self._dial_again(retry, loop.time() - opened_at)
        except Exception as error:
            # Not swallowed: `open` raises it, and after the first connection `recv` does.
            self._finish(LOST, str(error), error)

    def _worth_retrying(self, connection: Connection) -> bool:
        if self.state is ClientState.CLOSING:
            return False
        if not self._has_codes:
            # A server that restarts ends its streams just like one that is done with us.
            return connection.error is None or connection.code == LOST
        return connection.code in _WORTH_RETRYING

    async def _dial_again(self, retry: Retry, lived: float) -> Connection:
        while True:
            delay = retry.next_delay(lived, random.random)
            if delay is None:
                raise ConnectFailed(self._url, f"gave up after {retry.failures} failures in a row")
            await asyncio.sleep(delay)
            try:
                return await self._dial()
            except ConnectFailed as error:
                if error.final:
                    raise
            lived = 0.0

    def _use(self, connection: Connection) -> None:
        self.connection = connection
        self._enter(ClientState.OPEN)
        self._calls.put((self._hooks.on_open, ()), 0)
        connection.release()
        if connection.writable:
            self._sendable.set()
        self._opened.set()

    def _finish(self, code: int, reason: str, cause: BaseException | None) -> None:
        self._code, self._reason, self.cause = code, reason, cause
        self._enter(ClientState.CLOSED)
        self._inbox.close()
        self._calls.close()
        self._sendable.set()
        self._opened.set()
        self.closed.set()

    def _enter(self, new: ClientState) -> None:
        old = self.state
        assert new in TRANSITIONS[old], (old, new)
        self.state = new
        self._calls.put((self._hooks.on_state, (old, new)), 0)
