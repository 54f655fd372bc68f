"""Who is in a group, on all servers."""

from __future__ import annotations

import threading
import time
from typing import Any

from netserver import GroupRules, Outcome
from tests.netserver.cluster.conftest import CONFIG, PATIENCE, Fleet, Site, on_all_engines

RULES = GroupRules(presence=True)


def until_there(site: Site, group: str, expected: dict[str | None, Any]) -> None:
    ends = time.monotonic() + PATIENCE
    while True:
        there = {member.identity: member.data for member in site.presence(group)}
        if there == expected:
            return
        assert time.monotonic() < ends, f"{there} is not {expected}"
        time.sleep(0.01)


@on_all_engines
def test_members_are_known_on_all_servers_with_what_is_told_of_them(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
    ann.join("room/1", {"mood": "good"})
    until_there(a, "room/1", {"ann": {"mood": "good"}})
    ben.join("room/1", ["x", 1])
    for site in (a, b):
        until_there(site, "room/1", {"ann": {"mood": "good"}, "ben": ["x", 1]})
    ann.ask("join", "room/1", {"mood": "bad"}, None)
    for site in (a, b):
        until_there(site, "room/1", {"ann": {"mood": "bad"}, "ben": ["x", 1]})
    ann.close()
    until_there(b, "room/1", {"ben": ["x", 1]})


def test_changes_are_told_on_every_server(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    ann, ben = fleet.visit(a, "ann"), fleet.visit(b, "ben")
    ann.join("room/1")
    assert a.changes.get(timeout=PATIENCE) == ("room/1", ["ann"], [])
    ben.join("room/1")
    assert b.changes.get(timeout=PATIENCE) == ("room/1", ["ben"], [])
    assert b.changes.get(timeout=PATIENCE) == ("room/1", ["ann"], [])
    assert a.changes.get(timeout=PATIENCE) == ("room/1", ["ben"], [])
    ben.ask("leave", "room/1")
    assert a.changes.get(timeout=PATIENCE) == ("room/1", [], ["ben"])


def test_a_server_that_leaves_takes_its_members_with_it(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    fleet.visit(a, "ann").join("room/1")
    fleet.visit(b, "ben").join("room/1")
    until_there(a, "room/1", {"ann": None, "ben": None})
    b.close()
    until_there(a, "room/1", {"ann": None})


@on_all_engines
def test_who_was_held_up_itself_takes_nobody_for_gone(fleet: Fleet) -> None:
    """The machine was, perhaps, and the others are not back yet."""
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    fleet.visit(a, "ann").join("room/1")
    fleet.visit(b, "ben").join("room/1")
    for site in (a, b):
        until_there(site, "room/1", {"ann": None, "ben": None})
    awake = [threading.Event(), threading.Event()]
    for site, seconds, event in zip((a, b), (2.0, 2.4), awake, strict=True):
        site.cluster._lane.post(time.sleep, seconds * CONFIG.dead_after)
        site.cluster._lane.post(event.set)
    assert all(event.wait(PATIENCE) for event in awake)
    for site, other in ((a, "ben"), (b, "ann")):
        assert site.send_to(other, "hello").wait(PATIENCE) is Outcome.DELIVERED
    for site in (a, b):
        assert [went for _, _, went in site.changes.queue if went] == []
    until_there(a, "room/1", {"ann": None, "ben": None})


def test_thirty_members_in_twenty_groups(fleet: Fleet) -> None:
    a, b = fleet.server(rules=RULES), fleet.server(rules=RULES)
    visitors = [fleet.visit(b, f"guest{number}") for number in range(30)]
    for connection in b.connections:
        for number in range(20):
            connection.join(f"room/{number}", "x" * 1000)
    fleet.visit(a, "host").join("room/7")
    expected: dict[str | None, Any] = {f"guest{number}": "x" * 1000 for number in range(30)}
    until_there(a, "room/7", {"host": None, **expected})
    until_there(b, "room/7", {"host": None, **expected})
    visitors[0].close()
    del expected["guest0"]
    until_there(a, "room/7", {"host": None, **expected})


def test_without_rules_there_is_no_presence(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    fleet.visit(a, "ann").join("other")
    assert a.presence("other") == []


def test_a_watched_group_is_known_without_a_member(fleet: Fleet) -> None:
    a = fleet.server(rules=RULES)
    ann = fleet.visit(a, "ann")
    ann.join("room/1")
    b = fleet.server(rules=RULES, watched=["room/1"])
    until_there(b, "room/1", {"ann": None})
    ben = fleet.visit(b, "ben")
    ben.join("room/1")
    until_there(b, "room/1", {"ann": None, "ben": None})
    ben.ask("leave", "room/1")
    eve = fleet.visit(a, "eve")
    eve.join("room/1")
    until_there(b, "room/1", {"ann": None, "eve": None})
    for changed in (["ann"], ["ben"]):
        assert b.changes.get(timeout=PATIENCE) == ("room/1", changed, [])
    assert b.changes.get(timeout=PATIENCE) == ("room/1", [], ["ben"])
    assert b.changes.get(timeout=PATIENCE) == ("room/1", ["eve"], [])
