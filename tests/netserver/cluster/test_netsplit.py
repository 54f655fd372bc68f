"""Servers that cannot reach each other for a while, though each reaches its own broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from attrs import define, evolve

from benchmark.brokers.process import free_port
from netclient.errors import ConnectionClosed
from netserver import GroupRules, Outcome
from netserver.cluster.claims import REPLACED
from tests.netserver.backplane.brokers import required_nats
from tests.netserver.cluster.conftest import CONFIG, PATIENCE, Fleet, Site, Visitor
from tests.netserver.wire import Wires, running_wires

RULES = GroupRules(presence=True)


@define(eq=False)
class Halves:
    """Where each of two servers joins, and what leads from the one to the other."""

    urls: list[str]
    wires: Wires

    def url(self) -> str:
        return self.urls.pop(0)


@contextmanager
def nats() -> Iterator[Halves]:
    """Two brokers, of which one has a route to the other."""
    with running_wires() as wires, ExitStack() as stack:
        port = free_port()
        route = wires.add(port)
        urls = []
        for settings in (
            f"listen: 127.0.0.1:{port}, no_advertise: true",
            f'listen: "127.0.0.1:-1", no_advertise: true, routes: ["nats://127.0.0.1:{route}"]',
        ):
            cluster = f"cluster {{ name: halves, {settings} }}"
            broker = stack.enter_context(required_nats(configuration=cluster))
            urls.append(broker.url)
        yield Halves(urls, wires)


@contextmanager
def zmq() -> Iterator[Halves]:
    """Two servers, each of which is reached through a wire."""
    ports = [free_port(), free_port()]
    with running_wires() as wires:
        ways = [wires.add(port) for port in ports]
        urls = [
            f"zmq://127.0.0.1:{p}?advertise=127.0.0.1:{w}" for p, w in zip(ports, ways, strict=True)
        ]
        yield Halves([urls[0], f"{urls[1]}&seeds=127.0.0.1:{ways[0]}"], wires)


ENGINES = {"nats": nats, "zmq": zmq}


@pytest.fixture(params=ENGINES)
def halves(request: pytest.FixtureRequest) -> Iterator[Halves]:
    """What joins two servers, on each engine where others can be cut off alone."""
    with ENGINES[request.param]() as halves:
        yield halves


def until(condition: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.01)


def until_there(sites: Iterable[Site], *who: str) -> None:
    until(lambda: all(there(site) == set(who) for site in sites), f"there are others than {who}")


def there(site: Site) -> set[str | None]:
    return {member.identity for member in site.presence("room/1")}


def reaches(site: Site, identity: str) -> bool:
    return site.send_to(identity, "hello", timeout=0.5).wait(PATIENCE) is Outcome.DELIVERED


def until_replaced(visitor: Visitor) -> None:
    """Wait until a connection was closed in favour of another of its identity."""
    with pytest.raises(ConnectionClosed) as caught:
        read_on(visitor)
    assert caught.value.code == REPLACED


def read_on(visitor: Visitor) -> None:
    while True:
        assert visitor.client.recv(PATIENCE) == "hello"


# "cut" is noticed by brokers and peers at once; "stall" by none, and what was said comes later:
# all at once, or, where it crawls, the first long before the last.
@pytest.mark.parametrize(
    ("how", "mend", "identities"),
    [("cut", "mend", "refuse"), ("stall", "mend", "newest"), ("stall", "crawl", "newest")],
)
def test_each_half_goes_on_and_they_are_one_again(
    halves: Halves, how: str, mend: str, identities: str
) -> None:
    # Whatever is made up for is so because they hear of each other again.
    config = evolve(CONFIG, identities=identities, resync=60.0)
    with ExitStack() as stack:
        fleet = Fleet(halves.url, stack)
        a, b = [fleet.server(rules=RULES, config=config) for _ in range(2)]
        ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
        # Brokers may take a while to find each other, and what is said before that is lost.
        fleet.visit(a, "amy")
        fleet.visit(b, "bob")
        until(lambda: reaches(a, "bob") and reaches(b, "amy"), "they never reach each other")
        ann.join("room/1")
        ben.join("room/1")
        until_there([a, b], "ann", "ben")
        assert reaches(a, "ben")
        assert reaches(b, "ann")

        getattr(halves.wires, how)()
        until_there([a], "ann")
        until_there([b], "ben")
        assert not reaches(a, "ben")
        # Each half serves its own, a newcomer and one who is on the other side, too.
        eve = fleet.visit(a, "eve")
        eve.join("room/1")
        assert a.broadcast("hello", group="room/1") == 2
        assert reaches(a, "ann")
        assert reaches(b, "ben")
        first, last = fleet.visit(a, "dan"), fleet.visit(b, "dan")

        getattr(halves.wires, mend)()
        until_there([a, b], "ann", "ben", "eve")
        until(lambda: reaches(a, "ben") and reaches(b, "eve"), "they do not reach each other")
        goes, stays = (first, last) if identities == "newest" else (last, first)
        until_replaced(goes)
        until(lambda: reaches(a, "dan") and reaches(b, "dan"), "the other was closed too")
        assert stays.client.recv(PATIENCE) == "hello"
        assert all(site.statistics().cluster.link_up for site in (a, b))


def test_who_comes_while_brokers_have_not_found_each_other_is_known_a_beat_later() -> None:
    """Nobody hears the first words of the other, nor notices it."""
    config = evolve(CONFIG, heartbeat=4.0, dead_after=10.0, resync=60.0)
    with nats() as halves, ExitStack() as stack:
        fleet = Fleet(halves.url, stack)
        a, b = [fleet.server(rules=RULES, config=config) for _ in range(2)]
        ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
        until(lambda: reaches(a, "ben") and reaches(b, "ann"), "they never reach each other")
        halves.wires.cut()
        until(lambda: not reaches(a, "ben"), "they still reach each other")
        for visitor in (ann, ben):
            visitor.client.send('["join", "room/1", null, null]')
        until_there([a], "ann")
        until_there([b], "ben")
        halves.wires.mend()
        until_there([a, b], "ann", "ben")


@pytest.mark.parametrize("identities", ["newest", "refuse"])
def test_an_identity_is_claimed_again_where_nothing_tells_of_the_end_of_a_split(
    identities: str,
) -> None:
    config = evolve(CONFIG, identities=identities, resync=0.5)
    with nats() as halves, ExitStack() as stack:
        fleet = Fleet(halves.url, stack)
        a, b = [fleet.server(config=config) for _ in range(2)]
        fleet.visit(b, "ben")
        until(lambda: reaches(a, "ben"), "they never reach each other")
        halves.wires.cut()
        until(lambda: not reaches(a, "ben"), "they still reach each other")
        first, last = fleet.visit(a, "dan"), fleet.visit(b, "dan")
        halves.wires.mend()
        until_replaced(first if identities == "newest" else last)
        until(lambda: reaches(a, "dan") and reaches(b, "dan"), "the other was closed too")
