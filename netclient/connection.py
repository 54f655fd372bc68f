"""One connection: a wire on an asyncio transport, from its opening to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, cast

from attrs import frozen

from netclient.queue import ByteQueue
from netwire import (
    Closed,
    Event,
    Failed,
    Headers,
    Message,
    More,
    Opened,
    Ping,
    Pong,
    RemoteError,
    State,
    Wire,
)

LOST = 1006
"""The code of a connection that ended without a close (RFC 6455, section 7.1.5)."""


@frozen(kw_only=True)
class Timing:
    """The deadlines of a connection, seconds.

    Args:
        close: How long the peer may take to answer our close, and to take what we still send.
        ping_interval: Time between two pings of ours; None sends none.
        ping_timeout: How long the peer may take to answer one.
    """

    close: float
    ping_interval: float | None
    ping_timeout: float


class Connection(asyncio.Protocol):
    """Moves bytes between a transport and a wire. Everything runs on one event loop.

    Args:
        wire: The protocol, fresh.
        queue: Where messages end up; reading stops while it is full.
        deliver: Puts one message there.
        sendable: Kept set while `write` may be called without exceeding the send limit.
        send_limit: Bytes in the write buffer from which sending has to wait.
        timing: Its deadlines.

    Attributes:
        opened: Set when the connection may be used, and when it ended before.
        accepted: Whether it ever could be used.
        lost: Set when the transport is gone.
        code: The close code, once known.
        reason: What was said or noticed of it.
        error: Why it failed; None when it was closed in good order.
        headers: Those of the handshake's answer; empty where there is no handshake.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        queue: ByteQueue[Any],
        deliver: Callable[[Message], None],
        sendable: asyncio.Event,
        send_limit: int,
        timing: Timing,
    ) -> None:
        self.opened = asyncio.Event()
        self.accepted = False
        self.lost = asyncio.Event()
        self.code: int | None = None
        self.reason = ""
        self.error: RemoteError | OSError | None = None
        self.headers = Headers()
        self._wire = wire
        self._queue = queue
        self._deliver = deliver
        self._sendable = sendable
        self._send_limit = send_limit
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reading_paused = False
        self._more = False  # whether the wire keeps some of what arrived
        self._writing_paused = False
        self._closing = False
        # What came with the handshake's end, and may not overtake the news that it is open.
        self._early: list[Message] | None = []
        self._deadline: asyncio.TimerHandle | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._pings: dict[bytes, tuple[asyncio.Future[float], float]] = {}
        self._pings_sent = 0

    # What the client calls.

    @property
    def writable(self) -> bool:
        """Whether a message can be written now without exceeding the send limit."""
        return self._wire.state is State.OPEN and not self._writing_paused

    def write(self, message: Message) -> None:
        """Send one message; only while `writable`.

        Raises:
            TypeError: It is neither ``bytes`` nor ``str``.
            ValueError: The framing cannot carry it.
        """
        self._write(self._wire.encode(message))

    def release(self) -> None:
        """Deliver messages from now on, and those that came already."""
        early, self._early = self._early, None
        for message in early or ():
            self._deliver(message)

    async def ping(self) -> float:
        """Ask the peer to answer, and wait for that.

        Returns:
            The round trip, seconds.

        Raises:
            ConnectionResetError: The connection was lost meanwhile.
        """
        self._pings_sent += 1
        payload = self._pings_sent.to_bytes(8)
        answered: asyncio.Future[float] = self._loop.create_future()
        self._pings[payload] = (answered, perf_counter())
        try:
            self._write(self._wire.ping(payload))
            return await answered
        finally:
            self._pings.pop(payload, None)

    def close(self, code: int, reason: str) -> None:
        """Begin to close; the connection is `lost` at the deadline at the latest.

        Messages that arrive from now on are dropped.

        Raises:
            ValueError: The code may not be sent, or the reason is too long.
        """
        data = self._wire.close(code, reason)
        if self.lost.is_set():
            return
        self._closing = True
        self._sendable.clear()
        self._write(data)
        # The peer's answer has to get through, however full the queue is.
        self._resume_reading()
        if self._wire.state is State.CLOSED:
            self._end(code, reason, None)
        else:
            self._arm_deadline()

    def abort(self, reason: str) -> None:
        """Drop the connection at once, with what was not sent yet."""
        if self.code is None:
            self.code, self.reason = LOST, reason
        if self._transport is not None:
            self._transport.abort()

    async def discard(self) -> None:
        """Drop a connection that is not wanted, and wait until nothing of it is left."""
        self.abort("given up")
        if self._transport is not None:
            await self.lost.wait()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._send_limit)
        self._queue.on_room = self._resume_reading
        self._write(self._wire.start())
        if self._wire.state is State.OPEN:
            self._open(Headers())

    def data_received(self, data: bytes) -> None:
        events = self._wire.receive(data)
        self._handle(events)
        self._more = bool(events) and isinstance(events[-1], More)
        full = self._queue.full and not self._closing
        if full or self._more:
            self._pause_reading()
            if not full:
                self._loop.call_soon(self._resume_reading)
        elif self._reading_paused:
            self._resume_reading()

    def eof_received(self) -> None:
        self._handle(self._wire.receive_eof())

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._sendable.clear()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self.writable:
            self._sendable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.code is None:
            self.code, self.reason = LOST, str(exc) if exc else "the connection was lost"
            self.error = exc if isinstance(exc, OSError) else None
        self._wire.receive_eof()
        self._sendable.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for answered, _ in self._pings.values():
            if not answered.done():
                answered.set_exception(ConnectionResetError(self.reason))
        self.lost.set()
        self.opened.set()

    # What a wire reports.

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, bytes | str):
                if self._early is not None:
                    self._early.append(event)
                elif not self._closing:
                    self._deliver(event)
            elif isinstance(event, Ping):
                # A peer that does not read its pongs is not sent more of them.
                if not self._writing_paused:
                    self._write(event.reply)
            elif isinstance(event, Pong):
                self._answered(event.payload)
            elif isinstance(event, Opened):
                self._open(Headers(event.response.headers if event.response else ()))
            elif isinstance(event, Closed):
                self._write(event.reply)
                self._end(event.code, event.reason, None)
            elif isinstance(event, Failed):
                self._write(event.reply)
                self._end(event.error.close_code, event.error.reason, event.error)

    def _open(self, headers: Headers) -> None:
        self.headers = headers
        self.accepted = True
        self.opened.set()
        if self._timing.ping_interval is not None:
            self._heartbeat = self._loop.create_task(self._beat(self._timing.ping_interval))

    def _end(self, code: int, reason: str, error: RemoteError | None) -> None:
        if self.code is None:
            self.code, self.reason, self.error = code, reason, error
        self.opened.set()
        self._sendable.clear()
        self._arm_deadline()
        if self._transport is not None:
            self._transport.close()

    def _answered(self, payload: bytes) -> None:
        if payload not in self._pings:
            return
        # A pong answers every ping up to its own (RFC 6455, section 5.5.3).
        for sent in list(self._pings):
            answered, at = self._pings.pop(sent)
            if not answered.done():
                answered.set_result(perf_counter() - at)
            if sent == payload:
                return

    async def _beat(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                async with asyncio.timeout(self._timing.ping_timeout):
                    await self.ping()
            except TimeoutError:
                # While we do not read, no pong can reach us, and that is not the peer's fault.
                if not self._reading_paused:
                    self.abort(f"no answer to a ping within {self._timing.ping_timeout:g} s")
                    return

    # The transport.

    def _write(self, data: bytes) -> None:
        # uvloop raises on a transport that is closing, and what is sent then is lost anyway.
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            if self._more:
                self._more = False
                self._loop.call_soon(self.data_received, b"")
                return
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _arm_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(
                self._timing.close, self.abort, f"not closed within {self._timing.close:g} s"
            )
