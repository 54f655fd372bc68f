"""History that a journal keeps for all servers: it outlives each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmark.brokers.nats import nats_server
from benchmark.brokers.process import BrokerMissing
from netserver import GroupRules, History, Outcome
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Visitor

RULES = GroupRules(history=History(count=10))

# As people may name it: neither a subject's nor a key's characters.
GROUP = "room/Tee & Kekse \u2615"


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    try:
        with nats_server(jetstream=True) as broker, ExitStack() as stack:
            yield Fleet(lambda: broker.url, stack)
    except BrokerMissing as missing:
        pytest.skip(str(missing))


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
