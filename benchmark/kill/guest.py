"""A client of the kill test: says something at a steady rate, and comes back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from time import monotonic
from urllib.parse import urlencode

from attrs import define, field

from benchmark.kill.ledger import Ledger
from netclient import Backoff, Client, ClientError
from netwire import Message, Retry

TEXT = "x" * 64
OPEN_TIMEOUT = 3.0  # seconds
BACK_TIMEOUT = 10.0  # seconds from the opening until it is in its group, before it tries elsewhere
AGAIN = Backoff(first=0.25, cap=2.0, reset_after=1.0)


@define(eq=False)
class Guest:
    """Used on one event loop.

    What it has said and not heard to be taken, it says again when it is back, in order and under
    the same numbers, before anything new. How far it has read goes by the messages it received.

    Args:
        name, group: Who it is, and where.
        urls: The servers; it tries one at random, and another one than that it has lost.
        rate: Messages a second.
        ledger: What it has received.
        random: Chooses.

    Attributes:
        joined: Whether it is in its group now.
        number: Of the last message.
        unsure: Messages that are not known to be taken.
        taken: Messages that are.
        losses: Connections that ended.
        recovered, unrecovered: How often it was told that it got all that it had missed, and that
            it did not.
        refused: Messages of which it was told anything else than that they are kept.
        away: How long it was out of its group after each loss, seconds.
    """

    name: str
    group: str
    urls: Sequence[str]
    rate: float
    ledger: Ledger
    random: Random
    joined: bool = False
    number: int = 0
    unsure: dict[int, None] = field(factory=dict)
    taken: int = 0
    losses: int = 0
    recovered: int = 0
    unrecovered: int = 0
    refused: int = 0
    away: list[float] = field(factory=list)
    _position: tuple[str, int] | None = None
    _lost_at: float | None = None
    _client: Client | None = None
    _said: asyncio.Event = field(factory=asyncio.Event)

    async def talk(self) -> None:
        """Say something from time to time, until cancelled."""
        await asyncio.sleep(self.random.random() / self.rate)
        while True:
            self.number += 1
            self.unsure[self.number] = None
            self._said.set()
            await asyncio.sleep(1 / self.rate)

    async def stay(self) -> None:
        """Be connected to one of the servers, until cancelled."""
        retry = Retry(AGAIN)
        url = self.random.choice(self.urls)
        while True:
            opened_at = monotonic()
            with suppress(ClientError):
                await self._visit(url)
            lived = monotonic() - opened_at if self.joined else 0.0
            if self.joined:
                self.joined = False
                self.losses += 1
                self._lost_at = monotonic()
            await asyncio.sleep(retry.next_delay(lived, self.random.random) or 0.0)
            url = self.random.choice([other for other in self.urls if other != url] or [url])

    async def drop(self) -> None:
        """Have the connection end; it comes back by itself."""
        if self._client is not None:
            await self._client.close()

    async def _visit(self, url: str) -> None:
        at = "" if self._position is None else "?" + urlencode(self._where(*self._position))
        client = Client(
            f"{url}/{self.group}/{self.name}{at}",
            reconnect=None,
            open_timeout=OPEN_TIMEOUT,
            ping_interval=None,
        )
        async with client:
            self._client = client
            self._take(await client.recv(BACK_TIMEOUT))
            writer = asyncio.create_task(self._write(client))
            try:
                refused = self.refused
                async for message in client:
                    self._take(message)
                    if self.refused > refused:
                        break  # what comes behind may be taken: it says all of it again
            finally:
                self._client = None
                writer.cancel()
                with suppress(asyncio.CancelledError, ClientError):
                    await writer

    @staticmethod
    def _where(epoch: str, offset: int) -> dict[str, str]:
        return {"epoch": epoch, "offset": str(offset)}

    async def _write(self, client: Client) -> None:
        last = 0
        while True:
            for number in [each for each in self.unsure if each > last]:
                await client.send(f"{number} {TEXT}")
                last = number
            self._said.clear()
            await self._said.wait()

    def _take(self, message: Message) -> None:
        kind, *words = str(message).split(" ")
        if kind == "said":
            epoch, offset, sender, number, _ = words
            self.ledger.note(sender, int(number), int(offset))
            self._position = epoch, int(offset)
        elif kind == "taken":
            self._note_outcome(int(words[0]), words[1])
        else:
            self._note_return(*words)

    def _note_outcome(self, number: int, outcome: str) -> None:
        if number not in self.unsure:
            return
        if outcome == "queued":
            del self.unsure[number]
            self.taken += 1
        else:
            self.refused += 1

    def _note_return(self, recovered: str, epoch: str, offset: str, count: str) -> None:
        if self._position is None:
            self._position = epoch, int(offset)
        elif recovered == "True":
            self.recovered += 1
        else:
            self.unrecovered += 1
        if self._lost_at is not None:
            self.away.append(monotonic() - self._lost_at)
            self._lost_at = None
        self.joined = True
