"""A connection between two nodes, or between the listener and its first one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from netserver.shell import Shell


class Doorstep(asyncio.Protocol):
    """Stands in for a connection's shell until its worker has taken up work on the node.

    A loop may read from a socket as soon as it has adopted it, even from one that is paused at
    once. What comes too early is kept here, one read at most, and given to the shell.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._early = b""
        self._ended = False
        self._lost: tuple[Exception | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods and not its base class.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self._early += data
        self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = (error,)

    def hand_over(self, shell: Shell) -> None:
        """Put the shell in its place and tell it what has happened so far."""
        transport = self.transport
        assert transport is not None
        if self._lost is None:
            transport.set_protocol(shell)
        shell.connection_made(transport)
        if self._early:
            if self._lost is None:
                transport.resume_reading()
            shell.data_received(self._early)
        if self._lost is not None:
            shell.connection_lost(*self._lost)
        elif self._ended:
            shell.eof_received()
