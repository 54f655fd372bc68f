"""permessage-deflate over sockets: peers of others and our own, broadcasts, moves, bombs."""

from __future__ import annotations

import asyncio
import threading
import zlib
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import websockets
from aiohttp import web
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.sync.client import connect
from websockets.sync.server import serve

from netclient import Client, blocking
from netserver import Connection, Deflate, Limits
from netwire import UrlError
from netwire.websocket.frames import BINARY, COMPRESSED, FIN, MASKED, build_frame, parse_header

KEEPING = Deflate(server_context=True, client_context=True)
CONFIGS = {
    "no context": Deflate(),
    "context": KEEPING,
    "large windows": Deflate(
        server_context=True, client_context=True, server_window_bits=15, client_window_bits=15
    ),
    "server's context": Deflate(server_context=True, server_window_bits=9, level=9),
    "client's context": Deflate(client_context=True, client_window_bits=9),
}
MESSAGES: list[Any] = [
    "text ü" * 100, "", b"", b"x" * 300_000, "ü" * 200_000, "text ü" * 100, "short",
    bytes(range(256)) * 300,
]  # fmt: skip


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


class SlowEcho(Connection):
    async def on_message(self, message: bytes | str) -> None:
        await asyncio.sleep(0)
        self.send(message[:10])


def wire_of(site: Any) -> Any:
    """The wire of the first connection that opened."""
    return site.journal.until("open")[0][1]._shell.wire


# Clients of others


@pytest.mark.both_loops
@pytest.mark.parametrize("name", CONFIGS)
def test_websockets_as_client(site: Any, name: str) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo, compression=CONFIGS[name])
    with connect(site.url(listener)) as client:
        assert [str(e).split("(")[0] for e in client.protocol.extensions] == ["PerMessageDeflate"]
        for message in MESSAGES:
            client.send(message)
        for message in MESSAGES:
            assert client.recv(10) == message
        client.send(["in ", "three ", "frames"])
        assert client.recv(10) == "in three frames"


@pytest.mark.parametrize(
    "asks",
    [
        {"server_no_context_takeover": True},
        {"client_no_context_takeover": True},
        {"server_max_window_bits": 9, "client_max_window_bits": 9},
        {"client_max_window_bits": None},
    ],
)
def test_what_a_client_asks_for_counts(site: Any, asks: dict[str, Any]) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo, compression=KEEPING)
    factory = ClientPerMessageDeflateFactory(**asks)
    with connect(site.url(listener), compression=None, extensions=[factory]) as client:
        assert client.protocol.extensions
        for message in MESSAGES * 2:
            client.send(message)
            assert client.recv(10) == message


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("bits", [9, 15])
async def test_aiohttp_as_client(site: Any, name: str, bits: int, aiohttp_session: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo, compression=CONFIGS[name])
    async with (
        aiohttp_session() as session,
        session.ws_connect(site.url(listener), compress=bits) as client,
    ):
        assert client.compress
        for message in MESSAGES:
            await (client.send_str if isinstance(message, str) else client.send_bytes)(message)
        for message in MESSAGES:
            assert (await client.receive(10)).data == message


# Servers of others


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {"server_max_window_bits": 9, "client_max_window_bits": 9},
    ],
)
def test_websockets_as_server(name: str, theirs: dict[str, Any]) -> None:
    def echo(connection: Any) -> None:
        assert connection.protocol.extensions
        for message in connection:
            connection.send(message)

    factory = ServerPerMessageDeflateFactory(**theirs)
    with serve(echo, "127.0.0.1", 0, compression=None, extensions=[factory]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            with blocking.Client(url, compression=CONFIGS[name], reconnect=None) as client:
                for message in MESSAGES * 2:
                    client.send(message)
                    assert client.recv(10) == message
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize("name", CONFIGS)
async def test_aiohttp_as_server(name: str) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        assert response.compress
        async for message in response:
            if isinstance(message.data, str):
                await response.send_str(message.data)
            else:
                await response.send_bytes(message.data)
        return response

    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        async with Client(url, compression=CONFIGS[name], reconnect=None) as client:
            for message in MESSAGES * 2:
                await client.send(message)
                assert await client.recv(10) == message
    finally:
        await runner.cleanup()


# Our own at both ends


@pytest.mark.both_loops
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("name", CONFIGS)
def test_our_own_client(site: Any, scheme: str, name: str) -> None:
    listener = site.listen(f"{scheme}://127.0.0.1:0", Echo, compression=CONFIGS[name])
    tls = site.tls.client if scheme == "wss" else None
    with blocking.Client(site.url(listener), tls=tls, compression=CONFIGS[name]) as client:
        for message in MESSAGES:
            client.send(message)
            assert client.recv(10) == message
        assert wire_of(site)._compression is not None


def test_a_connector(site: Any) -> None:
    class Greeting(Connection):
        def on_open(self) -> None:
            self.send("hello " * 1000)

    heard: list[Any] = []
    done = threading.Event()

    class Hearing(Connection):
        def on_message(self, message: bytes | str) -> None:
            heard.append(message)
            done.set()

    listener = site.listen("ws://127.0.0.1:0", Greeting, compression=KEEPING)
    site.server.connect(site.url(listener), Hearing, compression=KEEPING, reconnect=None)
    assert done.wait(10)
    assert heard == ["hello " * 1000]


def test_it_is_off_unless_asked_for_and_only_for_websockets(site: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with connect(site.url(listener)) as client:
        assert not client.protocol.extensions
    with pytest.raises(UrlError, match="only that has compression="):
        site.listen("tcp://127.0.0.1:0", Echo, compression=KEEPING)
    with pytest.raises(TypeError, match="compression is a Deflate"):
        site.listen("ws://127.0.0.1:0", Echo, compression=True)


@pytest.mark.parametrize("name", ["no context", "context"])
def test_a_broadcast(site: Any, name: str) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo, compression=CONFIGS[name])
    plain = site.listen("ws://127.0.0.1:0", Echo)
    message = "news " * 200
    with (
        connect(site.url(listener)) as one,
        connect(site.url(listener)) as two,
        connect(site.url(plain)) as three,
    ):
        site.journal.until("open", 3)
        for _ in range(3):
            assert site.server.broadcast(message) == 3
            one.send(message)
            assert [c.recv(10) for c in (one, one, two, three)] == [message] * 4


def test_a_move_takes_the_context_along(site: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo, compression=KEEPING)
    with connect(site.url(listener)) as client:
        connection = site.journal.until("open")[0][1]
        message = "as before, " * 30
        client.send(message)
        assert client.recv(10) == message
        client.send([message[:50], message[50:]])
        foreman = site.server.foreman
        assert foreman.move(connection, foreman.spawn()).result(10)
        assert client.recv(10) == message
        for _ in range(3):
            client.send(message)
            assert client.recv(10) == message


# Hostile


@cache
def bomb(size: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(size >> 20))
    data += deflater.flush(zlib.Z_SYNC_FLUSH)
    return build_frame(COMPRESSED | BINARY, data.removesuffix(b"\0\0\xff\xff"), MASKED)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


@pytest.mark.both_loops
def test_a_bomb_is_refused(site: Any, receive_all: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo, compression=KEEPING)
    with site.dial(listener, HANDSHAKE) as sock:
        site.journal.until("open")
        with suppress(OSError):  # it may learn of it while it sends
            sock.sendall(bomb(256 << 20))
        answer = receive_all(sock).partition(b"\r\n\r\n")[2]
        assert answer[0] == FIN | 8
        assert int.from_bytes(answer[2:4]) == 1009
    assert site.journal.until("close")[0][2] == 1009


@pytest.mark.both_loops
@pytest.mark.parametrize("cls", [Echo, SlowEcho])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_many_messages_in_one_read_all_arrive_in_order(site: Any, cls: Any, scheme: str) -> None:
    """Far more than one limit of inflated bytes, then a text, then a close."""
    listener = site.listen(
        f"{scheme}://127.0.0.1:0", cls, compression=Deflate(), limits=Limits(message=100_000)
    )
    size = 99_000
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflater.compress(b"x" * size) + deflater.flush(zlib.Z_SYNC_FLUSH)
    frame = build_frame(COMPRESSED | BINARY, data.removesuffix(b"\0\0\xff\xff"), MASKED)
    text = build_frame(1, b"last", MASKED)
    with site.dial(listener, HANDSHAKE) as sock:
        site.journal.until("open")
        sender = threading.Thread(target=sock.sendall, args=(frame * 100 + text,))
        sender.start()
        got, _ = read_messages(sock, 101)
        sender.join(10)
        assert got[-1] == b"last"
        expected = size if cls is Echo else 10
        assert [len(m) for m in got[:-1]] == [expected] * 100
        sock.sendall(frame * 50 + build_frame(8, b"\x03\xe8", MASKED))
        if cls is Echo:  # the other's answers come too late, behind the close
            got, _ = read_messages(sock, 51)
            assert [len(m) for m in got] == [size] * 50 + [2]
        else:
            site.journal.until("close")
    assert site.journal.until("close")[0][2] == 1000


def read_messages(sock: Any, count: int) -> tuple[list[bytes], bytes]:
    """So many messages of a server's, and what came behind them."""
    buffer = b""
    found: list[bytes] = []
    while len(found) < count:
        more = sock.recv(1 << 18)
        assert more, (len(found), len(buffer))
        buffer += more
        if buffer.startswith(b"HTTP/1.1 101"):
            _, _, buffer = buffer.partition(b"\r\n\r\n")
        while (taken := take(buffer)) is not None:
            message, buffer = taken
            found.append(message)
    return found, buffer


def take(buffer: bytes) -> tuple[bytes, bytes] | None:
    header = parse_header(buffer, 0)
    if header is None or len(buffer) < header.payload + header.length:
        return None
    end = header.payload + header.length
    payload = buffer[header.payload : end]
    if header.first & COMPRESSED:
        payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
    return payload, buffer[end:]


async def test_a_client_takes_what_it_has_room_for(site: Any) -> None:
    """A flood of compressed messages fills the client's queue and not its memory."""

    class Flood(Connection):
        def on_open(self) -> None:
            for number in range(300):
                self.send(b"%d" % number + bytes(50_000))

    listener = site.listen("ws://127.0.0.1:0", Flood, compression=Deflate())
    async with Client(
        site.url(listener),
        compression=Deflate(),
        limits=Limits(message=60_000),
        receive_queue=100_000,
    ) as client:
        for number in range(300):
            assert client._inbox._size <= 100_000 + 3 * 60_000
            message = await client.recv(10)
            assert isinstance(message, bytes)
            assert message.startswith(b"%d\0" % number)


async def test_our_client_refuses_a_bomb(site: Any) -> None:
    class Hostile(Connection):
        def on_open(self) -> None:
            self.send(bytes(1 << 20))

    listener = site.listen("ws://127.0.0.1:0", Hostile, compression=Deflate())
    async with Client(
        site.url(listener), compression=Deflate(), limits=Limits(message=1000), reconnect=None
    ) as client:
        with pytest.raises(Exception, match="1009"):
            await client.recv(10)


def test_ends_while_compressed_messages_wait(site: Any) -> None:
    """The peer is gone in the middle of what the wire keeps: one close, nothing left."""
    listener = site.listen(
        "ws://127.0.0.1:0", SlowEcho, compression=Deflate(), limits=Limits(message=100_000)
    )
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflater.compress(bytes(99_000)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    frame = build_frame(COMPRESSED | BINARY, data.removesuffix(b"\0\0\xff\xff"), MASKED)
    with site.dial(listener, HANDSHAKE) as sock:
        site.journal.until("open")
        sock.sendall(frame * 300)
    assert site.journal.until("close")[0][2] == 1006


def flood(client: Any) -> None:
    for _ in range(2000):
        client.send("text " * 2000)
    client.recv(10)


def test_closes_while_websockets_sends(site: Any) -> None:
    class Closing(Connection):
        def on_message(self, message: bytes | str) -> None:
            self.close(4000, "enough")

    listener = site.listen("ws://127.0.0.1:0", Closing, compression=KEEPING)
    with connect(site.url(listener)) as client:
        with pytest.raises(ConnectionClosed) as caught:
            flood(client)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4000


async def test_websockets_asyncio_over_tls(site: Any) -> None:
    listener = site.listen("wss://127.0.0.1:0", Echo, compression=KEEPING)
    async with websockets.connect(site.url(listener), ssl=site.tls.client) as client:
        messages: list[Any] = ["a" * 70_000, b"b" * 300_000, "c"] * 10
        for message in messages:
            await client.send(message)
        assert [await client.recv() for _ in messages] == messages
