"""Messages and changes that are pushed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from netclient import Client, ClientState, ConnectionClosed, Message, Unsupported

S = ClientState


async def three(connection: ServerConnection) -> None:
    for word in ("one", b"two", "three"):
        await connection.send(word)
    await connection.close(1000, "done")


async def test_everything_is_told_in_order(serve_websockets: Any, log: Any) -> None:
    async with serve_websockets(three) as port:
        client = Client(
            f"ws://127.0.0.1:{port}",
            on_open=log("open"),
            on_message=log("message"),
            on_close=log("close"),
            on_state=log("state"),
        )
        await client.connect()
        await client.wait_closed()
        await client.close()
    assert log.entries == [
        ("state", S.IDLE, S.CONNECTING),
        ("state", S.CONNECTING, S.OPEN),
        ("open",),
        ("message", "one"),
        ("message", b"two"),
        ("message", "three"),
        ("close", 1000, "done"),
        ("state", S.OPEN, S.CLOSED),
    ]


async def test_a_subclass_overrides_them(serve_websockets: Any) -> None:
    class Collector(Client):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            self.seen: list[object] = []

        async def on_open(self) -> None:
            await asyncio.sleep(0)
            self.seen.append("open")

        async def on_message(self, message: Message) -> None:
            await asyncio.sleep(0)
            self.seen.append(message)

        def on_close(self, code: int, reason: str) -> None:
            self.seen.append(code)

    async with serve_websockets(three) as port, Collector(f"ws://127.0.0.1:{port}") as client:
        with pytest.raises(Unsupported, match="on_message takes the messages"):
            await client.recv()
        await client.wait_closed()
    assert client.seen == ["open", "one", b"two", "three", 1000]


async def test_async_callbacks_run_one_at_a_time(serve_websockets: Any) -> None:
    running = 0
    seen: list[Message] = []

    async def on_message(message: Message) -> None:
        nonlocal running
        running += 1
        assert running == 1
        for _ in range(5):
            await asyncio.sleep(0)
        seen.append(message)
        running -= 1

    async with (
        serve_websockets(three) as port,
        Client(f"ws://127.0.0.1:{port}", on_message=on_message) as client,
    ):
        await client.wait_closed()
    assert seen == ["one", b"two", "three"]


async def test_callbacks_may_send_and_close(serve_websockets: Any) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    class Counter(Client):
        async def on_open(self) -> None:
            await self.send("0")

        async def on_message(self, message: Message) -> None:
            if message == "10":
                await self.close(4000, "far enough")
            else:
                await self.send(str(int(message) + 1))

    async with serve_websockets(echo) as port:
        client = Counter(f"ws://127.0.0.1:{port}")
        await client.connect()
        await client.wait_closed()
        await client.close()
    assert (client.close_code, client.close_reason) == (4000, "far enough")


@pytest.mark.parametrize("hook", ["on_open", "on_message"])
async def test_a_callback_that_raises_closes_with_1011(
    serve_websockets: Any, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def note(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async def fail(*_: object) -> None:
        raise LookupError("a bug of the program")

    options: dict[str, Any] = {hook: fail}
    async with serve_websockets(note) as port:
        async with Client(f"ws://127.0.0.1:{port}", **options) as client:
            with pytest.raises(ConnectionClosed, match="1011") as caught:
                await client.wait_closed()
            assert isinstance(caught.value.__cause__, LookupError)
        assert await codes.get() == 1011
    assert "a bug of the program" in caplog.text


async def test_a_callback_that_raises_at_the_end_is_logged(
    serve_websockets: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(code: int, reason: str) -> None:
        raise LookupError("too late to matter")

    async with (
        serve_websockets(three) as port,
        Client(f"ws://127.0.0.1:{port}", on_close=fail) as client,
    ):
        assert [message async for message in client] == ["one", b"two", "three"]
    assert "too late to matter" in caplog.text


async def test_a_callback_that_never_ends_is_cancelled(serve_websockets: Any) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(message: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serve_websockets(three) as port:
        client = Client(f"ws://127.0.0.1:{port}", on_message=stuck, close_timeout=0.1)
        await client.connect()
        await begun.wait()
        await client.close()
    assert cancelled.is_set()


async def test_slow_callbacks_stop_the_reading(serve_streams: Any) -> None:
    count, size = 1000, 64 * 1024
    release, stalled, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent = received = 0

    async def flood(peer: Any) -> None:
        nonlocal sent
        while sent < count:
            sent += 1
            try:
                async with asyncio.timeout(None if stalled.is_set() else 0.5):
                    await peer.send(b"x" * size)
            except TimeoutError:
                stalled.set()
        await peer.reader.read()

    async def slow(message: Message) -> None:
        nonlocal received
        await release.wait()
        received += 1
        if received == count:
            finished.set()

    async with (
        serve_streams(flood) as port,
        Client(f"tcp://127.0.0.1:{port}", on_message=slow, receive_queue=size),
    ):
        await stalled.wait()
        assert sent < count
        release.set()
        await finished.wait()
