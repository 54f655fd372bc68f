"""Peers that stall us in each phase, and what the system is told of TCP."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from attrs import evolve
from websockets.sync.client import connect

from netserver import Connection, ServerConfig

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PLAIN = ServerConfig(handshake_timeout=0.5, close_timeout=1.0, grace=5.0)
MESSAGE = evolve(PLAIN, message_timeout=0.5, handshake_timeout=5.0)
FIRST = evolve(PLAIN, first_message_timeout=0.5, handshake_timeout=5.0)
IDLE = evolve(PLAIN, idle_timeout=0.5, ping_interval=0.1, handshake_timeout=5.0)


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def drip(sock: socket.socket, data: bytes) -> float:
    """Send a byte now and then until the peer has ended it; how long that took, seconds."""
    began = time.monotonic()
    sock.settimeout(0.05)
    for position in range(len(data)):
        try:
            sock.sendall(data[position : position + 1])
            while sock.recv(1000):
                pass
        except TimeoutError:
            continue
        except OSError:
            pass
        return time.monotonic() - began
    raise AssertionError("all was taken")


@pytest.mark.both_loops
@pytest.mark.parametrize("config", [PLAIN], ids=["quick"])
@pytest.mark.parametrize("scheme", ["ws", "wss", "tls"])
def test_dripping_does_not_extend_the_handshake(site: Any, scheme: str, until: Any) -> None:
    listener = site.listen(f"{scheme}://127.0.0.1:0", Echo)
    hello = b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03" + bytes(16_000)
    with socket.create_connection(listener.address, 10) as sock:
        head = HANDSHAKE[:-2] + b"".join(b"X-%d: y\r\n" % n for n in range(80))
        assert 0.4 < drip(sock, head if scheme == "ws" else hello) < 5
    until(lambda: not site.server.statistics().connections)
    assert not site.journal.named("open")


@pytest.mark.both_loops
@pytest.mark.parametrize("config", [PLAIN], ids=["quick"])
def test_dripping_the_head_behind_tls(site: Any) -> None:
    listener = site.listen("wss://127.0.0.1:0", Echo)
    with site.dial(listener) as sock:
        assert 0.3 < drip(sock, HANDSHAKE[:-2] + b"X: " + bytes(b"y" * 500)) < 5


BEGUN = {
    "ws: a frame": ("ws", HANDSHAKE, b"\x82\xfe\x03\xe8\0\0\0\0" + bytes(900)),
    "ws: fragments": ("ws", HANDSHAKE, b"\x02\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 100),
    "wss: a frame": ("wss", HANDSHAKE, b"\x82\xfe\x03\xe8\0\0\0\0" + bytes(900)),
    "tcp: an envelope": ("tcp", b"", b"3900" + bytes(800)),
    "tls: an envelope": ("tls", b"", b"3900" + bytes(800)),
    "unix: an envelope": ("unix", b"", b"3900" + bytes(800)),
}


@pytest.mark.both_loops
@pytest.mark.parametrize("config", [MESSAGE], ids=["quick"])
@pytest.mark.parametrize("begun", BEGUN)
def test_a_message_that_does_not_end(site: Any, begun: str, place: Any) -> None:
    scheme, hello, data = BEGUN[begun]
    sock, _ = site.open(site.listen(place(scheme), Echo), hello)
    with sock:
        drip(sock, data)
        assert site.journal.until("close")[0][2:] == (
            1008,
            "a message was not complete after 0.5 s",
        )


@pytest.mark.parametrize("config", [MESSAGE], ids=["quick"])
@pytest.mark.parametrize(
    ("scheme", "hello", "piece"),
    [("ws", HANDSHAKE, b"\x82"), ("tcp", b"", b"3"), ("tcp", b"", b"59")],
    ids=["ws", "tcp", "longer"],
)
def test_a_header_that_does_not_end(site: Any, scheme: str, hello: bytes, piece: bytes) -> None:
    sock, _ = site.open(site.listen(f"{scheme}://127.0.0.1:0", Echo), hello)
    with sock:
        sock.sendall(piece)
        assert site.journal.until("close")[0][2] == 1008


@pytest.mark.parametrize("config", [evolve(PLAIN, message_timeout=1000.0)], ids=["patient"])
def test_what_has_begun_is_looked_at_when_its_time_is_up(site: Any, until: Any) -> None:
    """And not up to a quarter of that later, as one is of which nobody knows when it began."""
    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo), b"")
    with sock:
        now = time.monotonic()
        pulse = connection._shell.pulse
        assert pulse._next(now) == now + 250
        sock.sendall(b"3900")
        until(lambda: connection._shell.wire.begun(now) is not None)
        assert pulse._next(now + 900) == now + 1000


@pytest.mark.parametrize("config", [MESSAGE], ids=["quick"])
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_many_messages_each_in_two_reads(site: Any, scheme: str, receive: Any) -> None:
    """Whenever it is looked at, there is an unfinished one, but never for long the same."""
    hello = HANDSHAKE if scheme == "ws" else b""
    whole = b"\x82\x84\0\0\0\0long" if scheme == "ws" else b"14long"
    sock, connection = site.open(site.listen(f"{scheme}://127.0.0.1:0", Connection), hello)
    with sock:
        sock.sendall(whole[:-2])
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            sock.sendall(whole[-2:] + whole[:-2])
            time.sleep(0.02)
        assert connection.close_code is None


@pytest.mark.both_loops
@pytest.mark.parametrize("config", [FIRST], ids=["quick"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("said", [b"", b"15hell"], ids=["nothing", "a part"])
def test_a_first_message_that_does_not_come(
    site: Any, scheme: str, place: Any, said: bytes, receive: Any
) -> None:
    listener = site.listen(place(scheme), Echo)
    good, connection = site.open(listener, b"11x")
    with good:
        assert receive(good, 3) == b"11x"
        sock, _ = site.open(listener, said)
        with sock:
            closed = site.journal.until("close")[0]
        assert closed[2:] == (1008, "no message within 0.5 s")
        good.sendall(b"11y")
        assert receive(good, 3) == b"11y"
        assert connection.close_code is None


@pytest.mark.both_loops
@pytest.mark.parametrize("config", [IDLE], ids=["quick"])
def test_one_that_says_nothing_is_closed(site: Any) -> None:
    """It answers every ping meanwhile, which is no message."""
    listener = site.listen("ws://127.0.0.1:0", Echo)
    with connect(site.url(listener)) as client:
        ends = time.monotonic() + 1.2
        while time.monotonic() < ends:
            client.send("x")
            assert client.recv(10) == "x"
            time.sleep(0.05)
        assert not site.journal.named("close")
        assert site.journal.until("close")[0][2:] == (1001, "no message for 0.5 s")
        assert site.journal.named("close")[0][1].round_trip is not None


@pytest.mark.parametrize("config", [IDLE], ids=["quick"])
def test_one_that_says_nothing_on_a_stream(site: Any) -> None:
    sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo), b"11x")
    with sock:
        assert sock.recv(3) == b"11x"
        assert sock.recv(1) == b""  # the end, in good order
    assert site.journal.until("close")[0][2:] == (1001, "no message for 0.5 s")


@pytest.mark.parametrize("config", [IDLE], ids=["quick"])
def test_one_whose_handler_is_busy_is_not_idle(site: Any, gate: Any, until: Any) -> None:
    class Slow(Connection):
        async def on_message(self, message: object) -> None:
            await gate.passed()

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Slow), b"11x")
    with sock:
        until(lambda: connection._shell.pulse.has_spoken)
        first = connection._shell.pulse.heard
        until(lambda: connection._shell.pulse.heard > first + 1.2)
        assert connection.close_code is None
        gate.open()
        assert site.journal.until("close")[0][2] == 1001


KEPT = ServerConfig(keepalive_interval=7.5, keepalive_timeout=8.0, grace=5.0)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has them all")
@pytest.mark.parametrize("config", [KEPT], ids=["kept"])
@pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
def test_the_system_keeps_an_eye_on_tcp(site: Any, scheme: str, until: Any) -> None:
    """At both of our ends, and after a move."""
    listener = site.listen(f"{scheme}://127.0.0.1:0", Echo)
    options = {"tls": site.tls.client} if scheme == "tls" else {}
    site.server.connect(site.url(listener), Echo, reconnect=None, **options)
    until(lambda: len(site.server.connections) == 2)
    node = site.foreman.spawn()
    for connection in site.server.connections:
        assert site.foreman.move(connection, node).result(10) is True
        sock = connection._shell.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        found = [
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        ]
        assert found == [8, 2, 4, 15_500]


@pytest.mark.parametrize("config", [evolve(KEPT, keepalive_interval=None)], ids=["not"])
def test_the_system_is_not_asked(site: Any) -> None:
    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
    with sock:
        its = connection._shell.transport.get_extra_info("socket")
        assert its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_a_system_that_lacks_the_options(
    site: Any, monkeypatch: pytest.MonkeyPatch, receive: Any
) -> None:
    for name in ("TCP_USER_TIMEOUT", "TCP_KEEPCNT", "TCP_KEEPINTVL", "TCP_KEEPIDLE"):
        monkeypatch.delattr(socket, name, raising=False)
    sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo), b"11x")
    with sock:
        assert receive(sock, 3) == b"11x"


# ---------------------------------------------------------------- how many, how fast

FEW = ServerConfig(max_connections_per_address=2, close_timeout=1.0, grace=5.0)
SLOWLY = ServerConfig(accept_rate=5.0, accept_burst=2, close_timeout=1.0, grace=5.0)


@pytest.mark.parametrize("config", [FEW], ids=["few"])
def test_an_address_that_has_enough(
    site: Any, receive: Any, receive_all: Any, place: Any, until: Any
) -> None:
    streams, sockets = (site.listen(place(scheme), Echo) for scheme in ("tcp", "ws"))
    first, _ = site.open(streams)
    second, _ = site.open(sockets, HANDSHAKE)
    with site.dial(sockets, HANDSHAKE) as third:
        answer = receive_all(third)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answer
        assert answer.endswith(b"Too many connections from this address.\n")
    with site.dial(streams) as third:
        assert receive_all(third) == b""
    unix = [site.open(site.listen(place("unix"), Echo))[0]]
    statistics = site.server.statistics()
    assert (statistics.addresses, statistics.most_per_address) == (1, 2)
    assert (statistics.refused_per_address, statistics.events["refused"]) == (2, 2)
    first.close()
    until(lambda: site.server.statistics().most_per_address == 1)
    again, _ = site.open(streams, b"11x")
    assert receive(again, 3) == b"11x"
    for sock in (second, again, *unix):
        sock.close()
    until(lambda: site.server.statistics().addresses == 0)


@pytest.mark.parametrize("config", [SLOWLY], ids=["slowly"])
def test_who_comes_too_fast_waits_in_the_backlog(site: Any) -> None:
    listener = site.listen("tcp://127.0.0.1:0", Echo)
    began = time.monotonic()
    socks = [site.dial(listener, b"11x") for _ in range(6)]
    for sock in socks:
        assert sock.recv(3) == b"11x"
        sock.close()
    assert time.monotonic() - began >= 0.7  # two at once, and four at five a second
    assert site.server.statistics().accept_pauses >= 1
