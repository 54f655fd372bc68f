"""A message that comes in one read with the end of its connection is answered all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import wsproto
import wsproto.events

from netclient import Client, ConnectionClosed
from netclient.blocking import Client as BlockingClient
from netwire.websocket.frames import CLOSE, TEXT, build_frame

HELLO = build_frame(TEXT, b"hello", 0)
ENDS = {
    "a close": (build_frame(CLOSE, b"\x03\xe8", 0), 1000),
    "a fault": (b"\xa1\x00", 1002),
}


class Ending:
    """A server that says some things and the end in one segment, and notes what it is told."""

    def __init__(self, said: bytes, with_handshake: bool = False) -> None:
        self.said = said
        self.with_handshake = with_handshake
        self.heard: asyncio.Queue[object] = asyncio.Queue()

    async def __call__(self, peer: Any) -> None:
        wire = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        wire.receive_data(await peer.reader.readuntil(b"\r\n\r\n"))
        (event,) = wire.events()
        assert isinstance(event, wsproto.events.Request)
        accepted = wire.send(wsproto.events.AcceptConnection())
        if not self.with_handshake:
            peer.writer.write(accepted)
            wire.receive_data(await peer.reader.read(1000))  # the client is ready
            list(wire.events())
            accepted = b""
        peer.writer.write(accepted + self.said)
        while data := await peer.reader.read(65536):
            wire.receive_data(data)
            for event in wire.events():
                if isinstance(event, wsproto.events.Message):
                    self.heard.put_nowait(event.data)
                elif isinstance(event, wsproto.events.CloseConnection):
                    self.heard.put_nowait(event.code)
                    return


async def echo(client: Client) -> None:
    with suppress(ConnectionClosed):
        async for message in client:
            await client.send(message)


async def by_iterating(url: str) -> None:
    async with Client(url, reconnect=None) as client:
        await client.send("ready")
        await echo(client)


async def by_callback(url: str) -> None:
    async def answer(message: bytes | str) -> None:
        await asyncio.sleep(0)
        await client.send(message)

    async with Client(url, reconnect=None, on_message=answer) as client:
        await client.send("ready")
        with suppress(ConnectionClosed):
            await client.wait_closed()


async def by_blocking(url: str) -> None:
    def run() -> None:
        with BlockingClient(url, reconnect=None) as client:
            client.send("ready")
            with suppress(ConnectionClosed):
                for message in client:
                    client.send(message)

    await asyncio.to_thread(run)


@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("talk", [by_iterating, by_callback, by_blocking])
async def test_it_is_answered_first(
    serve_streams: Any, talk: Callable[[str], Awaitable[None]], name: str, count: int
) -> None:
    said, code = ENDS[name]
    server = Ending(HELLO * count + said)
    async with serve_streams(server) as port:
        await talk(f"ws://127.0.0.1:{port}")
        for _ in range(count):
            assert await server.heard.get() == "hello"
        assert await server.heard.get() == code


@pytest.mark.parametrize("name", ENDS)
async def test_it_may_come_with_the_handshake(serve_streams: Any, name: str) -> None:
    said, code = ENDS[name]
    server = Ending(HELLO + said, with_handshake=True)
    async with (
        serve_streams(server) as port,
        Client(f"ws://127.0.0.1:{port}", reconnect=None) as client,
    ):
        await echo(client)
        assert await server.heard.get() == "hello"
        assert await server.heard.get() == code
        assert client.close_code == code


async def test_nobody_takes_it(serve_streams: Any) -> None:
    """The end is told all the same, a little later."""
    server = Ending(HELLO + ENDS["a close"][0])
    async with (
        serve_streams(server) as port,
        Client(f"ws://127.0.0.1:{port}", reconnect=None) as client,
    ):
        await client.send("ready")
        await client.wait_closed()
        assert client.close_code == 1000
        assert await server.heard.get() == 1000
        assert await client.recv() == "hello"


async def test_closing_meanwhile(serve_streams: Any) -> None:
    """Then nobody will answer any more, and the server's word counts, which came first."""
    server = Ending(HELLO + ENDS["a close"][0])
    async with (
        serve_streams(server) as port,
        Client(f"ws://127.0.0.1:{port}", reconnect=None) as client,
    ):
        await client.send("ready")
        assert await client.recv() == "hello"
        await client.close(4321, "me first")
        assert client.close_code == 1000
        assert await server.heard.get() == 1000


async def test_the_server_hangs_up_meanwhile(serve_streams: Any) -> None:
    async def rude(peer: Any) -> None:
        ending = Ending(HELLO + ENDS["a close"][0], with_handshake=True)
        task = asyncio.ensure_future(ending(peer))
        await client_has_it.wait()
        task.cancel()
        peer.writer.transport.abort()

    client_has_it = asyncio.Event()
    async with (
        serve_streams(rude) as port,
        Client(f"ws://127.0.0.1:{port}", reconnect=None) as client,
    ):
        assert await client.recv() == "hello"
        client_has_it.set()
        await client.wait_closed()
        assert client.close_code == 1000
