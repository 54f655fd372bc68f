"""A cluster larger than any machine here: the parts of our servers without threads and sockets.

Every server is the real one but for its listeners and its Foreman: who is where, what is subscribed
to, frames, receipts. All run on one loop, on the backplane in memory. Of the clients, which are as
many on each server, only an even share of them is there while messages are counted, for the count
does not depend on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from attrs import asdict, define, frozen

from benchmark.errors import BenchmarkError
from netserver import ClusterConfig, Connection, Server
from netserver.cluster.claims import Claims
from netserver.cluster.delivery import Delivery, Outcome, Settled
from netserver.cluster.identities import Identities
from netwire import State

SIZE = 128  # bytes of a message
PUT_OFF = 3600.0  # seconds between two heartbeats, which are not counted
TIMEOUT = 60.0
BATCH = 1000  # clients that come at a time
MOMENT = 0.02  # seconds, after which what is under way has arrived

_names = count()


@define(eq=False)
class Client:
    """Stands for a connection, as far as the cluster sees it.

    It looks closed to whoever would hand over several messages at once, who then sends each.
    """

    _shell: ClassVar[object] = SimpleNamespace(state=State.CLOSED)
    got: int = 0

    def send(self, message: bytes | str, key: object = None) -> bool:
        """It has arrived."""
        self.got += 1
        return True


@frozen(kw_only=True)
class Sends:
    """What a message comes to among so many servers.

    Args:
        servers: How many.
        clients: How many there were on all of them while it was counted.
        subscriptions: What each server subscribed to then.
        interested: Servers that had the identity, or a member of the group.
        to: ``identity`` or ``group``.
        sent: Frames published for each message, receipts included.
        heard: Frames heard by all servers together for each message, receipts included.
    """

    servers: int
    clients: int
    subscriptions: float
    interested: int
    to: str
    sent: float
    heard: float

    def described(self) -> dict[str, object]:
        """For the results file."""
        return asdict(self)


async def simulate(
    servers: int, clients: int, groups: Sequence[int], messages: int, seed: int
) -> list[Sends]:
    """Send to identities, and to groups that so many servers have members of.

    Args:
        servers: How many; two at least.
        clients: On each.
        groups: How many servers each group has members on.
        messages: Of each kind, each from a random server, one after the other.
        seed: For what is random.
    """
    random = Random(seed)
    found: list[Sends] = []
    async with joined(servers) as world:
        for number, server in enumerate(world):
            core = server.cluster._core
            names = [f"client-{number}-{client}" for client in range(clients)]
            await settle(core.claims, server.cluster.identities, names)
        subscriptions = sum(len(server.cluster._core.interest) for server in world) / servers

        async def send_to_identity() -> None:
            sender, holder = random.sample(range(servers), 2)
            identity = f"client-{holder}-{random.randrange(clients)}"
            cluster, delivery, message = world[sender].cluster, Delivery(), bytes(SIZE)
            assert cluster._budget.take(SIZE)
            cluster._core.router.send([(identity, message, delivery, TIMEOUT, SIZE)])
            outcome = await delivery
            if outcome is not Outcome.DELIVERED:
                raise BenchmarkError(f"{identity} was not reached: {outcome}")

        async def note(
            to: str, interested: int, send: Callable[[], Coroutine[Any, Any, None]]
        ) -> None:
            before = _frames(world)
            for _ in range(messages):
                await send()
            while _frames(world) != (now := await _later(world)):
                pass  # receipts are under way
            sent, heard = (b - a for a, b in zip(before, now, strict=True))
            found.append(
                Sends(
                    servers=servers,
                    clients=servers * clients,
                    subscriptions=subscriptions,
                    interested=interested,
                    to=to,
                    sent=sent / messages,
                    heard=heard / messages,
                )
            )

        await note("identity", 1, send_to_identity)
        for interested in groups:
            if interested >= servers:
                continue
            group = f"group-{interested}"
            numbers = random.sample(range(servers), interested)
            others = [number for number in range(servers) if number not in numbers]
            for number in numbers:
                core = world[number].cluster._core
                core.interest.want(core.subjects.group(group))
                await core.interest.ready(core.subjects.group(group))

            async def send_to_group(group: str = group, others: list[int] = others) -> None:
                cluster, message = world[random.choice(others)].cluster, bytes(SIZE)
                assert cluster._budget.take(SIZE)
                cluster._broadcast(message, group, "", SIZE)
                await cluster._core.sender.flush()

            await note("group", interested, send_to_group)
    return found


@asynccontextmanager
async def joined(servers: int) -> AsyncIterator[list[Server]]:
    """So many servers that are joined, all on the running loop."""
    url = f"memory://simulation-{next(_names)}"
    config = ClusterConfig(heartbeat=PUT_OFF, dead_after=2 * PUT_OFF)
    world = [Server(cluster=url, cluster_config=config) for _ in range(servers)]
    try:
        for server in world:
            await server.cluster._core.start()
        yield world
    finally:
        for server in world:
            await server.cluster._core.stop()


async def settle(claims: Claims, identities: Identities, names: Sequence[str]) -> None:
    """Clients of these identities come, as `Cluster.enroll` lets them in."""
    for at in range(0, len(names), BATCH):
        awaited = []
        for name in names[at : at + BATCH]:
            client = cast(Connection, Client())
            identities.add(name, client)
            granted: Settled[bool] = Settled()
            claims.claim(name, client, granted)
            awaited.append(granted)
        for granted in awaited:
            await granted


def _frames(world: Sequence[Server]) -> tuple[int, int]:
    """Frames sent and heard by all."""
    cores = [server.cluster._core for server in world]
    return sum(core.sender.frames for core in cores), sum(core.incoming.frames for core in cores)


async def _later(world: Sequence[Server]) -> tuple[int, int]:
    await asyncio.sleep(MOMENT)
    return _frames(world)
