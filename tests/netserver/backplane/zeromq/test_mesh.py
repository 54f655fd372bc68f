"""Peers that come, go, hang, move and cannot reach each other."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from benchmark.brokers.process import free_port
from netserver.backplane import LinkState
from netserver.backplane.zeromq.curve import make_keys
from tests.netserver.backplane.zeromq.helpers import (
    is_heard,
    made_site,
    until,
    until_heard,
    zmq_of,
)


async def test_three_find_each_other_through_one_of_them() -> None:
    async with made_site() as site:
        a = await site.join()
        b, c = await asyncio.gather(site.next_to(a), site.next_to(a))
        await until(lambda: all(zmq_of(each).statistics.peers == 2 for each in (a, b, c)))
        await c.backplane.subscribe(["s"])
        await until_heard(b, "s")
        await c.until_received(1)
        await a.backplane.close()  # the one is needed no more
        await b.backplane.publish("s", b"without a")
        assert ("s", b"without a") in await c.until_received(2)


async def test_peers_are_listed_and_may_come_later() -> None:
    async with made_site() as site:
        ports = [free_port(), free_port()]
        listed = f"peers=127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
        a = await site.join(listed, host=f"127.0.0.1:{ports[0]}")
        assert not await is_heard(a, "s")
        b = await site.join(listed, host=f"127.0.0.1:{ports[1]}")
        await b.backplane.subscribe(["s"])
        assert await is_heard(a, "s", b"1")
        assert await b.until_received(1) == [("s", b"1")]


async def test_peers_are_found_by_a_dns_name() -> None:
    async with made_site() as site:
        a = await site.join()
        b = await site.join(f"dns=localhost:{zmq_of(a).address.port}")
        await b.backplane.subscribe(["s"])
        await until_heard(a, "s")
        await b.until_received(1)


async def test_a_name_that_is_none_and_a_port_where_nobody_is_harm_nothing() -> None:
    async with made_site() as site:
        a = await site.join(f"dns=no.such.name.invalid:1&seeds=127.0.0.1:{free_port()},a..b:2")
        b = await site.next_to(a)
        await b.backplane.subscribe(["s"])
        assert await is_heard(a, "s")


async def test_one_that_is_killed_is_noticed_and_comes_back_under_another_address() -> None:
    async with made_site() as site:
        a = await site.join()
        child = await site.child(a, "s")
        assert await is_heard(a, "s", b"first")
        await child.until_received("s first")
        await child.kill()
        await until_heard(a, "s", heard=False)
        child = await site.child(a, "s")
        assert await is_heard(a, "s", b"again")
        await child.until_received("s again")


async def test_one_that_is_frozen_holds_up_nobody_and_comes_back() -> None:
    async with made_site() as site:
        a = await site.join()
        b = await site.next_to(a)
        await b.backplane.subscribe(["s"])
        child = await site.child(a, "s")
        child.freeze()
        for number in range(80):  # several times what is kept for it
            await a.backplane.publish("s", b"%d " % number + bytes(65_536))
        received = await b.until_received(80)
        assert [payload.split(b" ")[0] for _, payload in received] == [
            b"%d" % number for number in range(80)
        ]
        assert zmq_of(a).statistics.dropped > 0
        # It does not acknowledge, and is taken for gone.
        await a.backplane.subscribe(["later"])
        assert zmq_of(a).statistics.peers == 1
        assert await is_heard(b, "later")
        child.thaw()
        await until(lambda: zmq_of(a).statistics.peers == 2)
        await b.backplane.unsubscribe(["s"])
        await until_heard(a, "s")
        await a.backplane.publish("s", b"thawed")
        await child.until_received("s thawed")


async def test_a_netsplit_heals() -> None:
    async with made_site() as site:
        ports = [free_port(), free_port()]
        wires = [await site.wire(port) for port in ports]
        a = await site.join(f"advertise=127.0.0.1:{wires[0].front}", host=f"127.0.0.1:{ports[0]}")
        b = await site.join(
            f"advertise=127.0.0.1:{wires[1].front}&seeds=127.0.0.1:{wires[0].front}",
            host=f"127.0.0.1:{ports[1]}",
        )
        await a.backplane.subscribe(["a"])
        await b.backplane.subscribe(["b"])
        assert await is_heard(a, "b")
        assert await is_heard(b, "a")
        for wire in wires:
            wire.cut()
        await until_heard(a, "b", heard=False)
        await until_heard(b, "a", heard=False)
        await a.backplane.subscribe(["a2"])  # with nobody there, it takes no time
        for wire in wires:
            wire.mend()
        await until_heard(a, "b")
        await until_heard(b, "a")
        assert await is_heard(b, "a2")
        assert [state for state, _ in a.states] == [LinkState.UP]


async def test_what_was_subscribed_to_before_and_tens_of_thousands_reach_a_new_peer() -> None:
    async with made_site() as site:
        a = await site.join()
        await a.backplane.subscribe(f"client.{number}" for number in range(20_000))
        b = await site.next_to(a)
        assert await is_heard(b, "client.0")
        assert await is_heard(b, "client.19999")
        assert not await is_heard(b, "client.20000")


async def test_thousands_who_subscribe_at_once_go_together() -> None:
    async with made_site() as site:
        a = await site.join()
        b = await site.next_to(a)
        c = await site.next_to(a)
        names = [f"client.{number}" for number in range(5000)]
        await asyncio.gather(*(a.backplane.subscribe([name]) for name in names))
        await a.backplane.unsubscribe(names[1:])
        await a.backplane.subscribe(names[2:3])
        for other in (b, c):
            assert await is_heard(other, names[0])
            assert not await is_heard(other, names[1])
            assert await is_heard(other, names[2])


async def test_one_that_closes_while_others_wait_for_it_ends_their_waiting() -> None:
    async with made_site() as site:
        a = await site.join()
        child = await site.child(a, "s")
        child.freeze()
        waiting = asyncio.create_task(a.backplane.subscribe(["later"]))
        await asyncio.sleep(0)
        await a.backplane.close()
        await waiting
        assert a.backplane.state is LinkState.CLOSED


async def test_its_own_address_and_two_names_of_one_peer_make_no_second_link() -> None:
    async with made_site() as site:
        port = free_port()
        a = await site.join(f"seeds=localhost:{port}", host=f"127.0.0.1:{port}")
        b = await site.join(f"seeds=localhost:{port},127.0.0.1:{port}")
        await b.backplane.subscribe(["s"])
        assert await is_heard(a, "s", b"once")
        await a.backplane.subscribe(["end"])
        assert await is_heard(b, "end")
        assert await a.until_received(1) == [("end", b"?")]
        assert b.received == [("s", b"once")]
        assert zmq_of(a).statistics.peers == zmq_of(b).statistics.peers == 1


async def test_closing_leaves_no_descriptor_and_no_task(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_keys(tmp_path, name)

    async def come_and_go() -> None:
        async with made_site() as site:
            options = f"key={tmp_path}/{{}}.key_secret&trusted={tmp_path}&seeds=127.0.0.1:{{}}"
            a = await site.join(options.format("a", free_port()))
            b = await site.join(options.format("b", zmq_of(a).address.port))
            await b.backplane.restart("the test says so")
            await b.backplane.subscribe(["s"])
            await until_heard(a, "s")

    await come_and_go()  # the loop's own thread for look-ups stays
    before = os.listdir("/proc/self/fd")
    await come_and_go()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_receiver_that_raises_loses_nothing_else() -> None:
    async with made_site() as site:
        a = await site.join()
        b = await site.next_to(a)
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: told.append(context["message"])
        )
        await b.backplane.subscribe(["s"])

        def receive(subject: str, payload: bytes) -> None:
            if payload == b"bad":
                raise ZeroDivisionError
            b.receive(subject, payload)

        zmq_of(b)._receive = receive
        await a.backplane.publish("s", b"bad")
        await a.backplane.publish("s", b"good")
        assert await b.until_received(1) == [("s", b"good")]
        assert told == ["receiving a message on s failed"]
