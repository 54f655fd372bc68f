"""A server that goes away and returns on the same port."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from netclient import (
    Backoff,
    Client,
    ClientState,
    ConnectFailed,
    ConnectionClosed,
    HandshakeRefused,
    OperationTimeout,
)

QUICK = Backoff(first=0.01, cap=0.05)
FOREVER = Backoff(first=1000.0, cap=1000.0)
S = ClientState


async def echo_websocket(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def echo_stream(peer: Any) -> None:
    while True:
        await peer.send(await peer.recv())


def observed(url: str, log: Any, **options: Any) -> Client:
    return Client(
        url,
        on_open=log("open"),
        on_close=log("close"),
        on_state=log("state"),
        **{"reconnect": QUICK, **options},
    )


async def test_a_websocket_server_returns(serve_websockets: Any, log: Any) -> None:
    async with serve_websockets(echo_websocket) as port:
        client = observed(f"ws://127.0.0.1:{port}", log)
        await client.connect()
        await client.send("one")
        assert await client.recv() == "one"
    # A server of this library that ends tells its clients 1001.
    await log.until("close")
    async with serve_websockets(echo_websocket, port=port):
        await client.send("two")
        assert await client.recv() == "two"
        await client.close()
    assert log.named("open") == [("open",), ("open",)]
    assert [entry[1] for entry in log.named("close")] == [1001, 1000]
    assert [entry[2] for entry in log.named("state")] == [
        S.CONNECTING,
        S.OPEN,
        S.RECONNECTING,
        S.OPEN,
        S.CLOSING,
        S.CLOSED,
    ]


async def test_a_stream_server_returns(serve_streams: Any, log: Any) -> None:
    async with serve_streams(echo_stream) as port:
        client = observed(f"tcp://127.0.0.1:{port}", log)
        await client.connect()
        await client.send(b"one")
        assert await client.recv() == b"one"
    await log.until("close")
    async with serve_streams(echo_stream, port=port):
        await client.send(b"two")
        assert await client.recv() == b"two"
        await client.close()


async def test_a_stream_that_ends_in_order_is_opened_again(serve_streams: Any, log: Any) -> None:
    async def once(peer: Any) -> None:
        await peer.send(b"hello")
        peer.writer.write_eof()
        await peer.reader.read()

    async with serve_streams(once) as port:
        client = observed(f"tcp://127.0.0.1:{port}", log)
        await client.connect()
        assert [await client.recv() for _ in range(3)] == [b"hello"] * 3
        await client.close()
    assert log.named("close")[0] == ("close", 1000, "")


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
async def test_codes_that_say_come_back(serve_websockets: Any, log: Any, code: int) -> None:
    async def closing(connection: ServerConnection) -> None:
        await connection.close(code)

    async with serve_websockets(closing) as port:
        client = observed(f"ws://127.0.0.1:{port}", log)
        await client.connect()
        await log.until("open", 3)
        await client.close()
    assert {entry[1] for entry in log.named("close")} <= {code, 1000}


async def test_a_connection_that_is_cut_comes_back(serve_websockets: Any, log: Any) -> None:
    async def cutting(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with serve_websockets(cutting) as port:
        client = observed(f"ws://127.0.0.1:{port}", log)
        await client.connect()
        await log.until("close", 2)
        await client.close()
    assert log.named("close")[0][1] == 1006


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1008, 3000, 4000])
async def test_codes_that_say_stay_away(serve_websockets: Any, log: Any, code: int) -> None:
    async def closing(connection: ServerConnection) -> None:
        await connection.close(code)

    async with serve_websockets(closing) as port:
        client = observed(f"ws://127.0.0.1:{port}", log)
        await client.connect()
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.code == code
        assert client.state is S.CLOSED
    await client.close()
    assert log.named("open") == [("open",)]
    assert S.RECONNECTING not in {entry[2] for entry in log.named("state")}


async def test_a_bad_stream_is_not_opened_again(serve_streams: Any, log: Any) -> None:
    async def rubbish(peer: Any) -> None:
        peer.writer.write(b"12okrubbish")
        await peer.reader.read()

    async with serve_streams(rubbish) as port:
        client = observed(f"tcp://127.0.0.1:{port}", log)
        await client.connect()
        assert await client.recv() == b"ok"
        with pytest.raises(ConnectionClosed, match="1002: an envelope begins with"):
            await client.recv()
    await client.close()


async def test_a_loss_is_the_end_without_reconnect(serve_streams: Any) -> None:
    async def cut(peer: Any) -> None:
        peer.writer.write(b"15hel")
        peer.writer.write_eof()
        await peer.reader.read()

    async with (
        serve_streams(cut) as port,
        Client(f"tcp://127.0.0.1:{port}", reconnect=None) as client,
    ):
        with pytest.raises(ConnectionClosed, match="1006: the stream ended in mid-message"):
            await anext(client)


async def test_what_came_before_a_loss_is_received_after_it(
    serve_websockets: Any, log: Any
) -> None:
    numbers = iter(range(100))

    async def two(connection: ServerConnection) -> None:
        first = next(numbers)
        for number in (first, first):
            await connection.send(str(number))
        await connection.close(1012)

    async with serve_websockets(two) as port:
        client = observed(f"ws://127.0.0.1:{port}", log)
        await client.connect()
        await log.until("open", 3)
        assert [await client.recv() for _ in range(4)] == ["0", "0", "1", "1"]
        await client.close()


async def test_a_final_refusal_ends_it(serve_websockets: Any, log: Any) -> None:
    visits = iter([None, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FORBIDDEN])

    def doorman(connection: ServerConnection, request: Request) -> Response | None:
        status = next(visits)
        return None if status is None else connection.respond(status, "no\n")

    async def closing(connection: ServerConnection) -> None:
        await connection.close(1012)

    async with serve_websockets(closing, process_request=doorman) as port:
        client = observed(f"ws://127.0.0.1:{port}", log)
        await client.connect()
        with pytest.raises(ConnectionClosed, match="HTTP 403") as caught:
            await client.recv()
        assert isinstance(caught.value.__cause__, HandshakeRefused)
        with pytest.raises(ConnectionClosed, match="HTTP 403"):
            await client.wait_closed()
        await client.close()
    assert next(visits, "all visited") == "all visited"


async def test_it_gives_up_after_its_attempts(serve_streams: Any, log: Any) -> None:
    async with serve_streams(echo_stream) as port:
        backoff = Backoff(first=0.0, attempts=3)
        client = observed(f"tcp://127.0.0.1:{port}", log, reconnect=backoff)
        await client.connect()
    with pytest.raises(ConnectionClosed, match="gave up after 3 failures in a row") as caught:
        await client.recv()
    assert isinstance(caught.value.__cause__, ConnectFailed)
    await client.close()


async def test_the_first_attempt_is_not_repeated(serve_streams: Any) -> None:
    async with serve_streams(echo_stream) as port:
        pass
    with pytest.raises(ConnectFailed):
        await Client(f"tcp://127.0.0.1:{port}", reconnect=QUICK).connect()


async def test_sending_waits_for_the_connection_but_not_for_ever(
    serve_streams: Any, log: Any
) -> None:
    async with serve_streams(echo_stream) as port:
        client = observed(f"tcp://127.0.0.1:{port}", log, reconnect=FOREVER, send_timeout=0.1)
        await client.connect()
    await log.until("close")
    assert client.state.value == "reconnecting"
    with pytest.raises(OperationTimeout, match=r"sending took longer than 0\.1 s"):
        await client.send(b"x")
    sending = asyncio.ensure_future(client.send(b"y"))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(ConnectionClosed):
        await sending
    assert client.state is S.CLOSED


async def test_closing_while_it_connects(serve_streams: Any) -> None:
    asked = asyncio.Event()

    async def silent(peer: Any) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        asked.set()
        await peer.reader.read()

    async with serve_streams(silent) as port:
        client = Client(f"ws://127.0.0.1:{port}")
        connecting = asyncio.ensure_future(client.connect())
        await asked.wait()
        await client.close(4000, "enough")
        with pytest.raises(ConnectionClosed, match="4000: enough"):
            await connecting


async def test_a_connect_that_is_cancelled_leaves_nothing(serve_streams: Any) -> None:
    gone = asyncio.Event()

    async def silent(peer: Any) -> None:
        await peer.reader.read()
        gone.set()

    async with serve_streams(silent) as port:
        client = Client(f"ws://127.0.0.1:{port}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.connect()
        assert client.state is S.CLOSED
        await gone.wait()
