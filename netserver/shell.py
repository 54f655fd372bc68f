"""Between the socket and the user's connection: moves bytes and decides nothing.

The way of a message: the loop calls `Shell.data_received`; TLS, if any, decrypts; the wire makes
messages of the bytes; the intake gives each to `on_message`; what that sends is encoded by the
wire, gathered in the outflow, and leaves in one write when the read is dealt with.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, ClassVar, cast

from foreman import Node
from netserver.admission import Admission
from netserver.ending import Ending
from netserver.events import Opened
from netserver.handover import Doorstep
from netserver.heartbeat import Pulse
from netserver.inbox import Inbox
from netserver.intake import Intake
from netserver.outflow import Outflow
from netserver.pauses import Pause
from netserver.pull import Pull
from netserver.serial import Serial
from netserver.vigil import Vigil
from netwire import Response, State, Wire
from netwire.tls import TlsEngine
from netwire.websocket.wire import WebSocket

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.connection import Address, Connection
    from netserver.slow_reader import SlowReader

# What uvloop reads at a time, bytes. After a read as long as that there is more, and libuv would
# read up to 32 times before it looks at another connection: with large messages 50 connections
# then waited up to 600 ms for their turn. Stopping to read for a moment gives the others theirs.
WHOLE_READ = 256_000

# After so many of them in a row. Were it one, the first part of every message of 256 KiB would lie
# for a whole round, and be gone from the processor's caches when the rest comes: twice the time.
MOST_WHOLE = 2

# A shorter read holds no more frames than can be read at once, bytes.
LONG_READ = 1024

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
        pauses: Why it is not read at the moment: bits of `Pause`.
        vigil: Looks after the peer while the handler has enough to do, and a little longer.
        socket: What is carried on the way; None otherwise.
        doorstep: What stands in for it on arrival; None otherwise.
        admission: Asks for leave to open; None once it is open.
        pull: The messages that `Connection.handle` pulls; None where it is not overridden.
        pulse: What is known of the peer's life; None before it is open.
        was_open: Whether it ever opened.
    """

    __slots__ = (
        "_parting",
        "admission",
        "config",
        "connection",
        "doorstep",
        "ending",
        "intake",
        "node",
        "outflow",
        "pauses",
        "pull",
        "pulse",
        "serial",
        "socket",
        "tls",
        "transport",
        "vigil",
        "was_open",
        "wire",
    )

    node: Node
    make_pulse: ClassVar[type[Pulse]] = Pulse

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
        self.pull: Pull | None = None
        self.intake = Intake(self)
        self.outflow = Outflow(self)
        self.ending = Ending(self)
        self.pulse: Pulse | None = None
        self.vigil: Vigil | None = None
        self.was_open = False
        self._parting = False
        self.pauses = 0

    @property
    def state(self) -> State:
        """Where the connection stands; a wire without a handshake is open before it is."""
        state = self.wire.state
        return State.CONNECTING if state is _OPEN and not self.was_open else state

    @property
    def inbox(self) -> Inbox:
        """What waits for the handler."""
        return Inbox(self)

    @property
    def slow_reader(self) -> SlowReader:
        """What gives way when the peer reads too slowly."""
        return self.connection.listener.recipe.slow_reader

    @property
    def movable(self) -> bool:
        """Open, and with no coroutine of its own that lives as long as the connection."""
        return self.state is _OPEN and self.pull is None

    @property
    def can_ping(self) -> bool:
        """Whether its peer has to answer pings."""
        return isinstance(self.wire, WebSocket)

    @property
    def is_arriving(self) -> bool:
        """Whether something came before it was here, and is told in the next turn of the loop."""
        return bool(self.pauses & Pause.ARRIVING)

    # ---------------------------------------------------------------- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self.config.write_high_water)
        if self.admission is not None:
            seconds = self.config.handshake_timeout
            self.ending.expect(seconds, f"not open after {seconds:g} s")
            if self.tls is None:
                self.start_wire()
            else:
                self.outflow.write_records(self.tls.start())
        elif self.pauses:
            self.transport.pause_reading()
            if self.pauses & Pause.HANDLER:
                self.vigil = Vigil(self)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        node = self.node
        # `Node.enter`, and at the end `Node.leave`, written out: this is passed for every message.
        # So is reading the clock left out for most of very many quick ones (`HoldMeter.skips`).
        holds = connection.holds
        node.holder = connection
        timed = not holds.passed_over
        if timed:
            holds.passed_over = holds.skips
            if holds.sampled:
                node.take_reading()
            node.hold_began = node.clock()
        else:
            holds.passed_over -= 1
        intake = self.intake
        long = len(data) >= LONG_READ
        if long:
            intake.whole_reads = intake.whole_reads + 1 if len(data) >= WHOLE_READ else 0
            if intake.whole_reads >= MOST_WHOLE:
                intake.pause()
        outflow = self.outflow
        if outflow.gathered is None:  # as `Outflow.cork`
            outflow.gathered = []
        try:
            if self.tls is not None:
                data = intake.decrypt(self.tls, data)
            at_once = intake.at_once  # none where something waits
            happened = intake.receive(data) if long or not at_once else self.wire.receive(data)
            if len(happened) > at_once:
                intake.take(happened)
            else:
                intake.hand_out(happened)
        except Exception as error:  # a user's framing or transform, which ends its own connection
            self.ending.fail(error)
        finally:
            outflow.uncork()
            node.holder = None
            if timed:
                held = node.clock() - node.hold_began
                if held > holds.notable:
                    held = node.note(connection, held)
                holds.held += held * holds.stands_for
            holds.runs += 1

    def eof_received(self) -> bool:
        """The peer will send nothing more; closing is up to us, after what is to be written."""
        if self.tls is not None and not self.tls.peer_closed and self.wire.state is _OPEN:
            self.ending.note(1006, "the TLS stream ended without a close")
        self.node.run(self.connection, self.intake.after, self.intake.ended)
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
        self.end_vigil()
        if error is not None and self.wire.state is not State.CLOSED:
            self.ending.note(1006, f"the connection was lost: {error}")
        self.node.run(self.connection, self.intake.after, self.ending.lost)
        if not self.pauses & Pause.MOVING:
            self.intake.go_on()  # it waits no longer for a peer that is to read first

    @property
    def has_to_wait(self) -> bool:
        """Whether it may not be read for any reason but that others have their turn."""
        return self.transport is not None and bool(self.pauses & ~Pause.TURN)

    # ---------------------------------------------------------------- opening

    def start_wire(self) -> None:
        """The way is clear for the wire's own handshake, if it has one."""
        if greeting := self.wire.start():
            self.outflow.write(greeting)
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
        self.outflow.open()
        self.pulse = self.make_pulse(self)
        connection = self.connection
        if isinstance(self.wire, WebSocket):
            connection.subprotocol = self.wire.subprotocol
        connection.server.tell(connection, Opened())
        self.serial.call(connection.on_open)
        if connection.pulls:
            self.inbox.begin()
        self.resume_reading(Pause.ADMISSION)
        self.intake.take(early)

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
        self.intake.drop()
        self.serial.forget_messages()
        self.serial.resume()
        if self.transport is not None:
            self.transport.abort()
        else:
            self.ending.lost()
        self.part()

    def part(self) -> None:
        """The connection has ended, or its worker has left: nothing runs here once both have."""
        if self._parting:
            self.dissolve()
        self._parting = True

    def dissolve(self) -> None:
        """Break the circles of references: nothing runs here any more.

        What is left is freed by reference counts alone, whether or not there is a collector. What
        other threads may still ask of the connection needs none of this.
        """
        self.outflow.end()
        self.end_vigil()
        for part in (self.serial, self.intake, self.outflow, self.ending):
            del part._shell
        if self.admission is not None:
            del self.admission._shell
        del self.connection

    # ---------------------------------------------------------------- reading or not

    def pause_reading(self, reason: int) -> None:
        """Stop reading for a reason; reading goes on when no reason is left."""
        transport = self.transport
        if not self.pauses and transport is not None and not transport.is_closing():
            transport.pause_reading()
        self.pauses |= reason
        if reason == Pause.HANDLER and self.vigil is None and transport is not None:
            self.vigil = Vigil(self)  # it ends by itself when the reason has gone

    def resume_reading(self, reason: int) -> None:
        """A reason not to read is gone."""
        paused, self.pauses = self.pauses, self.pauses & ~reason
        transport = self.transport
        if paused and not self.pauses and transport is not None and not transport.is_closing():
            transport.resume_reading()
        elif self.pauses == Pause.TURN != paused:
            self.intake.end_turn()  # it may have waited for that reason to go

    def end_vigil(self) -> None:
        """Look after the peer no more, on this loop at least."""
        if self.vigil is not None:
            self.vigil.end()
            self.vigil = None

    def keep_pauses(self) -> None:
        """A new transport comes: what had to do with the old one is no reason any more."""
        self.pauses &= Pause.HANDLER | Pause.TURN


def address_of(name: object) -> Address:
    """A socket's name as an address: ``(host, port)``, a path, or None for an unnamed one."""
    if isinstance(name, tuple):
        return (sys.intern(name[0]), name[1])  # many share the host
    if isinstance(name, bytes):
        return os.fsdecode(name)
    return name if isinstance(name, str) and name else None
