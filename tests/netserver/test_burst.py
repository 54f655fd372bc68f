"""Very many connections at once: spread over the nodes at once, served, and gathered again."""

from __future__ import annotations

import socket
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from foreman import BestFit, Foreman, events
from netserver import Connection, Server

pytestmark = pytest.mark.alone

BURST = 2000

# Moving them all takes some seconds of a quarter of the time, after the calm.
GATHERING = 40.0  # seconds


class Echo(Connection):
    required_latency = 0.010

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def test_a_burst_is_spread_at_once_and_gathered_when_it_is_quiet(until: Any) -> None:
    placed: Counter[str] = Counter()

    def count(event: events.Event) -> None:
        if isinstance(event, events.Placed) and isinstance(event.worker, Connection):
            placed[event.node.name] += 1

    policy = BestFit(patience=4.0)  # so that the burst is over before nodes are merged
    with Foreman(policy=policy, max_nodes=8, on_event=count) as foreman, ExitStack() as sockets:
        server = sockets.enter_context(Server(foreman=foreman))
        listener = server.listen("tcp://127.0.0.1:0", Echo)
        server.start()
        address: Any = listener.address
        clients = [sockets.enter_context(dial(address)) for _ in range(BURST)]
        until(lambda: sum(placed.values()) == BURST, "placing everybody")
        # No node was given more than twice its share, and none was left out.
        assert len(placed) == 8
        assert max(placed.values()) <= 2 * BURST / 8, placed
        for client in clients[::100]:
            client.sendall(b"12hi")
            assert client.recv(10) == b"12hi"
        ends = time.monotonic() + GATHERING
        while len(foreman.nodes) > 2:
            assert time.monotonic() < ends, foreman.statistics()
            time.sleep(0.05)
        for client in clients[::100]:
            client.sendall(b"12hi")
            assert client.recv(10) == b"12hi"


def dial(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, 15)
