"""The way out: what waits for a peer that reads slowly, and for how long."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from netwire.tls import TlsEngine

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.shell import Shell


class Outflow:
    """Writes of one connection. Owned by the thread of the connection's node.

    The transport takes what fits below its high-water mark. Beyond it, writes wait here, encoded
    but not encrypted, up to ``send_limit`` bytes; a write that passes it, or a peer that leaves
    the transport above its mark for ``write_timeout`` seconds, is a slow reader and is cut.
    """

    __slots__ = (
        "_drained",
        "_finishing",
        "_lingers",
        "_shell",
        "_timer",
        "_waiting",
        "ended",
        "paused",
        "size",
    )

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._waiting: deque[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._finishing = False
        self._lingers = False
        self.ended = False  # our side of the stream is, and nothing can be written any more
        self.paused = False
        self.size = 0

    @property
    def _config(self) -> ServerConfig:
        return self._shell.config

    def write(self, data: bytes) -> bool:
        """Write, or keep until the peer reads; False when that made it too much."""
        shell = self._shell
        if not self.paused:
            transport = shell.transport
            if transport is None or transport.is_closing() or self.ended:
                return False
            transport.write(data if shell.tls is None else shell.tls.encrypt(data))
            return True
        if self.size + len(data) > self._config.send_limit:
            shell.ending.cut(1008, f"over {self._config.send_limit} bytes wait for a slow reader")
            return False
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(data)
        self.size += len(data)
        return True

    def pause(self) -> None:
        """The transport is over its mark."""
        self.paused = True
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._config.write_timeout, self._too_slow)

    def resume(self) -> None:
        """The transport is below its mark again."""
        self.paused = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and not self.paused:
            self.write(self._gather(self._waiting))
        if self.paused:
            return
        self._wake()
        if self._finishing:
            self._close_transport()

    def finish(self, linger: bool) -> None:
        """Close the transport once everything is written.

        Args:
            linger: Only end our side of the stream then. Closing while the peer still sends would
                reset the connection, and the peer might lose what we sent last (RFC 9112, section
                9.6). It is closed when the peer has ended its own, and this is called again.
        """
        self._finishing = True
        self._lingers = linger
        if not self.paused:
            self._close_transport()

    def end(self) -> None:
        """The transport is gone: nothing will be written any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = None
        self.size = 0
        self.paused = False
        self._wake()

    async def drained(self) -> None:
        """Wait until the transport is below its mark and nothing waits."""
        while self.paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _gather(self, waiting: deque[bytes]) -> bytes:
        """The oldest of what waits, about as much as the transport takes at a time."""
        pieces: list[bytes] = []
        size = 0
        while waiting and size < self._config.write_high_water:
            pieces.append(waiting.popleft())
            size += len(pieces[-1])
        self.size -= size
        return b"".join(pieces)

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _close_transport(self) -> None:
        transport = self._shell.transport
        if transport is None or transport.is_closing():
            return
        tls: TlsEngine | None = self._shell.tls
        if tls is not None and not self.ended and (farewell := tls.close()):
            transport.write(farewell)
        if not self._lingers:
            transport.close()
        elif not self.ended:
            self.ended = True
            try:
                transport.write_eof()
            except OSError:  # the peer has reset the connection, which is about to be told
                transport.close()

    def _too_slow(self) -> None:
        self._timer = None
        self._shell.ending.cut(1008, f"the peer has not read for {self._config.write_timeout:g} s")
