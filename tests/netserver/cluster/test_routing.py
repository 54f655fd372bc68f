"""Messages and questions find an identity wherever it is connected."""

from __future__ import annotations

import asyncio

import pytest

from netserver import ClusterConfig, Connection, IdentityTaken, Outcome, Unanswered
from tests.netserver.cluster.conftest import CONFIG, PATIENCE, Fleet, on_all_engines


def identify(connection: Connection, identity: str) -> None:
    """Give a connection another identity, from outside."""
    node = connection.node
    assert node is not None
    asyncio.run_coroutine_threadsafe(connection.identify(identity), node.loop).result(PATIENCE)


def test_a_message_reaches_an_identity_on_another_server(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    ben = fleet.visit(b, "ben")
    delivery = a.send_to("ben", "hello")
    assert ben.client.recv(PATIENCE) == "hello"
    assert delivery.wait(PATIENCE) is Outcome.DELIVERED
    assert a.send_to("ben", b"\x00\xff").wait(PATIENCE) is Outcome.DELIVERED
    assert ben.client.recv(PATIENCE) == b"\x00\xff"


def test_it_reaches_one_on_the_same_server(fleet: Fleet) -> None:
    a = fleet.server()
    ann = fleet.visit(a, "ann")
    assert a.send_to("ann", "hello").wait(PATIENCE) is Outcome.DELIVERED
    assert ann.client.recv(PATIENCE) == "hello"


def test_that_nobody_is_there_is_told(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    fleet.visit(b, "ben")
    assert a.send_to("nobody", "hello", timeout=PATIENCE).wait(PATIENCE) is Outcome.NOBODY


@on_all_engines
def test_it_is_told_when_they_have_just_gone(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    ben = fleet.visit(b, "ben")
    assert a.send_to("ben", "1").wait(PATIENCE) is Outcome.DELIVERED
    ben.close()
    while b.connections:
        pass
    assert a.send_to("ben", "2", timeout=PATIENCE).wait(PATIENCE) is Outcome.NOBODY


@pytest.mark.parametrize("identity", ["Ben Müller", "a.b.c", "a" * 1000, "*", ">", "~x", "#"])
def test_identities_of_any_characters(fleet: Fleet, identity: str) -> None:
    a, b = fleet.server(), fleet.server()

    visitor = fleet.visit(b, "plain")
    (connection,) = b.connections
    identify(connection, identity)
    assert connection.identity == identity
    assert a.send_to(identity, "hello").wait(PATIENCE) is Outcome.DELIVERED
    assert visitor.client.recv(PATIENCE) == "hello"
    assert a.send_to("plain", "x", timeout=PATIENCE).wait(PATIENCE) is Outcome.NOBODY


def test_messages_keep_their_order(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    ben = fleet.visit(b, "ben")
    deliveries = [a.send_to("ben", str(number)) for number in range(2000)]
    assert [ben.client.recv(PATIENCE) for _ in range(2000)] == [str(n) for n in range(2000)]
    assert {each.wait(PATIENCE) for each in deliveries} == {Outcome.DELIVERED}


def test_all_connections_of_an_identity_get_it(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    visitors = [fleet.visit(site, "ben") for site in (a, b, b)]
    assert a.send_to("ben", "all").wait(PATIENCE) is Outcome.DELIVERED
    assert [each.client.recv(PATIENCE) for each in visitors] == ["all"] * 3


def test_only_the_newest_stays_where_that_is_the_policy(fleet: Fleet) -> None:
    config = ClusterConfig(identities="newest", heartbeat=0.2, dead_after=1.0)
    a, b = fleet.server(config=config), fleet.server(config=config)
    first = fleet.visit(a, "ben")
    second = fleet.visit(b, "ben")
    with pytest.raises(Exception, match="4000"):
        first.client.recv(PATIENCE)
    third = fleet.visit(b, "ben")
    with pytest.raises(Exception, match="4000"):
        second.client.recv(PATIENCE)
    assert a.send_to("ben", "hi").wait(PATIENCE) is Outcome.DELIVERED
    assert third.client.recv(PATIENCE) == "hi"


def test_a_further_one_is_refused_where_that_is_the_policy(fleet: Fleet) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=0.2, dead_after=1.0)
    a, b = fleet.server(config=config), fleet.server(config=config)
    first = fleet.visit(a, "ben")
    for site in (a, b):
        with pytest.raises(Exception, match="409"):
            fleet.visit(site, "ben")
    assert b.send_to("ben", "still").wait(PATIENCE) is Outcome.DELIVERED
    assert first.client.recv(PATIENCE) == "still"
    first.close()
    while a.connections:
        pass
    again = fleet.visit(b, "ben")
    assert a.send_to("ben", "anew").wait(PATIENCE) is Outcome.DELIVERED
    assert again.client.recv(PATIENCE) == "anew"


def test_who_is_refused_another_identity_keeps_their_own(fleet: Fleet) -> None:
    config = ClusterConfig(identities="refuse", heartbeat=0.2, dead_after=1.0)
    a, b = fleet.server(config=config), fleet.server(config=config)
    fleet.visit(a, "ann")
    ben = fleet.visit(b, "ben")
    (connection,) = b.connections
    with pytest.raises(IdentityTaken):
        identify(connection, "ann")
    assert connection.identity == "ben"
    assert a.send_to("ben", "still").wait(PATIENCE) is Outcome.DELIVERED
    assert ben.client.recv(PATIENCE) == "still"
    identify(connection, "bob")
    assert a.send_to("bob", "anew").wait(PATIENCE) is Outcome.DELIVERED
    assert a.send_to("ben", "gone", timeout=PATIENCE).wait(PATIENCE) is Outcome.NOBODY


def test_a_question_is_answered_across_servers(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    fleet.visit(b, "ben")
    assert a.ask("ben", "what?").wait(PATIENCE) == "ben says what?"
    assert a.ask("ben", "later").wait(PATIENCE) == "at last"
    assert b.ask("ben", "here?").wait(PATIENCE) == "ben says here?"


def test_why_there_is_no_answer_is_told(fleet: Fleet) -> None:
    a, b = fleet.server(), fleet.server()
    fleet.visit(b, "ben")
    with pytest.raises(Unanswered, match="not today"):
        a.ask("ben", "fail").wait(PATIENCE)
    with pytest.raises(Unanswered, match="nobody is there"):
        a.ask("nobody", "x", timeout=PATIENCE).wait(PATIENCE)


@on_all_engines
def test_a_broadcast_reaches_every_server_with_a_member_once(fleet: Fleet) -> None:
    a, b, c = [fleet.server() for _ in range(3)]
    visitors = [fleet.visit(site) for site in (a, b, b, c)]
    for visitor in visitors[:3]:
        assert visitor.join("news") == ["joined", "news"]
    one_of_b = visitors[1].client
    while True:  # joined on another server: heard there a moment later
        a.broadcast("sync", group="news")
        try:
            one_of_b.recv(0.1)
            break
        except TimeoutError:
            pass
    assert a.broadcast("hello", group="news") == 1
    for visitor in visitors[:3]:
        while (message := visitor.client.recv(PATIENCE)) == "sync":
            pass
        assert message == "hello"
    a.broadcast("all of you")
    for visitor in visitors:
        assert visitor.client.recv(PATIENCE) == "all of you"
    a.broadcast("not there", local=True)
    a.broadcast("end")
    assert [visitors[0].client.recv(PATIENCE) for _ in range(2)] == ["not there", "end"]
    for visitor in visitors[1:]:
        assert visitor.client.recv(PATIENCE) == "end"


def test_a_message_that_is_too_long_is_refused(fleet: Fleet) -> None:
    a = fleet.server()
    with pytest.raises(ValueError, match="more than"):
        a.send_to("ben", bytes(2 * 1024 * 1024))
    with pytest.raises(TypeError):
        a.send_to("ben", 5)  # type: ignore[arg-type]


def test_the_config_is_checked() -> None:
    with pytest.raises(ValueError, match="identities"):
        ClusterConfig(identities="some")
    with pytest.raises(ValueError, match="prefix"):
        ClusterConfig(prefix="a b")
    with pytest.raises(ValueError, match="two heartbeats"):
        ClusterConfig(heartbeat=3, dead_after=5)
    assert CONFIG.identities == "all"
