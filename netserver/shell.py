"""Between the socket and the user's connection: moves bytes and decides nothing.

The way of a message: the loop calls `Shell.data_received`; TLS, if any, decrypts; the wire makes
messages of the bytes; `on_message` gets each; what it sends is encoded by the wire, gathered, and
leaves in one write when the read is dealt with.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, cast

from foreman import Node
from netserver.admission import Admission
from netserver.ending import Ending
from netserver.events import Opened
from netserver.handover import Doorstep
from netserver.inbox import Inbox
from netserver.outflow import Outflow
from netserver.pauses import Pause
from netserver.serial import Serial
from netwire import LocalError, Message, Response, State, TlsError, Wire, events
from netwire.tls import TlsEngine
from netwire.websocket.wire import WebSocket

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.connection import Address, Connection

# Replies to one read are gathered up to this many bytes before they are written: enough for every
# pipelined small message, and a bound for a handler that sends without end.
CORK_LIMIT = 64 * 1024

# What uvloop reads at a time, bytes. After a read as long as that there is more, and libuv would
# read up to 32 times before it looks at another connection: with large messages 50 connections
# then waited up to 600 ms for their turn. Stopping to read for a moment gives the others theirs.
WHOLE_READ = 256_000

_OPEN = State.OPEN  # an enum's members are slow to look up


class Shell(asyncio.Protocol):
    """The transport's protocol for one connection. Owned by the thread of the connection's node.

    It goes along when the connection moves; only its transport is a new one then.

    Args:
        connection: The user's object.
        wire: Its protocol.
        tls: Its encryption; None for plain bytes.
        sock: The connected, non-blocking socket, owned by the shell from now on.
        config: Limits and deadlines.

    Attributes:
        node: Where it is.
        transport: None on the way between two nodes, and at the end.
        socket: What is carried on the way; None otherwise.
        doorstep: What stands in for it on arrival; None otherwise.
        admission: Asks for leave to open; None once it is open.
        was_open: Whether it ever opened.
    """

    __slots__ = (
        "_corked",
        "_corked_size",
        "_corking",
        "_overrun",
        "_pauses",
        "admission",
        "config",
        "connection",
        "doorstep",
        "ending",
        "inbox",
        "node",
        "outflow",
        "serial",
        "socket",
        "tls",
        "transport",
        "was_open",
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
        self.socket: socket.socket | None = sock
        self.doorstep: Doorstep | None = None
        self.admission: Admission | None = Admission(self)
        self.serial = Serial(self)
        self.inbox = Inbox(self)
        self.outflow = Outflow(self)
        self.ending = Ending(self)
        self.was_open = False
        self._corking = False  # what is sent is gathered
        self._corked: list[bytes] = []
        self._corked_size = 0
        self._pauses = Pause(0)
        self._overrun = False  # set by any thread, once: other threads sent too much

    @property
    def state(self) -> State:
        """Where the connection stands; a wire without a handshake is open before it is."""
        state = self.wire.state
        return State.CONNECTING if state is _OPEN and not self.was_open else state

    @property
    def movable(self) -> bool:
        """Open, and with no coroutine of its own that lives as long as the connection."""
        return self.state is _OPEN and not self.inbox.is_pulled

    # ---------------------------------------------------------------- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self.config.write_high_water)
        if self.admission is not None:
            seconds = self.config.handshake_timeout
            self.ending.expect(seconds, f"not open after {seconds:g} s")
            if self.tls is None:
                self._start_wire()
            else:
                self._write_records(self.tls.start())

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        node = self.node
        node.enter(connection)
        if len(data) >= WHOLE_READ:
            self.pause_reading(Pause.TURN)
            node.loop.call_soon(self.resume_reading, Pause.TURN)
        self._corking = True
        try:
            if self.tls is not None:
                data = self._decrypt(self.tls, data)
            self._take(self.wire.receive(data))
        except Exception as error:  # a user's framing or transform, which ends its own connection
            self.ending.fail(error)
        finally:
            self._corking = False
            if self._corked:
                self.uncork()
            node.leave(connection)

    def eof_received(self) -> bool:
        """The peer will send nothing more; closing is up to us, after what is to be written."""
        if self.tls is not None and not self.tls.peer_closed and self.wire.state is _OPEN:
            self.ending.note(1006, "the TLS stream ended without a close")
        self.node.run(self.connection, self._ended)
        return True

    def pause_writing(self) -> None:
        self.outflow.pause()
        self.pause_reading(Pause.WRITING)

    def resume_writing(self) -> None:
        self.outflow.resume()
        if not self.outflow.paused:
            self.resume_reading(Pause.WRITING)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.ending.relax()
        self.outflow.end()
        if error is not None and self.wire.state is not State.CLOSED:
            self.ending.note(1006, f"the connection was lost: {error}")
        self.node.run(self.connection, self.ending.lost)

    # ---------------------------------------------------------------- in

    def _take(self, happened: list[events.Event]) -> None:
        """Hand out what the wire reports. Messages come first: nothing else is frequent."""
        connection = self.connection
        serial = self.serial
        for event in happened:
            kind = type(event)
            if kind is bytes or kind is str:
                if serial.busy:
                    self.inbox.put(cast("Message", event))
                elif not self.ending.failed:
                    try:
                        result = connection.on_message(event)
                    except BaseException as error:  # no handler may end what it shares
                        self.ending.fail(error)
                    else:
                        if result is not None:
                            serial.follow(result)
            else:
                self._handle(event)

    def _handle(self, event: events.Event) -> None:
        """Whatever is no message."""
        match event:
            case events.Ping():
                self.write(event.reply)
            case events.Requested():
                assert self.admission is not None
                self.admission.ask(event.request)
            case events.PlainRequest():
                assert self.admission is not None
                self.admission.answer(event.request)
            case events.Opened():
                if isinstance(self.wire, WebSocket):
                    self.connection.subprotocol = self.wire.subprotocol
                self.open()
            case events.Closed():
                self.ending.note(event.code, event.reason)
                self.ending.finish(event.reply)
            case events.Failed():
                self.ending.note(event.error.close_code, event.error.reason)
                self.ending.fail(event.error)
                self.ending.finish(event.reply, linger=bool(event.reply))

    def _decrypt(self, tls: TlsEngine, data: bytes) -> bytes:
        was_up = tls.handshaken
        try:
            plain = tls.receive(data)
        except TlsError as error:
            self._write_records(tls.take_output())  # the alert
            self.outflow.ended = True
            # The records before the bad one were good.
            self._take(self.wire.receive(error.received))
            self.wire.receive_eof()  # there is no way left to say goodbye on
            self.ending.note(error.close_code, error.reason)
            self.ending.fail(error)
            self.ending.finish(b"")
            return b""
        self._write_records(tls.take_output())
        if tls.handshaken and not was_up:
            self._start_wire()
        if tls.peer_closed:
            self._take(self.wire.receive(plain))
            self._ended()
            return b""
        return plain

    def _ended(self) -> None:
        self._take(self.wire.receive_eof())
        self.ending.finish(b"")

    # ---------------------------------------------------------------- out

    def send(self, message: Message) -> bool:
        """Encode and write, or gather while a read is being dealt with."""
        if not self.was_open:
            return _check(message)
        try:
            data = self.wire.encode(message)
        except LocalError:  # it closes, or is closed
            return _check(message)
        if not self._corking:
            return self.outflow.write(data)
        self._corked.append(data)
        self._corked_size += len(data)
        return self._corked_size <= CORK_LIMIT or self.uncork()

    def send_shared(self, message: Message, encoded: dict[Hashable, bytes]) -> bool:
        """Send what many connections are sent, encoding it once per kind of wire."""
        wire = self.wire
        if self.state is not _OPEN:
            return False
        key = wire.encoding_key
        data = None if key is None else encoded.get(key)
        if data is None:
            data = wire.encode(message)
            if key is not None:
                encoded[key] = data
        return self.write(data)

    def send_from_elsewhere(
        self, message: Message, encoded: dict[Hashable, bytes] | None = None
    ) -> bool:
        """Hand a message over to the connection's own thread; False when it cannot be."""
        _check(message)
        if self.state is not _OPEN:
            return False
        limit = self.config.send_limit
        function: Callable[..., object] = self.send if encoded is None else self.send_shared
        args = (message,) if encoded is None else (message, encoded)
        if self.connection._post(function, args, len(message), limit):
            return True
        if not self._overrun:
            self._overrun = True
            self.connection._post(self.ending.cut, (1008, f"over {limit} bytes wait to be sent"))
        return False

    def broadcast(self, message: Message, encoded: dict[Hashable, bytes]) -> bool:
        """Send what many are sent, from any thread."""
        home = self.connection._home
        if home is not None and home.here:
            return self.send_shared(message, encoded)
        return self.send_from_elsewhere(message, encoded)

    def ping(self, payload: bytes) -> None:
        if data := self.wire.ping(payload):
            self.write(data)

    def write(self, data: bytes) -> bool:
        """Write bytes of the wire's, in their place among what is gathered."""
        if not self._corking:
            return self.outflow.write(data)
        self._corked.append(data)
        self._corked_size += len(data)
        return self._corked_size <= CORK_LIMIT or self.uncork()

    def uncork(self) -> bool:
        """Write what was gathered."""
        corked = self._corked
        if not corked:
            return True
        data = corked[0] if len(corked) == 1 else b"".join(corked)
        corked.clear()
        self._corked_size = 0
        return self.outflow.write(data)

    async def drained(self) -> None:
        self.uncork()
        await self.outflow.drained()

    def _write_records(self, records: bytes) -> None:
        """Write what TLS has to say of its own."""
        transport = self.transport
        if not records or transport is None or transport.is_closing() or self.outflow.ended:
            return
        self.uncork()
        transport.write(records)

    # ---------------------------------------------------------------- opening

    def _start_wire(self) -> None:
        """The way is clear for the wire's own handshake, if it has one."""
        if greeting := self.wire.start():
            self.write(greeting)
        if self.wire.state is _OPEN:
            assert self.admission is not None
            self.admission.ask(self.connection.request)

    def open(self) -> None:
        """Everybody agreed: messages may flow."""
        if self.transport is None or self.wire.state is not _OPEN:
            return  # lost while on_connect was thinking
        self.ending.relax()
        early = [] if self.admission is None else self.admission.early
        self.admission = None
        self.was_open = True
        connection = self.connection
        connection.server.tell(connection, Opened())
        self.serial.call(connection.on_open)
        if connection.pulls:
            self.inbox.pull()
        self.resume_reading(Pause.ADMISSION)
        self._take([*early, *self.wire.receive(b"")])

    def respond(self, response: Response) -> None:
        """Answer over HTTP instead of opening, and close."""
        if self.wire.state is State.CLOSED:
            return  # answered already, or lost while on_connect was thinking
        answer = self.wire.respond(response)
        self.ending.note(1006, f"answered with HTTP {response.status}")
        self.ending.finish(answer, linger=bool(answer))

    def left(self) -> None:
        """The worker was removed from its node, or never got to it."""
        self.ending.note(1006, "removed from its node")
        if self.socket is not None:  # on the way to a node that has ended
            self.socket.close()
            self.socket = None
        if self.transport is not None:
            self.transport.abort()
        else:
            self.ending.lost()

    # ---------------------------------------------------------------- reading or not

    def pause_reading(self, reason: Pause) -> None:
        """Stop reading for a reason; reading goes on when no reason is left."""
        transport = self.transport
        if not self._pauses and transport is not None and not transport.is_closing():
            transport.pause_reading()
        self._pauses |= reason

    def resume_reading(self, reason: Pause) -> None:
        """A reason not to read is gone."""
        paused, self._pauses = self._pauses, self._pauses & ~reason
        transport = self.transport
        if paused and not self._pauses and transport is not None and not transport.is_closing():
            transport.resume_reading()

    def clear_pauses(self) -> None:
        """A new transport comes, and it is read."""
        self._pauses = Pause(0)

    def run_here(self, function: Callable[..., object], *args: Any) -> None:
        """Run on the connection's own thread: now, when this is it, or in turn."""
        home = self.connection._home
        if home is not None and home.here:
            function(*args)
        elif self.connection._foreman is not None:  # otherwise it is gone
            self.connection._post(function, args)


def address_of(name: object) -> Address:
    """A socket's name as an address: ``(host, port)``, a path, or None for an unnamed one."""
    if isinstance(name, tuple):
        return (name[0], name[1])
    if isinstance(name, bytes):
        return os.fsdecode(name)
    return name if isinstance(name, str) and name else None


def _check(message: object) -> bool:
    """Refuse what is no message; otherwise it was not sent."""
    if not isinstance(message, (bytes, str)):
        raise TypeError(f"a message is bytes or str, not {type(message).__name__}")
    return False
