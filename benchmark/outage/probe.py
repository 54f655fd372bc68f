"""Messages from a client of each server to one of the other, again and again: when they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic

from attrs import define, field

from netclient import Client, ClientError
from netwire import Backoff

INTERVAL = 0.02  # seconds between two messages of each
NUMBERS = (1_000_000, 1_000_001)  # of the two, twins
FLOODED = 1_000_002  # of one more beside the second, that may be cut off for being too slow
SOON = Backoff(first=0.05, cap=0.2)  # for who lost the connection, with its server
SEND_TIMEOUT = 0.2  # seconds to wait for it
CLOSE_TIMEOUT = 0.2  # seconds: it may be frozen, when all is ended in the middle


@define(eq=False)
class Probe:
    """Two clients, each of which notes what it receives from the other. On one event loop.

    A third is for a flood.
    """

    clients: list[Client] = field(factory=list)
    _since: float = float("inf")
    _firsts: list[float | None] = field(factory=lambda: [None, None])
    _arrived: asyncio.Event = field(factory=asyncio.Event)

    async def first_since(self, then: float, patience: float) -> list[float | None]:
        """When the first message arrived that was sent since then, in each direction.

        Args:
            then: Seconds of `time.monotonic`, not long ago.
            patience: How long to wait for both, seconds; None for one that has not come.
        """
        self._since, self._firsts = then, [None, None]
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while None in self._firsts:
                    self._arrived.clear()
                    await self._arrived.wait()
        return self._firsts

    def _note(self, number: int, message: bytes | str) -> None:
        if float(message) >= self._since and self._firsts[number] is None:
            self._firsts[number] = monotonic()
            self._arrived.set()

    async def _send(self, client: Client) -> None:
        while True:
            with suppress(ClientError):  # its server is away
                await client.send(f"{monotonic():.9f}")
            await asyncio.sleep(INTERVAL)


def _ignore(_message: bytes | str) -> None:
    """It is of a flood."""


@asynccontextmanager
async def running_probe(urls: Sequence[str]) -> AsyncIterator[Probe]:
    """Probe between the listeners at these two URLs, for the length of the block."""
    probe = Probe()
    tasks: list[asyncio.Task[None]] = []
    try:
        for number, url, note in (
            (NUMBERS[0], urls[0], partial(probe._note, 0)),
            (NUMBERS[1], urls[1], partial(probe._note, 1)),
            (FLOODED, urls[1], _ignore),
        ):
            client = Client(
                f"{url}/{number}",
                reconnect=SOON,
                send_timeout=SEND_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=None,  # a server that is frozen is not to lose it
                on_message=note,
            )
            probe.clients.append(client)
            await client.connect()
        tasks += [asyncio.create_task(probe._send(client)) for client in probe.clients[:2]]
        yield probe
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for client in probe.clients:
            await client.close()
