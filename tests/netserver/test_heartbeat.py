"""Whether a peer lives: pings, their answers, and who is not to be cut although none comes."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from attrs import evolve
from websockets.sync.client import connect
from wsproto.frame_protocol import Opcode

from netclient import blocking
from netserver import Connection, ServerConfig
from netserver.statistics import ConnectionStatistics

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
QUICK = ServerConfig(ping_interval=0.1, ping_timeout=0.2, close_timeout=2.0, grace=5.0)
NEVER_CUT = evolve(QUICK, ping_timeout=None)
ONE_PING = evolve(QUICK, ping_timeout=3.0)
NO_ANSWER = "no answer to a ping within 0.2 s"

quick = pytest.mark.parametrize("config", [QUICK], ids=["quick"])


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def shake_hands(site: Any, listener: Any) -> tuple[socket.socket, Any]:
    """A peer that does only what the test has it do, and the connection at the server's end."""
    sock, connection = site.open(listener, HANDSHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock, connection


def frame(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def different(look: Callable[[], object], count: int) -> Callable[[], bool]:
    """Whether so many different things were seen by now."""
    seen: set[object] = set()

    def enough() -> bool:
        seen.add(look())
        return len(seen) >= count

    return enough


def next_ping(sock: socket.socket, receive: Any) -> bytes:
    """The payload of the next frame, a ping of the server's."""
    head = receive(sock, 2)
    assert head[0] == 0x80 | Opcode.PING, head
    payload: bytes = receive(sock, head[1])
    return payload


@pytest.mark.both_loops
@quick
@pytest.mark.parametrize("scheme", ["ws", "wss", "ws+unix"])
def test_a_round_trip_is_measured(site: Any, scheme: str, place: Any, until: Any) -> None:
    listener = site.listen(place(scheme), Echo)
    options = {"tls": site.tls.client} if scheme == "wss" else {}
    with blocking.Client(site.url(listener), **options) as client:
        connection = site.journal.until("open")[0][1]
        until(lambda: connection.round_trip is not None)
        statistics = connection.statistics()
        assert isinstance(statistics, ConnectionStatistics)
        assert statistics.smoothed_round_trip is not None
        first = connection.round_trip
        until(lambda: connection.round_trip != first)
        client.send(b"x")
        assert client.recv(10) == b"x"
        assert connection.close_code is None
        assert 0 < connection.round_trip < 10
    site.journal.until("close")
    assert connection.round_trip is not None


@pytest.mark.both_loops
@quick
@pytest.mark.parametrize("scheme", ["ws", "wss", "ws+unix"])
def test_one_that_does_not_answer_is_cut(
    site: Any, scheme: str, place: Any, receive_all: Any
) -> None:
    sock, connection = shake_hands(site, site.listen(place(scheme), Echo))
    with sock:
        assert site.journal.until("close")[0][2:] == (1006, NO_ANSWER)
        assert receive_all(sock)[:2] == b"\x89\x08"
    assert connection.round_trip is None


FROZEN_PEER = """
import sys
from netclient.blocking import Client
with Client(sys.argv[1], reconnect=None) as client:
    client.send("here")
    client.recv(30)
    print("up", flush=True)
    client.recv(60)
"""


@pytest.mark.parametrize("config", [evolve(QUICK, ping_timeout=1.0)], ids=["quick"])
def test_a_process_that_freezes_is_cut_and_others_are_not(site: Any, until: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with blocking.Client(site.url(listener)) as other:
        peer = subprocess.Popen(
            [sys.executable, "-c", FROZEN_PEER, site.url(listener)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with peer:
            try:
                assert peer.stdout is not None
                assert peer.stdout.readline() == b"up\n"
                frozen = site.journal.until("open", 2)[1][1]
                until(lambda: frozen.round_trip is not None)
                os.kill(peer.pid, signal.SIGSTOP)
                closed = site.journal.until("close")
                assert closed[0][1:] == (frozen, 1006, "no answer to a ping within 1 s")
            finally:
                peer.kill()
        other.send("y")
        assert other.recv(10) == "y"


@quick
@pytest.mark.parametrize("said", ["wrong pongs", "unasked pongs", "messages", "pings"])
def test_a_peer_that_says_anything_lives(
    site: Any, said: str, receive: Any, receive_all: Any
) -> None:
    """Five time-outs long; it is cut when it falls silent. Nothing of it is a round trip."""
    sock, connection = shake_hands(site, site.listen("ws://127.0.0.1:0", Connection))
    data = {
        "wrong pongs": frame(Opcode.PONG, b"something"),
        "unasked pongs": frame(Opcode.PONG, b""),
        "messages": frame(Opcode.BINARY, b"x"),
        "pings": frame(Opcode.PING, b""),
    }[said]
    with sock:
        sock.settimeout(0.05)
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            sock.sendall(data)
            try:
                assert sock.recv(1000), "it was cut"
            except TimeoutError:
                pass
        assert connection.close_code is None
        sock.settimeout(15)
        assert site.journal.until("close")[0][2:] == (1006, NO_ANSWER)
    assert connection.round_trip is None


@pytest.mark.parametrize("config", [ONE_PING], ids=["patient"])
def test_pongs_of_the_users_own_pings_are_not_ours(site: Any, receive: Any, until: Any) -> None:
    class Asking(Connection):
        def on_message(self, message: object) -> None:
            self.ping(b"users own")

    sock, connection = shake_hands(site, site.listen("ws://127.0.0.1:0", Asking))
    with sock:
        ours = next_ping(sock, receive)
        sock.sendall(frame(Opcode.BINARY, b"x"))
        assert next_ping(sock, receive) == b"users own"
        sock.sendall(frame(Opcode.PONG, b"users own") + frame(Opcode.BINARY, b"x"))
        assert next_ping(sock, receive) == b"users own"  # so the pong before was dealt with
        assert connection.round_trip is None
        sock.sendall(frame(Opcode.PONG, ours))
        until(lambda: connection.round_trip is not None)


@pytest.mark.parametrize("config", [NEVER_CUT], ids=["never"])
def test_without_a_time_out_it_is_pinged_for_ever(site: Any, receive: Any) -> None:
    sock, connection = shake_hands(site, site.listen("ws://127.0.0.1:0", Echo))
    with sock:
        payloads = {next_ping(sock, receive) for _ in range(6)}
        assert len(payloads) == 6
        assert connection.close_code is None


@pytest.mark.parametrize("config", [evolve(QUICK, ping_interval=None)], ids=["none"])
def test_without_an_interval_it_is_not_pinged(site: Any) -> None:
    sock, _ = shake_hands(site, site.listen("ws://127.0.0.1:0", Echo))
    with sock:
        sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            sock.recv(1)


class Async(Connection):
    """Its handler waits, and so much comes meanwhile that it is not read."""

    gate: Any
    count = 0

    async def on_message(self, message: Any) -> None:
        await self.gate.passed()
        self.count += 1


class Pulling(Connection):
    gate: Any
    count = 0

    async def handle(self) -> None:
        async for _ in self:
            await self.gate.passed()
            self.count += 1


@pytest.mark.both_loops
@pytest.mark.parametrize(
    "config", [evolve(QUICK, receive_limit=1000, message_timeout=None)], ids=["small"]
)
@pytest.mark.parametrize("cls", [Async, Pulling])
def test_a_slow_handler_of_ours_does_not_cut_its_peer(
    site: Any, cls: type[Connection], gate: Any, until: Any
) -> None:
    """It is not read while its handler is busy, so no pong can come."""
    slow: Any = type(cls.__name__, (cls,), {"gate": gate})
    sock, connection = shake_hands(site, site.listen("ws://127.0.0.1:0", slow))
    with sock:
        sock.sendall(frame(Opcode.BINARY, bytes(100)) * 200)
        until(lambda: connection._shell.pauses)
        pulse = connection._shell.pulse
        # Its ping is waited for beyond the time in which it had to be answered, three times.
        until(different(lambda: pulse._at, 5))
        assert connection.close_code is None
        gate.open()
        until(lambda: connection.count == 200)
        assert site.journal.until("close")[0][2:] == (1006, NO_ANSWER)  # read again, and silent


@pytest.mark.both_loops
@pytest.mark.parametrize(
    "config", [evolve(QUICK, receive_limit=1000, ping_timeout=1.0)], ids=["small"]
)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_one_that_is_lost_while_it_is_not_read_is_noticed(
    site: Any, scheme: str, gate: Any, until: Any
) -> None:
    class Slow(Async):
        pass

    Slow.gate = gate
    sock, connection = shake_hands(site, site.listen(f"{scheme}://127.0.0.1:0", Slow))
    sock.sendall(frame(Opcode.BINARY, bytes(100)) * 200)
    until(lambda: connection._shell.pauses)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()  # which resets it
    until(lambda: connection.close_code is not None)
    assert connection.close_code == 1006
    gate.open()
    site.journal.until("close")


@quick
def test_moves_while_pings_are_under_way(site: Any, until: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with connect(site.url(listener)) as client:
        connection = site.journal.until("open")[0][1]
        nodes = [site.foreman.spawn(), site.foreman.spawn()]
        seen = set()
        for number in range(60):
            assert site.foreman.move(connection, nodes[number % 2]).result(10) is True
            seen.add(connection.round_trip)
            client.send(b"x")
            assert client.recv(10) == b"x"
            time.sleep(0.02)  # so that it is long enough for some pings
        assert len(seen) > 3
        assert connection.close_code is None
        # Wherever it is, there is one look to come, and nothing is left where it was.
        assert set(site.server.rounds) == {connection.node}


@quick
def test_a_silent_one_is_cut_wherever_it_moved(site: Any) -> None:
    sock, connection = shake_hands(site, site.listen("ws://127.0.0.1:0", Echo))
    nodes = [site.foreman.spawn(), site.foreman.spawn()]
    with sock:
        for number in range(6):
            site.foreman.move(connection, nodes[number % 2]).result(10)
        assert site.journal.until("close")[0][2:] == (1006, NO_ANSWER)


@quick
def test_ends_while_pings_are_due(site: Any, until: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with ExitStack() as clients:
        for _ in range(20):
            clients.enter_context(connect(site.url(listener)))
        connections = site.journal.until("open", 20)
        until(lambda: all(entry[1].round_trip for entry in connections))
        assert site.server.drain(10)
    for entry in site.journal.until("close", 20):
        assert entry[2] == 1001
    until(lambda: not site.server.rounds, "the end of the rounds")


@contextmanager
def answering(socks: list[socket.socket]) -> Iterator[Callable[[], int]]:
    """Answers every ping; called, it tells how many so far."""
    selector = selectors.DefaultSelector()
    for sock in socks:
        selector.register(sock, selectors.EVENT_READ)
    ended = threading.Event()
    count = 0

    def run() -> None:
        nonlocal count
        while not ended.is_set():
            for key, _ in selector.select(0.1):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    data = sock.recv(10)  # a ping of eight bytes at a time
                    if data[:1] == b"\x89":
                        sock.sendall(frame(Opcode.PONG, data[2:]))
                        count += 1
                except OSError:
                    data = b""
                if not data:
                    selector.unregister(sock)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lambda: count
    finally:
        ended.set()
        thread.join()
        selector.close()


@pytest.mark.parametrize(
    "config", [evolve(QUICK, ping_interval=1.0, ping_timeout=10.0)], ids=["quick"]
)
def test_two_thousand_are_all_pinged(site: Any, until: Any) -> None:
    """And the Foreman does not take heartbeats for work: they are not counted as holds."""
    listener = site.listen("ws://127.0.0.1:0", Connection)
    socks = [site.dial(listener, HANDSHAKE) for _ in range(2000)]
    for sock in socks:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
    connections = [entry[1] for entry in site.journal.until("open", 2000)]
    with answering(socks) as answered:
        until(lambda: all(c.round_trip is not None for c in connections), "every answer")
        nodes = site.foreman.nodes
        until(lambda: not any(n._accounts.is_open for n in nodes), "the accounts of the opening")
        runs = {c: c.holds.statistics().count for c in connections}
        before = answered()
        until(lambda: answered() >= before + 4000, "more of them")
        # Being moved is another thing, and counted.
        moved = {entry[1] for entry in site.journal.named("moved")}
        stayed = runs.keys() - moved
        counted = [c.holds.statistics().count - runs[c] for c in stayed]
        assert sum(count > 0 for count in counted) <= len(stayed) / 10
        assert all(connection.close_code is None for connection in connections)
        for sock in socks:
            sock.shutdown(socket.SHUT_WR)
        site.journal.until("close", 2000)
    for sock in socks:
        sock.close()


@quick
def test_heartbeats_leave_a_node_at_rest(site: Any, until: Any) -> None:
    with connect(site.url(site.listen("ws://127.0.0.1:0", Echo))):
        connection = site.journal.until("open")[0][1]
        node = connection._home
        until(lambda: not node._accounts.is_open, "the end of the first accounts")
        runs = connection.holds.statistics().count
        until(different(lambda: connection.round_trip, 6))
        assert connection.holds.statistics().count == runs
        assert not node._accounts.is_open
        assert node.seen_hold == node.hold_began
