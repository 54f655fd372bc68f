"""How a connection ends: in good order, by a fault, or at once; exactly one end for each."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING

from foreman import Infeasible
from netserver.events import Closed, Failed
from netserver.pauses import Pause
from netserver.turnaway import NO_PLACE
from netwire import RemoteError, Response, State, events

if TYPE_CHECKING:
    from netserver.shell import Shell

logger = logging.getLogger(__name__)

_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7): to linger for no time is to reset

TRY_AGAIN_LATER = 1013  # in IANA's registry of WebSocket close codes


class Ending:
    """The end of one connection. Owned by the thread of its node.

    Attributes:
        failed: Whether a callback raised or the peer broke a rule: no message is handed out then.
        over: Whether the transport is gone, or never came: only the last callbacks are left.
    """

    __slots__ = ("_draining", "_shell", "_timer", "failed", "over")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False
        self.over = False
        self.failed = False

    # ---------------------------------------------------------------- deadlines

    def expect(self, seconds: float, what: str) -> None:
        """Cut the connection unless something happens in time; ``what`` is the reason then."""
        self.relax()
        self._timer = self._shell.node.loop.call_later(seconds, self.cut, 1006, what)

    def relax(self) -> None:
        """It happened."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def note(self, code: int, reason: str) -> None:
        """Why it ends: the first reason given counts."""
        connection = self._shell.connection
        if connection.close_code is None:
            connection.close_code = code
            connection.close_reason = reason

    # ---------------------------------------------------------------- ways to end

    def close(self, code: int, reason: str) -> None:
        """Close in good order, after what was sent."""
        shell = self._shell
        if shell.state is State.CONNECTING:
            if shell.admission is not None and shell.admission.pending:
                shell.respond(Response(503, "closing"))
            else:
                self.cut(1006, "closed before it was open")
            return
        if shell.wire.state is not State.OPEN:
            return
        shell.outflow.settle()
        farewell = shell.wire.close(code, reason)
        if not farewell:  # a protocol without one
            self.note(code, reason)
            self.finish(b"", linger=True)
            return
        self._say_farewell(farewell)

    def evict(self, code: int, reason: str) -> None:
        """Close ahead of what waits, which is lost; cut where the protocol has no farewell."""
        self.note(code, reason)
        shell = self._shell
        shell.outflow.forget()
        if farewell := shell.wire.close(code, reason):
            self._say_farewell(farewell)
        else:
            self.cut(code, reason)

    def _say_farewell(self, farewell: bytes) -> None:
        shell = self._shell
        self._leave_groups()
        shell.outflow.write(farewell)
        shell.inbox.end()
        shell.resume_reading(Pause.HANDLER)  # all that comes but the peer's close is dropped
        seconds = shell.config.close_timeout
        self.expect(seconds, f"the peer did not answer the close within {seconds:g} s")

    def drain(self, code: int, reason: str) -> None:
        """Close once the callbacks under way have ended."""
        self._shell.intake.after(self._drain, code, reason)

    def _drain(self, code: int, reason: str) -> None:
        shell = self._shell
        if not shell.serial.busy or shell.inbox.is_pulled:
            self.close(code, reason)
        elif not self._draining:
            self._draining = True
            shell.serial.call(self.close, code, reason)

    def cut(self, code: int, reason: str) -> None:
        """End at once, whatever is still to be written."""
        self.note(code, reason)
        shell = self._shell
        if shell.admission is not None:
            shell.serial.cancel()  # its answer is not needed any more
        if shell.transport is not None:
            if shell.outflow.paused:
                # The peer does not read, so the system would keep megabytes for it, and for
                # minutes. They are thrown away with the rest: the peer sees a reset.
                sock = shell.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            shell.transport.abort()

    def fail(self, error: BaseException) -> None:
        """Something raised, or the peer broke a rule: tell, then close with 1011 if still open.

        What no node can keep, `Infeasible`, is nobody's fault: the peer may try again, and is told.
        """
        shell = self._shell
        connection = shell.connection
        if isinstance(error, RemoteError):
            logger.debug("%r: %s", connection, error)
            _forget_frames(error)
        elif isinstance(error, Infeasible):
            logger.warning("%r is turned away: %s", connection, error)
        else:
            connection._errors += 1
            logger.error("%r raised", connection, exc_info=error)
        if self.failed:
            return
        self.failed = True
        connection.server.tell(connection, Failed(error))
        shell.serial.forget_messages()
        shell.serial.call(connection.on_error, error)
        busy = isinstance(error, Infeasible)
        if shell.admission is not None and shell.admission.pending:
            shell.respond(NO_PLACE if busy else Response(500, "internal error"))
        elif busy:
            self.close(TRY_AGAIN_LATER, "try again later")
        else:
            self.close(1011, "internal error")

    def cancel(self) -> None:
        """Time is up: end the connection and the callback under way."""
        self._shell.intake.drop()
        self._shell.serial.cancel()
        self.cut(1006, "the server closed")

    def finish(self, farewell: bytes, *, linger: bool = False) -> None:
        """Write the last bytes, and close the transport behind them.

        Args:
            farewell: The last bytes.
            linger: Whether the peer may be in the middle of sending, and should get them anyway.
        """
        shell = self._shell
        self._leave_groups()
        shell.outflow.finish(farewell, linger)
        shell.inbox.end()
        if linger:
            shell.resume_reading(Pause.ADMISSION | Pause.HANDLER)  # all that comes is dropped now
        if shell.transport is not None:
            seconds = shell.config.close_timeout
            self.expect(seconds, f"the peer did not take the rest within {seconds:g} s")

    # ---------------------------------------------------------------- after the end

    def lost(self) -> None:
        """The transport is gone, or never came: the last callbacks, then the worker goes too."""
        if self.over:
            return
        self.over = True
        self.relax()
        shell = self._shell
        if shell.pulse is not None:
            shell.pulse.end()
        for event in shell.wire.receive_eof():
            if isinstance(event, events.Failed):
                self.note(event.error.close_code, event.error.reason)
            elif isinstance(event, events.Closed):
                self.note(event.code, event.reason)
        self.note(1006, "the connection was lost")
        self._leave_groups()
        shell.inbox.end()
        if shell.was_open:
            shell.serial.call_last(self._tell_last_gap)
            shell.serial.call_last(self._say_goodbye)
        shell.serial.call_last(self._go)

    def _tell_last_gap(self) -> object:
        connection = self._shell.connection
        gap = connection._take_gap()
        return None if gap is None else connection.on_gap(gap)

    def _say_goodbye(self) -> object:
        connection = self._shell.connection
        assert connection.close_code is not None
        return connection.on_close(connection.close_code, connection.close_reason)

    def _go(self) -> None:
        connection = self._shell.connection
        assert connection.close_code is not None
        connection.server.tell(connection, Closed(connection.close_code, connection.close_reason))
        connection.server.forget(connection)
        self._shell.part()

    def _leave_groups(self) -> None:
        connection = self._shell.connection
        connection._leave_all()
        connection.server.cluster.dismiss(connection)


def _forget_frames(error: BaseException | None) -> None:
    """Let a peer's fault not hold on to the calls that found it.

    They tell nobody anything, and among their variables are the error itself and the connection:
    a circle, which would outlive both.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
