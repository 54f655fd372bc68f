"""The way in: what the wire reports is handed out in order, and in turns.

One read may hold thousands of small messages. Whoever takes long over them lets go of the node now
and then: the rest waits here, nothing more is read meanwhile, and it is handed out in later turns
of the loop, before anything that comes after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from netserver.pauses import Pause
from netwire import Message, TlsError, events
from netwire.tls import TlsEngine

if TYPE_CHECKING:
    from netserver.shell import Shell

# How long a connection may hand out messages before the others on its node are due, seconds. Not
# less, because a turn of the loop costs about 30 microseconds; not more, because several
# connections may have that much to say, reading it takes as long again, and the strictest latencies
# that are worth declaring under Python are a few milliseconds.
QUANTUM = 0.25e-3

# Between two looks at the clock at most this many messages are handed out: a look and what goes
# with it cost half a microsecond, a quick message one. It is also how many slow ones may pass
# unnoticed, once, where all were quick before.
MOST_UNWATCHED = 16

# What happened, or what is to be called in its place among what happened.
Happened: TypeAlias = "events.Event | partial[object]"


class Intake:
    """What came in on one connection. Owned by the thread of the connection's node."""

    __slots__ = ("_rest", "_shell", "_turn", "_unwatched", "at_once", "whole_reads")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._rest: list[Happened] | None = None  # waits for the next turn; one read at most
        self._turn: asyncio.Handle | None = None
        self._unwatched = 1  # so many were quick lately that they need no look at the clock
        self.at_once = 1  # so many may be handed out as they come: none while others wait
        self.whole_reads = 0  # in a row, lately

    def receive(self, data: bytes) -> list[Any]:
        """What the wire makes of a long read, or of a part of it: thousands of pings take long.

        Where something waits already, it is read in its turn.
        """
        if self._rest is None:
            return self._shell.wire.receive_part(data)
        return [events.More(data)] if data else []

    # ---------------------------------------------------------------- handing out

    def take(self, happened: list[Any]) -> None:
        """Hand out what the wire reports, in turns when it takes long."""
        if self._rest is not None:
            self._rest += happened  # it may not overtake what waits
            return
        node = self._shell.node
        ends = node.clock() + QUANTUM
        count = len(happened)
        unwatched = self._unwatched
        position = 0
        while position < count:
            # What opens a connection brings messages of its own, and is the last that happened
            # or has none behind it, so this order is the order in which they came.
            self.hand_out(happened[position : position + unwatched])
            position += unwatched
            if node.clock() >= ends:
                unwatched = 1
                if position < count:
                    self._rest = happened[position:]
                    self.at_once = 0
                    self.end_turn()
                    break
            elif unwatched < MOST_UNWATCHED:
                unwatched *= 2
        self._unwatched = unwatched

    def hand_out(self, happened: list[Any]) -> None:
        """Hand it out at once. Messages come first: nothing else is frequent."""
        shell = self._shell
        connection = shell.connection
        serial = shell.serial
        for event in happened:
            kind = type(event)
            if kind is bytes or kind is str:
                if serial.busy:
                    shell.inbox.put(cast("Message", event))
                elif not shell.ending.failed:
                    try:
                        result = connection.on_message(event)
                    except BaseException as error:  # no handler may end what it shares
                        shell.ending.fail(error)
                    else:
                        if result is not None:
                            serial.follow(result)
            else:
                self._handle(event)

    def after(self, function: Callable[..., object], *args: Any) -> None:
        """Call it when all that has come so far is handed out: now, mostly."""
        if self._rest is None:
            function(*args)
        else:
            self._rest.append(partial(function, *args))

    def pause(self) -> None:
        """Read nothing more until those had their turn who are ready to be read already."""
        self._shell.pause_reading(Pause.TURN)
        if self._turn is None:
            self._turn = self._shell.node.loop.call_soon(self._read_on)

    def end_turn(self) -> None:
        """Read nothing more, and hand nothing out, until the others on this node had their turn."""
        self._shell.pause_reading(Pause.TURN)
        if self._turn is None:
            self._turn = self._shell.node.loop.call_soon(self._await_others)

    def go_on(self) -> None:
        """What waits has its next turn, though there was a reason to read nothing more."""
        if self._rest is not None:
            self.end_turn()

    def suspend(self) -> None:
        """Hand out nothing more until `resume`, which may be on another node."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def resume(self) -> None:
        """Go on where `suspend` interrupted it."""
        if self._rest is None:
            self._shell.resume_reading(Pause.TURN)
        else:
            self.end_turn()

    def drop(self) -> None:
        """Forget the messages that wait; the rest of what waits happens now."""
        self.suspend()
        rest, self._rest = self._rest or [], None
        self.at_once = 1
        for event in rest:
            if not isinstance(event, bytes | str | events.More):
                self._handle(event)

    def _read_on(self) -> None:
        self._turn = None
        self.whole_reads = 0
        if self._rest is None:
            self._shell.resume_reading(Pause.TURN)
        else:
            self.end_turn()

    def _await_others(self) -> None:
        # A loop calls what is ready before it asks again who can be read. Two turns of one
        # connection in a row were twice as long a wait for all others.
        self._turn = self._shell.node.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self.whole_reads = 0
        shell = self._shell
        if self._rest is None:
            shell.resume_reading(Pause.TURN)
            return
        shell.node.run(shell.connection, self._go_on)
        if self._rest is None and shell.transport is not None:
            self.end_turn()  # reading, too, would be a turn in a row

    def _go_on(self) -> None:
        rest = self._rest
        assert rest is not None
        if isinstance(rest[0], events.More):
            if self._shell.has_to_wait:
                return  # `Shell.resume_reading` gives it a turn
            try:
                rest[:1] = self._shell.wire.receive_part(rest[0].rest)
            except Exception as error:  # as in `Shell.data_received`
                rest[:1] = []
                self._shell.ending.fail(error)
        # What the wire still keeps comes before what came after it was asked.
        kept = next((i for i, e in enumerate(rest) if isinstance(e, events.More)), len(rest))
        self._rest = None
        self.at_once = 1
        outflow = self._shell.outflow
        outflow.cork()
        try:
            self.take(rest[:kept])
        finally:
            outflow.uncork()
        if kept < len(rest):
            self._wait_with(rest[kept:])

    def _wait_with(self, happened: list[Happened]) -> None:
        """Keep it for the next turn."""
        self._rest = [*(self._rest or ()), *happened]
        self.at_once = 0
        self.end_turn()

    # ---------------------------------------------------------------- whatever is no message

    def _handle(self, event: Happened) -> None:
        shell = self._shell
        match event:
            case events.Ping():
                shell.outflow.control(event.reply, True)
                if shell.pulse is not None:
                    shell.pulse.pinged()
            case events.Pong():
                if shell.pulse is not None:
                    shell.pulse.answered(event.payload)
            case events.More():
                self._wait_with([event])
            case events.Requested():
                assert shell.admission is not None
                shell.admission.ask(event.request)
            case events.PlainRequest():
                assert shell.admission is not None
                shell.admission.answer(event.request)
            case events.Opened():
                shell.open()
            case events.Closed():
                shell.wire.conclude()
                shell.ending.note(event.code, event.reason)
                shell.ending.finish(event.reply)
            case events.Failed():
                shell.wire.conclude()
                shell.ending.note(event.error.close_code, event.error.reason)
                shell.ending.fail(event.error)
                shell.ending.finish(event.reply, linger=bool(event.reply))
            case partial():
                event()

    def ended(self) -> None:
        """The peer will send nothing more; closing is up to us, after what is to be written.

        On a stream it may well read on: messages that wait for their handler are answered first.
        """
        shell = self._shell
        if shell.serial.has_messages and not shell.can_ping:
            shell.serial.call(self._end)
        else:
            self._end()

    def _end(self) -> None:
        shell = self._shell
        shell.outflow.settle()
        self.take(shell.wire.receive_eof())
        shell.ending.finish(b"")

    # ---------------------------------------------------------------- TLS

    def decrypt(self, tls: TlsEngine, data: bytes) -> bytes:
        """The plain bytes of what was read; none when TLS says that these were the last."""
        shell = self._shell
        was_up = tls.handshaken
        try:
            plain = tls.receive(data)
        except TlsError as error:
            shell.outflow.write_records(tls.take_output())  # the alert
            shell.outflow.ended = True
            # The records before the bad one were good.
            self.take(self.receive(error.received))
            self.after(self._tls_failed, error)
            return b""
        if records := tls.take_output():
            shell.outflow.write_records(records)
        if tls.handshaken and not was_up:
            shell.start_wire()
        if tls.peer_closed:
            self.take(self.receive(plain))
            self.after(self.ended)
            return b""
        return plain

    def _tls_failed(self, error: TlsError) -> None:
        shell = self._shell
        shell.wire.receive_eof()  # there is no way left to say goodbye on
        shell.ending.note(error.close_code, error.reason)
        shell.ending.fail(error)
        shell.ending.finish(b"")
