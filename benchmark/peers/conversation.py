"""What the one event loop and the thread pool share: envelopes on asyncio's plain protocols."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import uvloop

from benchmark.peers.program import announce
from netwire.framing import Envelope

BACKLOG = 1024
LISTENERS = 2  # strict and slow connections, by what they would declare to our server


class Conversation(asyncio.Protocol):
    """One connection: envelopes in, envelopes out. Used on its loop's thread only.

    A peer that does not read what it is sent is not read either, so what waits for it stays
    within the transport's high-water mark and the replies to one read.
    """

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._wire = Envelope()
        self._stopped_for: set[str] = set()

    @abstractmethod
    def take(self, messages: Sequence[bytes]) -> None:
        """Deal with the messages of one read, in their order; there is at least one."""

    def reply(self, messages: Sequence[bytes]) -> None:
        """Write replies, if the connection is still open."""
        if not self._transport.is_closing():
            self._transport.write(b"".join(map(self._wire.encode_payload, messages)))

    def stop_reading(self, reason: str) -> None:
        """Read no more until no reason is left."""
        self._stopped_for.add(reason)
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on_reading(self, reason: str) -> None:
        """A reason not to read has gone, if it was there."""
        if reason in self._stopped_for:
            self._stopped_for.remove(reason)
            if not self._stopped_for and not self._transport.is_closing():
                self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        events = self._wire.receive(data)
        messages = [event for event in events if isinstance(event, bytes)]
        if messages:
            self.take(messages)
        if len(messages) < len(events):  # the last one is a fault
            self._transport.abort()

    def pause_writing(self) -> None:
        self.stop_reading("the peer does not read")

    def resume_writing(self) -> None:
        self.go_on_reading("the peer does not read")


def serve(make: Callable[[], Conversation]) -> None:
    """Listen twice on one event loop, announce it, and serve until the process ends.

    Args:
        make: Makes the protocol of each connection, whichever listener accepted it.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(make, "127.0.0.1", 0, backlog=BACKLOG)
            for _ in range(LISTENERS)
        ]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        announce([f"tcp://127.0.0.1:{port}" for port in ports])
        await asyncio.Event().wait()

    uvloop.run(main())
