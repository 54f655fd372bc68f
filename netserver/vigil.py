"""Looking after a peer that is not read, so that it does not go unnoticed when it leaves."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

from netserver.pauses import Pause

if TYPE_CHECKING:
    from netserver.shell import Shell

# How often, seconds: a look is a system call of two microseconds.
PERIOD = 1.0

# The peer has ended its side, behind what is not read yet. Only Linux tells.
_ENDED: int = getattr(select, "POLLRDHUP", 0)
_GONE = select.POLLHUP | select.POLLERR


class Vigil:
    """Looks now and then while a connection's handler has enough to do. On its node's thread.

    A loop tells of a peer's end by reading it. Here nothing is read for as long as a handler takes,
    but the system knows of a reset. An orderly end by itself does not say that nobody reads any
    more what we send, so a WebSocket peer is sent a ping: if it is gone, its system resets.
    """

    __slots__ = ("_asked", "_shell", "_timer")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._sleep()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sleep(self) -> None:
        self._timer = self._shell.node.loop.call_later(PERIOD, self._look)

    def _look(self) -> None:
        self._timer = None
        shell = self._shell
        transport = shell.transport
        if transport is None or transport.is_closing() or not shell.pauses & Pause.HANDLER:
            shell.vigil = None
            return
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), _ENDED)
        happened = sum(flags for _, flags in poll.poll(0))
        if happened & _GONE:
            shell.vigil = None
            shell.ending.cut(1006, "the peer has gone")
            return
        if happened & _ENDED and not self._asked:
            self._asked = True
            shell.outflow.ping(b"")
        self._sleep()
