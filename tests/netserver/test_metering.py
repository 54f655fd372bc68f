"""What a connection is measured to cost, when it runs more often than it is timed."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import Any

from foreman.meters import LONG_HOLD
from netserver import Connection, Server

ROUNDS = 64
AT_A_TIME = 16


class Echo(Connection):
    required_latency = 0.050

    def on_message(self, message: bytes | str) -> None:
        if message == b"slow":
            time.sleep(2 * LONG_HOLD)
        self.send(message)


def test_one_that_runs_very_often_is_counted_exactly_and_caught_when_it_turns_slow(
    until: Any,
) -> None:
    with Server() as server, ExitStack() as sockets:
        listener = server.listen("tcp://127.0.0.1:0", Echo)
        address: Any = listener.address
        client = sockets.enter_context(socket.create_connection(address, 15))

        def echo(message: bytes) -> None:
            client.sendall(message)
            assert client.recv(100) == message

        echo(b"12hi")
        (connection,) = server.connections
        count = 1

        def runs_untimed() -> bool:
            nonlocal count
            for _ in range(100):
                echo(b"12hi")
            count += 100
            return connection.holds.skips > 0

        until(runs_untimed)
        for _ in range(200):
            echo(b"12hi")
        count += 200
        ran = connection.statistics().holds.count
        assert count <= ran <= count + 10, "and the hooks of its beginning"
        for _ in range(connection.holds.skips + 1):
            echo(b"14slow")
        until(lambda: connection.statistics().holds.worst >= LONG_HOLD)
        assert not connection.holds.skips
