"""What clients take in memory, measured on some and multiplied.

A server with all of its share of the clients; what it knows of others, and what a broker keeps, on
a sample.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from attrs import asdict, frozen

from benchmark.cluster.backplanes import Fabric
from benchmark.cluster.simulation import joined, settle
from benchmark.usage import resident_bytes
from netserver import Member
from netserver.backplane import make_backplane
from netserver.backplane.zeromq.subscription_table import PeerSubscriptions, SubscriptionTable
from netserver.backplane.zeromq.wire import Action
from netserver.backplane.zeromq.wire import Change as MeshChange
from netserver.cluster.claims import Claims
from netserver.cluster.identities import Identities
from netserver.cluster.interest import Interest
from netserver.cluster.presence import CHUNK, GroupPresence, Notice
from netserver.cluster.subjects import Subjects

BATCH = 1000  # subjects that are subscribed to at a time


@frozen(kw_only=True)
class Memory:
    """What one of something takes.

    Args:
        what: Of what, and where.
        each: Bytes, measured on `sample` of them.
        sample: How many those were.
        count: How many there would be.
    """

    what: str
    each: float
    sample: int
    count: int

    def described(self) -> dict[str, object]:
        """For the results file; ``bytes`` is what all would take."""
        return {**asdict(self), "bytes": self.each * self.count}


async def measure_memory(servers: int, clients: int, sample: int) -> list[Memory]:
    """What a server keeps at so many servers and clients in all, on any backplane and on ``zmq``.

    Args:
        sample: How many of what others want, and of a group's members, are there while it is
            measured. A server's own clients are all there.
    """
    share = clients // servers
    return [
        Memory(
            what="a server: its clients' identities",
            each=await _identities_memory(share) / share,
            sample=share,
            count=share,
        ),
        Memory(
            what="a server: a member of a group with presence, on any server",
            each=_presence_memory(sample) / sample,
            sample=sample,
            count=sample,
        ),
        Memory(
            what="zmq, a server: what all others subscribe to",
            each=_mesh_memory(sample) / sample,
            sample=sample,
            count=clients,
        ),
    ]


async def measure_broker(fabric: Fabric, clients: int, sample: int) -> list[Memory]:
    """What a subscription costs the broker, and our engine; of a real one.

    Raises:
        BenchmarkError: The broker's memory cannot be seen.
    """
    if fabric.pid is None:
        return []
    backplane = make_backplane(fabric.join(1)[0])
    await backplane.start(lambda _subject, _payload: None, lambda _state, _why: None)
    try:
        await backplane.subscribe([f"warm.{number}" for number in range(BATCH)])
        await backplane.probe()
        before = resident_bytes(fabric.pid)
        with _traced() as traced:
            subjects = [f"foreman.c.client-{number}" for number in range(sample)]
            for at in range(0, sample, BATCH):
                await backplane.subscribe(subjects[at : at + BATCH])
            del subjects
            await backplane.probe()
        grown = resident_bytes(fabric.pid) - before
    finally:
        await backplane.close()
    return [
        Memory(
            what=f"{fabric.name}, the broker: subscriptions",
            each=max(0, grown) / sample,
            sample=sample,
            count=clients,
        ),
        Memory(
            what=f"{fabric.name}, a server: its engine's subscriptions",
            each=traced[0] / sample,
            sample=sample,
            count=sample,
        ),
    ]


@contextmanager
def _traced() -> Iterator[list[int]]:
    """How many bytes more there are after the block than before."""
    grown: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield grown
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()


async def _identities_memory(clients: int) -> int:
    async def nothing(_subjects: Iterable[str]) -> None:
        """What the engine keeps is measured by itself."""

    async with joined(1) as (server,):
        core = server.cluster._core
        with _traced() as traced:
            interest = Interest(nothing, nothing)
            running = asyncio.get_running_loop().create_task(interest.run())
            identities = Identities()
            subjects = Subjects("foreman")
            claims = Claims(
                server.cluster.config,
                server.cluster.id,
                core.sender,
                subjects,
                interest,
                identities,
            )
            names = [f"client-{number}" for number in range(clients)]
            await settle(claims, identities, names)
            del names
        running.cancel()
        await asyncio.wait([running])
    return traced[0]


def _presence_memory(members: int) -> int:
    server = secrets.token_hex(8)
    with _traced() as traced:
        presence = GroupPresence()
        for at in range(0, members, CHUNK):
            numbers = range(at, min(at + CHUNK, members))
            came = tuple(Member(f"client-{number}", None, server, number) for number in numbers)
            presence.take_whole(server, Notice(1, came, last=at + CHUNK >= members), 0.0)
    return traced[0]


def _mesh_memory(subjects: int) -> int:
    with _traced() as traced:
        table: SubscriptionTable[int] = SubscriptionTable()
        subscriptions = PeerSubscriptions(table, 0)
        subscriptions.apply(MeshChange(1, Action.BEGIN, ()))
        for number, at in enumerate(range(0, subjects, BATCH), 2):
            numbers = range(at, min(at + BATCH, subjects))
            wanted = tuple(f"foreman.c.client-{each}" for each in numbers)
            subscriptions.apply(MeshChange(number, Action.EXTEND, wanted))
        subscriptions.apply(MeshChange(subscriptions.number + 1, Action.END, ()))
        del wanted
    return traced[0]
