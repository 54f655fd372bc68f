"""What a connection is measured to cost, when it runs more often than it is timed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pytest

from foreman.meters import LONG_HOLD, SKIPS
from netserver import Connection, Server

pytestmark = pytest.mark.alone

# Long beside what a busy machine may take of a hold or between two, which is not charged.
SLOW = 100 * LONG_HOLD


class Echo(Connection):
    required_latency = 1.0

    def on_message(self, message: bytes | str) -> None:
        if message == b"slow":
            time.sleep(SLOW)
        self.send(message)


@contextmanager
def talking(kind: type[Connection]) -> Iterator[tuple[Connection, Callable[[bytes], None]]]:
    """A connection that has been greeted, and what sends it a message and awaits the echo."""
    with Server() as server:
        address: Any = server.listen("tcp://127.0.0.1:0", kind).address
        with socket.create_connection(address, 15) as client:

            def echo(message: bytes) -> None:
                client.sendall(message)
                assert client.recv(100) == message

            echo(b"12hi")
            (connection,) = server.connections
            yield connection, echo


def runs_untimed(connection: Connection) -> bool:
    """Whether some of its holds go untimed; what the machine did to it before is forgotten."""
    connection.holds.peak = 0.0
    return connection.holds.skips > 0


def test_one_that_runs_very_often_is_counted_exactly_and_caught_when_it_turns_slow(
    until: Any,
) -> None:
    with talking(Echo) as (connection, echo):
        count = 1
        while not runs_untimed(connection):
            echo(b"12hi")
            count += 1
        for _ in range(200):
            echo(b"12hi")
        count += 200
        ran = connection.statistics().holds.count
        assert count <= ran <= count + 10, "and the hooks of its beginning"
        for _ in range(SKIPS + 1):
            echo(b"14slow")
        until(lambda: connection.statistics().holds.worst >= LONG_HOLD)
        assert not connection.holds.skips


def test_what_it_does_besides_reading_does_not_change_what_is_timed() -> None:
    """Each answer is sent from elsewhere, which is a hold of its own, just after each read."""
    answers: SimpleQueue[tuple[Connection, bytes | str] | None] = SimpleQueue()
    really = 0.0

    class Busy(Connection):
        required_latency = 1.0

        def on_message(self, message: bytes | str) -> None:
            nonlocal really
            began = time.perf_counter()
            while time.perf_counter() < began + 600e-6:  # many times what reading costs
                pass
            really += time.perf_counter() - began
            answers.put((self, message))

    def answer() -> None:
        while (due := answers.get()) is not None:
            connection, message = due
            connection.send(message)

    sender = threading.Thread(target=answer)
    sender.start()
    try:
        with talking(Busy) as (connection, echo):
            while not runs_untimed(connection):
                echo(b"12hi")
            # Did sends count among the reads of which every fourth is timed, these would be each
            # second of the reads or none of them, for a while: twice as much, or nothing.
            ratios = []
            for _ in range(20):
                holds = connection.statistics().holds
                before, busy = holds.count * holds.mean, really
                for _ in range(52):
                    echo(b"12hi")
                holds = connection.statistics().holds
                ratios.append((holds.count * holds.mean - before) / (really - busy))
            assert sum(0.8 < ratio < 1.6 for ratio in ratios) >= 15, ratios
    finally:
        answers.put(None)
        sender.join()


@pytest.mark.parametrize("later", range(SKIPS + 1))
def test_a_hold_that_breaks_a_promise_is_known_whether_it_was_timed_or_not(
    until: Any, later: int
) -> None:
    class Sleepy(Connection):
        required_latency = 0.1

        def on_message(self, message: bytes | str) -> None:
            if message == b"slow":
                time.sleep(0.5)
            self.send(message)

    with talking(Sleepy) as (connection, echo):
        while not runs_untimed(connection):
            echo(b"12hi")
        for _ in range(later):
            echo(b"12hi")
        echo(b"14slow")
        until(lambda: connection.statistics().holds.worst > 0.1)
        until(lambda: not connection.holds.skips)
