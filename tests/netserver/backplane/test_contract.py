"""What every engine promises; each is run against the real thing."""

from __future__ import annotations

import asyncio

import pytest

from netserver.backplane import LinkDown, LinkState, PayloadTooLarge, SubjectError
from tests.netserver.backplane.conftest import PATIENCE, Peer, Play, Servers


def test_a_message_reaches_every_other_server_that_subscribes(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b, c = [await servers.join() for _ in range(3)]
        for each in (a, b, c):
            await each.backplane.subscribe(["group.lobby"])
        await a.backplane.publish("group.lobby", b"hello")
        assert await b.until_received(1) == [("group.lobby", b"hello")]
        assert await c.until_received(1) == [("group.lobby", b"hello")]
        await b.backplane.publish("group.lobby", b"back")
        assert await a.until_received(1) == [("group.lobby", b"back")]

    play(scenario)


def test_nothing_comes_back_to_its_publisher(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await a.backplane.subscribe(["x"])
        await b.backplane.subscribe(["x"])
        await a.backplane.publish("x", b"mine")
        await b.until_received(1)
        await b.backplane.publish("x", b"theirs")
        assert await a.until_received(1) == [("x", b"theirs")]

    play(scenario)


def test_only_subscribers_get_it(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b, c = [await servers.join() for _ in range(3)]
        await b.backplane.subscribe(["one", "all"])
        await c.backplane.subscribe(["two", "all"])
        await a.backplane.publish("one", b"1")
        await a.backplane.publish("two", b"2")
        await a.backplane.publish("one.more", b"nobody's")
        await a.backplane.publish("all", b"end")
        await b.until(lambda: ("all", b"end") in b.received)
        await c.until(lambda: ("all", b"end") in c.received)
        assert sorted(b.received) == [("all", b"end"), ("one", b"1")]
        assert sorted(c.received) == [("all", b"end"), ("two", b"2")]

    play(scenario)


def test_order_is_kept_for_one_publisher_and_subject(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b, c = [await servers.join() for _ in range(3)]
        await c.backplane.subscribe(["s"])

        async def many(name: str, source: Peer) -> None:
            for number in range(500):
                await source.backplane.publish("s", f"{name}{number}".encode())

        await asyncio.gather(many("a", a), many("b", b))
        received = [payload.decode() for _, payload in await c.until_received(1000)]
        for name in "ab":
            ours = [text for text in received if text.startswith(name)]
            assert ours == [f"{name}{number}" for number in range(500)]

    play(scenario)


def test_after_unsubscribing_nothing_comes(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await b.backplane.subscribe(["gone", "stays"])
        await b.backplane.unsubscribe(["gone", "never.there"])
        await b.backplane.probe()
        await a.backplane.probe()
        await a.backplane.publish("gone", b"1")
        await a.backplane.publish("stays", b"2")
        await b.until(lambda: ("stays", b"2") in b.received)
        assert ("gone", b"1") not in b.received

    play(scenario)


def test_subscribing_again_brings_it_back_and_twice_is_once(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await b.backplane.subscribe(["s"])
        await b.backplane.subscribe(["s", "s"])
        await b.backplane.unsubscribe(["s"])
        await b.backplane.subscribe(["s"])
        await a.backplane.publish("s", b"1")
        await a.backplane.publish("s", b"2")
        await b.until(lambda: ("s", b"2") in b.received)
        assert b.received == [("s", b"1"), ("s", b"2")]

    play(scenario)


def test_a_message_that_nobody_hears_is_told(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        unheard = asyncio.Event()
        heard = asyncio.Event()
        await b.backplane.subscribe(["there"])
        await a.backplane.publish("there", b"x", heard.set)
        await b.until_received(1)
        await a.backplane.publish("nobody", b"x", unheard.set)
        async with asyncio.timeout(PATIENCE):
            await unheard.wait()
        assert not heard.is_set()

    play(scenario)


def test_it_is_told_too_when_the_last_subscriber_has_gone(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await b.backplane.subscribe(["s"])
        await b.backplane.close()
        async with asyncio.timeout(PATIENCE):
            for _ in range(1000):  # the broker, or the peer, may see it a moment later
                unheard = asyncio.Event()
                await a.backplane.publish("s", b"x", unheard.set)
                try:
                    await asyncio.wait_for(unheard.wait(), 0.05)
                except TimeoutError:
                    continue
                break
        assert unheard.is_set()

    play(scenario)


def test_thousands_of_subjects_at_once(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        subjects = [f"client.{number}" for number in range(2000)]
        async with asyncio.timeout(PATIENCE):
            await b.backplane.subscribe(subjects)
        for subject in subjects:
            await a.backplane.publish(subject, subject.encode())
        await b.until_received(2000)
        assert dict(b.received) == {subject: subject.encode() for subject in subjects}
        assert len(b.received) == 2000

    play(scenario)


def test_payloads_of_every_size(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await b.backplane.subscribe(["s"])
        longest = bytes(range(256)) * 4000
        payloads = [longest[:size] for size in (0, 1, 128, 65_536, 900_000)]
        for payload in payloads:
            await a.backplane.publish("s", payload)
        assert await b.until_received(len(payloads)) == [("s", payload) for payload in payloads]

    play(scenario)


def test_a_payload_that_is_too_large_is_refused_and_harms_nothing(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await b.backplane.subscribe(["s"])
        with pytest.raises(PayloadTooLarge) as caught:
            await a.backplane.publish("s", bytes(a.backplane.max_payload + 1))
        assert caught.value.most == a.backplane.max_payload
        await a.backplane.publish("s", b"small")
        assert await b.until_received(1) == [("s", b"small")]

    play(scenario)


def test_a_subject_that_is_none_is_refused(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a = await servers.join()
        for subject in ("", ".", "a.", ".a", "a..b", "a b", "a*", ">", "ä", "x" * 201):
            with pytest.raises(SubjectError):
                await a.backplane.publish(subject, b"x")
            with pytest.raises(SubjectError):
                await a.backplane.subscribe([subject])

    play(scenario)


def test_a_closed_one_publishes_nothing_and_is_told_nothing(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await a.backplane.subscribe(["s"])
        await b.backplane.subscribe(["t"])
        states = len(a.states)
        await a.backplane.close()
        await a.backplane.close()
        assert a.backplane.state is LinkState.CLOSED
        with pytest.raises(LinkDown):
            await a.backplane.publish("t", b"x")
        with pytest.raises(LinkDown):
            await a.backplane.probe()
        await b.backplane.publish("s", b"x")
        await b.backplane.probe()
        assert a.received == []
        assert len(a.states) == states

    play(scenario)


def test_a_probe_goes_there_and_back(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a = await servers.join()
        async with asyncio.timeout(PATIENCE):
            await a.backplane.probe()
        assert [state for state, _ in a.states] == [LinkState.UP]

    play(scenario)


def test_a_restart_brings_the_subscriptions_back(play: Play) -> None:
    async def scenario(servers: Servers) -> None:
        a, b = [await servers.join() for _ in range(2)]
        await b.backplane.subscribe(["s"])
        await b.backplane.restart("the test says so")
        await b.until(lambda: b.backplane.state is LinkState.UP)
        await b.backplane.subscribe(["later"])
        async with asyncio.timeout(PATIENCE):
            while not {("s", b"1"), ("later", b"2")} <= set(b.received):
                await a.until(lambda: a.backplane.state is LinkState.UP)
                await a.backplane.publish("s", b"1")
                await a.backplane.publish("later", b"2")
                await asyncio.sleep(0.02)

    play(scenario)
