"""Connecting out, to a server of others and to our own, and again after a loss."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import zlib
from base64 import b64encode
from hashlib import sha1
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from netserver import Connection, Deflate, Reject, Server
from netwire import Backoff

SOON = Backoff(first=0.01, cap=0.05)

pytestmark = pytest.mark.both_loops


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@pytest.fixture
def asking(journal: Any) -> type[Connection]:
    """A class that says hello and notes the answer."""

    class Asking(Connection):
        def on_open(self) -> None:
            journal.note("dialled", self)
            self.send("hello")

        def on_message(self, message: bytes | str) -> None:
            journal.note("answer", self, message)

        def on_close(self, code: int, reason: str) -> None:
            journal.note("dropped", self, code)

    return Asking


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls", "unix", "ws+unix"])
def test_to_our_own_server(
    site: Any, scheme: str, place: Any, asking: type[Connection], tls: Any
) -> None:
    listener = site.listen(place(scheme), Echo)
    options = {"tls": tls.client} if scheme in ("wss", "tls") else {}
    connector = site.server.connect(site.url(listener), asking, reconnect=None, **options)
    (_, connection, answer) = site.journal.until("answer")[0]
    assert answer == ("hello" if "ws" in scheme else b"hello")
    assert connection.listener is connector
    assert connector.connection is connection
    assert scheme in repr(connector)
    connection.close()
    assert site.journal.until("dropped")[0][2] == 1000


async def test_to_the_websockets_library(site: Any, asking: type[Connection]) -> None:
    """It comes back after every loss, offers what it is told to, and stops when it is told to."""
    heads: list[Any] = []
    lost = asyncio.Event()

    async def handler(peer: ServerConnection) -> None:
        assert peer.request is not None
        heads.append((peer.request.path, peer.request.headers["X-Who"], peer.subprotocol))
        await peer.send(await peer.recv())
        if len(heads) < 3:
            peer.transport.abort()
            return
        await peer.wait_closed()
        lost.set()

    async with serve(handler, "127.0.0.1", 0, subprotocols=["b"]) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        connector = site.server.connect(
            f"ws://127.0.0.1:{port}/x?y=1",
            asking,
            headers=(("X-Who", "us"),),
            subprotocols=("a", "b"),
            reconnect=SOON,
        )
        answers = await asyncio.to_thread(site.journal.until, "answer", 3)
        assert heads == [("/x?y=1", "us", "b")] * 3
        assert len({connection.id for _, connection, _ in answers}) == 3
        assert answers[2][1].subprotocol == "b"
        connector.close()
        answers[2][1].close()
        await lost.wait()
        await asyncio.to_thread(site.journal.until, "dropped", 3)


def test_reconnecting_to_a_server_that_was_away(site: Any, asking: type[Connection]) -> None:
    with Server() as first:
        url = f"tcp://127.0.0.1:{first.listen('tcp://127.0.0.1:0', Echo).port}"
        site.server.connect(url, asking, reconnect=SOON)
        site.journal.until("answer", 1)
    site.journal.until("dropped", 1)
    with Server() as second:
        second.listen(url, Echo)
        site.journal.until("answer", 2)
        site.server.drain()


@pytest.mark.parametrize(
    "where", ["tcp://127.0.0.1:1", "tcp://no-such-host.invalid:1", "tcp://a..b:1"]
)
def test_giving_up(site: Any, where: str, asking: type[Connection], until: Any) -> None:
    connector = site.server.connect(
        where, asking, reconnect=Backoff(first=0.001, cap=0.001, attempts=3)
    )
    until(lambda: connector._retry.failures == 3)
    connector.close()
    assert not site.journal.entries


def test_a_server_that_says_no(site: Any, asking: type[Connection], until: Any) -> None:
    class Refusing(Connection):
        def on_connect(self, request: object) -> None:
            raise Reject(401)

    listener = site.listen("ws://127.0.0.1:0", Refusing)
    connector = site.server.connect(
        site.url(listener), asking, reconnect=Backoff(first=0.001, cap=0.001, attempts=2)
    )
    until(lambda: connector._retry.failures == 2)
    until(lambda: connector.connection is None)
    assert not site.journal.named("dialled")


def test_a_class_that_cannot_be_made(
    site: Any, caplog: pytest.LogCaptureFixture, until: Any
) -> None:
    class Broken(Connection):
        def __init__(self) -> None:
            raise RuntimeError("as the test wants")

    listener = site.listen("tcp://127.0.0.1:0", Echo)
    connector = site.server.connect(site.url(listener), Broken, reconnect=SOON)
    until(lambda: "as the test wants" in caplog.text)
    assert connector.statistics().errors == 1


def test_before_the_start(asking: type[Connection], journal: Any) -> None:
    with Server() as other:
        url = f"tcp://127.0.0.1:{other.listen('tcp://127.0.0.1:0', Echo).port}"
        server = Server()
        server.connect(url, asking)
        with server:
            journal.until("answer")
        journal.until("dropped")
        unstarted = Server()
        unstarted.connect(url, asking).close()
        unstarted.close()


def test_refused_by_our_own_on_connect(site: Any, until: Any) -> None:
    """Where there is no handshake, it is asked about what we dialled too."""
    asked = threading.Event()

    class Unwilling(Connection):
        def on_connect(self, request: object) -> None:
            asked.set()
            raise RuntimeError("as the test wants")

    listener = site.listen("tcp://127.0.0.1:0", Echo)
    connector = site.server.connect(site.url(listener), Unwilling, reconnect=None)
    assert asked.wait(10)
    until(lambda: connector.connection is None)


def test_messages_behind_the_answer_stay_in_order(site: Any, journal: Any) -> None:
    """So much is inflated that they come in several parts."""
    count = 8

    class Listening(Connection):
        def on_open(self) -> None:
            journal.note("said", "open")

        def on_message(self, message: Any) -> None:
            journal.note("said", int.from_bytes(message[:4]))

    def numbered(number: int) -> bytes:
        deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
        data = deflater.compress(number.to_bytes(4) + bytes(400_000))
        data = (data + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
        return b"\xc2\x7e" + len(data).to_bytes(2) + data

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        site.server.connect(url, Listening, compression=Deflate(), reconnect=None)
        peer, _ = listening.accept()
        with peer:
            peer.settimeout(10)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.recv(65536)
            found = re.search(rb"Sec-WebSocket-Key: (\S+)", head, re.IGNORECASE)
            assert found is not None
            digest = sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            peer.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + b64encode(digest) + b"\r\n"
                b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n"
                + b"".join(map(numbered, range(count)))
            )
            said = [what for _, what in journal.until("said", count + 1)]
    assert said == ["open", *range(count)]
