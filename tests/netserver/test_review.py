"""Moments at which a moving connection could be wronged, found by reading."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from netserver import Connection

pytestmark = pytest.mark.both_loops


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def test_what_came_too_early_survives_moving_on_at_once(
    site: Any, envelope: Any, receive: Any, until: Any
) -> None:
    """Sent elsewhere before it has arrived: the node on the way may have read something."""
    sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
    first = connection.node
    between, last = site.foreman.spawn(), site.foreman.spawn()
    expected = b""
    with sock:
        for number in range(20):
            busy, reached = threading.Event(), threading.Event()

            def block(reached: threading.Event = reached, busy: threading.Event = busy) -> None:
                reached.set()
                busy.wait(10)

            target = (last, first)[number % 2]
            between.post(block)
            assert reached.wait(10)
            passing = site.foreman.move(connection, between)
            until(lambda: connection._home is None, "letting go")
            arriving = site.foreman.move(connection, target)
            sock.sendall(envelope(b"%d" % number))
            expected = envelope(b"%d" % number)
            busy.set()
            assert arriving.result(10) is True
            assert passing.result(10) is False
            assert receive(sock, len(expected)) == expected
