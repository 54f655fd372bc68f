"""Limits in bytes, time-outs, and cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from netclient import Backoff, Client, ConnectionClosed, OperationTimeout, UrlError


async def test_reading_stops_while_the_queue_is_full(serve_streams: Any) -> None:
    count, size = 1000, 64 * 1024
    stalled = asyncio.Event()
    sent = 0

    async def flood(peer: Any) -> None:
        nonlocal sent
        for sent in range(1, count + 1):
            try:
                async with asyncio.timeout(None if stalled.is_set() else 0.5):
                    await peer.send(b"%06d" % sent + b"x" * size)
            except TimeoutError:
                stalled.set()
        await peer.reader.read()

    async with (
        serve_streams(flood) as port,
        Client(f"tcp://127.0.0.1:{port}", receive_queue=2 * size) as client,
    ):
        await stalled.wait()
        assert sent < count
        for number in range(1, count + 1):
            assert (await client.recv())[:6] == b"%06d" % number


async def send_for_ever(client: Client, message: bytes) -> None:
    while True:
        await client.send(message)


async def test_sending_stops_while_the_server_does_not_read(serve_streams: Any) -> None:
    release = asyncio.Event()

    async def lazy(peer: Any) -> None:
        await release.wait()
        while True:
            await peer.recv()

    message = b"x" * 64 * 1024
    async with (
        serve_streams(lazy) as port,
        Client(
            f"tcp://127.0.0.1:{port}", send_queue=len(message), send_timeout=0.3, reconnect=None
        ) as client,
    ):
        with pytest.raises(OperationTimeout, match="sending"):
            await send_for_ever(client, message)
        release.set()
        await client.send(message)


async def test_closing_does_not_wait_for_a_server_that_does_not_read(serve_streams: Any) -> None:
    done = asyncio.Event()

    async def never(peer: Any) -> None:
        await done.wait()

    async with serve_streams(never) as port:
        client = Client(f"tcp://127.0.0.1:{port}", send_timeout=0.2, close_timeout=0.2)
        await client.connect()
        with pytest.raises(OperationTimeout):
            await send_for_ever(client, b"x" * 1_000_000)
        await client.close()
        done.set()


async def test_receiving_has_a_time_out(serve_websockets: Any) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve_websockets(echo) as port, Client(f"ws://127.0.0.1:{port}") as client:
        with pytest.raises(OperationTimeout, match=r"receiving took longer than 0\.01 s"):
            await client.recv(timeout=0.01)
        await client.send("x")
        assert await client.recv(timeout=10) == "x"


async def test_cancelled_receives_lose_nothing(serve_websockets: Any) -> None:
    count = 500

    async def number(connection: ServerConnection) -> None:
        for value in range(count):
            await connection.send(str(value))
            if value % 10 == 0:
                await asyncio.sleep(0.001)
        await connection.wait_closed()

    received: list[str | bytes] = []
    cancelled = 0
    async with serve_websockets(number) as port, Client(f"ws://127.0.0.1:{port}") as client:
        while len(received) < count:
            task = asyncio.ensure_future(client.recv())
            for _ in range(len(received) % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                received.append(await task)
            except asyncio.CancelledError:
                cancelled += 1
                # Without a pause the loop would only ever cancel.
                received.append(await client.recv())
    assert received == [str(value) for value in range(count)]
    assert cancelled > 0


async def test_many_receivers_share_the_messages(serve_websockets: Any) -> None:
    async def number(connection: ServerConnection) -> None:
        for value in range(100):
            await connection.send(str(value))
        await connection.close()

    async with serve_websockets(number) as port, Client(f"ws://127.0.0.1:{port}") as client:

        async def take() -> list[str | bytes]:
            return [message async for message in client]

        shares = await asyncio.gather(*(take() for _ in range(5)))
    taken = [int(message) for share in shares for message in share]
    assert sorted(taken) == list(range(100))


@pytest.mark.parametrize(
    "options",
    [
        {"open_timeout": 0},
        {"close_timeout": -1},
        {"send_timeout": float("nan")},
        {"ping_timeout": float("inf")},
        {"ping_interval": 0},
        {"receive_queue": 0},
        {"send_queue": -1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_times_and_sizes_are_positive(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be positive and finite"):
        Client("ws://127.0.0.1:1", **options)


def test_settings_that_make_no_sense(tls: Any) -> None:
    with pytest.raises(UrlError, match="begins with none of"):
        Client("http://127.0.0.1")
    with pytest.raises(ValueError, match="tls is given, and ws:// has no TLS"):
        Client("ws://127.0.0.1", tls=tls.client)


async def test_a_framing_that_does_not_exist(serve_streams: Any) -> None:
    async def never(peer: Any) -> None:
        pytest.fail("it connected")

    async with serve_streams(never) as port:
        client = Client(f"tcp://127.0.0.1:{port}", framing="xml", reconnect=Backoff())
        with pytest.raises(ValueError, match="there are envelope, length-prefix"):
            await client.connect()
        with pytest.raises(ConnectionClosed):
            await client.recv()


async def test_another_framing(serve_streams: Any) -> None:
    async def shout(peer: Any) -> None:
        while line := await peer.reader.readline():
            peer.writer.write(line.upper())

    async with (
        serve_streams(shout) as port,
        Client(f"tcp://127.0.0.1:{port}", framing="lines") as client,
    ):
        await client.send("hello")
        assert await client.recv() == b"HELLO"
        with pytest.raises(ValueError, match="a line break"):
            await client.send("two\nlines")
