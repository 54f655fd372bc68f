"""Handing an open connection from one loop to another, by its descriptor.

Protocol state lives in objects tied to no loop, so all that is carried is the socket: it is
duplicated, the old transport is dropped without anybody being told that it closed, and the new
loop adopts the duplicate. A new connection comes to its first node in the same way.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, cast

from foreman import Node, NotMovable
from netserver.pauses import Pause

if TYPE_CHECKING:
    from netserver.shell import Shell


async def detach(shell: Shell) -> None:
    """Let go of this loop at a message boundary.

    Stop reading and handing out, let the running handler end, and wait until everything is
    written. What waits for the handler comes along. Whoever is impatient cancels it: the
    connection goes on where it is then.

    Raises:
        NotMovable: The connection closed meanwhile.
    """
    if shell.is_arriving:
        await asyncio.sleep(0)  # it is sent on at once: what came too early is told first
    shell.pause_reading(Pause.MOVING)
    shell.intake.suspend()
    shell.serial.suspend()
    try:
        while shell.serial.running or _unwritten(shell):
            await shell.serial.quiet()
            await _written(shell)
        transport = shell.transport
        if transport is None or transport.is_closing() or not shell.movable:
            raise NotMovable("it closes")
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
    except BaseException:
        shell.serial.resume()
        shell.intake.resume()
        shell.resume_reading(Pause.MOVING)
        raise
    if shell.pulse is not None:
        shell.pulse.leave()
    shell.socket = socket.socket(fileno=descriptor)
    shell.socket.setblocking(False)
    transport.set_protocol(asyncio.Protocol())  # so that nobody is told
    shell.transport = None
    shell.end_vigil()
    transport.abort()


async def attach(shell: Shell, node: Node) -> None:
    """Adopt the socket on this node's loop. Cancelled or failed, the socket is closed.

    It waits for a turn or two of the loop and for nothing outside this process.
    """
    sock, shell.socket = shell.socket, None
    assert sock is not None
    shell.node = node
    shell.keep_pauses()
    doorstep = Doorstep()
    try:
        await node.loop.connect_accepted_socket(lambda: doorstep, sock)
    except BaseException:
        sock.close()
        raise
    shell.doorstep = doorstep


def arrived(shell: Shell) -> None:
    """The worker runs on its node from now on: let the shell take over."""
    doorstep, shell.doorstep = shell.doorstep, None
    assert doorstep is not None
    begins = shell.admission is not None
    doorstep.hand_over(shell)
    if shell.pulse is not None:
        shell.pulse.arrive()
    if begins:  # after the turn in which it is told what came early
        shell.node.loop.call_soon(shell.connection.listener.begun, shell.connection)
    shell.serial.resume()
    shell.intake.resume()


def _unwritten(shell: Shell) -> bool:
    transport = shell.transport
    if transport is None:
        return False
    return transport.get_write_buffer_size() > 0 or shell.outflow.gathers


async def _written(shell: Shell) -> None:
    """Wait until the transport's own buffer is empty too, not only below its mark."""
    transport = shell.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=0)
    try:
        await shell.outflow.drained()
    finally:
        if shell.transport is transport:
            high = shell.config.write_high_water
            transport.set_write_buffer_limits(high=high)
            if shell.outflow.paused and transport.get_write_buffer_size() <= high:
                shell.resume_writing()  # it was over the mark of a move that was given up


class Doorstep(asyncio.Protocol):
    """Stands in for the shell until its worker has taken up work on the node.

    A loop may read from a socket as soon as it has adopted it, even from one that is paused at
    once. What comes too early is kept here, one read at most, and given to the shell.
    """

    __slots__ = ("_early", "_ended", "_lost", "_transport")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._early = b""
        self._ended = False
        self._lost: tuple[Exception | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods and not its base class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._early += data
        self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = (error,)

    def hand_over(self, shell: Shell) -> None:
        """Put the shell in its place; what has happened so far it is told in a turn of its own."""
        transport = self._transport
        assert transport is not None
        lost = self._lost is not None
        happened = lost or self._ended or bool(self._early)
        if happened:
            shell.pause_reading(Pause.ARRIVING)
            shell.node.loop.call_soon(self._tell, shell)
        if not lost:  # uvloop's transports refuse everything once they are closed
            transport.set_protocol(shell)
            shell.connection_made(transport)

    def _tell(self, shell: Shell) -> None:
        if shell.ending.over or (shell.transport is None and self._lost is None):
            return  # it ended meanwhile, and the shell knows
        if self._early and (shell.was_open or self._lost is None):
            shell.data_received(self._early)
        shell.resume_reading(Pause.ARRIVING)
        if self._lost is not None:
            shell.connection_lost(*self._lost)
        elif self._ended:
            shell.eof_received()
