"""Between the socket and the user's connection: moves bytes, keeps deadlines, decides nothing.

The way of a message: the loop calls `Shell.data_received`; TLS, if any, decrypts; the wire makes
messages of the bytes; `on_message` gets each; what it sends is encoded by the wire, gathered, and
leaves in one write when the read is dealt with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Hashable
from enum import IntFlag
from typing import TYPE_CHECKING, Any, cast

from foreman import Node, NotMovable
from netserver.admission import Admission
from netserver.doorstep import Doorstep
from netserver.events import Closed, Failed, Opened
from netserver.outflow import Outflow
from netserver.pull import Pull
from netserver.serial import Serial
from netwire import Message, RemoteError, Request, Response, State, TlsError, Wire, events
from netwire.tls import TlsEngine
from netwire.websocket.close import close_payload

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.connection import Address, Connection

logger = logging.getLogger(__name__)

# Replies to one read are gathered up to this many bytes before they are written: enough for every
# pipelined small message, and a bound for a handler that sends without end.
CORK_LIMIT = 64 * 1024


class Hold(IntFlag):
    """Why a connection is not read at the moment."""

    ADMISSION = 1  # on_connect has not answered
    HANDLER = 2  # its handler has enough to do
    WRITING = 4  # it does not read what we send
    MOVING = 8  # it is about to leave this node


class Shell(asyncio.Protocol):
    """The transport's protocol for one connection. Owned by the thread of the connection's node.

    It goes along when the connection moves; only its transport is a new one then.

    Args:
        connection: The user's object.
        wire: Its protocol.
        tls: Its encryption; None for plain bytes.
        sock: The connected, non-blocking socket, owned by the shell from now on.
        config: Limits and deadlines.
    """

    __slots__ = (
        "_admission",
        "_corked",
        "_corked_size",
        "_corking",
        "_doorstep",
        "_draining",
        "_failed",
        "_holds",
        "_is_gone",
        "_opened",
        "_pull",
        "_queueing",
        "_socket",
        "_timer",
        "config",
        "connection",
        "node",
        "outflow",
        "serial",
        "tls",
        "transport",
        "wire",
    )

    node: Node

    def __init__(
        self,
        connection: Connection,
        wire: Wire,
        tls: TlsEngine | None,
        sock: socket.socket,
        config: ServerConfig,
    ) -> None:
        self.connection = connection
        self.wire = wire
        self.tls = tls
        self.config = config
        self.transport: asyncio.Transport | None = None
        self.serial = Serial(self)
        self.outflow = Outflow(self)
        self._socket: socket.socket | None = sock
        self._admission: Admission | None = Admission(self)
        self._doorstep: Doorstep | None = None
        self._pull: Pull | None = None
        self._queueing = False  # messages do not go straight to on_message
        self._corking = False  # what is sent is gathered
        self._corked: list[bytes] = []
        self._corked_size = 0
        self._holds = Hold(0)
        self._timer: asyncio.TimerHandle | None = None
        self._opened = False
        self._failed = False
        self._draining = False
        self._is_gone = False

    # ---------------------------------------------------------------- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self.config.write_high_water)
        if self._admission is not None:
            self._timer = self.node.loop.call_later(
                self.config.handshake_timeout, self._never_opened
            )
            if self.tls is None:
                self._start_wire()
            else:
                self._write_past_tls(self.tls.start())

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        node = self.node
        node.enter(connection)
        self._corking = True
        try:
            if self.tls is not None:
                data = self._decrypt(self.tls, data)
            self._take(self.wire.receive(data))
        finally:
            self._corking = False
            if self._corked:
                self._uncork()
            node.leave(connection)

    def eof_received(self) -> bool:
        """The peer will send nothing more. The transport is closed after what is to be written."""
        if self.tls is not None and not self.tls.peer_closed and self.wire.state is State.OPEN:
            self._note(1006, "the TLS stream ended without a close")
        self.node.run(self.connection, self._ended)
        return True  # closing it is up to us: something may still wait to be written

    def pause_writing(self) -> None:
        self.outflow.pause()
        self.hold(Hold.WRITING)

    def resume_writing(self) -> None:
        self.outflow.resume()
        if not self.outflow.paused:
            self.release(Hold.WRITING)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._cancel_timer()
        self.outflow.release()
        if error is not None and self.wire.state is not State.CLOSED:
            self._note(1006, f"the connection was lost: {error}")
        self.node.run(self.connection, self._lost)

    # ---------------------------------------------------------------- in

    def _take(self, happened: list[events.Event]) -> None:
        """Hand out what the wire reports. Messages come first: nothing else is frequent."""
        connection = self.connection
        for event in happened:
            kind = type(event)
            if kind is bytes or kind is str:
                if self._queueing or self.serial.busy:
                    self._queue(cast("Message", event))
                elif not self._failed:
                    try:
                        result = connection.on_message(event)
                    except Exception as error:
                        self.fail(error)
                    else:
                        if result is not None:
                            self.serial.follow(result)
            else:
                self._handle(event)

    def _queue(self, message: Message) -> None:
        """Its handler is not ready for the message; stop reading when much has gathered."""
        if self._failed:
            return
        if self._pull is not None:
            self._pull.put(message)
            waiting = self._pull.size
        else:
            self.serial.call(self._deliver, message, size=len(message))
            waiting = self.serial.size
        if waiting > self.config.receive_limit:
            self.hold(Hold.HANDLER)

    def _deliver(self, message: Message) -> Any:
        """A message that had to wait."""
        if self._holds & Hold.HANDLER and self.serial.size <= self.config.receive_limit // 2:
            self.release(Hold.HANDLER)
        return self.connection.on_message(message)

    def _pulled(self) -> None:
        assert self._pull is not None
        if self._holds & Hold.HANDLER and self._pull.size <= self.config.receive_limit // 2:
            self.release(Hold.HANDLER)

    def messages(self) -> AsyncIterator[Message]:
        """The messages, for a connection that overrides `Connection.handle`.

        Raises:
            RuntimeError: It does not, so that its messages go to `on_message`.
        """
        if self._pull is None:
            raise RuntimeError("to pull messages, override handle() instead of on_message()")
        return self._pull.messages()

    def _handle(self, event: events.Event) -> None:
        """Whatever is no message."""
        match event:
            case events.Ping():
                self.send_raw(event.reply)
            case events.Requested():
                assert self._admission is not None
                self._admission.ask(event.request)
            case events.PlainRequest():
                assert self._admission is not None
                self._admission.answer(event.request)
            case events.Opened():
                self.open()
            case events.Closed():
                self._note(event.code, event.reason)
                self._finish(event.reply)
            case events.Failed():
                self._note(event.error.close_code, event.error.reason)
                self.fail(event.error)
                self._finish(event.reply)

    def _decrypt(self, tls: TlsEngine, data: bytes) -> bytes:
        began = tls.handshaken
        try:
            plain = tls.receive(data)
        except TlsError as error:
            # Records before the bad one were good.
            self._take(self.wire.receive(error.received))
            self._write_past_tls(tls.take_output())
            self._note(error.close_code, error.reason)
            self.fail(error)
            self._finish(b"")
            return b""
        self._write_past_tls(tls.take_output())
        if tls.handshaken and not began:
            self._start_wire()
        if tls.peer_closed:
            self._take(self.wire.receive(plain))
            self._ended()
            return b""
        return plain

    # ---------------------------------------------------------------- out

    def send(self, message: Message) -> bool:
        """Encode and write, or gather while a read is being dealt with."""
        wire = self.wire
        if wire.state is not State.OPEN or not self._opened:
            self._check(message)
            return False
        data = wire.encode(message)
        if not self._corking:
            return self.outflow.write(data)
        self._corked.append(data)
        self._corked_size += len(data)
        if self._corked_size > CORK_LIMIT:
            return self._uncork()
        return True

    def send_shared(self, message: Message, encoded: dict[Hashable, bytes]) -> bool:
        """Send what many connections are sent, encoding it once per kind of wire."""
        wire = self.wire
        if wire.state is not State.OPEN or not self._opened:
            return False
        key = wire.encoding_key
        data = None if key is None else encoded.get(key)
        if data is None:
            data = wire.encode(message)
            if key is not None:
                encoded[key] = data
        return self.send_raw(data)

    def broadcast(self, message: Message, encoded: dict[Hashable, bytes]) -> bool:
        """Send what many are sent, from any thread."""
        home = self.connection._home
        if home is not None and home.here:
            return self.send_shared(message, encoded)
        return self.send_from_elsewhere(message, encoded)

    def send_from_elsewhere(
        self, message: Message, encoded: dict[Hashable, bytes] | None = None
    ) -> bool:
        """Hand a message over to the connection's own thread; False when it cannot be."""
        self._check(message)
        if self.wire.state is not State.OPEN or not self._opened:
            return False
        limit = self.config.send_limit
        function: Callable[..., object] = self.send if encoded is None else self.send_shared
        args = (message,) if encoded is None else (message, encoded)
        if self.connection._post(function, args, len(message), limit):
            return True
        self.connection._post(self.cut, (1008, f"over {limit} bytes wait to be sent"))
        return False

    def ping(self, payload: bytes) -> None:
        if self.wire.state is State.OPEN and (data := self.wire.ping(payload)):
            self.send_raw(data)

    async def drained(self) -> None:
        self._uncork()
        await self.outflow.drained()

    def send_raw(self, data: bytes) -> bool:
        """Write in its place among what is gathered."""
        if self._corking:
            self._corked.append(data)
            self._corked_size += len(data)
            return True
        return self.outflow.write(data)

    def _uncork(self) -> bool:
        corked = self._corked
        if not corked:
            return True
        data = corked[0] if len(corked) == 1 else b"".join(corked)
        corked.clear()
        self._corked_size = 0
        return self.outflow.write(data)

    def _write_past_tls(self, records: bytes) -> None:
        transport = self.transport
        if records and transport is not None and not transport.is_closing():
            self._uncork()
            transport.write(records)

    @staticmethod
    def _check(message: object) -> None:
        if not isinstance(message, (bytes, str)):
            raise TypeError(f"a message is bytes or str, not {type(message).__name__}")

    # ---------------------------------------------------------------- opening and closing

    @property
    def state(self) -> State:
        state = self.wire.state
        return State.CONNECTING if state is State.OPEN and not self._opened else state

    def _start_wire(self) -> None:
        """The way is clear for the wire's own handshake, if it has one."""
        self.send_raw(self.wire.start())
        if self.wire.state is State.OPEN:
            assert self._admission is not None
            self._admission.ask(Request())

    def open(self) -> None:
        """Everybody agreed: messages may flow."""
        if self.transport is None or self.wire.state is not State.OPEN:
            return  # lost while on_connect was thinking
        self._cancel_timer()
        self._admission = None
        self._opened = True
        connection = self.connection
        connection.server.tell(connection, Opened())
        self.serial.call(connection.on_open)
        if type(connection).handle is not _default_handle():
            self._pull = Pull(self._pulled)
            self._queueing = True
            self.serial.call(self._pull_messages)
        self.release(Hold.ADMISSION)
        self._take(self.wire.receive(b""))
        if not self._corking:
            self._uncork()

    async def _pull_messages(self) -> None:
        await self.connection.handle()
        self.close(1000, "")

    def respond(self, response: Response) -> None:
        """Answer over HTTP instead of opening, and close."""
        self._note(1006, f"answered with HTTP {response.status}")
        self._finish(self.wire.respond(response))

    def check_close(self, code: int, reason: str) -> None:
        """Refuse a code or a reason before anything is handed to another thread."""
        close_payload(code, reason)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order."""
        if self.state is State.CONNECTING:
            if self._admission is not None and self._admission.pending:
                self.respond(Response(503, "closing"))
            else:
                self.cut(1006, "closed before it was open")
            return
        if self.wire.state is not State.OPEN:
            return
        farewell = self.wire.close(code, reason)
        self._leave_groups()
        if not farewell:  # a protocol without one
            self._note(code, reason)
            self._finish(farewell)
            return
        self.send_raw(farewell)
        if self._pull is not None:
            self._pull.end()
        self.release(Hold.HANDLER)  # whatever comes but the peer's close is dropped from now on
        self._start_timer(self.config.close_timeout, self._never_closed)

    def drain(self, code: int, reason: str) -> None:
        """Close once the callbacks under way have ended."""
        if not self.serial.busy or self._pull is not None:
            self.close(code, reason)
        elif not self._draining:
            self._draining = True
            self.serial.call(self.close, code, reason)

    def abort(self) -> None:
        self.cut(1006, "aborted")

    def cut(self, code: int, reason: str) -> None:
        """End the connection at once, whatever is still to be written."""
        self._note(code, reason)
        if self.transport is not None:
            self.transport.abort()

    def fail(self, error: BaseException) -> None:
        """Something raised, or the peer broke a rule: tell, then close with 1011 if still open."""
        connection = self.connection
        if isinstance(error, RemoteError):
            logger.debug("%r: %s", connection, error)
        else:
            connection._errors += 1
            logger.error("%r raised", connection, exc_info=error)
        if self._failed:
            return
        self._failed = True
        connection.server.tell(connection, Failed(error))
        self.serial.clear()
        self.serial.call(connection.on_error, error)
        if self._admission is not None and self._admission.pending:
            self.respond(Response(500, "internal error"))
        else:
            self.close(1011, "internal error")

    def cancel(self) -> None:
        """Time is up: end the connection and the callback under way."""
        self.serial.cancel()
        self.cut(1006, "the server closed")

    def _ended(self) -> None:
        """The peer will send nothing more."""
        self._take(self.wire.receive_eof())
        self._finish(b"")

    def _finish(self, farewell: bytes) -> None:
        """Write the last bytes, and close the transport behind them."""
        self._leave_groups()
        self._uncork()
        if farewell:
            self.outflow.write(farewell)
        self.outflow.finish()
        if self._pull is not None:
            self._pull.end()
        if self.transport is not None:
            self._start_timer(self.config.close_timeout, self._never_closed)

    def _lost(self) -> None:
        """The transport is gone: the last callbacks, then the worker goes too."""
        connection = self.connection
        for event in self.wire.receive_eof():
            if isinstance(event, events.Failed):
                self._note(event.error.close_code, event.error.reason)
            elif isinstance(event, events.Closed):
                self._note(event.code, event.reason)
        self._note(1006, "the connection was lost")
        self._leave_groups()
        if self._pull is not None:
            self._pull.end()
        if self._opened:
            assert connection.close_code is not None
            self.serial.call(connection.on_close, connection.close_code, connection.close_reason)
        self.serial.call(self._gone)

    def _gone(self) -> None:
        if self._is_gone:
            return
        self._is_gone = True
        connection = self.connection
        assert connection.close_code is not None
        connection.server.tell(connection, Closed(connection.close_code, connection.close_reason))
        connection.server.forget(connection)

    def _note(self, code: int, reason: str) -> None:
        """Why it ends: the first reason given counts."""
        if self.connection.close_code is None:
            self.connection.close_code = code
            self.connection.close_reason = reason

    def _leave_groups(self) -> None:
        self.connection.server.groups.leave_all(self.connection)

    def _never_opened(self) -> None:
        self.cut(1006, f"not open after {self.config.handshake_timeout:g} s")

    def _never_closed(self) -> None:
        self.cut(1006, f"the peer did not close within {self.config.close_timeout:g} s")

    def _start_timer(self, seconds: float, function: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self.node.loop.call_later(seconds, function)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---------------------------------------------------------------- reading or not

    def hold(self, reason: Hold) -> None:
        """Stop reading for a reason; reading goes on when no reason is left."""
        if not self._holds and self.transport is not None:
            self.transport.pause_reading()
        self._holds |= reason

    def release(self, reason: Hold) -> None:
        held, self._holds = self._holds, self._holds & ~reason
        transport = self.transport
        if held and not self._holds and transport is not None and not transport.is_closing():
            transport.resume_reading()

    # ---------------------------------------------------------------- threads and moves

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run one of the user's callbacks in its turn."""
        self.serial.call(function, *args)

    def run_here(self, function: Callable[..., object], *args: Any) -> None:
        """Run on the connection's own thread: now, when this is it, or in turn."""
        home = self.connection._home
        if home is not None and home.here:
            function(*args)
        else:
            self.connection._post(function, args)

    @property
    def movable(self) -> bool:
        """Open, and with no coroutine of its own that lives as long as the connection."""
        return self.state is State.OPEN and self._pull is None

    async def detach(self) -> None:
        """Let go of this loop at a message boundary; the socket is carried by its descriptor.

        Stop reading, let the running handler end, wait until everything is written, duplicate the
        descriptor, and drop the old transport without anybody being told that it closed.
        """
        self.hold(Hold.MOVING)
        try:
            while self.serial.busy or self._unwritten():
                await self.serial.idle()
                await self._written()
            transport = self.transport
            if transport is None or not self.movable:
                raise NotMovable("it closes")
            self._socket = socket.socket(fileno=os.dup(_descriptor(transport)))
            self._socket.setblocking(False)
        except BaseException:
            self.release(Hold.MOVING)
            raise
        transport.set_protocol(asyncio.Protocol())
        self.transport = None
        transport.abort()

    async def attach(self, node: Node) -> None:
        """Adopt the socket on this node's loop."""
        sock, self._socket = self._socket, None
        assert sock is not None
        self.node = node
        self._holds = Hold(0)
        self._doorstep = doorstep = Doorstep()
        try:
            await node.loop.connect_accepted_socket(lambda: doorstep, sock)
        except BaseException:
            sock.close()
            raise

    def arrived(self) -> None:
        """The worker runs on its node from now on."""
        doorstep, self._doorstep = self._doorstep, None
        assert doorstep is not None
        doorstep.hand_over(self)

    def left(self) -> None:
        """The worker was removed from its node, or never got to it."""
        self._note(1006, "removed from its node")
        if self.transport is not None:
            self.transport.abort()
        else:
            self._lost()

    def _unwritten(self) -> bool:
        transport = self.transport
        return transport is not None and transport.get_write_buffer_size() > 0

    async def _written(self) -> None:
        """Wait until the transport's own buffer is empty."""
        transport = self.transport
        if transport is None:
            return
        transport.set_write_buffer_limits(high=0)
        try:
            await self.outflow.drained()
        finally:
            transport.set_write_buffer_limits(high=self.config.write_high_water)


def _descriptor(transport: asyncio.Transport) -> int:
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor


def _default_handle() -> Callable[..., Any]:
    from netserver.connection import Connection

    return Connection.handle


def address_of(name: object) -> Address:
    """A socket's name as an address: ``(host, port)``, a path, or None for an unnamed one."""
    if isinstance(name, tuple):
        return (name[0], name[1])
    if isinstance(name, bytes):
        return os.fsdecode(name)
    return name if isinstance(name, str) and name else None
