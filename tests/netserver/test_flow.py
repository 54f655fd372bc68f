"""Limits in both directions: slow readers, slow handlers, and handlers that never stop sending."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from foreman import NotRunning
from netclient import blocking
from netserver import Connection, ServerConfig, SlowReader
from netserver.backlog import MOST_CONTROL, OVERHEAD
from netserver.outflow import CORK_LIMIT, LONG_MESSAGE

pytestmark = pytest.mark.both_loops

SMALL = ServerConfig(
    send_limit=100_000,
    receive_limit=20_000,
    write_high_water=16_384,
    write_timeout=0.4,
    close_timeout=0.4,
)
SMALL_BUT_PATIENT = ServerConfig(
    send_limit=100_000, receive_limit=20_000, write_high_water=16_384, close_timeout=0.4
)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@pytest.mark.parametrize("config", [SMALL_BUT_PATIENT], ids=["small"])
@pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
def test_a_peer_that_does_not_read_is_cut(site: Any, scheme: str, envelope: Any) -> None:
    class Pushing(Connection):
        refused = False

        def on_open(self) -> None:
            self.server.groups.join(self, "all")

        def on_message(self, message: object) -> None:
            while self.send(bytes(10_000)):  # a handler that sends without end
                assert self._shell.outflow.size <= SMALL_BUT_PATIENT.send_limit
            self.refused = True

    listener = site.listen(f"{scheme}://127.0.0.1:0", Pushing)
    other, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo))
    options = {"tls": site.tls.client} if scheme == "tls" else {}
    if scheme == "ws":
        with connect(site.url(listener), max_queue=1, close_timeout=0.5) as client:
            client.send(b"x")
            _, connection, code, reason = site.journal.until("close")[0]
    else:
        assert isinstance(options, dict)
        with site.dial(listener, envelope(b"x")):
            _, connection, code, reason = site.journal.until("close")[0]
    assert (code, reason) == (1008, "over 100000 bytes wait for a slow reader")
    assert connection.refused
    with other:
        other.sendall(b"12hi")
        assert other.recv(10) == b"12hi"


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls"])
@pytest.mark.parametrize("late", [False, True])
def test_long_messages_keep_their_place_among_short_ones(
    site: Any, scheme: str, late: bool, envelope: Any, receive: Any
) -> None:
    """They are written in another way, whether or not the peer reads before all were sent."""
    sizes = [5, LONG_MESSAGE, LONG_MESSAGE - 1, 300_000, 7, 7, LONG_MESSAGE + 1, 100_000, 3] * 20
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    pushed = threading.Event()
    paused: list[bool] = []

    class Pushing(Connection):
        def on_message(self, message: object) -> None:
            for each in sent:
                assert self.send(each)
                paused.append(self._shell.outflow.paused)
            pushed.set()

    def frame(message: bytes) -> bytes:
        if scheme in ("ws", "wss"):
            return Frame(Opcode.BINARY, message).serialize(mask=False)
        return bytes(envelope(message))

    listener = site.listen(
        f"{scheme}://127.0.0.1:0", Pushing, slow_reader=SlowReader(policy="wait", limit=10**8)
    )
    expected = b"".join(map(frame, sent))
    with site.dial(listener) as peer:
        if scheme in ("ws", "wss"):
            peer.sendall(HANDSHAKE)
            while receive(peer, 1) != b"\r" or receive(peer, 3) != b"\n\r\n":
                pass
            peer.sendall(Frame(Opcode.BINARY, b"go").serialize(mask=True))
        else:
            peer.sendall(envelope(b"go"))
        if late:
            assert pushed.wait(10)
            assert paused[-1]
        assert receive(peer, len(expected)) == expected


@pytest.mark.parametrize("config", [SMALL], ids=["small"])
def test_a_peer_that_leaves_little_unread_for_too_long(site: Any, envelope: Any) -> None:
    class Pushing(Connection):
        def on_message(self, message: object) -> None:
            while not self._shell.outflow.paused:
                self.send(bytes(10_000))

    with site.dial(site.listen("tcp://127.0.0.1:0", Pushing), envelope(b"x")):
        assert site.journal.until("close")[0][2:] == (1008, "the peer has not read for 0.4 s")


@pytest.mark.parametrize("config", [SMALL], ids=["small"])
def test_a_close_that_a_slow_reader_does_not_take(site: Any, envelope: Any) -> None:
    class Leaving(Connection):
        def on_message(self, message: object) -> None:
            while not self._shell.outflow.paused:
                self.send(bytes(10_000))
            self.close()

    with site.dial(site.listen("tcp://127.0.0.1:0", Leaving), envelope(b"x")):
        assert site.journal.until("close")[0][2] == 1000


@pytest.mark.parametrize("config", [SMALL_BUT_PATIENT], ids=["small"])
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_everything_arrives_at_one_that_reads_late(
    site: Any, scheme: str, envelope: Any, receive_all: Any
) -> None:
    """What waited in the transport, and behind it, comes out in order, and then the close."""
    pushed = threading.Event()

    class Pushing(Connection):
        def on_message(self, message: object) -> None:
            self.sent = 0
            while self._shell.outflow.size < 50_000:
                self.send(b"%08d" % self.sent)
                self.sent += 1
            self.close()
            pushed.set()

    with site.dial(site.listen(f"{scheme}://127.0.0.1:0", Pushing), envelope(b"x")) as sock:
        connection = site.journal.until("open")[0][1]
        assert pushed.wait(20)
        data = receive_all(sock)
        site.journal.until("close")
        assert data == b"".join(envelope(b"%08d" % n) for n in range(connection.sent))


@pytest.mark.parametrize("config", [SMALL_BUT_PATIENT], ids=["small"])
def test_drain_waits_for_the_peer(site: Any, envelope: Any, receive: Any) -> None:
    rounds = 300

    class Pushing(Connection):
        async def on_message(self, message: object) -> None:
            for _ in range(rounds):
                assert self.send(bytes(60_000))
                await self.drain()

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Pushing), envelope(b"x"))
    with sock:
        said = envelope(bytes(60_000))
        for _ in range(rounds):
            assert receive(sock, len(said)) == said
        with pytest.raises(NotRunning):
            asyncio.run(connection.drain())


@pytest.mark.parametrize("config", [SMALL_BUT_PATIENT], ids=["small"])
@pytest.mark.parametrize("style", ["on_message", "pull"])
def test_a_slow_handler_stops_the_reading(
    site: Any, style: str, gate: Any, envelope: Any, until: Any
) -> None:
    """What the server keeps stays bounded, the peer is held up, and nothing is lost."""
    count = 20_000
    handled: list[bytes] = []
    done = threading.Event()

    async def slow(message: Any) -> None:
        await gate.passed()
        handled.append(message)
        if len(handled) == count:
            done.set()

    class Slow(Connection):
        async def on_message(self, message: bytes) -> None:
            await slow(message)

    class Pulling(Connection):
        async def handle(self) -> None:
            async for message in self:
                await slow(message)

    cls = Slow if style == "on_message" else Pulling
    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", cls))
    with sock:
        sock.setblocking(False)
        data = b"".join(envelope(b"%06d" % n + bytes(1000)) for n in range(count))
        sent = 0

        def stuck() -> bool:
            nonlocal sent
            before = sent
            try:
                while sent < len(data):
                    sent += sock.send(data[sent : sent + 65536])
            except BlockingIOError:
                return sent == before
            return True

        until(lambda: (gate.reached.is_set() and stuck()) or stuck())
        assert sent < len(data)  # the system's buffers are full, because the server does not read
        shell = connection._shell
        waiting = shell.pull.size if style == "pull" else shell.serial.size
        assert waiting <= SMALL_BUT_PATIENT.receive_limit + 256 * 1024
        gate.open()
        sock.setblocking(True)
        sock.sendall(data[sent:])
        assert done.wait(20)
    assert [message[:6] for message in handled] == [b"%06d" % n for n in range(count)]


HEAD = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("config", [SMALL_BUT_PATIENT], ids=["small"])
def test_a_ping_flood_by_a_peer_that_does_not_read(site: Any, until: Any) -> None:
    """The pongs that wait stop the reading, so neither side's memory grows."""
    listener = site.listen("ws://127.0.0.1:0", Echo)
    pings = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 200_000

    def flood() -> None:
        with suppress(OSError):
            sock.sendall(pings)

    with site.dial(listener, HANDSHAKE) as sock:
        connection = site.journal.until("open")[0][1]
        outflow = connection._shell.outflow
        flooding = threading.Thread(target=flood)
        flooding.start()
        until(lambda: outflow.paused)
        # One read's worth of pongs is the most that is written at once, and then a few wait.
        backlog = outflow._stall.backlog
        waiting = 0 if backlog is None else sum(map(len, backlog._control.get(True, ())))
        assert waiting <= MOST_CONTROL * 127
        assert outflow.size == 0
        held = connection._shell.transport.get_write_buffer_size()
        assert held <= SMALL_BUT_PATIENT.write_high_water + CORK_LIMIT + 127
        with suppress(OSError):  # it has been cut
            sock.shutdown(socket.SHUT_RDWR)
        flooding.join(20)
        assert not flooding.is_alive()


def test_every_ping_of_some_in_one_read_is_answered(site: Any, receive: Any) -> None:
    """As long as the answers are read: Autobahn's case 2.10 wants all ten."""
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with site.dial(listener, HANDSHAKE) as sock:
        site.journal.until("open")
        while not sock.recv(4096).endswith(b"\r\n\r\n"):
            pass
        sock.sendall(b"".join(b"\x89\x81\0\0\0\0%d" % n for n in range(10)))
        said = b"".join(b"\x8a\x01%d" % n for n in range(10))
        assert receive(sock, len(said)) == said


def test_a_peer_that_vanishes_while_its_flood_waits_to_be_read(site: Any, until: Any) -> None:
    """What is not read because it does not read either is no reason to wait for any longer."""
    listener = site.listen("ws://127.0.0.1:0", Echo)
    pings = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 200_000
    with site.dial(listener, HANDSHAKE) as sock:
        connection = site.journal.until("open")[0][1]
        sock.setblocking(False)
        sent = 0

        def is_full() -> bool:
            nonlocal sent
            with suppress(BlockingIOError):
                sent += sock.send(pings[sent:])
            return bool(connection._shell.outflow.paused)

        until(is_full)
        assert connection._shell.intake.at_once == 0, "some of it waits"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    site.journal.until("close")
    until(lambda: not site.server.statistics().connections)


class TestFromElsewhere:
    @pytest.mark.parametrize("config", [SMALL_BUT_PATIENT], ids=["small"])
    def test_more_than_its_node_takes(self, site: Any, envelope: Any) -> None:
        """Its node is busy, and another thread sends on and on: that is bounded too."""
        busy, over = threading.Event(), threading.Event()

        class Busy(Connection):
            def on_message(self, message: object) -> None:
                busy.set()
                over.wait(20)

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Busy), envelope(b"x"))
        with sock:
            assert busy.wait(10)
            sent = 0
            while connection.send(bytes(1000)):
                sent += 1
            assert sent == SMALL_BUT_PATIENT.send_limit // (1000 + OVERHEAD)
            for _ in range(1000):
                assert connection.send(bytes(1000)) is False
            assert len(connection._mailbox._calls) == sent + 1
            over.set()
            assert site.journal.until("close")[0][2:] == (1008, "over 100000 bytes wait to be sent")

    def test_what_the_framing_cannot_carry(self, site: Any) -> None:
        listener = site.listen("tcp://127.0.0.1:0", Echo, framing="lines")
        with blocking.Client(site.url(listener), framing="lines", reconnect=None) as client:
            client.send(b"fine")
            assert client.recv(10) == b"fine"
            connection = site.journal.named("open")[0][1]
            with pytest.raises(ValueError, match="line break"):
                connection.send(b"two\nlines")
            assert connection.send(b"one line") is True
            assert client.recv(10) == b"one line"


def test_a_message_in_a_storm_of_half_open_peers(site: Any) -> None:
    """Peers that connect and vanish at once leave nothing."""
    listener = site.listen("ws://127.0.0.1:0", Echo)
    address: Any = listener.address
    for _ in range(200):
        socket.create_connection(address, 10).close()
    with connect(site.url(listener)) as client:
        client.send("x")
        assert client.recv() == "x"
