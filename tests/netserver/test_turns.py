"""A connection with many messages in one read lets the others of its node have their turns."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from foreman import Node
from netserver import Connection
from netserver.shell import WHOLE_READ

pytestmark = pytest.mark.both_loops

HOLD = 0.002  # what one message costs, seconds: more than a quantum

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
)


class Served:
    """What was handled, in order, by whichever connection."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.begun = threading.Event()

    def slowly(self, message: Any) -> None:
        self.messages.append(message)
        self.begun.set()
        time.sleep(HOLD)


@pytest.fixture
def served() -> Served:
    return Served()


def handler(style: str, served: Served) -> type[Connection]:
    """A class that takes its time for each message, and holds its node meanwhile."""

    class Sync(Connection):
        def on_message(self, message: Any) -> None:
            served.slowly(message)
            self.send(message)

    class Async(Connection):
        async def on_message(self, message: bytes) -> None:
            served.slowly(message)
            self.send(message)

    class Pulling(Connection):
        async def handle(self) -> None:
            async for message in self:
                served.slowly(message)
                self.send(message)

    class Both(Connection):
        """Sync for one message, async for the next."""

        def on_message(self, message: bytes) -> Any:
            if message[-1] % 2:
                return self.later(message)
            served.slowly(message)
            self.send(message)
            return None

        async def later(self, message: bytes) -> None:
            served.slowly(message)
            self.send(message)

    return {"sync": Sync, "async": Async, "pull": Pulling, "both": Both}[style]


def numbered(count: int) -> list[bytes]:
    return [b"%04d" % number for number in range(count)]


def frame(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=True)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Whole short frames that are not masked, as opcode and payload."""
    found = []
    while data:
        found.append((data[0] & 0x0F, data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return found


def test_others_are_polled_between_two_turns(site: Any, served: Served, envelope: Any) -> None:
    """Or all others would wait for two turns of a connection that always has something to say."""
    polls = 0
    seen: list[int] = []

    def count() -> None:
        nonlocal polls
        polls += 1

    class Slow(Connection):
        def on_message(self, message: Any) -> None:
            seen.append(polls)
            served.slowly(message)
            self.send(message)

    one, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow))
    always, ready = socket.socketpair()
    with one, always, ready:
        ready.send(b"x")  # never read, so each time the loop asks who can be read, this one can
        connection.node.post(connection.node.loop.add_reader, always, count)
        one.sendall(envelope(b"0") * 2)
        for _ in range(20):
            assert one.recv(3) == envelope(b"0")
            one.sendall(envelope(b"0") * 2)  # behind the other one of the last two
            assert one.recv(3) == envelope(b"0")
        gone = threading.Event()
        connection.node.post(connection.node.loop.remove_reader, always)
        connection.node.post(gone.set)
        assert gone.wait(10)
    counted = seen[:40]  # what is handled later may come when there is nobody to poll any more
    assert len(set(counted)) == 40


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp"])
def test_others_have_their_turn_while_a_long_read_is_read(
    site: Any, scheme: str, served: Served, receive: Any, envelope: Any
) -> None:
    """Not only in handing out messages: reading thousands of frames takes long in itself."""
    released = threading.Event()

    class Holding(Connection):
        def on_message(self, message: Any) -> None:
            if message == b"hold":
                served.begun.set()
                assert released.wait(10)
            else:
                served.messages.append(message)

    class Echo(Connection):
        def on_message(self, message: Any) -> None:
            if message == b"last":
                self.send(message)

    class Reading:
        """Sees each message as soon as it is read."""

        def incoming(self, message: Any) -> Any:
            served.messages.append(message)
            if message == b"first":
                other.sendall(envelope(b"quick"))
            return message

        def outgoing(self, message: Any) -> Any:
            return message

    def encode(message: bytes) -> bytes:
        if scheme == "tcp":
            return bytes(envelope(message))
        begun = Frame(Opcode.BINARY, message, fin=False).serialize(mask=True)
        return begun + frame(Opcode.CONT, b"")

    flooded = site.listen(f"{scheme}://127.0.0.1:0", Echo, transform=Reading)
    quick = site.listen("tcp://127.0.0.1:0", Holding)
    one, first = site.open(flooded, HANDSHAKE if scheme != "tcp" else b"")
    other, second = site.open(quick)
    assert site.foreman.move(second, first.node).result(10) or second.node is first.node
    with one, other:
        if scheme != "tcp":
            receive(one, len(ANSWER))
        other.sendall(envelope(b"hold"))  # until all of it can be read at once
        assert served.begun.wait(10)
        count = 50_000 // len(encode(b""))
        one.sendall(b"".join(map(encode, [b"first", *[b""] * count, b"last"])))
        released.set()
        assert receive(one, 6).endswith(b"last")
    assert served.messages.index(b"quick") < served.messages.index(b"last")


@pytest.mark.parametrize("style", ["sync", "async", "pull", "both"])
def test_others_have_their_turn(
    site: Any, style: str, served: Served, envelope: Any, receive: Any
) -> None:
    count = 200

    class Quick(Connection):
        def on_message(self, message: bytes) -> None:
            served.messages.append(message)
            self.send(message)

    slow = site.listen("tcp://127.0.0.1:0", handler(style, served))
    quick = site.listen("tcp://127.0.0.1:0", Quick)
    one, first = site.open(slow)
    other, second = site.open(quick)
    site.foreman.move(second, first.node).result(10)
    with one, other:
        messages = numbered(count)
        one.sendall(b"".join(map(envelope, messages)))
        assert served.begun.wait(10)
        other.sendall(envelope(b"quick"))
        assert receive(other, 7) == envelope(b"quick")
        said = b"".join(map(envelope, messages))
        assert receive(one, len(said)) == said
    # Its turn came among the first: with none until the end it would be the last.
    assert served.messages.index(b"quick") < count // 2
    served.messages.remove(b"quick")
    assert served.messages == messages


def test_others_have_their_turn_after_two_whole_reads_in_a_row(site: Any) -> None:
    """More than a transport reads at a time is there: it would go on reading many times."""

    class Sink(Connection):
        def on_message(self, message: bytes) -> None:
            pass

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Sink, framing="raw"))
    shell = connection._shell

    def reads(*lengths: int) -> list[bool]:
        """Whether it is still read, after each of these reads in one turn of the loop."""
        reading: list[bool] = []
        for length in lengths:
            shell.data_received(bytes(length))
            reading.append(shell.transport.is_reading())
        return reading

    def on_node(function: Any, *args: Any) -> Any:
        async def call() -> Any:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(call(), connection.node.loop).result(10)

    with sock:
        assert on_node(reads, WHOLE_READ, WHOLE_READ) == [True, False]
        assert on_node(shell.transport.is_reading)  # in the next turn it is read again
        assert on_node(reads, WHOLE_READ, 5000, WHOLE_READ) == [True, True, True]
        assert on_node(reads, 5000, WHOLE_READ, WHOLE_READ) == [True, True, False]


@pytest.mark.parametrize("style", ["sync", "async", "both"])
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_move_amid_a_read(
    site: Any, scheme: str, style: str, served: Served, envelope: Any, receive: Any
) -> None:
    """It need not wait for the end of the read, and what waits comes along, in order."""
    where: list[Node | None] = []

    class Placed(handler(style, served)):  # type: ignore[misc]
        def on_message(self, message: bytes) -> Any:
            where.append(self._home)
            return super().on_message(message)

    sock, connection = site.open(site.listen(f"{scheme}://127.0.0.1:0", Placed))
    with sock:
        messages = numbered(300)
        nodes = [connection.node, *(site.foreman.spawn() for _ in range(2))]
        sock.sendall(b"".join(map(envelope, messages)))
        assert served.begun.wait(10)
        for number in range(1, 8):
            assert site.foreman.move(connection, nodes[number % 3]).result(10) is True
            assert len(served.messages) < 300
        sock.sendall(envelope(b"late"))
        said = b"".join(map(envelope, [*messages, b"late"]))
        assert receive(sock, len(said)) == said
    assert served.messages == [*messages, b"late"]
    assert set(where) == set(nodes)


def test_a_ping_keeps_its_place(site: Any, served: Served) -> None:
    sock, _ = site.open(site.listen("ws://127.0.0.1:0", handler("sync", served)), HANDSHAKE)
    with sock:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        said = [
            (Opcode.BINARY, b"%04d" % n) if n % 3 else (Opcode.PING, b"p%d" % n) for n in range(90)
        ]
        sock.sendall(b"".join(frame(opcode, data) for opcode, data in said))
        answers = [(Opcode.PONG if op is Opcode.PING else op, data) for op, data in said]
        size = sum(2 + len(data) for _, data in said)
        data = b""
        while len(data) < size:
            data += sock.recv(65536)
        assert frames(data) == answers


class TestTheEndBehindMuch:
    """However a connection ends, what came before the end is handled before it."""

    COUNT = 60

    def end(
        self, site: Any, served: Served, scheme: str, before: bytes, ends: Any, code: int
    ) -> None:
        listener = site.listen(f"{scheme}://127.0.0.1:0", handler("sync", served))
        sock, connection = site.open(listener, HANDSHAKE if scheme == "ws" else b"")
        with sock:
            sock.sendall(before)
            ends(sock)
            assert site.journal.until("close")[0][1:3] == (connection, code)
            assert served.messages == numbered(self.COUNT)

    def test_a_close(self, site: Any, served: Served) -> None:
        said = b"".join(frame(Opcode.BINARY, data) for data in numbered(self.COUNT))
        close = frame(Opcode.CLOSE, struct.pack(">H", 4321))
        self.end(site, served, "ws", said + close, lambda sock: None, 4321)

    def test_a_close_and_a_reset(self, site: Any, served: Served) -> None:
        said = b"".join(frame(Opcode.BINARY, data) for data in numbered(self.COUNT))
        close = frame(Opcode.CLOSE, struct.pack(">H", 4321))

        def reset(sock: Any) -> None:
            assert served.begun.wait(10)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

        self.end(site, served, "ws", said + close, reset, 4321)

    def test_a_fault(self, site: Any, served: Served, envelope: Any) -> None:
        said = b"".join(map(envelope, numbered(self.COUNT))) + b"x"
        self.end(site, served, "tcp", said, lambda sock: None, 1002)
        assert len(site.journal.named("error")) == 1

    @pytest.mark.parametrize("scheme", ["tcp", "tls"])
    def test_an_end_of_stream(self, site: Any, scheme: str, served: Served, envelope: Any) -> None:
        said = b"".join(map(envelope, numbered(self.COUNT)))

        def ends(sock: Any) -> None:
            if scheme == "tls":
                with suppress(ssl.SSLError):  # the answers that come first
                    sock.unwrap()
            else:
                sock.shutdown(1)

        self.end(site, served, scheme, said, ends, 1000)

    def test_a_bad_record(self, site: Any, served: Served, envelope: Any) -> None:
        said = b"".join(map(envelope, numbered(self.COUNT)))

        def ends(sock: Any) -> None:
            with socket.socket(fileno=os.dup(sock.fileno())) as plain:
                plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))

        self.end(site, served, "tls", said, ends, 1015)

    def test_everything_is_answered_before_an_end_of_stream(
        self, site: Any, served: Served, envelope: Any, receive_all: Any
    ) -> None:
        sock, _ = site.open(site.listen("tcp://127.0.0.1:0", handler("sync", served)))
        with sock:
            said = b"".join(map(envelope, numbered(self.COUNT)))
            sock.sendall(said)
            sock.shutdown(1)
            assert receive_all(sock) == said


@pytest.mark.parametrize("way", ["close", "abort", "remove", "raise"])
def test_we_end_it_amid_a_read(
    site: Any, way: str, served: Served, envelope: Any, receive_all: Any
) -> None:
    class Ending(handler("sync", served)):  # type: ignore[misc]
        def on_message(self, message: bytes) -> None:
            super().on_message(message)
            if message == b"0020":
                if way == "raise":
                    raise RuntimeError("as the test wants")
                if way == "remove":
                    site.foreman.remove(self)
                else:
                    getattr(self, way)()

    sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Ending))
    with sock:
        messages = numbered(60)
        sock.sendall(b"".join(map(envelope, messages)))
        receive_all(sock)
        site.journal.until("close")
    handled = len(served.messages)
    if way in ("close", "abort"):  # the peer sent them before it knew
        assert handled == 60
    else:
        assert 21 <= handled < 60
    assert served.messages == messages[:handled]


def test_draining_amid_a_read(site: Any, served: Served, envelope: Any, receive_all: Any) -> None:
    """What was read is handled first, as long as the drain has patience."""
    sock, _ = site.open(site.listen("tcp://127.0.0.1:0", handler("sync", served)))
    with sock:
        said = b"".join(map(envelope, numbered(60)))
        sock.sendall(said)
        assert served.begun.wait(10)
        assert site.server.drain(10) is True
        assert receive_all(sock) == said
    assert site.journal.until("close")[0][2] == 1001


def test_closing_the_server_amid_a_read(site: Any, served: Served, envelope: Any) -> None:
    """It has no patience: the rest is forgotten."""
    sock, _ = site.open(site.listen("tcp://127.0.0.1:0", handler("sync", served)))
    with sock:
        sock.sendall(b"".join(map(envelope, numbered(1500))))
        assert served.begun.wait(10)
        site.server.close()
        site.journal.until("close")
    assert len(served.messages) < 1500


def test_nothing_more_is_read_meanwhile(
    site: Any, served: Served, envelope: Any, until: Any
) -> None:
    """What waits stays within one read, the peer is held up, and nothing is lost."""
    gate = threading.Event()

    class Held(Connection):
        def on_message(self, message: bytes) -> None:
            served.messages.append(message[:4])
            if not gate.is_set():
                served.begun.set()
                time.sleep(HOLD)

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Held))
    with sock:
        messages = numbered(9000)
        data = b"".join(envelope(message + bytes(1000)) for message in messages)
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        assert served.begun.wait(10)
        for _ in range(50):
            rest = connection._shell.intake._rest
            assert sum(map(len, rest or ())) <= 256 * 1024
            count = len(served.messages)
            until(lambda count=count: len(served.messages) > count)
        assert sender.is_alive()
        gate.set()
        until(lambda: len(served.messages) == len(messages))
        sender.join(20)
    assert served.messages == messages
