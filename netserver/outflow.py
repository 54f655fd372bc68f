"""The way out: what waits for a peer that reads slowly, and for how long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import TYPE_CHECKING

from netwire import LocalError, Message, State
from netwire.tls import TlsEngine

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.shell import Shell

_OPEN = State.OPEN  # an enum's members are slow to look up


# Replies to one read are gathered up to this many bytes before they are written: enough for every
# pipelined small message, and a bound for a handler that sends without end.
CORK_LIMIT = 64 * 1024


class Outflow:
    """Writes of one connection. Owned by the thread of the connection's node.

    While a read is being dealt with, what is sent is gathered here, and leaves in one write. The
    transport takes what fits below its high-water mark. Beyond it, writes wait here, encoded but
    not encrypted, up to ``send_limit`` bytes; a write that passes it, or a peer that leaves the
    transport above its mark for ``write_timeout`` seconds, is a slow reader and is cut.

    Attributes:
        corked: Whether what is sent is gathered until `flush`.
        ended: Whether our side of the stream is, so that nothing can be written any more.
        paused: Whether the transport is above its mark.
        size: The bytes that wait for it to be below.
    """

    __slots__ = (
        "_drained",
        "_finishing",
        "_gathered",
        "_gathered_size",
        "_lingers",
        "_shell",
        "_timer",
        "_waiting",
        "corked",
        "ended",
        "paused",
        "size",
    )

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._waiting: deque[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._finishing = False
        self._lingers = False
        self.corked = False
        self.ended = False
        self.paused = False
        self.size = 0

    @property
    def gathers(self) -> bool:
        """Whether anything waits for `flush`."""
        return bool(self._gathered)

    @property
    def _config(self) -> ServerConfig:
        return self._shell.config

    def send(self, message: Message) -> bool:
        """Encode and write; False when the connection is not open or has been cut for it."""
        shell = self._shell
        if not shell.was_open:
            return check_message(message)
        try:
            data = shell.wire.encode(message)
        except LocalError:  # it closes, or is closed
            return check_message(message)
        # As in `write`, but this is passed for every message.
        if not self.corked:
            return self._pass_on(data)
        self._gathered.append(data)
        self._gathered_size += len(data)
        return self._gathered_size <= CORK_LIMIT or self.flush()

    def send_shared(self, message: Message, encoded: dict[Hashable, bytes]) -> bool:
        """Send what many connections are sent, encoding it once per kind of wire."""
        shell = self._shell
        wire = shell.wire
        if wire.state is not _OPEN or not shell.was_open:
            return False
        key = wire.encoding_key
        data = None if key is None else encoded.get(key)
        if data is None:
            data = wire.encode(message)
            if key is not None:
                encoded[key] = data
        return self.write(data)

    def ping(self, payload: bytes) -> None:
        if data := self._shell.wire.ping(payload):
            self.write(data)

    def write(self, data: bytes) -> bool:
        """Write bytes of the wire's, in their place among what is gathered."""
        if not self.corked:
            return self._pass_on(data)
        self._gathered.append(data)
        self._gathered_size += len(data)
        return self._gathered_size <= CORK_LIMIT or self.flush()

    def flush(self) -> bool:
        """Write what was gathered; False when that made it too much."""
        gathered = self._gathered
        if not gathered:
            return True
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        gathered.clear()
        self._gathered_size = 0
        return self._pass_on(data)

    def write_records(self, records: bytes) -> None:
        """Write what TLS has to say of its own."""
        transport = self._shell.transport
        if not records or transport is None or transport.is_closing() or self.ended:
            return
        self.flush()
        transport.write(records)

    def _pass_on(self, data: bytes) -> bool:
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
            self._pass_on(self._next_waiting(self._waiting))
        if self.paused:
            return
        self._wake()
        if self._finishing:
            self._close_transport()

    def finish(self, farewell: bytes, linger: bool) -> None:
        """Write the last bytes, and close the transport once everything is written.

        Args:
            farewell: The last bytes.
            linger: Only end our side of the stream then. Closing while the peer still sends would
                reset the connection, and the peer might lose what we sent last (RFC 9112, section
                9.6). It is closed when the peer has ended its own, and this is called again.
        """
        self.flush()
        if farewell:
            self._pass_on(farewell)
        self._finishing = True
        self._lingers = linger
        if not self.paused:
            self._close_transport()

    def end(self) -> None:
        """The transport is gone: nothing will be written any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gathered.clear()
        self._gathered_size = 0
        self._waiting = None
        self.size = 0
        self.paused = False
        self._wake()

    async def drained(self) -> None:
        """Wait until the transport is below its mark and nothing waits."""
        self.flush()
        while self.paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _next_waiting(self, waiting: deque[bytes]) -> bytes:
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


def check_message(message: object) -> bool:
    """Refuse what is no message; otherwise it was not sent."""
    if not isinstance(message, (bytes, str)):
        raise TypeError(f"a message is bytes or str, not {type(message).__name__}")
    return False
