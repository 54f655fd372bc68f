"""What a client does alike over every URL, against servers that are not ours."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from websockets.asyncio.server import ServerConnection

from netclient import Client, ClientState, ConnectFailed, NotConnected, Unsupported

SCHEMES = ["ws", "wss", "ws+unix", "tcp", "tls", "unix"]
every_scheme = pytest.mark.parametrize("echo", SCHEMES, indirect=True)


@frozen
class Echo:
    """An echo server of one kind, and how to reach it."""

    scheme: str
    server: AbstractAsyncContextManager[int]
    path: Path
    options: dict[str, Any]

    def url(self, port: int) -> str:
        if "unix" in self.scheme:
            return f"{self.scheme}://{self.path}"
        return f"{self.scheme}://127.0.0.1:{port}"

    def received(self, message: bytes | str) -> bytes | str:
        """What arrives after ``message`` was sent."""
        if self.scheme.startswith("ws") or isinstance(message, bytes):
            return message
        return message.encode()


@pytest.fixture
def echo(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tls: Any,
    serve_streams: Any,
    serve_websockets: Any,
) -> Echo:
    scheme = request.param
    path = tmp_path / "echo.sock" if "unix" in scheme else None
    secure = scheme in ("wss", "tls")
    context = tls.server if secure else None

    async def echo_websocket(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def echo_stream(peer: Any) -> None:
        while True:
            await peer.send(await peer.recv())

    if scheme.startswith("ws"):
        server = serve_websockets(echo_websocket, path=path, ssl=context)
    else:
        server = serve_streams(echo_stream, path=path, tls=context)
    options = {"tls": tls.client} if secure else {}
    return Echo(scheme, server, tmp_path / "echo.sock", options)


@every_scheme
async def test_messages_come_back_in_order(echo: Echo) -> None:
    sent: list[bytes | str] = [
        b"hello",
        "grün",
        b"",
        "",
        bytes(range(256)),
        b"x" * 1_000_000,
        "end",
    ]
    async with echo.server as port, Client(echo.url(port), **echo.options) as client:
        assert client.state.value == "open"
        for message in sent:
            await client.send(message)
        assert [await client.recv() for _ in sent] == [echo.received(m) for m in sent]
    assert client.state is ClientState.CLOSED
    assert client.close_code == 1000


@every_scheme
async def test_both_ways_at_once(echo: Echo) -> None:
    count = 300
    async with echo.server as port, Client(echo.url(port), **echo.options) as client:

        async def send_all() -> None:
            for number in range(count):
                await client.send(b"%d " % number + b"x" * 10_000)

        sending = asyncio.ensure_future(send_all())
        for number in range(count):
            assert (await client.recv()) == b"%d " % number + b"x" * 10_000
        await sending


@every_scheme
async def test_iteration_ends_with_close(echo: Echo) -> None:
    received = []
    async with echo.server as port, Client(echo.url(port), **echo.options) as client:
        await client.send(b"one")
        async for message in client:
            received.append(message)
            await client.close()
    assert received == [b"one"]
    await client.close()
    await client.wait_closed()


@every_scheme
async def test_a_wrong_type_is_refused_and_harms_nothing(echo: Echo) -> None:
    async with echo.server as port, Client(echo.url(port), **echo.options) as client:
        with pytest.raises(TypeError, match="bytes or str"):
            await client.send(5)  # type: ignore[arg-type]
        await client.send(b"fine")
        assert await client.recv() == b"fine"


@every_scheme
async def test_nobody_there(echo: Echo, unused: int) -> None:
    with pytest.raises(ConnectFailed, match="cannot connect") as caught:
        await Client(echo.url(unused), **echo.options).connect()
    assert caught.value.url == echo.url(unused)
    assert isinstance(caught.value, ConnectionError)


@every_scheme
async def test_the_life_of_a_client(echo: Echo) -> None:
    async with echo.server as port:
        client = Client(echo.url(port), **echo.options)
        assert client.state.value == "idle"
        assert client.close_code is None
        assert client.close_reason == ""
        assert client.subprotocol is None
        for early in (client.send(b"x"), client.recv(), client.wait_closed()):
            with pytest.raises(NotConnected, match="call connect"):
                await early
        await client.connect()
        with pytest.raises(NotConnected, match="connects once; this one is open"):
            await client.connect()
        await client.close()
        with pytest.raises(NotConnected, match="this one is closed"):
            await client.connect()


@every_scheme
async def test_only_websockets_have_pings(echo: Echo) -> None:
    async with echo.server as port, Client(echo.url(port), **echo.options) as client:
        if echo.scheme.startswith("ws"):
            assert 0 < await client.ping() < 10
        else:
            with pytest.raises(Unsupported, match="only WebSocket has pings"):
                await client.ping()


async def test_closing_before_connecting() -> None:
    client = Client("ws://127.0.0.1:1")
    await client.close()
    assert client.state is ClientState.CLOSED
    with pytest.raises(NotConnected):
        await client.connect()


@pytest.fixture
def unused() -> int:
    """A port on which nothing listens; port 1 needs privileges that no test has taken."""
    return 1
