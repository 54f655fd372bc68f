"""What was said in a group, for who comes back."""

from __future__ import annotations

from typing import Any

import pytest

from netserver import Entry, GroupRules, History, Outcome
from tests.netserver.cluster.conftest import PATIENCE, Fleet, Visitor, on_all_engines


def stamp(entry: Entry) -> str:
    return f"{entry.position.offset} {entry.message!s}"


RULES = GroupRules(history=History(count=10), stamp=stamp)


def come(visitor: Visitor, group: str, since: Any = None) -> tuple[bool, list[Any], list[str]]:
    """Join, and what is told: whether recovered, the position, what was missed."""
    visitor.client.send(f'["join", "{group}", null, {_json(since)}]')
    told = [visitor.read(), visitor.read()]
    recovery = next(each for each in told if each[0] == "recovery")
    return recovery[2], recovery[3:5], recovery[5]


def _json(since: Any) -> str:
    import json

    return json.dumps(since)


def said(visitor: Visitor) -> str:
    message = visitor.client.recv(PATIENCE)
    assert isinstance(message, str)
    return message.partition(" ")[2]


def test_who_comes_back_is_served_what_they_missed(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    recovered, position, missed = come(ann, "room/1")
    assert (recovered, missed) == (False, [])
    for number in range(3):
        assert a.publish("room/1", f"m{number}").wait(PATIENCE) is Outcome.QUEUED
        assert said(ann) == f"m{number}"
    offset = position[1]
    ann.close()
    for number in range(3, 6):
        assert a.publish("room/1", f"m{number}").wait(PATIENCE) is Outcome.QUEUED
    again = fleet.visit(a, "ann")
    recovered, now, missed = come(again, "room/1", [position[0], offset])
    assert recovered
    assert missed == [f"m{number}" for number in range(6)]
    recovered, now, missed = come(again, "room/1", now)
    assert (recovered, missed) == (True, [])
    a.publish("room/1", "live")
    assert said(again) == "live"


def test_who_missed_too_much_is_told(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    _, position, _ = come(ann, "room/1")
    ann.close()
    for number in range(25):
        assert a.publish("room/1", f"m{number}").wait(PATIENCE) is Outcome.QUEUED
    recovered, _, missed = come(fleet.visit(a, "ann"), "room/1", position)
    assert not recovered
    assert missed == [f"m{number}" for number in range(15, 25)]
    recovered, _, _ = come(fleet.visit(a, "ann"), "room/1", ["another epoch", position[1]])
    assert not recovered


def test_a_newcomer_gets_what_is_kept(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    a.publish("room/1", "before").wait(PATIENCE)
    recovered, _, missed = come(fleet.visit(a, "ann"), "room/1")
    assert (recovered, missed) == (False, ["before"])


def test_a_server_that_is_new_to_a_group_learns_its_history(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    come(ann, "room/1")
    for number in range(3):
        a.publish("room/1", f"m{number}").wait(PATIENCE)
        assert said(ann) == f"m{number}"
    recovered, position, missed = come(fleet.visit(b, "ben"), "room/1")
    assert (recovered, missed) == (False, ["m0", "m1", "m2"])
    a.publish("room/1", "m3").wait(PATIENCE)
    recovered, _, missed = come(fleet.visit(b, "eve"), "room/1", position)
    assert recovered
    assert missed in ([], ["m3"])  # it may be on its way


@on_all_engines
def test_members_on_other_servers_get_it_too_once(fleet: Fleet) -> None:
    # Room for all: were they served anew, for having been too slow, it would be in another shape.
    rules = GroupRules(history=History(count=1000), stamp=stamp)
    a, b = fleet.server(rules=rules), fleet.server(rules=rules)
    ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
    come(ann, "room/1")
    come(ben, "room/1")
    deliveries = [a.publish("room/1", f"a{number}") for number in range(100)]
    deliveries += [b.publish("room/1", f"b{number}") for number in range(100)]
    for visitor in (ann, ben):
        messages = [said(visitor) for _ in range(200)]
        for name in "ab":
            ours = [message for message in messages if message.startswith(name)]
            assert ours == [f"{name}{number}" for number in range(100)]
    assert {each.wait(PATIENCE) for each in deliveries} == {Outcome.QUEUED}


def test_what_is_said_twice_with_one_id_is_stored_once(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
    come(ann, "room/1")
    come(ben, "room/1")
    a.publish("room/1", "once", id="ann-1").wait(PATIENCE)
    assert said(ben) == "once"
    b.publish("room/1", "once", id="ann-1").wait(PATIENCE)
    b.publish("room/1", "end").wait(PATIENCE)
    assert [said(ann), said(ann)] == ["once", "end"]
    assert said(ben) == "end"


def test_publish_and_broadcast_are_not_confused(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    with pytest.raises(ValueError, match="publish"):
        a.broadcast("x", group="room/1")
    assert a.broadcast("x", group="room/1", local=True) == 0
    with pytest.raises(ValueError, match="broadcast"):
        a.publish("other", "x")


def test_what_is_sent_to_somebody_who_is_away_waits_for_them(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    first = a.send_to("ben", "m1")
    assert first.wait(PATIENCE) is Outcome.QUEUED
    assert first.position is not None
    ben = fleet.visit(b, "ben")
    recovered, position, missed = come(ben, "@ben")
    assert (recovered, missed) == (False, ["m1"])
    assert a.send_to("ben", "m2").wait(PATIENCE) is Outcome.DELIVERED
    assert said(ben) == "m2"
    ben.close()
    while b.connections:
        pass
    assert b.send_to("ben", "m3").wait(PATIENCE) is Outcome.QUEUED
    ben = fleet.visit(b, "ben")
    assert b.connections[0].inbox == "@ben"
    recovered, position, missed = come(ben, "@ben", position)
    assert (recovered, missed) == (True, ["m2", "m3"])
    assert b.send_to("ben", "m4").wait(PATIENCE) is Outcome.DELIVERED
    assert said(ben) == "m4"
