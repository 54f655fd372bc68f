"""This project's server with somebody in it who moves its open connections about at random.

The policy moves nobody, so every move is one of these. Without ``--at-once`` there are none.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from random import Random

from attrs import define, field

from benchmark.histogram import Histogram
from benchmark.peers.foreman_server import Echo, FixedNodes
from benchmark.peers.program import Options, announce
from foreman import Foreman, NotRunning
from foreman.events import Event, Moved, Stayed
from netserver import Connection, Server

GLANCE = 0.1  # seconds between two looks at which connections there are
NO_MOVE = 0.001  # seconds to wait when there is nobody to move


@define(eq=False)
class MoveLog:
    """What became of the moves. Any thread may note and read them."""

    _lock: threading.Lock = field(factory=threading.Lock, init=False)  # guards all of it
    _first: float | None = field(default=None, init=False)  # when moves ended, time.monotonic
    _last: float = field(default=0.0, init=False)
    _done: int = field(default=0, init=False)
    _given_up: int = field(default=0, init=False)
    _pauses: Histogram = field(factory=Histogram, init=False)  # of those done, nanoseconds

    def note(self, event: Event) -> None:
        """Count a move that ended; other events are not looked at."""
        if isinstance(event, Moved):
            with self._lock:
                self._last = time.monotonic()
                self._first = self._first or self._last
                self._done += 1
                self._pauses.record(round(event.pause * 1e9))
        elif isinstance(event, Stayed):
            with self._lock:
                self._given_up += 1

    def describe(self) -> dict[str, object]:
        """Counts and pauses so far."""
        with self._lock:
            return {
                "done": self._done,
                "given_up": self._given_up,
                "seconds": self._last - (self._first or self._last),
                "pauses": self._pauses.sparse(),
                "longest_pause": self._pauses.maximum,
            }


class Mover:
    """Moves a random connection to a random other node, again and again, on a thread of its own.

    Args:
        foreman: Whose nodes.
        server: Whose connections.
        at_once: How many moves may be under way.
        rate: Moves a second to begin at most; None for as many as `at_once` allows.
        seed: For the choices.
    """

    def __init__(
        self, foreman: Foreman, server: Server, at_once: int, rate: float | None, seed: int
    ) -> None:
        self._foreman = foreman
        self._server = server
        self._free = threading.Semaphore(at_once)
        self._gap = 0.0 if rate is None else 1 / rate
        self._random = Random(seed)
        # Owned by the mover's thread.
        self._connections: Sequence[Connection] = ()
        self._glanced = 0.0
        # Guarded by the lock: moves end on the nodes' threads.
        self._lock = threading.Lock()
        self._moving: set[Connection] = set()

    def start(self) -> None:
        """Begin; it goes on until the process ends."""
        threading.Thread(target=self._run, name="mover", daemon=True).start()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if due > now:
                time.sleep(due - now)
            due = max(due, now) + self._gap
            self._free.acquire()
            if not self._move_one():
                self._free.release()
                time.sleep(NO_MOVE)

    def _move_one(self) -> bool:
        """Begin one move; False when there is none to begin."""
        now = time.monotonic()
        if now - self._glanced > GLANCE:
            self._glanced = now
            self._connections = self._server.connections
        if not self._connections:
            return False
        connection = self._random.choice(self._connections)
        others = [node for node in self._foreman.nodes if node is not connection.node]
        with self._lock:
            if connection in self._moving or not others:
                return False
            self._moving.add(connection)
        try:
            arrival = self._foreman.move(connection, self._random.choice(others))
        except NotRunning:  # it has closed since the last look
            self._stop_moving(connection)
            return False
        arrival.add_done_callback(partial(self._ended, connection))
        return True

    def _ended(self, connection: Connection, _arrival: Future[bool]) -> None:
        self._stop_moving(connection)
        self._free.release()

    def _stop_moving(self, connection: Connection) -> None:
        with self._lock:
            self._moving.discard(connection)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=0, help="moves under way; 0 for none")
    parser.add_argument("--rate", type=float, help="moves a second, at most")
    parser.add_argument("--seed", type=int, default=0)
    options, found = Options.parse(parser)
    log = MoveLog()
    with Foreman(policy=FixedNodes(nodes=found.nodes), on_event=log.note) as foreman:
        server = Server(foreman=foreman)
        listener = server.listen(options.url(), Echo, tls=options.tls())
        while len(foreman.nodes) < found.nodes:
            foreman.spawn("there are to be more")
        server.start()
        address = listener.address
        announce([options.url(address[1] if isinstance(address, tuple) else 0)], log.describe)
        if found.at_once:
            Mover(foreman, server, found.at_once, found.rate, found.seed).start()
        server.run()


if __name__ == "__main__":
    main()
