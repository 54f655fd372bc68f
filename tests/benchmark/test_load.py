"""The closed loop, in both clients, against real servers: good, corrupting, silent, vanishing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from benchmark.load.client import ConnectionLost, LoadClient, LoadError, Mismatch, Stalled, Unasked
from benchmark.load.connect import connect_all
from benchmark.load.native import NativeClient
from benchmark.load.native_tls import Channel
from benchmark.load.plan import Plan
from benchmark.load.run import open_client, run
from benchmark.load.selecting import SelectingClient
from benchmark.load.stream import Stream, build_stream
from netserver import Connection, Server, ServerConfig
from netwire import Deflate

StartServer = Callable[[Callable[[socket.socket, bytes], None]], str]


@pytest.fixture(params=["c", "python"])
def plan(request: pytest.FixtureRequest, library: str | None) -> Plan:
    """A short plan for either client; the URL is to be filled in."""
    if request.param == "c" and library is None:
        pytest.skip("there is no C compiler, or no epoll")
    return Plan(
        url="tcp://",
        connections=3,
        warmup=0.0,
        seconds=0.2,
        library=library if request.param == "c" else None,
    )


def echo(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)


def ignore_progress(_seconds: float, _messages: int) -> None:
    pass


def exchange(client: LoadClient, messages: int) -> None:
    """Run until so many messages went round, then until nothing is owed."""
    deadline = time.monotonic() + 30
    while client.messages < messages:
        assert time.monotonic() < deadline
        client.run(time.monotonic_ns() + 10_000_000)
    client.stop_sending()
    while client.outstanding:
        assert time.monotonic() < deadline
        client.run(time.monotonic_ns() + 10_000_000)


@pytest.mark.parametrize(
    ("in_flight", "size"), [(1, 0), (1, 128), (16, 128), (3, 100_000), (100, 7)]
)
def test_every_message_is_counted_once(
    plan: Plan, start_server: StartServer, in_flight: int, size: int
) -> None:
    echoed = bytearray()
    lock = threading.Lock()

    def count(connection: socket.socket, data: bytes) -> None:
        with lock:
            echoed.extend(data)
        connection.sendall(data)

    plan = evolve(plan, url=start_server(count), in_flight=in_flight, size=size)
    client = open_client(plan)
    assert type(client) is (NativeClient if plan.library else SelectingClient)
    try:
        exchange(client, 200)
        assert client.messages == client.histogram.total
        frame = build_stream("tcp", size, in_flight).request_size
        with lock:
            assert len(echoed) == client.messages * frame
        assert 0 < client.histogram.percentile(50) <= client.histogram.maximum
    finally:
        client.close()


def test_a_run_measures(plan: Plan, start_server: StartServer) -> None:
    seen: list[int] = []
    plan = evolve(plan, url=start_server(echo), warmup=0.1)
    result = run(plan, lambda _seconds, messages: seen.append(messages))
    assert result.client == ("c" if plan.library else "python")
    assert result.messages > 0
    assert result.elapsed == pytest.approx(plan.seconds, rel=0.5)
    assert result.histogram.total >= result.messages
    assert seen == sorted(seen)
    assert seen[-1] > result.messages  # the warm-up is left out


@pytest.mark.parametrize("in_flight", [1, 16])
def test_wrong_bytes_are_reported(plan: Plan, start_server: StartServer, in_flight: int) -> None:
    frame = build_stream("tcp", 128, in_flight).reply_size
    position = 0

    def corrupt(connection: socket.socket, data: bytes) -> None:
        nonlocal position
        reply = bytearray(data)
        at = 99 * frame + 50 - position  # in the hundredth reply
        if 0 <= at < len(reply):
            reply[at] ^= 1
        position += len(data)
        connection.sendall(reply)

    plan = evolve(plan, url=start_server(corrupt), connections=1, in_flight=in_flight, seconds=20.0)
    with pytest.raises(Mismatch, match="connection 0, reply 99: byte 50 is"):
        run(plan, ignore_progress)


def test_replies_out_of_order_are_reported(plan: Plan, start_server: StartServer) -> None:
    frame = build_stream("tcp", 128, 2).reply_size
    pending = bytearray()

    def swap(connection: socket.socket, data: bytes) -> None:
        pending.extend(data)
        if len(pending) >= 2 * frame:
            connection.sendall(pending[frame : 2 * frame] + pending[:frame])
            pending.clear()

    plan = evolve(plan, url=start_server(swap), connections=1, in_flight=2, seconds=20.0)
    with pytest.raises(Mismatch):
        run(plan, ignore_progress)


def test_another_framing_of_the_same_message_is_reported(
    plan: Plan, start_server: StartServer
) -> None:
    """A fragmented reply is valid WebSocket, and not what was built in advance."""
    stream = build_stream("ws", 128, 1)
    payload = stream.reply[2:130]
    fragments = b"\x02\x40" + payload[:64] + b"\x80\x40" + payload[64:]
    url = start_server(lambda connection, _data: connection.sendall(fragments))
    sockets = connect_all([url], None)
    client = make_client(plan, sockets, stream)
    try:
        with pytest.raises(Mismatch, match="reply 0: byte 0 is 0x02 and not 0x82"):
            client.run(time.monotonic_ns() + 20_000_000_000)
    finally:
        client.close()


def test_pings_between_replies_are_skipped(plan: Plan, start_server: StartServer) -> None:
    """Wherever they stand, and however they are cut: a server has a heartbeat of its own."""
    stream = build_stream("ws", 128, 1)
    pings = b"\x89\x00" + b"\x89\x04ping" + b"\x89\x7d" + bytes(125)
    answered = 0

    def answer(connection: socket.socket, _request: bytes) -> None:
        nonlocal answered
        begin = answered % stream.frames * stream.reply_size
        answered += 1
        reply = pings + stream.reply[begin : begin + stream.reply_size] + pings
        for i in range(0, len(reply), answered):
            connection.sendall(reply[i : i + answered])

    client = make_client(plan, connect_all([start_server(answer)], None), stream)
    try:
        exchange(client, 300)
        assert client.messages == answered
    finally:
        client.close()


def test_a_ping_within_a_reply_is_reported(plan: Plan, start_server: StartServer) -> None:
    stream = build_stream("ws", 128, 1)
    torn = stream.reply[:64] + b"\x89\x00" + stream.reply[64:130]
    client = make_client(
        plan, connect_all([start_server(lambda c, _data: c.sendall(torn))], None), stream
    )
    try:
        with pytest.raises(Mismatch, match="reply 0: byte 64 is 0x89"):
            client.run(time.monotonic_ns() + 20_000_000_000)
    finally:
        client.close()


@pytest.mark.parametrize("length", [0x80, 0x84, 126, 127])
def test_a_ping_that_is_none_is_reported(
    plan: Plan, start_server: StartServer, length: int
) -> None:
    """Masked, or longer than a control frame may be."""
    stream = build_stream("ws", 128, 1)
    wrong = b"\x89" + bytes([length]) + bytes(8) + stream.reply[:130]
    client = make_client(
        plan, connect_all([start_server(lambda c, _data: c.sendall(wrong))], None), stream
    )
    try:
        with pytest.raises(Mismatch, match=f"reply 0: byte 1 is {length:#04x}"):
            client.run(time.monotonic_ns() + 20_000_000_000)
    finally:
        client.close()


@pytest.mark.parametrize("deflate", [None, Deflate()], ids=["plain", "deflate"])
def test_the_heartbeat_of_a_server_is_no_reply(plan: Plan, deflate: Deflate | None) -> None:
    class Echo(Connection):
        def on_message(self, message: bytes | str) -> None:
            self.send(message)

    with Server(config=ServerConfig(ping_interval=0.02, ping_timeout=None)) as server:
        listener = server.listen("ws://127.0.0.1:0", Echo, compression=deflate)
        url = f"ws://127.0.0.1:{listener.port}"
        beaten = evolve(plan, url=url, size=1024, deflate=deflate is not None, seconds=0.5)
        assert run(beaten, ignore_progress).messages > 0


def make_client(plan: Plan, sockets: list[Channel], stream: Stream) -> LoadClient:
    if plan.library is None:
        return SelectingClient(sockets, [stream], [0], plan.in_flight)
    return NativeClient(plan.library, sockets, [stream], [0], plan.in_flight)


def test_more_than_was_asked_for_is_reported(plan: Plan, start_server: StartServer) -> None:
    url = start_server(lambda connection, data: connection.sendall(data + b"1"))
    with pytest.raises(Unasked, match="more than the 1 replies"):
        run(evolve(plan, url=url, connections=1, seconds=20.0), ignore_progress)


def test_a_server_that_stops_answering_is_reported(plan: Plan, start_server: StartServer) -> None:
    answered = 0

    def tire(connection: socket.socket, data: bytes) -> None:
        nonlocal answered
        answered += 1
        if answered < 20:
            connection.sendall(data)

    plan = evolve(plan, url=start_server(tire), connections=1, seconds=20.0, stall=0.3)
    with pytest.raises(Stalled, match=r"connection 0 got no reply for 0\.3 s"):
        run(plan, ignore_progress)


def test_a_server_that_hangs_up_is_reported(plan: Plan, start_server: StartServer) -> None:
    def leave(connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    plan = evolve(plan, url=start_server(leave), connections=1, seconds=20.0)
    with pytest.raises(ConnectionLost, match="connection 0 ended after 1 replies"):
        run(plan, ignore_progress)


def test_a_server_that_is_not_there_is_reported(plan: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LoadError, match="connection 0 to tcp://127"):
        run(evolve(plan, url=f"tcp://127.0.0.1:{port}"), ignore_progress)


def test_a_refused_handshake_is_reported(plan: Plan, start_server: StartServer) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    url = start_server(lambda connection, _data: connection.sendall(answer))
    with pytest.raises(LoadError, match="404"):
        run(evolve(plan, url=url.replace("tcp", "ws")), ignore_progress)


@pytest.mark.parametrize(
    ("field", "value"),
    [("connections", 0), ("in_flight", -1), ("size", -1), ("seconds", 0.0)],
)
def test_a_plan_refuses_nonsense(plan: Plan, field: str, value: float) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=field):
        evolve(plan, **changes)


def test_a_plan_refuses_unknown_transports(plan: Plan) -> None:
    with pytest.raises(ValueError, match="gopher"):
        evolve(plan, url="gopher://127.0.0.1")
