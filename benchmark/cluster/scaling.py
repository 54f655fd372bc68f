"""What each server of many says and hears when something is sent to what two of them have.

Several servers share a process, for what is counted does not depend on it. Server 0 sends, one
message after the other, to an identity and to a group that servers 1 and 2 have, as far as there
are so many; all others have nothing to do with it. Heartbeats, which every server sends once a
second whatever else happens, are put off for the time of the counting.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from attrs import asdict, frozen

from benchmark.cluster.backplanes import Fabric
from benchmark.cluster.crossing import CLUSTER, LISTENERS, MEMBER
from benchmark.errors import BenchmarkError
from benchmark.load.connect import connect_all
from benchmark.processes import Server, running_server
from benchmark.workspace import Workspace

PROCESSES = 4
TOGETHER = 4  # servers in one process at least, as far as there are so many
INTERESTED = (1, 2)
WANTED = "wanted"  # the identity and the group
PUT_OFF = 600.0  # seconds between two heartbeats
STARTING = 60.0  # seconds until all servers of a process listen
PATIENCE = 20.0
LOOK = 0.1
EQUAL = 2  # looks in a row after which nothing is under way


@frozen(kw_only=True)
class Count:
    """What one kind of message came to, per message.

    Args:
        backplane: Which one.
        servers: How many there were.
        interested: How many of them had the identity or a member of the group.
        to: ``identity`` or ``group``.
        sent: Frames that the sender sent.
        heard: Frames that each interested server heard, the most of them.
        receipts: Frames that came back to the sender.
        others: Frames that each of all other servers sent or heard, the most of them.
    """

    backplane: str
    servers: int
    interested: int
    to: str
    sent: float
    heard: float
    receipts: float
    others: float

    def described(self) -> dict[str, object]:
        """For the results file."""
        return asdict(self)


async def count_frames(
    fabric: Fabric, servers: int, messages: int, workspace: Workspace
) -> list[Count]:
    """Have so many servers on a backplane, and count.

    Raises:
        BenchmarkError: A message did not reach the identity, or something failed.
    """
    async with _fleet(fabric.join(servers), workspace) as fleet, _interested(fleet) as interested:
        found = []
        for to, command in (("identity", "send"), ("group", "group")):
            before = await _settled(fleet)
            order = {command: WANTED, "server": 0, "count": messages}
            outcomes = await fleet.obey(order)
            if interested and set(outcomes) - {"delivered"}:
                raise BenchmarkError(f"{fabric.name}: not all were delivered: {set(outcomes)}")
            after = await _settled(fleet)
            sent, heard = (
                [(a[name] - b[name]) / messages for a, b in zip(after, before, strict=True)]
                for name in ("frames_sent", "frames_received")
            )
            others = range(1 + len(interested), servers)
            found.append(
                Count(
                    backplane=fabric.name,
                    servers=servers,
                    interested=len(interested),
                    to=to,
                    sent=sent[0],
                    heard=max((heard[number] for number in interested), default=0.0),
                    receipts=heard[0],
                    others=max((sent[number] + heard[number] for number in others), default=0.0),
                )
            )
    return found


class _Fleet:
    """Processes with servers, in order."""

    def __init__(self, processes: Sequence[Server]) -> None:
        self._processes = processes
        self.urls = [url for each in processes for url in each.urls]

    def member_url(self, number: int) -> str:
        """Where a server's members connect to."""
        return self.urls[number * LISTENERS + MEMBER]

    async def counts(self) -> list[dict[str, Any]]:
        """What every server counts."""
        answers = [await each.statistics() for each in self._processes]
        return [counts for answer in answers for counts in answer["servers"]]

    async def obey(self, order: dict[str, Any]) -> list[str]:
        """Have the first process carry out an order; what it says of it."""
        await self._processes[0].child.write(order)
        outcomes: list[str] = (await self._processes[0].child.read(PATIENCE))["outcomes"]
        return outcomes


@asynccontextmanager
async def _fleet(urls: Sequence[str], workspace: Workspace) -> AsyncIterator[_Fleet]:
    share = max(TOGETHER, -(-len(urls) // PROCESSES))
    shares = [urls[at : at + share] for at in range(0, len(urls), share)]
    async with _started(shares, workspace) as processes:
        yield _Fleet(processes)


@asynccontextmanager
async def _started(
    shares: Sequence[Sequence[str]], workspace: Workspace
) -> AsyncIterator[list[Server]]:
    if not shares:
        yield []
        return
    arguments = [word for url in shares[0] for word in ("--cluster", url)]
    arguments += ["--heartbeat", str(PUT_OFF)]
    async with (
        running_server(CLUSTER, "ws", workspace, None, arguments, STARTING) as first,
        _started(shares[1:], workspace) as others,
    ):
        yield [first, *others]


@asynccontextmanager
async def _interested(fleet: _Fleet) -> AsyncIterator[list[int]]:
    """Some servers have a client of the identity in the group; once the others know of it."""
    servers = len(fleet.urls) // LISTENERS
    numbers = [number for number in INTERESTED if number < servers]
    before = [counts["subscriptions"] for counts in await fleet.counts()]
    with ExitStack() as stack:
        urls = [f"{fleet.member_url(number)}/{WANTED}/{WANTED}" for number in numbers]
        for channel in await asyncio.to_thread(connect_all, urls, None):
            assert isinstance(channel, socket.socket)
            stack.enter_context(channel)
        async with _in_time("subscribed"):
            while True:
                counts = [counts["subscriptions"] for counts in await fleet.counts()]
                # to what the identity and the group stand for
                if all(counts[number] >= before[number] + 2 for number in numbers):
                    break
                await asyncio.sleep(LOOK)
        yield numbers


async def _settled(fleet: _Fleet) -> list[dict[str, Any]]:
    """What every server counts, once nothing is under way."""
    looks: list[list[tuple[int, int]]] = []
    async with _in_time("done with what was under way"):
        while True:
            counts = await fleet.counts()
            looks.append([(each["frames_sent"], each["frames_received"]) for each in counts])
            if len(looks) > EQUAL and all(look == looks[-1] for look in looks[-EQUAL - 1 :]):
                return counts
            await asyncio.sleep(LOOK)


@asynccontextmanager
async def _in_time(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise BenchmarkError(f"the servers are not {what} after {PATIENCE:g} s") from None


Say = Callable[[str], None]


async def count_sizes(
    fabric: Fabric, sizes: Sequence[int], messages: int, workspace: Workspace, say: Say
) -> list[Count]:
    """Count with each of so many servers."""
    found = []
    for servers in sizes:
        counts = await count_frames(fabric, servers, messages, workspace)
        say(f"{fabric.name}, {servers} servers: " + "; ".join(_told(each) for each in counts))
        found += counts
    return found


def _told(count: Count) -> str:
    return f"to the {count.to} {count.sent:g} sent, {count.heard:g} heard, others {count.others:g}"
