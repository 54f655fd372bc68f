"""Connections that have ended are freed by reference counts alone: the collector may be off.

The Foreman puts full collections off while strict promises stand, so a circle left behind by each
connection would be a leak.
"""

from __future__ import annotations

import gc
import logging
import socket
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from netserver import Connection, Reject

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

SCHEMES = ["ws", "wss", "tcp", "tls", "unix", "ws+unix"]


class Remains:
    """What is left of connections and of all that belongs to them."""

    def __init__(self) -> None:
        self._made: list[tuple[str, weakref.ref[Any]]] = []

    def watch(self, cls: type[Connection]) -> type[Connection]:
        """A class of which every instance is looked for later."""
        made = self._made

        class Watched(cls):  # type: ignore[misc,valid-type]
            def __init__(self) -> None:
                super().__init__()
                made.append((type(self).__name__, weakref.ref(self)))

        Watched.__name__ = cls.__name__
        return Watched

    @property
    def count(self) -> int:
        return len(self._made)

    def __call__(self) -> list[str]:
        return [name for name, made in self._made if made() is not None]


@pytest.fixture
def remains() -> Iterator[Remains]:
    """Watches with the collector off."""
    gc.collect()
    gc.disable()
    try:
        yield Remains()
    finally:
        gc.enable()


class Echo(Connection):
    def on_open(self) -> None:
        self.join("all")

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


class Async(Connection):
    async def on_open(self) -> None:
        self.join("all")

    async def on_message(self, message: bytes | str) -> None:
        self.send(message)
        await self.drain()

    async def on_close(self, code: int, reason: str) -> None:
        pass


class Pulling(Connection):
    async def handle(self) -> None:
        async for message in self:
            self.send(message)


STYLES = {"sync": Echo, "async": Async, "pull": Pulling}


def ended(site: Any, remains: Remains, until: Any, count: int = 1) -> None:
    """All have gone from the server, and from memory."""
    assert remains.count == count
    until(lambda: not site.server.statistics().connections, "the end")
    site.journal.entries.clear()
    until(lambda: not remains(), f"freeing {remains()}")


def serve(site: Any, remains: Remains, place: Any, scheme: str, cls: type[Connection]) -> Any:
    options = {"tls": site.tls.server} if scheme in ("wss", "tls") else {}
    return site.server.listen(place(scheme), remains.watch(cls), **options)


def talk(site: Any, listener: Any, scheme: str, count: int = 3) -> socket.socket:
    """A client that has had some echoes."""
    sock: socket.socket = site.dial(listener, HANDSHAKE if "ws" in scheme else b"")
    if "ws" in scheme:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
    for _ in range(count):
        sock.sendall(b"\x82\x81\0\0\0\0x" if "ws" in scheme else b"11x")
        assert sum(len(sock.recv(1)) for _ in range(3)) == 3
    return sock


def close(sock: socket.socket, scheme: str, way: str) -> None:
    if way == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif way == "fault":
        sock.sendall(b"\xff" * 16)
        assert sock.recv(100) is not None
    elif way == "farewell" and "ws" in scheme:
        sock.sendall(b"\x88\x80\0\0\0\0")
        sock.recv(100)
    sock.close()


@pytest.mark.both_loops
@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_a_talk(site: Any, remains: Remains, tmp_path: Path, until: Any, scheme: str) -> None:
    for style, cls in STYLES.items():

        def place(scheme: str, style: str = style) -> str:
            return (
                f"{scheme}://{tmp_path}/{style}" if "unix" in scheme else f"{scheme}://127.0.0.1:0"
            )

        listener = serve(site, remains, place, scheme, cls)
        for way in ("farewell", "vanish", "reset", "fault"):
            close(talk(site, listener, scheme), scheme, way)
    ended(site, remains, until, 12)


@pytest.mark.both_loops
@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls", "unix"])
def test_after_moves(
    site: Any, remains: Remains, place: Any, until: Any, scheme: str, style: str
) -> None:
    listener = serve(site, remains, place, scheme, STYLES[style])
    site.foreman.spawn()
    site.foreman.spawn()
    sock = talk(site, listener, scheme)
    for node in (*site.foreman.nodes, *site.foreman.nodes):
        (connection,) = site.server.connections
        site.foreman.move(connection, node).result(10)
    del connection
    sock.close()
    ended(site, remains, until)


@pytest.mark.both_loops
def test_after_a_move_that_failed(site: Any, remains: Remains, place: Any, until: Any) -> None:
    listener = serve(site, remains, place, "tcp", Pulling)
    sock = talk(site, listener, "tcp")
    (connection,) = site.server.connections
    assert site.foreman.move(connection, site.foreman.spawn()).result(10) is False
    del connection
    sock.close()
    ended(site, remains, until)


@pytest.mark.both_loops
@pytest.mark.parametrize("move_timeout", [0.05])
def test_after_a_move_that_was_given_up(
    site: Any, remains: Remains, place: Any, until: Any, gate: Any
) -> None:
    class Slow(Connection):
        async def on_message(self, message: bytes) -> None:
            await gate.passed()
            self.send(message)

    listener = serve(site, remains, place, "tcp", Slow)
    with site.dial(listener, b"11x") as sock:
        assert gate.reached.wait(10)
        (connection,) = site.server.connections
        assert site.foreman.move(connection, site.foreman.spawn()).result(10) is False
        del connection
        gate.open()
        assert sock.recv(3) == b"11x"
    ended(site, remains, until)


@pytest.mark.both_loops
@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_a_handshake_that_failed(
    site: Any, remains: Remains, place: Any, until: Any, scheme: str
) -> None:
    listener = serve(site, remains, place, scheme, Echo)
    address: Any = listener.address
    sent = (b"", b"GET", b"\x16\x03\x01\x02\0", b"nonsense\r\n\r\n")
    for data in sent:
        with socket.socket(
            socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        ) as sock:
            sock.connect(address)
            sock.sendall(data)
    until(lambda: remains.count == len(sent))
    ended(site, remains, until, len(sent))


class Refusing(Echo):
    def on_connect(self, request: Any) -> None:
        raise Reject(403, "no")


class RefusingLater(Echo):
    async def on_connect(self, request: Any) -> None:
        raise Reject(403, "no")


class Failing(Connection):
    def on_message(self, message: object) -> None:
        raise RuntimeError("as the test wants")


class FailingLater(Connection):
    async def on_message(self, message: object) -> None:
        raise RuntimeError("as the test wants")


@pytest.mark.both_loops
@pytest.mark.parametrize("cls", [Refusing, RefusingLater, Failing, FailingLater])
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_after_raising(
    site: Any,
    remains: Remains,
    place: Any,
    until: Any,
    scheme: str,
    cls: type[Connection],
    receive_all: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Records of what was raised would be kept by pytest, and hold on to it.
    monkeypatch.setattr(logging.getLogger("netserver.ending"), "disabled", True)
    listener = serve(site, remains, place, scheme, cls)
    handshake = HANDSHAKE if scheme == "ws" else b""
    message = b"\x82\x81\0\0\0\0x" if scheme == "ws" else b"11x"
    with site.dial(listener, handshake + message) as sock:
        receive_all(sock)
    ended(site, remains, until)


@pytest.mark.both_loops
@pytest.mark.parametrize("way", ["close", "abort", "remove", "send from elsewhere", "drain"])
def test_after_we_ended_it(
    site: Any, remains: Remains, place: Any, until: Any, receive_all: Any, way: str
) -> None:
    listeners = [serve(site, remains, place, "tcp", cls) for cls in STYLES.values()]
    socks = [talk(site, listener, "tcp") for listener in listeners]
    connections = list(site.server.connections)
    if way == "drain":
        site.server.drain(10)
    for connection in connections:
        if way == "remove":
            site.foreman.remove(connection)
        elif way == "send from elsewhere":
            connection.send(b"x")
            connection.close()
        elif way != "drain":
            getattr(connection, way)()
    for sock in socks:
        with sock:
            receive_all(sock)
    until(lambda: not site.server.statistics().connections, "the end")
    for connection in connections:  # what is left answers still
        assert connection.send(b"too late") is False
        connection.close()
        connection.abort()
        connection.ping()
        assert not connection.join("all")
        assert "closed" in str(connection)
    connections.clear()
    del connection
    ended(site, remains, until, 3)


@pytest.mark.both_loops
@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls"])
def test_of_a_connector(site: Any, remains: Remains, place: Any, until: Any, scheme: str) -> None:
    """Both ends in one server."""
    listener = serve(site, remains, place, scheme, Echo)

    class Asking(Connection):
        def on_open(self) -> None:
            self.send(b"question")

        def on_message(self, message: bytes) -> None:
            self.close()

    options = {"tls": site.tls.client} if scheme in ("wss", "tls") else {}
    site.server.connect(site.url(listener), remains.watch(Asking), reconnect=None, **options)
    until(lambda: remains.count == 2)
    ended(site, remains, until, 2)


def test_what_is_refused_a_place(site: Any, remains: Remains, place: Any, until: Any) -> None:
    """A connection that no node takes never ran, and is freed as well."""
    listener = serve(site, remains, place, "tcp", Echo)

    def refuse(worker: Any) -> None:
        raise RuntimeError("as the test wants")

    add, site.foreman.add = site.foreman.add, refuse
    try:
        with site.dial(listener) as sock:
            assert sock.recv(1) == b""
    finally:
        site.foreman.add = add
    ended(site, remains, until)


def test_fragments_and_pings(site: Any, remains: Remains, place: Any, until: Any) -> None:
    """What wsproto reads, which is another path."""
    listener = serve(site, remains, place, "ws", Echo)
    with connect(site.url(listener)) as client:
        client.ping().wait(10)
        client.send(["a", "b", "c"])
        assert client.recv(10) == "abc"
    del client
    ended(site, remains, until)
