"""History that a journal keeps for all servers: it outlives each of them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmark.brokers.nats import NatsServer, nats_server
from benchmark.brokers.process import BrokerMissing
from netserver import BackplaneError, GroupRules, History, Outcome, Server
from netserver.events import BackplaneDown, BackplaneUp
from tests.netserver.backplane.brokers import required_nats
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Visitor, until, wait_for

RULES = GroupRules(history=History(count=10))

# As people may name it: neither a subject's nor a key's characters.
GROUP = "room/Tee & Kekse \u2615"


@pytest.fixture
def broker() -> Iterator[NatsServer]:
    try:
        with nats_server(jetstream=True) as server:
            yield server
    except BrokerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def fleet(broker: NatsServer) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(lambda: broker.url, stack)


def come(
    visitor: Visitor, position: list[object] | None = None
) -> tuple[bool, list[object], list[str]]:
    """Join; whether that is recovered, the position, and what was said before."""
    visitor.join(GROUP, None, position)
    _, _, recovered, *now, said = visitor.read()
    return recovered, now, said


def test_a_position_of_one_server_holds_on_every_other(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    assert come(ann)[::2] == (False, [])
    for number in range(3):
        assert a.publish(GROUP, f"m{number}").wait(PATIENCE) is Outcome.QUEUED
    b = fleet.server(rules=RULES)
    ben = fleet.visit(b, "ben")
    _, position, said = come(ben)
    assert said == ["m0", "m1", "m2"]
    ben.close()
    b.close()
    for number in range(3, 6):
        assert (
            a.publish(GROUP, f"m{number}", id=f"\u2615 {number}").wait(PATIENCE) is Outcome.QUEUED
        )
    a.close()
    c = fleet.server(rules=RULES)
    again = fleet.visit(c, "ben")
    recovered, _, missed = come(again, position)
    assert (recovered, missed) == (True, ["m3", "m4", "m5"])
    assert c.publish(GROUP, "doubled", id="\u2615 5").wait(PATIENCE) is Outcome.QUEUED
    assert c.publish(GROUP, "live").wait(PATIENCE) is Outcome.QUEUED
    assert again.client.recv(PATIENCE) == "live"


def test_who_has_read_further_than_this_server_has_heard_is_recovered(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    assert a.publish(GROUP, "m0").wait(PATIENCE) is Outcome.QUEUED
    assert come(fleet.visit(b, "ben"))[2] == ["m0"]
    # Others number on, of which b hears nothing.
    assert a.publish("room/another", "elsewhere").wait(PATIENCE) is Outcome.QUEUED
    _, position, said = come(fleet.visit(a, "ann"))
    assert said == ["m0"]
    recovered, _, missed = come(fleet.visit(b, "ann"), position)
    assert (recovered, missed) == (True, [])
    # What there can never have been is no position.
    bogus = [position[0], 10**9]
    recovered, _, missed = come(fleet.visit(b, "eve"), bogus)
    assert (recovered, missed) == (False, ["m0"])


def test_a_broker_that_has_lost_the_end_begins_anew(
    fleet: Fleet, broker: NatsServer, tmp_path: Path
) -> None:
    a = fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    come(ann)
    store = broker.directory / "store"

    def publish(text: str) -> None:
        assert a.publish(GROUP, text).wait(PATIENCE) is Outcome.QUEUED

    publish("m0")
    assert ann.client.recv(PATIENCE) == "m0"
    broker.process.stop()
    shutil.copytree(store, tmp_path / "store")
    broker.process.start()
    for text in ("m1", "m2"):
        publish(text)
        assert ann.client.recv(PATIENCE) == text
    broker.process.kill()
    shutil.rmtree(store)
    shutil.copytree(tmp_path / "store", store)
    broker.process.start()
    publish("m3")
    _, _, recovered, *_, said = ann.read()
    assert not recovered
    while said[-1] != "m3":  # it may come behind what was kept
        said.append(ann.client.recv(PATIENCE))
    assert said == ["m0", "m3"]


def test_without_jetstream_a_server_does_not_start_and_says_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with required_nats() as broker:
        server = Server(cluster=broker.url)
        server.groups.set_rules(GROUP, RULES)
        with pytest.raises(BackplaneError, match="start nats-server with -js"):
            server.start()
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_broker_whose_jetstream_comes_later_is_waited_for(
    fleet: Fleet, broker: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    come(ann)
    settings = broker.directory / "nats.conf"
    enabled = settings.read_text()
    broker.process.kill()
    settings.write_text("\n".join(line for line in enabled.splitlines() if "store" not in line))
    for site in (a, b):
        wait_for(site, BackplaneDown)
    broker.process.start()
    for site in (a, b):
        wait_for(site, BackplaneUp)
    until(lambda: caplog.text.count("JetStream is not enabled") >= 2)
    delivery = b.publish(GROUP, "later")
    settings.write_text(enabled)
    os.kill(broker.process.pid, signal.SIGHUP)  # reads its configuration again
    assert delivery.wait(2 * PATIENCE) is Outcome.QUEUED
    assert ann.client.recv(2 * PATIENCE) == "later"
