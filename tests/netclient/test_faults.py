"""A peer that resets, floods, or says what nobody asked for."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
import wsproto
import wsproto.events

from netclient import Backoff, Client, ClientState, ConnectionClosed, OperationTimeout


async def handshake(peer: Any) -> wsproto.WSConnection:
    wire = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    wire.receive_data(await peer.reader.readuntil(b"\r\n\r\n"))
    (event,) = wire.events()
    assert isinstance(event, wsproto.events.Request)
    peer.writer.write(wire.send(wsproto.events.AcceptConnection()))
    return wire


def reset(peer: Any) -> None:
    """Close so that the kernel sends RST."""
    sock: socket.socket = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


async def test_a_reset_is_a_loss(serve_streams: Any) -> None:
    async def resetting(peer: Any) -> None:
        await peer.send(b"last")
        await peer.recv()
        reset(peer)

    async with (
        serve_streams(resetting) as port,
        Client(f"tcp://127.0.0.1:{port}", reconnect=None) as client,
    ):
        assert await client.recv() == b"last"
        await client.send(b"now")
        with pytest.raises(ConnectionClosed, match=r"1006: .*reset") as caught:
            await client.recv()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_reset_while_we_wait_to_send(serve_streams: Any) -> None:
    filled = asyncio.Event()

    async def resetting(peer: Any) -> None:
        await filled.wait()
        reset(peer)

    async def fill(client: Client) -> None:
        while True:
            sending = asyncio.ensure_future(client.send(b"x" * 100_000))
            await asyncio.sleep(0)
            if not sending.done():
                filled.set()
            await sending

    async with (
        serve_streams(resetting) as port,
        Client(f"tcp://127.0.0.1:{port}", reconnect=None) as client,
    ):
        with pytest.raises(ConnectionClosed):
            await fill(client)


async def test_a_pong_nobody_asked_for_is_ignored(serve_streams: Any) -> None:
    async def pong(peer: Any) -> None:
        await handshake(peer)
        peer.writer.write(b"\x8a\x05hello" + b"\x81\x05hello")
        await peer.reader.read()

    async with (
        serve_streams(pong) as port,
        Client(f"ws://127.0.0.1:{port}", close_timeout=0.1) as client,
    ):
        assert await client.recv() == "hello"


async def test_a_peer_that_pings_and_does_not_read_gets_no_more_pongs(serve_streams: Any) -> None:
    stop, stopped = asyncio.Event(), asyncio.Event()
    pongs = 0

    async def flood(peer: Any) -> None:
        nonlocal pongs
        wire = await handshake(peer)
        await stop.wait()
        peer.writer.write(b"\x89\x7d" + b"p" * 125 + b"\x81\x04done")
        await stopped.wait()
        while data := await peer.reader.read(1 << 20):
            wire.receive_data(data)
            pongs += sum(isinstance(event, wsproto.events.Pong) for event in wire.events())

    async def fill(client: Client) -> None:
        while True:
            await client.send("x" * 100_000)

    async with serve_streams(flood) as port:
        client = Client(f"ws://127.0.0.1:{port}", send_timeout=0.2, close_timeout=0.5)
        await client.connect()
        with pytest.raises(OperationTimeout):
            await fill(client)
        stop.set()
        assert await client.recv() == "done"
        stopped.set()
        await client.close()
    assert pongs == 0


async def test_asking_for_a_ping_while_it_reconnects(serve_streams: Any, log: Any) -> None:
    async def once(peer: Any) -> None:
        await handshake(peer)

    backoff = Backoff(first=1000.0, cap=1000.0)
    async with serve_streams(once) as port:
        client = Client(f"ws://127.0.0.1:{port}", reconnect=backoff, on_close=log("close"))
        await client.connect()
        await log.until("close")
        assert client.state is ClientState.RECONNECTING
        with pytest.raises(ConnectionClosed, match="1006"):
            await client.ping()
        await client.close()


async def test_closing_a_connection_that_is_gone_already(serve_streams: Any) -> None:
    async def once(peer: Any) -> None:
        await peer.recv()

    async with serve_streams(once) as port:
        client = Client(f"tcp://127.0.0.1:{port}", reconnect=None)
        await client.connect()
        await client.send(b"go")
        connection = client._supervisor.connection
        assert connection is not None
        # The loss is known here before the client's own task has heard of it.
        await connection.lost.wait()
        await client.close(4000, "too late")
        assert client.close_code == 1000
