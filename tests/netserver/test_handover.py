"""Live moves under load: nothing lost, doubled or reordered, whatever else happens."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from foreman import Foreman, Node, NotRunning, events
from netclient import blocking
from netserver import Connection, Server, ServerConfig
from netwire import Limits, State

pytestmark = pytest.mark.both_loops


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@contextmanager
def moving(foreman: Foreman, connections: list[Connection]) -> Iterator[list[int]]:
    """Move connections among all nodes, over and over; yields how many moves there were."""
    done = threading.Event()
    moves = [0]

    def move() -> None:
        choice = random.Random(1)
        while not done.is_set():
            promises = []
            for connection in connections:
                try:
                    promises.append(foreman.move(connection, choice.choice(foreman.nodes)))
                except NotRunning:
                    pass  # it has left
            moves[0] += sum(promise.result(20) for promise in promises)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        yield moves
    finally:
        done.set()
        mover.join(20)
        assert not mover.is_alive()


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls", "unix"])
def test_under_duplex_load(site: Any, scheme: str, place: Any) -> None:
    """Both ends send numbered messages while the connection never stays where it is."""
    count = 1000
    sizes = random.Random(2)

    class Duplex(Connection):
        def on_open(self) -> None:
            self.expected = 0

        def on_message(self, message: bytes) -> None:
            number, _, _ = message.partition(b":")
            assert int(number) == self.expected
            self.expected += 1
            self.send(message)

    listener = site.listen(place(scheme), Duplex)
    for _ in range(2):
        site.foreman.spawn()
    options = {"tls": site.tls.client} if scheme in ("wss", "tls") else {}
    with blocking.Client(site.url(listener), reconnect=None, **options) as client:
        connection = site.journal.until("open")[0][1]
        messages = [b"%d:" % n + bytes(sizes.choice((0, 10, 1000, 20_000))) for n in range(count)]

        def send() -> None:
            for message in messages:
                client.send(message)

        with moving(site.foreman, [connection]) as moves:
            sender = threading.Thread(target=send)
            sender.start()
            for message in messages:
                assert client.recv(20) == message
            sender.join(20)
        assert moves[0] > 10
        assert len(site.journal.named("moved")) > 3
        for _, moved, old, new in site.journal.named("moved"):
            assert moved is connection
            assert old is not new
    assert not site.journal.named("error")


def test_many_at_once(site: Any, envelope: Any, receive: Any) -> None:
    listener = site.listen("tcp://127.0.0.1:0", Echo)
    opened = [site.open(listener) for _ in range(20)]
    site.foreman.spawn()
    site.foreman.spawn()
    with moving(site.foreman, [connection for _, connection in opened]):
        for number in range(50):
            for sock, _ in opened:
                sock.sendall(envelope(b"%d" % number) * 3)
            for sock, _ in opened:
                said = envelope(b"%d" % number) * 3
                assert receive(sock, len(said)) == said
    for sock, _ in opened:
        sock.close()


class TestTheMomentIsBad:
    def test_an_async_handler_is_under_way(self, site: Any, gate: Any, envelope: Any) -> None:
        """It ends first, and what came meanwhile is handled after it, in order."""

        class Slow(Connection):
            async def on_message(self, message: bytes) -> None:
                before = self.node if message == b"0" else None
                await gate.passed()
                assert before in (None, self._home)
                self.send(message)

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow), envelope(b"0"))
        with sock:
            assert gate.reached.wait(10)
            promise = site.foreman.move(connection, site.foreman.spawn())
            sock.sendall(envelope(b"1") + envelope(b"2"))
            assert not promise.done()
            gate.open()
            assert promise.result(10) is True
            data = b""
            while len(data) < 9:
                data += sock.recv(100)
            assert data == envelope(b"0") + envelope(b"1") + envelope(b"2")

    def test_the_handler_never_ends(self, loop_factory: Any, gate: Any, journal: Any) -> None:
        stayed: list[events.Event] = []

        def note(event: events.Event) -> None:
            if isinstance(event, events.Stayed):
                stayed.append(event)

        class Slow(Connection):
            async def on_message(self, message: bytes) -> None:
                await gate.passed()
                self.send(message)

        foreman = Foreman(loop_factory=loop_factory, move_timeout=0.05, on_event=note)
        with foreman, Server(foreman=foreman) as server:
            listener = server.listen("tcp://127.0.0.1:0", journal.watch(Slow))
            address: Any = listener.address
            with socket.create_connection(address, 10) as sock:
                sock.sendall(b"11a11b")
                connection = journal.until("open")[0][1]
                assert gate.reached.wait(10)
                before = connection.node
                assert foreman.move(connection, foreman.spawn()).result(10) is False
                assert connection.node is before
                sock.sendall(b"11c")
                gate.open()
                data = b""
                while len(data) < 9:
                    data += sock.recv(100)
                assert data == b"11a11b11c"
        assert len(stayed) == 1

    def test_the_peer_closes(self, site: Any, gate: Any, envelope: Any) -> None:
        class Slow(Connection):
            async def on_message(self, message: bytes) -> None:
                await gate.passed()

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow), envelope(b"x"))
        assert gate.reached.wait(10)
        promise = site.foreman.move(connection, site.foreman.spawn())
        sock.close()
        gate.open()
        promise.result(10)  # moved or not: it ends
        site.journal.until("close")

    @pytest.mark.parametrize("way", ["close", "abort"])
    @pytest.mark.parametrize("repeat", range(5))
    def test_we_close(self, site: Any, way: str, repeat: int) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        with sock:
            target = site.foreman.spawn()
            promise = site.foreman.move(connection, target)
            getattr(connection, way)()
            promise.result(10)
            assert sock.recv(1) == b""
            sock.close()  # or we would be waited for
            site.journal.until("close")

    @pytest.mark.parametrize(
        "config", [ServerConfig(send_limit=64 * 1024 * 1024, grace=1.0)], ids=["large"]
    )
    @pytest.mark.parametrize("move_timeout", [0.1])
    def test_the_peer_does_not_read(self, site: Any, receive: Any, envelope: Any) -> None:
        """It stays, and nothing is lost of what waits."""
        payload = bytes(8 * 1024 * 1024)

        class Full(Connection):
            def on_message(self, message: bytes) -> None:
                self.send(payload)
                self.send(b"end")

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Full))
        with sock:
            sock.sendall(envelope(b"x"))
            while connection._shell.transport.get_write_buffer_size() == 0:
                pass
            before = connection.node
            assert site.foreman.move(connection, site.foreman.spawn()).result(10) is False
            assert connection.node is before
            said = envelope(payload) + envelope(b"end")
            assert receive(sock, len(said)) == said
            target = next(node for node in site.foreman.nodes if node is not before)
            assert site.foreman.move(connection, target).result(10) is True

    @pytest.mark.parametrize("config", [ServerConfig(send_limit=64 * 1024 * 1024)], ids=["large"])
    @pytest.mark.parametrize("scheme", ["tcp", "tls"])
    def test_the_peer_reads_late(
        self, site: Any, scheme: str, receive: Any, envelope: Any, until: Any
    ) -> None:
        """What is on its way out leaves first, and then the connection does."""
        payload = bytes(8 * 1024 * 1024)
        limits = Limits(message=len(payload))

        class Full(Connection):
            def on_message(self, message: bytes) -> None:
                self.send(payload)
                self.send(message)

        sock, connection = site.open(site.listen(f"{scheme}://127.0.0.1:0", Full, limits=limits))
        with sock:
            sock.sendall(envelope(b"x"))
            until(lambda: connection._shell.outflow.paused)
            promise = site.foreman.move(connection, site.foreman.spawn())
            assert connection.send(b"after")
            sock.sendall(envelope(b"y"))
            said = envelope(payload) + envelope(b"x") + envelope(b"after")
            assert receive(sock, len(said)) == said
            assert promise.result(10) is True
            said = envelope(payload) + envelope(b"y")
            assert receive(sock, len(said)) == said

    def test_in_the_tls_handshake(self, site: Any, receive: Any, until: Any) -> None:
        """It stays until it is open."""
        listener = site.listen("tls://127.0.0.1:0", Echo)
        address: Any = listener.address
        plain = socket.create_connection(address, 10)
        until(lambda: [c for c in site.server.census.connections if c.node is not None])
        (connection,) = site.server.census.connections
        target = site.foreman.spawn()
        assert site.foreman.move(connection, target).result(10) is False
        with site.tls.client.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            sock.sendall(b"11x")
            assert receive(sock, 3) == b"11x"
            assert site.foreman.move(connection, target).result(10) is True
            sock.sendall(b"11y")
            assert receive(sock, 3) == b"11y"

    def test_between_two_fragments(self, site: Any) -> None:
        with connect(site.url(site.listen("ws://127.0.0.1:0", Echo))) as client:
            connection = site.journal.until("open")[0][1]
            nodes = [connection.node, site.foreman.spawn()]

            def pieces() -> Iterator[str]:
                for number in range(1, 11):
                    yield str(number)
                    assert site.foreman.move(connection, nodes[number % 2]).result(10) is True

            client.send(pieces())
            assert client.recv(10) == "12345678910"

    def test_two_moves_at_once(self, site: Any, envelope: Any, gate: Any, receive: Any) -> None:
        class Slow(Connection):
            async def on_message(self, message: bytes) -> None:
                await gate.passed()
                self.send(message)

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow), envelope(b"x"))
        with sock:
            assert gate.reached.wait(10)
            nodes = [site.foreman.spawn() for _ in range(2)]
            promises = [site.foreman.move(connection, node) for node in nodes]
            gate.open()
            assert [promise.result(10) for promise in promises] == [False, True]
            assert connection.node is nodes[1]
            sock.sendall(envelope(b"y"))
            assert receive(sock, 6) == envelope(b"x") + envelope(b"y")

    def test_during_a_drain(self, site: Any, gate: Any, envelope: Any, receive_all: Any) -> None:
        class Slow(Connection):
            async def on_message(self, message: bytes) -> None:
                await gate.passed()
                self.send(message)

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow), envelope(b"x"))
        with sock:
            assert gate.reached.wait(10)
            assert site.server.drain(0.01) is False
            promise = site.foreman.move(connection, site.foreman.spawn())
            gate.open()
            promise.result(10)
            assert receive_all(sock) == envelope(b"x")
        assert site.journal.until("close")[0][2] == 1001

    def test_removed_on_the_way(self, site: Any, gate: Any, envelope: Any) -> None:
        class Slow(Connection):
            async def on_message(self, message: bytes) -> None:
                await gate.passed()

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow), envelope(b"x"))
        with sock:
            assert gate.reached.wait(10)
            promise = site.foreman.move(connection, site.foreman.spawn())
            gone = site.foreman.remove(connection)
            gate.open()
            assert promise.result(10) is False
            gone.result(10)
            assert sock.recv(1) == b""
            site.journal.until("close")

    def test_removed_while_it_arrives_with_messages_that_came_too_early(
        self, site: Any, envelope: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They have turns of their own, in the last of which everything is let go of."""
        removed = threading.Event()
        handled: list[bytes] = []

        class Removed(Connection):
            async def attach(self, node: Node) -> None:
                await super().attach(node)
                if self.state is State.OPEN:  # this is not its first node
                    site.foreman.remove(self)
                    removed.set()
                    sock.sendall(envelope(b"hello") * 3)
                    doorstep = self._shell.doorstep
                    assert doorstep is not None
                    while not doorstep._early:  # read before the worker runs here  # noqa: ASYNC110
                        await asyncio.sleep(0)

            def on_message(self, message: bytes) -> None:
                handled.append(message)
                time.sleep(0.001)  # longer than a turn

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Removed))
        with sock:
            node = connection.node
            site.foreman.move(connection, site.foreman.spawn())
            assert removed.wait(10)
            site.journal.until("close")
        passed = threading.Event()
        node.loop.call_soon_threadsafe(passed.set)
        assert passed.wait(10)
        site.foreman.stop()  # whatever there was to be run has been
        assert handled == [b"hello"] * 3
        assert not [record for record in caplog.records if record.exc_info]

    def test_one_that_pulls_stays(self, site: Any, envelope: Any, receive: Any) -> None:
        class Pulling(Connection):
            async def handle(self) -> None:
                async for message in self:
                    self.send(message)

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Pulling))
        with sock:
            before: Node = connection.node
            assert site.foreman.move(connection, site.foreman.spawn()).result(10) is False
            assert connection.node is before
            sock.sendall(envelope(b"x"))
            assert receive(sock, 3) == envelope(b"x")

    def test_in_mid_message(self, site: Any, envelope: Any, receive: Any) -> None:
        listener = site.listen("tls://127.0.0.1:0", Echo)
        sock, connection = site.open(listener)
        with sock:
            said = envelope(bytes(100))
            site.foreman.spawn()
            for number, byte in enumerate(said):
                target = site.foreman.nodes[number % 2]
                assert site.foreman.move(connection, target).result(10) is True
                sock.sendall(bytes([byte]))
            assert receive(sock, len(said)) == said


def test_while_on_moved_takes_its_time(site: Any, gate: Any, envelope: Any, receive: Any) -> None:
    class Slow(Echo):
        async def on_moved(self, old: Node, new: Node) -> None:
            await gate.passed()
            self.send(b"moved")

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow))
    with sock:
        site.foreman.move(connection, site.foreman.spawn()).result(10)
        sock.sendall(envelope(b"after"))
        assert gate.reached.wait(10)
        gate.open()
        assert receive(sock, 14) == envelope(b"moved") + envelope(b"after")


def test_an_attach_that_fails(
    site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that cannot be adopted ends, with its callbacks and its descriptor."""
    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
    target = site.foreman.spawn()

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        async def connect_accepted_socket(self, *arguments: object) -> None:
            await asyncio.sleep(0)
            raise OSError("as the test wants")

    loop = target.loop
    target.loop = Refusing()
    try:
        with sock:
            assert site.foreman.move(connection, target).result(10) is False
            assert sock.recv(1) == b""
            site.journal.until("close")
        assert "as the test wants" in caplog.text
    finally:
        target.loop = loop
