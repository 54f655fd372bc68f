"""All clients of the kill test in one process.

It reads a plan as a JSON line from its standard input, a `Plan`, and says ``{"joined": N}`` when
all are in their groups. From the next line on they talk, and it says several times a second how
things are, a `Scene`. A line ``{"scatter": N}`` has so many lose their connections;
``{"finish": SECONDS}`` ends the talk: when everything is taken and everybody has received it, or
after so many seconds, it says ``{"result": …}``, a `Count`, and ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import uvloop
from attrs import asdict, frozen

from benchmark.kill.guest import Guest
from benchmark.kill.ledger import Ledger, Minutes

GLANCE = 0.2  # seconds between two looks
ENCORE = 0.5  # seconds to listen, at the end, for what comes twice


@frozen(kw_only=True)
class Plan:
    """What they do.

    Args:
        urls: The servers.
        clients: How many there are, in all groups together.
        groups: Among how many groups they are divided.
        rate: Messages a second of each.
        seed: For what is drawn at random.
    """

    urls: Sequence[str]
    clients: int
    groups: int
    rate: float
    seed: int


@frozen(kw_only=True)
class Scene:
    """How things are.

    Args:
        joined: Clients that are in their groups.
        said, received: Messages so far.
    """

    joined: int
    said: int
    received: int


@frozen(kw_only=True)
class Count:
    """What came of it.

    Args:
        said: Messages that were to be said.
        taken: Those that a client was told to be kept.
        received: Messages that came to a client, each counted for each.
        lost: Those taken or not, that a client of the group did not receive; for each.
        doubled, reordered: As of `Ledger`, of all clients together.
        losses: Connections that ended.
        recovered, unrecovered: Returns after which a client had been told that it got all that it
            had missed, and that it did not.
        refused: Messages of which a client was told that they are not kept.
        away: How long each return took, from the loss on, seconds, in order of length.
    """

    said: int
    taken: int
    received: int
    lost: int
    doubled: int
    reordered: int
    losses: int
    recovered: int
    unrecovered: int
    refused: int
    away: Sequence[float]


class Crowd:
    """The clients. Used on one event loop.

    Args:
        plan: What they do.
    """

    def __init__(self, plan: Plan) -> None:
        self._random = Random(plan.seed)
        groups = [f"group{number}" for number in range(plan.groups)]
        minutes = [Minutes() for _ in groups]
        self.guests = [
            Guest(
                f"guest{number}",
                groups[number % plan.groups],
                plan.urls,
                plan.rate,
                Ledger(minutes[number % plan.groups]),
                Random(self._random.random()),
            )
            for number in range(plan.clients)
        ]

    @property
    def joined(self) -> int:
        """How many are in their groups."""
        return sum(guest.joined for guest in self.guests)

    async def scatter(self, count: int) -> None:
        """Have so many lose their connections, at once."""
        chosen = self._random.sample(self.guests, min(count, len(self.guests)))
        await asyncio.gather(*(guest.drop() for guest in chosen))

    def describe(self) -> Scene:
        """How things are."""
        return Scene(
            joined=self.joined,
            said=sum(guest.number for guest in self.guests),
            received=sum(guest.ledger.received for guest in self.guests),
        )

    def settled(self) -> bool:
        """Whether everything is taken, and received by everybody."""
        return (
            self.joined == len(self.guests)
            and not any(guest.unsure for guest in self.guests)
            and not self.count_missing()
        )

    def count_missing(self) -> int:
        """How many messages were not received, for each client that should have."""
        said: dict[str, dict[str, int]] = {}
        for guest in self.guests:
            said.setdefault(guest.group, {})[guest.name] = guest.number
        return sum(guest.ledger.count_missing(said[guest.group]) for guest in self.guests)

    def count(self) -> Count:
        """What came of it."""
        guests = self.guests
        return Count(
            said=sum(guest.number for guest in guests),
            taken=sum(guest.taken for guest in guests),
            received=sum(guest.ledger.received for guest in guests),
            lost=self.count_missing(),
            doubled=sum(guest.ledger.doubled for guest in guests),
            reordered=sum(guest.ledger.reordered for guest in guests),
            losses=sum(guest.losses for guest in guests),
            recovered=sum(guest.recovered for guest in guests),
            unrecovered=sum(guest.unrecovered for guest in guests),
            refused=sum(guest.refused for guest in guests),
            away=sorted(seconds for guest in guests for seconds in guest.away),
        )


async def run(orders: asyncio.StreamReader) -> None:
    """Do as one is told."""
    crowd = Crowd(Plan(**json.loads(await orders.readline())))
    staying = [asyncio.create_task(guest.stay()) for guest in crowd.guests]
    await _until(lambda: crowd.joined == len(crowd.guests))
    _say(joined=crowd.joined)
    patience = 0.0
    if await orders.readline():
        talking = [asyncio.create_task(guest.talk()) for guest in crowd.guests]
        telling = asyncio.create_task(_tell(crowd))
        while line := await orders.readline():
            order: dict[str, Any] = json.loads(line)
            if "scatter" in order:
                await crowd.scatter(order["scatter"])
            else:
                patience = order["finish"]
                break
        await _end(talking)
        try:
            async with asyncio.timeout(patience):
                await _until(crowd.settled)
        except TimeoutError:
            pass  # the count says what is missing
        await asyncio.sleep(ENCORE)
        await _end([telling])
        _say(result=asdict(crowd.count()))
    await _end(staying)


async def _until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(GLANCE)


async def _tell(crowd: Crowd) -> None:
    while True:
        await asyncio.sleep(GLANCE)
        _say(scene=asdict(crowd.describe()))


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


def _say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def main() -> None:
    """Take the orders of standard input."""
    orders = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(orders)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await run(orders)


if __name__ == "__main__":
    uvloop.run(main())
