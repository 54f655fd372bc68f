"""A peer that goes away while it is not read: that is noticed, though nothing reads its end."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import pytest

from netserver import Connection, ServerConfig
from netwire import State

pytestmark = pytest.mark.both_loops

CONFIG = ServerConfig(receive_limit=20_000, close_timeout=0.5, grace=2.0)
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def handling(style: str, gate: Any) -> type[Connection]:
    """A handler that takes one message and then waits for the gate."""

    class Async(Connection):
        async def on_message(self, message: Any) -> None:
            await gate.passed()

    class Pulled(Connection):
        async def handle(self) -> None:
            async for _ in self:
                await gate.passed()

    return {"async": Async, "pulled": Pulled}[style]


def paused(connection: Connection) -> bool:
    return bool(connection._shell.pauses)


@pytest.mark.parametrize("config", [CONFIG], ids=["small"])
@pytest.mark.parametrize("style", ["async", "pulled"])
# Over plain streams an end may be meant to be answered, so only a reset tells.
@pytest.mark.parametrize(("scheme", "how"), [("ws", "reset"), ("ws", "close"), ("tcp", "reset")])
def test_in_a_flood_that_the_handler_does_not_eat(
    site: Any, scheme: str, how: str, style: str, gate: Any, envelope: Any, until: Any
) -> None:
    listener = site.listen(f"{scheme}://127.0.0.1:0", handling(style, gate))
    message = b"\x82\xfe\x03\xe8\0\0\0\0" + bytes(1000) if scheme == "ws" else envelope(bytes(1000))
    sock, connection = site.open(listener, HANDSHAKE if scheme == "ws" else b"")
    if scheme == "ws":
        assert sock.recv(4096).endswith(b"\r\n\r\n")
    sock.sendall(message * 100)
    until(lambda: paused(connection))
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert gate.reached.wait(10)
    sock.close()
    until(lambda: connection.state is State.CLOSED, "noticing")
    assert connection.send(b"x") is False
    assert not site.journal.named("close")  # the handler is still at work
    gate.open()
    assert site.journal.until("close")[0][2] == 1006


@pytest.mark.parametrize("config", [CONFIG], ids=["small"])
def test_after_a_move(site: Any, envelope: Any, until: Any) -> None:
    """Who was not read on its old node is looked after on the new one."""
    gates = [asyncio.Event(), asyncio.Event()]
    reached = threading.Event()

    class Slow(Connection):
        async def on_message(self, message: bytes) -> None:
            if message[:1] == b"1":
                reached.set()
            await gates[message[:1] == b"1"].wait()

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow))
    old: Any = connection.node
    sock.sendall(envelope(b"0") + envelope(b"1" + bytes(1000)) * 100)
    until(lambda: paused(connection))
    promise = site.foreman.move(connection, site.foreman.spawn())
    old.loop.call_soon_threadsafe(gates[0].set)
    assert promise.result(10) is True
    assert reached.wait(10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    until(lambda: connection.state is State.CLOSED, "noticing")
    new: Any = connection.node
    new.loop.call_soon_threadsafe(gates[1].set)
    site.journal.until("close")


@pytest.mark.parametrize("config", [CONFIG], ids=["small"])
def test_half_closed_is_not_gone(
    site: Any, gate: Any, envelope: Any, receive_all: Any, until: Any
) -> None:
    """A peer that only ends its side gets every answer, though it was not read for a while."""

    class Answering(Connection):
        async def on_message(self, message: bytes) -> None:
            await gate.passed()
            self.send(message[:4])

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Answering))
    with sock:
        sock.sendall(b"".join(envelope(b"%04d" % n + bytes(1000)) for n in range(100)))
        sock.shutdown(socket.SHUT_WR)
        until(lambda: paused(connection))
        looks = threading.Event()
        connection.call_soon(lambda: connection._home.loop.call_later(1.5, looks.set))
        assert looks.wait(10)  # it was looked at in vain
        gate.open()
        assert receive_all(sock) == b"".join(envelope(b"%04d" % n) for n in range(100))
    with suppress(OSError):
        sock.close()


@pytest.mark.parametrize("size", [0, 1])
def test_what_was_said_before_the_end_is_answered(
    site: Any, gate: Any, size: int, envelope: Any, receive_all: Any, until: Any
) -> None:
    """The end is there while the first of three is being handled, and two wait."""

    class Answering(Connection):
        async def on_message(self, message: bytes) -> None:
            await gate.passed()
            self.send(message)

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Answering))
    with sock:
        said = envelope(b"x" * size) * 3
        sock.sendall(said)
        until(lambda: len(connection._shell.serial._waiting or ()) == 2, "two to wait")
        sock.shutdown(socket.SHUT_WR)
        until(lambda: len(connection._shell.serial._waiting) == 3, "the end to wait behind them")
        gate.open()
        assert receive_all(sock) == said
