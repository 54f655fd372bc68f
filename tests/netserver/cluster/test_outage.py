"""The broker stops, hangs or comes back: what is local goes on, and the rest is made up for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from benchmark.brokers.nats import nats_server
from benchmark.brokers.process import BrokerMissing, BrokerProcess
from netserver import ClusterConfig, GroupRules, Outcome
from netserver.events import BackplaneDown, BackplaneUp, MessagesDropped
from tests.netserver.backplane.brokers import breakable_rabbitmq
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Site, until, wait_for

# Small enough to be filled, and quick to notice what hangs.
CONFIG = ClusterConfig(
    heartbeat=0.2,
    dead_after=1.0,
    resync=1.0,
    probe_timeout=0.5,
    publish_limit=20_000,
    publish_age=0.5,
)
RULES = GroupRules(presence=True)


@contextmanager
def nats() -> Iterator[tuple[str, BrokerProcess]]:
    try:
        with nats_server(jetstream=True) as broker:
            yield broker.url, broker.process
    except BrokerMissing as missing:
        pytest.skip(str(missing))


@contextmanager
def amqp() -> Iterator[tuple[str, BrokerProcess]]:
    with breakable_rabbitmq() as shared:
        yield f"{shared.broker.url}?exchange=outage", shared.broker.process


# RabbitMQ takes seconds to start again, and is frozen only.
@pytest.fixture(params=["nats killed", "nats frozen", "amqp frozen"])
def broken(request: pytest.FixtureRequest) -> Iterator[tuple[Fleet, BrokerProcess, str]]:
    """A fleet, the process of the broker that it depends on, and what is to be done to that."""
    name, how = request.param.split()
    with (nats if name == "nats" else amqp)() as (url, process), ExitStack() as stack:
        yield Fleet(lambda: url, stack), process, how


def both_there(site: Site) -> bool:
    return {member.identity for member in site.presence("room/1")} == {"ann", "ben"}


def test_what_is_local_goes_on_and_the_rest_comes_back(
    broken: tuple[Fleet, BrokerProcess, str],
) -> None:
    fleet, broker, how = broken
    a, b = [fleet.server(rules=RULES, config=CONFIG) for _ in range(2)]
    ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
    ann.join("room/1")
    ben.join("room/1")
    until(lambda: both_there(a) and both_there(b))

    broker.kill() if how == "killed" else broker.freeze()
    wait_for(a, BackplaneDown)
    assert not a.statistics().cluster.link_up
    # What is local is served, a newcomer too, and what goes elsewhere says so.
    assert a.send_to("ann", "local").wait(PATIENCE) is Outcome.DELIVERED
    assert ann.client.recv(PATIENCE) == "local"
    eve = fleet.visit(a, "eve")
    eve.join("room/1")
    assert a.broadcast("here", group="room/1") == 2
    assert {ann.client.recv(PATIENCE), eve.client.recv(PATIENCE)} == {"here"}
    assert a.send_to("ben", "lost", timeout=0.3).wait(PATIENCE) is Outcome.UNKNOWN
    # What waits is bounded, and dropped when it is old.
    deliveries = [a.send_to("ben", "x" * 1000, timeout=0.3) for _ in range(50)]
    outcomes = {delivery.wait(PATIENCE) for delivery in deliveries}
    assert outcomes == {Outcome.UNKNOWN, Outcome.REFUSED}
    assert a.statistics().cluster.waiting <= CONFIG.publish_limit
    wait_for(a, MessagesDropped)
    until(lambda: a.statistics().cluster.waiting == 0)
    # Who cannot be heard because of the own link is not taken for gone.
    assert "ben" in {member.identity for member in a.presence("room/1")}

    broker.start() if how == "killed" else broker.thaw()
    wait_for(a, BackplaneUp)
    wait_for(b, BackplaneUp)
    until(lambda: {m.identity for m in b.presence("room/1")} == {"ann", "ben", "eve"})
    until(lambda: a.send_to("ben", "again").wait(PATIENCE) is Outcome.DELIVERED)
    assert ben.client.recv(PATIENCE) in ("again", "here")


def test_a_broker_that_hangs_is_not_taken_for_the_other_servers() -> None:
    """Those are silent for longer than they may be before it is known who is to blame."""
    config = ClusterConfig(heartbeat=0.2, dead_after=0.5, resync=1.0, probe_timeout=2.0)
    with nats() as (url, broker), ExitStack() as stack:
        fleet = Fleet(lambda: url, stack)
        a, b = [fleet.server(rules=RULES, config=config, watched=["room/1"]) for _ in range(2)]
        ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
        ann.join("room/1")
        ben.join("room/1")
        until(lambda: both_there(a) and both_there(b))
        broker.freeze()
        for site in (a, b):
            wait_for(site, BackplaneDown)
        broker.thaw()
        for site in (a, b):
            wait_for(site, BackplaneUp)
        until(lambda: a.send_to("ben", "hello").wait(PATIENCE) is Outcome.DELIVERED)
        assert both_there(a)
        assert both_there(b)
        for site in (a, b):
            assert not [went for _, _, went in site.changes.queue if went]


def test_who_left_while_the_broker_was_away_is_gone_afterwards() -> None:
    with nats() as (url, broker), ExitStack() as stack:
        fleet = Fleet(lambda: url, stack)
        a, b = [fleet.server(rules=RULES, config=CONFIG) for _ in range(2)]
        ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
        ann.join("room/1")
        ben.join("room/1")
        until(lambda: both_there(a) and both_there(b))
        broker.kill()
        wait_for(b, BackplaneDown)
        # The last of its server, which has nothing to do with the group from then on.
        assert ben.ask("leave", "room/1") == ["left", "room/1"]
        for _ in range(2):  # what told so waits no longer when a message after it does not
            b.send_to("ann", "lost")
            wait_for(b, MessagesDropped)
        broker.start()
        until(lambda: [member.identity for member in a.presence("room/1")] == ["ann"])
