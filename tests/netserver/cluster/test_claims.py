"""One connection of an identity in the cluster, where that is the policy: who stays."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from netclient import ConnectionClosed
from netclient.blocking import Client
from netserver import ClusterConfig, Connection, IdentityTaken
from netserver.cluster.claims import OBJECTION, REPLACED, Claims
from netserver.cluster.delivery import Settled
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Guest, Site, until

_names = itertools.count()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Servers in one process: what is decided here is none of a broker's."""
    url = f"memory://claims-{next(_names)}"
    with ExitStack() as stack:
        yield Fleet(lambda: url, stack)


@pytest.mark.parametrize("identities", ["newest", "refuse"])
def test_of_many_that_come_at_once_exactly_one_stays(fleet: Fleet, identities: str) -> None:
    config = ClusterConfig(identities=identities, heartbeat=0.2, dead_after=1.0)
    sites = [fleet.server(config=config) for _ in range(3)]
    for number in range(5):
        start = threading.Barrier(9)

        def come(site: Site) -> None:
            client = Client(f"{site.url}/ben{number}", reconnect=None)  # noqa: B023
            start.wait()  # noqa: B023
            try:
                client.connect()
            except Exception:
                client.close()
            else:
                clients.append(client)  # noqa: B023

        clients: list[Client] = []
        threads = [threading.Thread(target=come, args=(site,)) for site in sites * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        def there() -> list[Connection]:
            return [c for site in sites for c in site.connections]

        until(lambda: sum(s.statistics().connections for s in sites) == 1)
        assert [c.identity for c in there()] == [f"ben{number}"]
        assert sum(site.statistics().cluster.identities for site in sites) == 1
        for client in clients:
            client.close()
        until(lambda: not there())


def hold_subscriptions(site: Site) -> threading.Event:
    """The server subscribes to nothing more until the event is set."""
    interest, gate = site.cluster._core.interest, threading.Event()
    subscribe = interest._subscribe

    async def subscribe_late(subjects: Iterable[str]) -> None:
        await asyncio.to_thread(gate.wait, PATIENCE)
        await subscribe(subjects)

    interest._subscribe = subscribe_late
    return gate


def test_of_two_the_one_that_came_first_stays_though_it_could_be_heard_last(fleet: Fleet) -> None:
    """Its server is slow to subscribe: the other has asked before, and was not heard there."""
    config = ClusterConfig(identities="refuse", heartbeat=0.2, dead_after=1.0)
    a, b, c = (fleet.server(config=config) for _ in range(3))
    fleet.visit(c, "ben").close()  # c goes on listening for a while, so that a waits for an answer
    until(lambda: c.statistics().cluster.identities == 0)
    gate = hold_subscriptions(b)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(fleet.visit, b, "ben")
        until(lambda: len(b.cluster._core.claims._reaching))
        second = pool.submit(fleet.visit, a, "ben")
        until(lambda: len(a.cluster._core.claims._waiting))
        gate.set()
        first.result(PATIENCE)
        with pytest.raises(Exception, match="409"):
            second.result(PATIENCE)
    assert [site.statistics().cluster.identities for site in (a, b, c)] == [0, 1, 0]


def test_who_objects_too_late_is_heard_all_the_same(fleet: Fleet) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=0.2, dead_after=PATIENCE)
    a, b = (fleet.server(config=config) for _ in range(2))
    first = fleet.visit(a, "ben")
    a.cluster._lane.post(time.sleep, 3 * OBJECTION)
    second = fleet.visit(b, "ben")
    with pytest.raises(ConnectionClosed) as closed:
        second.client.recv(PATIENCE)
    assert closed.value.code == REPLACED
    until(lambda: b.statistics().connections == 0)
    assert first.join("room/1") == ["joined", "room/1"]


def test_a_server_that_cannot_be_reached_for_long_claims_once_more(fleet: Fleet) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=0.2, dead_after=PATIENCE)
    a, b = (fleet.server(config=config) for _ in range(2))
    gate = hold_subscriptions(b)
    first = fleet.visit(b, "ben")  # let in though nobody hears of it
    second = fleet.visit(a, "ben")
    gate.set()
    with pytest.raises(ConnectionClosed) as closed:
        second.client.recv(PATIENCE)
    assert closed.value.code == REPLACED
    assert first.join("room/1") == ["joined", "room/1"]


class Retry(Connection):
    """Wants an identity for a moment, and then again."""

    async def on_message(self, message: Any) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.identify("ben"), 0.2)
        await self.identify("ben")
        self.send("has it")


def test_an_objection_to_an_earlier_claim_is_none_to_a_later_one(fleet: Fleet) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=5.0, dead_after=30.0)
    a, b = fleet.server(config=config), fleet.server(config=config, kind=Retry)
    ben, other = fleet.visit(a, "ben"), fleet.visit(b)
    a.cluster._lane.post(time.sleep, 0.4)  # a objects when the first claim has been given up
    other.client.send("go")
    until(lambda: len(b.cluster._core.claims._waiting))
    ben.close()
    assert other.client.recv(PATIENCE) == "has it"
    assert b.statistics().cluster.identities == 1


def test_a_claim_that_comes_when_its_connection_has_gone_is_none(fleet: Fleet) -> None:
    config = ClusterConfig(identities="newest", heartbeat=0.2, dead_after=1.0)
    a = fleet.server(config=config)
    ben = fleet.visit(a, "ben")
    (connection,) = a.connections
    ben.close()
    claims = a.cluster._core.claims
    until(lambda: not claims._claims and not a.connections)
    granted: Settled[bool] = Settled()
    assert a.cluster._lane.post(claims.claim, "ben", connection, granted)
    assert not granted.wait(PATIENCE)
    assert not claims._claims


class Undecided(Connection):
    """Wants an identity, and then none."""

    async def on_message(self, message: Any) -> None:
        wants = asyncio.ensure_future(self.identify("ben"))
        await asyncio.sleep(0.1)
        await self.identify(None)
        with pytest.raises(IdentityTaken):
            await wants
        self.send("has none")


def test_who_waits_for_an_identity_that_is_given_up_is_told_when_the_cluster_ends(
    fleet: Fleet,
) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=5.0, dead_after=30.0)
    a, b = fleet.server(config=config), fleet.server(config=config, kind=Undecided)
    fleet.visit(a, "ben").close()  # a goes on listening for a while, so that b waits for an answer
    until(lambda: a.statistics().cluster.identities == 0)
    a.cluster._lane.post(time.sleep, 2 * OBJECTION)
    other = fleet.visit(b)
    other.client.send("go")
    until(lambda: len(b.cluster._core.claims._waiting) and not b.cluster._core.claims._claims)
    b.cluster.stop()
    assert other.client.recv(PATIENCE) == "has none"


class Busy(Guest):
    """Keeps its node for a while."""

    def on_message(self, message: Any) -> None:
        time.sleep(1.0)


@pytest.mark.parametrize("identities", ["newest", "refuse"])
def test_who_is_told_to_close_objects_no_more(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, identities: str
) -> None:
    """Or many that were all let in answer each other, again and again, until their nodes come."""
    config = ClusterConfig(identities=identities, heartbeat=5.0, dead_after=30.0)
    sites = [fleet.server(config=config, kind=Busy) for _ in range(8)]
    gates = [hold_subscriptions(site) for site in sites]
    with ThreadPoolExecutor(len(sites)) as pool:  # let in though nobody hears of them
        visitors = list(pool.map(lambda site: fleet.visit(site, "ben"), sites))
    sent: list[Claims] = []
    publish = Claims._publish

    def counted(claims: Claims, *arguments: Any, **more: Any) -> None:
        sent.append(claims)
        publish(claims, *arguments, **more)

    monkeypatch.setattr(Claims, "_publish", counted)
    for visitor in visitors:
        visitor.client.send("go")
    for gate in gates:
        gate.set()
    until(lambda: sum(site.statistics().cluster.identities for site in sites) == 1)
    assert len(sent) <= len(sites) ** 2, "each objects to each of the others at most"
