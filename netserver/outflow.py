"""The way out: what waits for a peer that reads slowly, and for how long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING

from netserver.stall import Stall
from netwire import LocalError, Message, State, Wire
from netwire.tls import TlsEngine

if TYPE_CHECKING:
    from netserver.shell import Shell

logger = logging.getLogger(__name__)

_OPEN = State.OPEN  # an enum's members are slow to look up


# Replies to one read are gathered up to this many bytes before they are written: enough for every
# pipelined small message, and a bound for a handler that sends without end.
CORK_LIMIT = 64 * 1024

# From so many bytes on a message is written behind its header, and not copied to be one piece with
# it. At 256 KiB that copy was a fifth of an echo; below this a call more costs as much.
LONG_MESSAGE = 16 * 1024


class Outflow:
    """Writes of one connection. Owned by the thread of the connection's node.

    While a read is being dealt with, what is sent is gathered here, and leaves in one write. The
    transport takes what fits below its high-water mark. Beyond it what is sent waits in a `Stall`,
    not encrypted yet, where the listener's `netserver.SlowReader` says what gives way. Messages
    wait encoded, except where a wire's encodings are its own (`netwire.Wire.encoding_key`): those
    may depend on their order, so they are made when nothing can give way any more.

    Attributes:
        direct: Whether a message can be encoded and written at once: it is open, and nothing waits.
        gathered: What was sent since `cork`, until `uncork`; None while it is written at once.
        ended: Whether our side of the stream is, so that nothing can be written any more.
        paused: Whether the transport is above its mark, or something waits.
    """

    __slots__ = (
        "_drained",
        "_finishing",
        "_gathered_size",
        "_lingers",
        "_shell",
        "_stall",
        "direct",
        "ended",
        "gathered",
        "paused",
    )

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.gathered: list[bytes] | None = None
        self._gathered_size = 0
        self._stall: Stall | None = None
        self._drained: asyncio.Future[None] | None = None
        self._finishing = False
        self._lingers = False
        self.direct = False
        self.ended = False
        self.paused = False

    @property
    def size(self) -> int:
        """What the messages that wait count, bytes. Slightly old when read by another thread."""
        stall = self._stall
        backlog = None if stall is None else stall.backlog
        return 0 if backlog is None else backlog.size

    @property
    def gathers(self) -> bool:
        """Whether anything waits for `uncork`."""
        return bool(self.gathered)

    def send(self, message: Message, key: Hashable = None) -> bool:
        """Encode and write; False when the connection is not open or the message gave way."""
        if not self.direct:
            return self._send_later(message, key)
        if type(message) is bytes and len(message) >= LONG_MESSAGE:
            header = self._header_of(message)
            if header is not None:
                return self._send_long(header, message, key)
        try:
            data = self._shell.wire.encode(message)
        except LocalError:  # it closes, or is closed
            return check_message(message)
        # As in `write`, but this is passed for every message.
        gathered = self.gathered
        if gathered is None:
            return self._pass_on(data)
        gathered.append(data)
        self._gathered_size += len(data)
        return self._gathered_size <= CORK_LIMIT or self.flush()

    def send_shared(
        self, message: Message, encoded: dict[Hashable, bytes], key: Hashable = None
    ) -> bool:
        """Send what many connections are sent, encoding it once per kind of wire."""
        shell = self._shell
        wire = shell.wire
        if wire.state is not _OPEN or not shell.was_open:
            return False
        kind = wire.encoding_key
        if kind is None:
            return self.send(message, key)
        data = encoded.get(kind)
        if data is None:
            data = encoded[kind] = wire.encode(message)
        return self.send_encoded(data, key)

    def send_encoded(self, data: bytes, key: Hashable = None) -> bool:
        """Send a message that another thread has encoded; False when that cannot be any more."""
        shell = self._shell
        if shell.wire.state is not _OPEN or not shell.was_open:
            return False
        if self._stall is not None:
            return self._stall.keep(data, len(data), key)
        return self.write(data)

    def relay(self, messages: list[Message]) -> None:
        """Send messages of somebody who is not here to be told that one cannot be carried."""
        for message in messages:
            try:
                self.send(message)
            except ValueError as error:
                logger.warning("%r is not sent a message: %s", self._shell.connection, error)

    def _header_of(self, message: bytes) -> bytes | None:
        """What the message can be written behind; None where the two have to be one piece."""
        shell = self._shell
        # asyncio's own transports would join them, and those of some versions never pause for what
        # comes in pieces (CPython's issue 127655).
        if shell.tls is not None or isinstance(shell.transport, asyncio.Transport):
            return None
        return shell.wire.header_of(message)

    def _send_long(self, header: bytes, message: bytes, key: Hashable) -> bool:
        """Write a message behind its header, without a copy."""
        self.flush()
        transport = self._shell.transport
        if self.paused:
            return self._send_later(message, key)
        if transport is None or transport.is_closing() or self.ended:
            return False
        transport.writelines((header, message))
        return True

    def _send_later(self, message: Message, key: Hashable) -> bool:
        """Have a message wait its turn, or what the policy says."""
        check_message(message)
        shell = self._shell
        stall = self._stall
        if stall is None or not shell.was_open or shell.wire.state is not _OPEN:
            return False
        if shell.wire.encoding_key is None:
            # What cannot be sent is told to the sender, as ever, as far as it can be known now.
            size = len(message if isinstance(message, bytes) else message.encode())
            return stall.keep(message, size, key)
        data = shell.wire.encode(message)
        return stall.keep(data, len(data), key)

    def ping(self, payload: bytes) -> None:
        """Ask the peer to answer, ahead of what waits."""
        if data := self._shell.wire.ping(payload):
            self.control(data, False)

    def control(self, data: bytes, is_answer: bool) -> None:
        """Write a ping, or a pong: in its place among what is gathered, ahead of what waits."""
        if self._stall is None:
            self.write(data)
        else:
            self._stall.control(data, is_answer)

    def write(self, data: bytes) -> bool:
        """Write bytes of the wire's, in their place among what is gathered."""
        gathered = self.gathered
        if gathered is None:
            return self._pass_on(data)
        gathered.append(data)
        self._gathered_size += len(data)
        return self._gathered_size <= CORK_LIMIT or self.flush()

    def flush(self) -> bool:
        """Write what was gathered so far; False when that made it too much."""
        gathered = self.gathered
        if not gathered:
            return True
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        gathered.clear()
        self._gathered_size = 0
        return self._pass_on(data)

    def cork(self) -> None:
        """Gather what is sent from now on, behind what is gathered already."""
        if self.gathered is None:
            self.gathered = []

    def uncork(self) -> None:
        """Write what was gathered, and gather no more."""
        gathered, self.gathered = self.gathered, None
        if gathered:
            self._gathered_size = 0
            self._pass_on(gathered[0] if len(gathered) == 1 else b"".join(gathered))

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
        assert self._stall is not None
        self._stall.append(data)
        return True

    def open(self) -> None:
        """Messages may be sent."""
        self.direct = not self.paused

    def pause(self) -> None:
        """The transport is over its mark."""
        self.paused = True
        self.direct = False
        if self._stall is None:
            self._stall = Stall(self._shell)
        self._stall.begin()

    def resume(self) -> None:
        """The transport is below its mark again."""
        stall = self._stall
        if stall is None:
            return  # the transport is gone
        stall.end()
        self._shell.connection._gap_ends()
        while data := stall.take():
            # Not before: what taking them makes somebody send comes after them.
            self.paused = False
            self._pass_on(data)
            if self.paused:
                return
            self.paused = True
        self._stall = None
        self.paused = False
        self.direct = self._shell.was_open
        self._wake()
        if self._finishing:
            self._close_transport()

    def finish(self, farewell: bytes, linger: bool) -> None:
        """Write the last bytes, and close the transport once everything is written.

        Args:
            farewell: The last bytes; when there are any, they come in place of what waits.
            linger: Only end our side of the stream then. Closing while the peer still sends would
                reset the connection, and the peer might lose what we sent last (RFC 9112, section
                9.6). It is closed when the peer has ended its own, and this is called again.
        """
        self.flush()
        if farewell:
            self.forget()
            self._pass_on(farewell)
        self._finishing = True
        self._lingers = linger
        if not self.paused:
            self._close_transport()

    def settle(self) -> None:
        """The wire is about to close: what waits is the last, and nothing of it gives way now."""
        if self._stall is not None:
            self._stall.settle()

    def forget(self) -> None:
        """What waits is not to be written after all."""
        if self._stall is not None:
            self._stall.forget()

    def end(self) -> None:
        """The transport is gone: nothing will be written any more."""
        if self._stall is not None:
            self._stall.end()
            self._stall = None
        if self.gathered:
            self.gathered.clear()
        self._gathered_size = 0
        self.paused = False
        self.direct = False
        self._wake()

    async def drained(self) -> None:
        """Wait until the transport is below its mark and nothing waits."""
        self.flush()
        while self.paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

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


def encode_ahead(wire: Wire, message: Message, encoded: dict[Hashable, bytes]) -> bool:
    """Encode what is handed over to another thread, so that what cannot be is told to the sender.

    Where a wire's encodings are its own, they are made when they are sent; what can be known ahead
    is whether text is encodable.

    Args:
        wire: Of the connection that is to send it. Any thread.
        encoded: Where the encoding goes, and is looked for, by `netwire.Wire.encoding_key`.

    Returns:
        False when the wire is not open any more.

    Raises:
        ValueError: The framing cannot carry it.
    """
    kind = wire.encoding_key
    if kind is None:
        if isinstance(message, str):
            message.encode()
    elif kind not in encoded:
        try:
            encoded[kind] = wire.encode(message)
        except LocalError:
            return False
    return True


def check_message(message: object) -> bool:
    """Refuse what is no message; otherwise it was not sent."""
    if not isinstance(message, (bytes, str)):
        raise TypeError(f"a message is bytes or str, not {type(message).__name__}")
    return False
