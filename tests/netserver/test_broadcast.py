"""Broadcasts to many: every one exactly once and in order, whoever sends, moves or closes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
from websockets.sync.client import connect

from netserver import Connection, Deflate, ServerConfig
from netserver.backlog import OVERHEAD
from netserver.broadcast import AT_ONCE

MANY = 3 * AT_ONCE
BROADCASTS = 150
GROUP = "audience"


class Member(Connection):
    required_latency = 0.5

    def on_open(self) -> None:
        self.join(GROUP)

    def on_message(self, message: bytes | str) -> None:
        self.server.broadcast(message, GROUP)


class Audience:
    """Plain sockets of the audience, and the connections at the server's end."""

    def __init__(self, site: Any, listener: Any, count: int, stack: ExitStack) -> None:
        self.socks: list[socket.socket] = []
        self.connections: list[Connection] = []
        for _ in range(count):
            sock, connection = site.open(listener)
            self.socks.append(stack.enter_context(sock))
            self.connections.append(connection)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def gather(site: Any, stack: ExitStack, count: int = MANY, **options: Any) -> Audience:
    listener = site.listen("tcp://127.0.0.1:0", Member, **options)
    return Audience(site, listener, count, stack)


def spread(site: Any, connections: list[Connection], nodes: int = 2) -> None:
    """Put them on so many nodes beside the one where they are."""
    found = [site.foreman.spawn() for _ in range(nodes)]
    moves = [
        site.foreman.move(connection, found[number % len(found)])
        for number, connection in enumerate(connections)
        if number % (nodes + 1)
    ]
    assert all(move.result(15) for move in moves)


def text(number: int, sender: int = 0) -> bytes:
    return b"%d %06d" % (sender, number)


def expected(messages: list[bytes], envelope: Any) -> bytes:
    return b"".join(map(envelope, messages))


@pytest.mark.parametrize("nodes", [0, 2])
def test_from_a_handler_to_many(
    site: Any, stack: ExitStack, envelope: Any, receive: Any, nodes: int
) -> None:
    audience = gather(site, stack)
    if nodes:
        spread(site, audience.connections, nodes)
    said = [text(number) for number in range(BROADCASTS)]
    whole = expected(said, envelope)
    audience.socks[0].sendall(whole)
    for sock in audience.socks:
        assert receive(sock, len(whole)) == whole


def test_from_several_threads(site: Any, stack: ExitStack, envelope: Any, receive: Any) -> None:
    audience = gather(site, stack)
    spread(site, audience.connections)
    senders = 3

    def send(sender: int) -> None:
        for number in range(BROADCASTS):
            assert site.server.broadcast(text(number, sender), GROUP) == MANY

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
    for thread in threads:
        thread.start()
    size = len(envelope(text(0)))
    for sock in audience.socks:
        data = receive(sock, senders * BROADCASTS * size)
        came = [data[at : at + size] for at in range(0, len(data), size)]
        for sender in range(senders):
            opening = envelope(text(0, sender))[:5]
            mine = [message for message in came if message.startswith(opening)]
            assert mine == [envelope(text(number, sender)) for number in range(BROADCASTS)]
    for thread in threads:
        thread.join(15)


def test_one_thread_that_sends_and_broadcasts(
    site: Any, stack: ExitStack, envelope: Any, receive: Any
) -> None:
    """From a handler, to its own node and to others, in the order of the calls."""
    one: list[Connection] = []

    class Speaker(Member):
        def on_message(self, message: bytes | str) -> None:
            for number in range(0, BROADCASTS, 2):
                self.server.broadcast(text(number), GROUP)
                for connection in one:
                    connection.send(text(number + 1))

    listener = site.listen("tcp://127.0.0.1:0", Speaker)
    audience = Audience(site, listener, MANY, stack)
    spread(site, audience.connections)
    one += audience.connections
    whole = expected([text(number) for number in range(BROADCASTS)], envelope)
    audience.socks[0].sendall(envelope(b"go"))
    for sock in audience.socks:
        assert receive(sock, len(whole)) == whole


@pytest.mark.parametrize("count", [3, MANY])
def test_what_was_broadcast_before_comes_first(
    site: Any, stack: ExitStack, envelope: Any, receive: Any, count: int
) -> None:
    """From another thread before, from their own then: as of a sender that moves to them."""
    reached, go_on = threading.Event(), threading.Event()

    class Speaker(Member):
        def on_message(self, message: bytes | str) -> None:
            reached.set()
            assert go_on.wait(15)
            self.server.broadcast(b"second", GROUP)

    listener = site.listen("tcp://127.0.0.1:0", Speaker)
    audience = Audience(site, listener, count, stack)
    audience.socks[0].sendall(envelope(b"go"))
    assert reached.wait(15)
    assert site.server.broadcast(b"first", GROUP) == count
    audience.connections[1].call_soon(audience.connections[1].send, b"third")
    go_on.set()
    whole = expected([b"first", b"second"], envelope)
    for number, sock in enumerate(audience.socks):
        if number != 1:
            assert receive(sock, len(whole)) == whole


def test_while_everybody_moves(site: Any, stack: ExitStack, envelope: Any, receive: Any) -> None:
    """The sender too: what it says in one place comes before what it says in the next."""
    audience = gather(site, stack)
    nodes = [*site.foreman.nodes, *(site.foreman.spawn() for _ in range(2))]
    random = Random(1)
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            chosen = [audience.connections[0], *random.sample(audience.connections, 5)]
            for arrival in [site.foreman.move(c, random.choice(nodes)) for c in chosen]:
                arrival.result(15)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        said = [text(number) for number in range(4 * BROADCASTS)]
        whole = expected(said, envelope)
        for message in said:  # several under way, and time for the sender to move between
            audience.socks[0].sendall(envelope(message))
            if message.endswith(b"0"):
                receive(audience.socks[0], 0)
        for sock in audience.socks:
            assert receive(sock, len(whole)) == whole
    finally:
        over.set()
        mover.join(20)
    assert site.journal.named("moved")


def test_members_that_close_meanwhile(
    site: Any, stack: ExitStack, envelope: Any, receive: Any
) -> None:
    audience = gather(site, stack)
    spread(site, audience.connections)
    said = [text(number) for number in range(BROADCASTS)]
    whole = expected(said, envelope)
    audience.socks[0].sendall(whole)
    for number in range(1, MANY, 3):
        audience.socks[number].close()
    for number in range(2, MANY, 3):
        audience.connections[number].abort()
    for number in range(0, MANY, 3):
        assert receive(audience.socks[number], len(whole)) == whole


def test_a_member_that_raises_harms_nobody(
    site: Any, stack: ExitStack, envelope: Any, receive: Any
) -> None:
    """One whose transform cannot say it; none of these shares its bytes with another."""

    class Picky:
        def outgoing(self, message: Any) -> Any:
            if message == b"bad":
                raise ValueError("not that one")
            return message

        def incoming(self, message: Any) -> Any:
            return message

    listener = site.listen("tcp://127.0.0.1:0", Member, transform=Picky)
    picky = Audience(site, listener, 3, stack)
    plain = gather(site, stack)
    assert site.server.broadcast(b"good", GROUP) == MANY + 3
    assert site.server.broadcast(b"bad", GROUP) == MANY + 3
    assert site.server.broadcast(b"good", GROUP, exclude=picky.connections) == MANY
    for sock in plain.socks:
        whole = expected([b"good", b"bad", b"good"], envelope)
        assert receive(sock, len(whole)) == whole
    for sock in picky.socks:
        assert receive(sock, 100) == envelope(b"good")  # and the end
    assert len(site.journal.until("error", 3)) == 3


@pytest.mark.parametrize("config", [ServerConfig(send_limit=100_000, write_timeout=30.0)])
def test_what_waits_for_a_busy_node_is_limited(site: Any, stack: ExitStack, envelope: Any) -> None:
    busy, over = threading.Event(), threading.Event()

    class Busy(Member):
        def on_message(self, message: object) -> None:
            busy.set()
            over.wait(20)

    listener = site.listen("tcp://127.0.0.1:0", Busy)
    one = Audience(site, listener, 1, stack)
    one.socks[0].sendall(envelope(b"x"))
    assert busy.wait(10)
    accepted = sum(site.server.broadcast(bytes(1000), GROUP) for _ in range(500))
    assert accepted == 100_000 // (1000 + OVERHEAD)
    over.set()
    assert site.journal.until("close")[0][2:] == (1008, "over 100000 bytes wait to be sent")


@pytest.mark.parametrize("how", ["broadcast", "send"])
@pytest.mark.parametrize("compression", [None, Deflate(), Deflate(server_context=True)])
def test_what_cannot_be_sent_is_told_to_the_sender_and_harms_nobody(
    site: Any, how: str, compression: Deflate | None
) -> None:
    """From another thread than theirs, where it could only be told to those it is for."""

    class Member(Connection):
        pass

    listener = site.listen("ws://127.0.0.1:0", Member, compression=compression)
    with (
        connect(site.url(listener)) as one,
        connect(site.url(listener), compression=None) as other,
    ):
        members = [entry[1] for entry in site.journal.until("open", 2)]
        send = site.server.broadcast if how == "broadcast" else members[0].send
        with pytest.raises(UnicodeEncodeError):
            send("bad \ud800")
        assert site.server.broadcast("good") == 2
        assert [one.recv(10), other.recv(10)] == ["good", "good"]


def test_a_message_that_one_framing_cannot_carry_goes_to_nobody(
    site: Any, stack: ExitStack, receive: Any
) -> None:
    class Member(Connection):
        pass

    one, _ = site.open(site.listen("tcp://127.0.0.1:0", Member, framing="raw"))
    other, _ = site.open(site.listen("tcp://127.0.0.1:0", Member, framing="lines"))
    with one, other:
        with pytest.raises(ValueError, match="line"):
            site.server.broadcast(b"two\nlines")
        assert site.server.broadcast(b"good") == 2
        assert receive(one, 4) == b"good"
        assert receive(other, 5) == b"good\n"
