"""Peers that say what they should not, over real sockets: ignored, counted, and no harm done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import zmq
import zmq.asyncio

from netserver.backplane.url import Address
from netserver.backplane.zeromq import wire
from netserver.backplane.zeromq.wire import Action, Farewell, Introduction, Kind, PeerInfo
from tests.netserver.backplane.conftest import PATIENCE, Peer
from tests.netserver.backplane.zeromq.helpers import is_heard, made_site, until, zmq_of

# Nobody listens there, so that who is called back from here is alone.
NOWHERE = PeerInfo(Address("127.0.0.1", 1))
HELLO = wire.introduction(Kind.HELLO, Introduction(b"h" * 16, NOWHERE))
WELCOME = wire.introduction(Kind.WELCOME, Introduction(b"h" * 16, NOWHERE))

JUNK = [
    b"",
    b"\x01",
    b"\x02" + HELLO[1:],
    b"\x01\x63",
    HELLO[:-1],
    wire.change(1, Action.ADD, b"*"),
    wire.ack(1)[:-1],
    wire.ack(2**64 - 1),
    wire.beat(1, 2) + b"x",
    wire.DATA + b"\xff" * 20,
    wire.peers([PeerInfo(Address("a b", 1))]),
    wire.bye(Farewell.FULL)[:-1] + b"\x77",
    bytes(2000),
]


@asynccontextmanager
async def raw(kind: int) -> AsyncIterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    socket = context.socket(kind)
    try:
        yield socket
    finally:
        context.destroy(linger=0)


async def until_kind(socket: zmq.asyncio.Socket, kind: Kind) -> bytes:
    async with asyncio.timeout(PATIENCE):
        while True:
            *_, frame = await socket.recv_multipart()
            if wire.kind_of(frame) is kind:
                return bytes(frame)


async def check_harmless(a: Peer, b: Peer) -> None:
    await b.backplane.subscribe(["check"])
    assert await is_heard(a, "check")
    await b.until_received(1)


@pytest.mark.parametrize("introduced", [True, False])
async def test_a_subscriber_that_sends_junk(introduced: bool) -> None:
    async with made_site() as site, raw(zmq.DEALER) as attacker:
        a = await site.join()
        b = await site.next_to(a)
        attacker.connect(f"tcp://{zmq_of(a).address}")
        if introduced:
            await attacker.send(HELLO)
        for frame in JUNK:
            await attacker.send(frame)
        await attacker.send_multipart([HELLO, HELLO])
        if not introduced:
            await until_kind(attacker, Kind.BYE)
        await until(lambda: zmq_of(a).statistics.malformed > len(JUNK) / 2)
        await check_harmless(a, b)


async def test_a_publisher_that_sends_junk() -> None:
    async with made_site() as site, raw(zmq.ROUTER) as attacker:
        port = attacker.bind_to_random_port("tcp://127.0.0.1")

        async def answer() -> None:
            route, _ = await attacker.recv_multipart()
            for frame in (*JUNK, WELCOME, *JUNK, wire.RESYNC, WELCOME):
                await attacker.send_multipart([route, frame])

        answering = asyncio.create_task(answer())
        a = await site.join(f"seeds=127.0.0.1:{port}")
        b = await site.next_to(a)
        async with asyncio.timeout(PATIENCE):
            await answering
        await until(lambda: zmq_of(a).statistics.malformed > len(JUNK))
        await check_harmless(a, b)


async def test_a_frame_that_is_too_large_ends_its_connection_only() -> None:
    async with made_site() as site, raw(zmq.DEALER) as attacker:
        a = await site.join()
        b = await site.next_to(a)
        monitor = attacker.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        attacker.connect(f"tcp://{zmq_of(a).address}")
        await attacker.send(bytes(wire.LARGEST_REQUEST + 1))
        async with asyncio.timeout(PATIENCE):
            await monitor.recv_multipart()
        await check_harmless(a, b)


async def test_after_a_gap_the_whole_set_is_asked_for() -> None:
    async with made_site() as site, raw(zmq.DEALER) as subscriber:
        a = await site.join()
        subscriber.connect(f"tcp://{zmq_of(a).address}")
        await subscriber.send(HELLO)
        await until_kind(subscriber, Kind.WELCOME)
        await subscriber.send(wire.change(1, Action.BEGIN, b""))
        await subscriber.send(wire.change(2, Action.END, b"old"))
        while wire.read_ack(await until_kind(subscriber, Kind.ACK)) != 2:
            pass
        await subscriber.send(wire.change(4, Action.ADD, b"lost"))
        await until_kind(subscriber, Kind.RESYNC)
        assert await is_heard(a, "old")
        await subscriber.send(wire.change(5, Action.BEGIN, b""))
        await subscriber.send(wire.change(6, Action.END, b"new\nlost"))
        while wire.read_ack(await until_kind(subscriber, Kind.ACK)) != 6:
            pass
        assert await is_heard(a, "lost", b"found")
        assert not await is_heard(a, "old")
        frame = await until_kind(subscriber, Kind.DATA)
        while ("lost", b"found") not in list(wire.read_data(frame)):
            frame = await until_kind(subscriber, Kind.DATA)
        # What was sent last is compared with every beat, should it be the last step that is lost.
        await subscriber.send(wire.beat(7, 0))
        await until_kind(subscriber, Kind.RESYNC)


async def test_one_that_comes_again_has_one_session() -> None:
    async with made_site() as site, raw(zmq.DEALER) as old, raw(zmq.DEALER) as new:
        a = await site.join()
        for socket in (old, new):
            socket.connect(f"tcp://{zmq_of(a).address}")
            await socket.send(HELLO)
            await socket.send(wire.change(1, Action.BEGIN, b""))
            await socket.send(wire.change(2, Action.END, b"s"))
            await until_kind(socket, Kind.ACK)
            await until_kind(socket, Kind.ACK)
        assert await is_heard(a, "s")
        assert wire.read_bye(await until_kind(old, Kind.BYE)) is Farewell.STRANGER
        await until_kind(new, Kind.DATA)


async def test_a_publisher_that_never_acknowledges_is_taken_for_gone() -> None:
    async with made_site() as site, raw(zmq.ROUTER) as silent:
        port = silent.bind_to_random_port("tcp://127.0.0.1")

        async def answer() -> None:
            route, _ = await silent.recv_multipart()
            await silent.send_multipart([route, WELCOME])

        answering = asyncio.create_task(answer())
        a = await site.join(f"seeds=127.0.0.1:{port}")
        assert zmq_of(a).statistics.peers == 1
        async with asyncio.timeout(PATIENCE):
            await answering
            await a.backplane.subscribe(["s"])
        assert zmq_of(a).statistics.peers == 0
