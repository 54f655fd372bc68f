"""WebSocket clients against the ``websockets`` library, and against peers that misbehave."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import Any

import pytest
import wsproto
import wsproto.events
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed as PeerClosed
from websockets.http11 import Request, Response

from netclient import (
    CertificateRefused,
    Client,
    ClientState,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    HandshakeRefused,
    Limits,
    OperationTimeout,
)


async def until_closed(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def test_what_the_handshake_carries(serve_websockets: Any) -> None:
    requests: list[Request] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        requests.append(connection.request)

    async with (
        serve_websockets(note, subprotocols=["chat"], origins=["http://example.org"]) as port,
        Client(
            f"ws://127.0.0.1:{port}/rooms?name=a%20b",
            headers=(("Authorization", "Bearer x"),),
            subprotocols=("other", "chat"),
            origin="http://example.org",
        ) as client,
    ):
        assert client.subprotocol == "chat"
        await client.wait_closed()
    (request,) = requests
    assert request.path == "/rooms?name=a%20b"
    assert request.headers["Host"] == f"127.0.0.1:{port}"
    assert request.headers["Authorization"] == "Bearer x"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "away"), (4321, "grün")])
async def test_our_close_code_reaches_the_server(
    serve_websockets: Any, code: int, reason: str
) -> None:
    seen: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()

    async def note(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.set_result((connection.close_code, connection.close_reason))

    async with serve_websockets(note) as port:
        client = Client(f"ws://127.0.0.1:{port}")
        await client.connect()
        await client.close(code, reason)
        assert await seen == (code, reason)
        assert client.close_code == code
        with pytest.raises(ConnectionClosed, match=f"closed with {code}"):
            await client.send("late")
        with pytest.raises(ConnectionClosed):
            await client.ping()


@pytest.mark.parametrize(
    ("code", "well"), [(1000, True), (1002, False), (1008, False), (4000, False)]
)
async def test_the_servers_close_code_reaches_us(
    serve_websockets: Any, code: int, well: bool
) -> None:
    async def closing(connection: ServerConnection) -> None:
        await connection.send("last")
        await connection.close(code, "because")

    async with serve_websockets(closing) as port, Client(f"ws://127.0.0.1:{port}") as client:
        assert await anext(client) == "last"
        with pytest.raises(StopAsyncIteration if well else ConnectionClosed):
            await anext(client)
        with pytest.raises(ConnectionClosed, match=f"closed with {code}: because"):
            await client.recv()
        assert (client.close_code, client.close_reason) == (code, "because")
        if well:
            await client.wait_closed()
        else:
            with pytest.raises(ConnectionClosed):
                await client.wait_closed()


@pytest.mark.parametrize("code", [1005, 1006, 999, 5000])
async def test_a_code_that_may_not_be_sent(serve_websockets: Any, code: int) -> None:
    async with serve_websockets(until_closed) as port, Client(f"ws://127.0.0.1:{port}") as client:
        with pytest.raises(ValueError, match="may not be sent"):
            await client.close(code)
        with pytest.raises(ValueError, match="is over 123"):
            await client.close(1000, "x" * 124)
        assert client.state is ClientState.OPEN


async def test_a_message_over_the_limit_is_refused_with_1009(serve_websockets: Any) -> None:
    codes: list[int] = []

    async def flood(connection: ServerConnection) -> None:
        await connection.send(b"x" * 1000)
        await connection.send(b"x" * 1001)
        try:
            await connection.recv()
        except PeerClosed:
            assert connection.close_code is not None
            codes.append(connection.close_code)

    async with (
        serve_websockets(flood) as port,
        Client(f"ws://127.0.0.1:{port}", limits=Limits(message=1000)) as client,
    ):
        assert await client.recv() == b"x" * 1000
        with pytest.raises(ConnectionClosed, match="1009: message of 1001 bytes is over"):
            await client.recv()
    assert codes == [1009]


async def test_large_messages_where_the_limit_allows_them(serve_websockets: Any) -> None:
    size = 8 * 1024 * 1024

    async def echo(connection: ServerConnection) -> None:
        await connection.send(await connection.recv())

    limits = Limits(message=size)
    async with (
        serve_websockets(echo, max_size=size) as port,
        Client(f"ws://127.0.0.1:{port}", limits=limits) as client,
    ):
        await client.send(b"x" * size)
        assert await client.recv() == b"x" * size


async def test_pings_are_answered_though_nobody_receives(serve_websockets: Any) -> None:
    answered = asyncio.Event()

    async def ping(connection: ServerConnection) -> None:
        await connection.send("unread")
        for _ in range(3):
            await (await connection.ping())
        answered.set()
        await connection.wait_closed()

    async with serve_websockets(ping) as port, Client(f"ws://127.0.0.1:{port}") as client:
        await answered.wait()
        assert await client.recv() == "unread"


async def test_pings_at_once_are_each_answered(serve_websockets: Any) -> None:
    async with serve_websockets(until_closed) as port, Client(f"ws://127.0.0.1:{port}") as client:
        trips = await asyncio.gather(*(client.ping() for _ in range(5)))
        assert all(0 < trip < 30 for trip in trips)


@pytest.mark.parametrize(
    ("status", "final"), [(401, True), (403, True), (404, True), (429, False), (503, False)]
)
async def test_a_refused_handshake(serve_websockets: Any, status: int, final: bool) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no\n")

    async with serve_websockets(until_closed, process_request=refuse) as port:
        client = Client(f"ws://127.0.0.1:{port}")
        with pytest.raises(HandshakeRefused, match=f"HTTP {status}") as caught:
            await client.connect()
        assert caught.value.status == status
        assert caught.value.final is final
        assert client.state is ClientState.CLOSED
        with pytest.raises(ConnectionClosed):
            await client.recv()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_server_that_never_answers(serve_streams: Any, scheme: str) -> None:
    async def silent(peer: Any) -> None:
        await peer.reader.read()

    async with serve_streams(silent) as port:
        client = Client(f"{scheme}://127.0.0.1:{port}", open_timeout=0.2)
        with pytest.raises(ConnectTimeout, match=r"not connected within 0\.2 s") as caught:
            await client.connect()
        assert isinstance(caught.value, TimeoutError)
        assert client.state is ClientState.CLOSED


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Swi"])
async def test_a_server_that_hangs_up_in_the_handshake(serve_streams: Any, answer: bytes) -> None:
    async def hang_up(peer: Any) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(answer)
        await peer.writer.drain()
        peer.writer.write_eof()
        await peer.reader.read()

    async with serve_streams(hang_up) as port:
        with pytest.raises(ConnectFailed):
            await Client(f"ws://127.0.0.1:{port}").connect()


async def test_a_server_that_speaks_something_else(serve_streams: Any) -> None:
    async def greet(peer: Any) -> None:
        peer.writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
        await peer.reader.read()

    async with serve_streams(greet) as port:
        with pytest.raises(HandshakeRefused) as caught:
            await Client(f"ws://127.0.0.1:{port}").connect()
        assert caught.value.status is None
        assert caught.value.final


async def test_a_certificate_that_is_not_trusted(serve_websockets: Any, tls: Any) -> None:
    async with serve_websockets(until_closed, ssl=tls.server) as port:
        client = Client(f"wss://127.0.0.1:{port}", tls=ssl.create_default_context())
        with pytest.raises(CertificateRefused, match="certificate was refused"):
            await client.connect()
        with pytest.raises(CertificateRefused):
            await Client(f"wss://127.0.0.1:{port}").connect()
        with pytest.raises(CertificateRefused, match="Hostname mismatch"):
            await Client(f"wss://localhost:{port}", tls=tls.client).connect()


async def test_tls_to_a_plain_server(serve_websockets: Any, tls: Any) -> None:
    async with serve_websockets(until_closed) as port:
        with pytest.raises(ConnectFailed, match="cannot connect"):
            await Client(f"wss://127.0.0.1:{port}", tls=tls.client).connect()


async def test_a_host_name_that_cannot_be() -> None:
    with pytest.raises(ConnectFailed, match="cannot connect"):
        await Client("ws://a..b:1").connect()


async def shake_hands(peer: Any) -> wsproto.WSConnection:
    """The server's half of a handshake by wsproto, which then leaves us to misbehave."""
    wire = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    wire.receive_data(await peer.reader.readuntil(b"\r\n\r\n"))
    (event,) = wire.events()
    assert isinstance(event, wsproto.events.Request)
    peer.writer.write(wire.send(wsproto.events.AcceptConnection()))
    return wire


async def deaf(peer: Any) -> None:
    await shake_hands(peer)
    await peer.reader.read()


async def test_a_server_that_answers_no_ping_is_lost(serve_streams: Any) -> None:
    async with (
        serve_streams(deaf) as port,
        Client(
            f"ws://127.0.0.1:{port}", reconnect=None, ping_interval=0.05, ping_timeout=0.1
        ) as client,
    ):
        with pytest.raises(ConnectionClosed, match=r"1006: no answer to a ping within 0\.1 s"):
            await client.recv()


async def test_a_server_that_answers_pings_is_kept(serve_streams: Any) -> None:
    answered = asyncio.Event()

    async def answer(peer: Any) -> None:
        wire = await shake_hands(peer)
        pings = 0
        while data := await peer.reader.read(1000):
            wire.receive_data(data)
            for event in wire.events():
                if isinstance(event, wsproto.events.Ping):
                    peer.writer.write(wire.send(event.response()))
                    pings += 1
            if pings >= 5:
                answered.set()

    async with (
        serve_streams(answer) as port,
        Client(
            f"ws://127.0.0.1:{port}", ping_interval=0.01, ping_timeout=10.0, close_timeout=0.1
        ) as client,
    ):
        await answered.wait()
        assert client.state is ClientState.OPEN


async def test_a_ping_of_ours_gives_up(serve_streams: Any) -> None:
    async with (
        serve_streams(deaf) as port,
        Client(
            f"ws://127.0.0.1:{port}", ping_interval=None, ping_timeout=0.1, close_timeout=0.1
        ) as client,
    ):
        with pytest.raises(OperationTimeout, match=r"a ping took longer than 0\.1 s"):
            await client.ping()
        assert client.state is ClientState.OPEN


async def test_a_ping_ends_with_the_connection(serve_streams: Any) -> None:
    async def cut(peer: Any) -> None:
        await shake_hands(peer)
        await peer.reader.readexactly(14)  # a masked ping with eight bytes

    async with (
        serve_streams(cut) as port,
        Client(f"ws://127.0.0.1:{port}", reconnect=None) as client,
    ):
        with pytest.raises(ConnectionClosed, match="1006"):
            await client.ping()


async def test_a_server_that_answers_no_close(serve_streams: Any) -> None:
    async with serve_streams(deaf) as port:
        client = Client(f"ws://127.0.0.1:{port}", close_timeout=0.1)
        await client.connect()
        await client.close()
        assert client.state is ClientState.CLOSED
        assert client.close_code == 1006
        assert "not closed within 0.1 s" in client.close_reason


async def test_what_arrives_after_our_close_is_dropped(serve_streams: Any) -> None:
    async def flood(peer: Any) -> None:
        await shake_hands(peer)
        peer.writer.write(b"\x81\x05first")
        await peer.reader.readexactly(8)  # our close
        for _ in range(100):
            peer.writer.write(b"\x82\x7e\xff\xff" + b"x" * 65535)
            await peer.writer.drain()
        peer.writer.write(b"\x88\x02\x03\xe8")
        await peer.reader.read()

    async with serve_streams(flood) as port:
        client = Client(f"ws://127.0.0.1:{port}", receive_queue=1000)
        await client.connect()
        assert await client.recv() == "first"
        await client.close()
        assert client.close_code == 1000
        with pytest.raises(ConnectionClosed):
            await client.recv()
