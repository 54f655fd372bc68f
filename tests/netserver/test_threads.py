"""Sending from any thread: each sender's order is kept and no bytes are interleaved."""

from __future__ import annotations

import random
import sys
import threading
from collections import defaultdict
from typing import Any

import pytest

from netclient import blocking
from netserver import Connection

pytestmark = pytest.mark.both_loops

SENDERS = 8
EACH = 200


class Silent(Connection):
    pass


def payloads(sender: int) -> list[bytes]:
    sizes = random.Random(sender)
    return [
        b"%d:%d:" % (sender, number) + bytes([sender]) * sizes.choice((0, 50, 5000))
        for number in range(EACH)
    ]


def collect(client: Any, count: int) -> dict[int, list[bytes]]:
    """What came, by sender."""
    came: dict[int, list[bytes]] = defaultdict(list)
    for _ in range(count):
        message: Any = client.recv(20)
        came[int(message.partition(b":")[0])].append(message)
    return came


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
def test_many_threads_one_connection(site: Any, scheme: str, moved: bool) -> None:
    listener = site.listen(f"{scheme}://127.0.0.1:0", Silent)
    options = {"tls": site.tls.client} if scheme == "tls" else {}
    done = threading.Event()

    def send(connection: Connection, sender: int) -> None:
        for message in payloads(sender):
            while not connection.send(message):
                raise AssertionError("dropped")
            pace.acquire()

    def move(connection: Connection) -> None:
        while not done.is_set():
            for node in site.foreman.nodes:
                site.foreman.move(connection, node).result(20)

    # Senders may be so far ahead of the reader, so that nobody is taken for a slow one.
    pace = threading.Semaphore(100)
    with blocking.Client(site.url(listener), reconnect=None, **options) as client:
        connection = site.journal.until("open")[0][1]
        threads = [
            threading.Thread(target=send, args=(connection, sender)) for sender in range(SENDERS)
        ]
        if moved:
            site.foreman.spawn()
            site.foreman.spawn()
            mover = threading.Thread(target=move, args=(connection,))
            mover.start()
        run(threads)
        came: dict[int, list[bytes]] = defaultdict(list)
        for _ in range(SENDERS * EACH):
            message: Any = client.recv(20)
            came[int(message.partition(b":")[0])].append(message)
            pace.release()
        done.set()
        for thread in threads:
            thread.join(10)
        if moved:
            mover.join(20)
            assert site.journal.named("moved")
    assert came == {sender: payloads(sender) for sender in range(SENDERS)}


def test_broadcasts_from_several_threads(site: Any) -> None:
    class Joining(Connection):
        def on_open(self) -> None:
            assert self.join("all") is True
            assert self.join("all") is False

    listeners = [site.listen(f"{scheme}://127.0.0.1:0", Joining) for scheme in ("ws", "tcp")]
    clients = [blocking.Client(site.url(each), reconnect=None) for each in listeners * 2]
    for client in clients:
        client.connect()
    site.journal.until("open", len(clients))
    while len(site.server.groups.members("all")) < len(clients):
        pass
    turn = threading.Semaphore(50)

    def send(sender: int) -> None:
        for message in payloads(sender)[:50]:
            assert site.server.broadcast(message, "all") == len(clients)
            turn.acquire(timeout=0.05)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    run(threads)
    for client in clients:
        assert collect(client, 4 * 50) == {n: payloads(n)[:50] for n in range(4)}
    for thread in threads:
        thread.join(10)
    for client in clients:
        client.close()


def test_handlers_that_send_to_each_other(site: Any) -> None:
    """From the thread of one node to a connection on another, and on the same."""

    class Relay(Connection):
        def on_message(self, message: bytes) -> None:
            self.server.broadcast(message, exclude=self)

    listener = site.listen("tcp://127.0.0.1:0", Relay)
    clients = [blocking.Client(site.url(listener), reconnect=None) for _ in range(3)]
    for client in clients:
        client.connect()
    opened = [entry[1] for entry in site.journal.until("open", 3)]
    assert site.foreman.move(opened[0], site.foreman.spawn()).result(10) is True
    for number in range(100):
        for sender, client in enumerate(clients):
            client.send(b"%d:%d:" % (sender, number))
    for own, client in enumerate(clients):
        assert collect(client, 200) == {
            sender: [b"%d:%d:" % (sender, number) for number in range(100)]
            for sender in range(3)
            if sender != own
        }
        client.close()


def test_what_is_handed_over_waits_once(site: Any, envelope: Any, receive: Any) -> None:
    """It is encoded on the sender's thread, and only that is kept, not the message besides."""
    blocked, released = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        assert released.wait(10)

    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Silent))
    with sock:
        connection.call_soon(block)
        assert blocked.wait(10)
        message = b"x" * 100_000
        held = sys.getrefcount(message)
        assert connection.send(message) is True
        assert sys.getrefcount(message) == held
        released.set()
        assert receive(sock, len(envelope(message))) == envelope(message)
