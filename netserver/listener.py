"""Accepting: a worker like any other, with a latency of its own."""

from __future__ import annotations

import logging
import os
import socket
from asyncio import TimerHandle
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from foreman import Node, NotRunning
from netserver.arrivals import Arrivals
from netserver.connection import Address, Connection
from netserver.intake import QUANTUM
from netserver.keepalive import INHERITED, tune
from netserver.quota import Bucket
from netserver.recipe import Recipe
from netserver.shell import address_of
from netserver.sockets import EXHAUSTED, is_bound_to_all
from netserver.source import Source
from netserver.turnaway import NO_PLACE, TurnAway
from netwire import Response

if TYPE_CHECKING:
    from netserver.server import Server

logger = logging.getLogger(__name__)

# How long to wait when the system has no descriptor to give, or the server is full, seconds.
PARKED = 0.1

# How many connections may be on their way to their nodes at a time, and how long they are waited
# for, seconds: longer than most nodes keep anybody waiting, and short where one is stuck.
MOST_ARRIVING = 2
HELD_UP = 0.02

# How many peers are turned away with an answer at a time; further ones are cut. Enough for a
# client to be told, and a bound on descriptors when there is no place for thousands.
MOST_TURNED_AWAY = 64

# How long letting a listener go may take, seconds: its node may be busy.
CLOSING = 5.0


class Listener(Source):
    """Accepts connections on one address and gives them to the Foreman. Made by `Server.listen`."""

    required_latency = 0.5
    # It accepts for as long as a quantum in one go, before others on the node get their turn; and
    # an accept is some tenths of a millisecond of work: the call, the objects, the placement.
    expected_hold: ClassVar[float | None] = 1.5 * QUANTUM

    def __init__(
        self, server: Server, name: str, recipe: Recipe, sockets: list[socket.socket]
    ) -> None:
        super().__init__(server, name, recipe)
        self._sockets = sockets
        self._address = address_of(sockets[0].getsockname())
        # Where each is bound to one address, that; and what a connection to one that is bound to
        # all of them was reached at, the latest. The latter is owned by its node's thread.
        self._reached: dict[socket.socket, Address] = {}
        self._latest: Address = None
        for sock in sockets:
            if not is_bound_to_all(sock):
                self._reached[sock] = address_of(sock.getsockname())
        self._parked: TimerHandle | None = None
        # Owned by its node's thread; the count is read by any.
        self._bucket: Bucket | None = None
        self._pauses = 0
        self._turned_away: set[TurnAway] = set()  # owned by its node's thread
        self._arrivals = Arrivals(MOST_ARRIVING)

    def __repr__(self) -> str:
        return f"<Listener {self.name} on {self._address}>"

    @property
    def address(self) -> Address:
        """Where it listens: ``(host, port)`` with the port it was given, or a path."""
        return self._address

    @property
    def port(self) -> int | None:
        """The port it listens on; None on a Unix socket."""
        return self._address[1] if isinstance(self._address, tuple) else None

    def close(self, timeout: float = CLOSING) -> None:
        """Stop accepting and give the address back; connections stay. Any thread.

        Args:
            timeout: How long to wait for a node that is busy, seconds; it happens anyway, later.
        """
        foreman, home = self._foreman, self._home
        if foreman is None:
            self._release()
            return
        gone = foreman.remove(self)
        if home is not None and home.here:
            return  # it goes as soon as its node has returned from this very call
        wait([gone], timeout)
        if timeout and not gone.done():
            logger.warning("%r accepts until its node, which is busy, comes round", self)

    # ---------------------------------------------------------------- as a worker

    def _arrived(self, node: Node) -> None:
        self._unpark()

    async def detach(self) -> None:
        self._park(None)
        self._cut_turned_away()

    def on_stop(self) -> None:
        self._park(None)
        self._cut_turned_away()
        self._release()

    def _release(self) -> None:
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            sock.close()
        # Once only: later, the path may be somebody else's.
        if sockets and self.recipe.endpoint.unix_path is not None:
            try:
                os.unlink(self.recipe.endpoint.unix_path)
            except FileNotFoundError:
                pass  # somebody was tidier than we are

    def _park(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        """Stop accepting, for a while or until told; clients wait in the backlog.

        Args:
            seconds: For how long at most; None for no end.
            then: Called after that, instead of going on.
        """
        home = self._home
        if home is None:
            return  # not accepting anyway
        for sock in self._sockets:
            home.loop.remove_reader(sock)
        if self._parked is not None:
            self._parked.cancel()
        self._parked = None
        if seconds is not None:
            self._parked = home.loop.call_later(seconds, then or self._unpark)

    def _unpark(self) -> None:
        if self._parked is not None:
            self._parked.cancel()
            self._parked = None
        home = self._home
        assert home is not None
        for sock in self._sockets:
            home.loop.add_reader(sock, home.run, self, self._accept_some, home, sock)

    # ---------------------------------------------------------------- accepting

    def begun(self, connection: Connection) -> None:
        self._go_on_without(connection)

    def lost(self, connection: Connection) -> None:
        self._go_on_without(connection)

    def _go_on_without(self, connection: Connection) -> None:
        if self._arrivals.remove(connection):
            with suppress(NotRunning):  # it was closed
                self.call_soon(self._unpark)

    def _stop_waiting(self) -> None:
        self._arrivals.forget()
        self._unpark()

    @property
    def pauses(self) -> int:
        """How often it has waited because ``accept_rate`` was reached. Any thread."""
        return self._pauses

    def turn_away(
        self, connection: Connection, sock: socket.socket, response: Response = NO_PLACE
    ) -> None:
        self._arrivals.remove(connection)
        home = self._home
        if home is None or len(self._turned_away) >= MOST_TURNED_AWAY:
            sock.close()
            return
        shell = connection._shell
        timeout = self.server.config.close_timeout
        turned_away = TurnAway(shell.wire, shell.tls, timeout, self._turned_away.discard, response)
        self._turned_away.add(turned_away)
        home.create_task(self, turned_away.run(sock))

    def _cut_turned_away(self) -> None:
        for turned_away in list(self._turned_away):
            turned_away.abort()

    def _local_of(self, sock: socket.socket, listening: socket.socket) -> Address:
        """What an accepted connection was reached at: one object for all that are so alike."""
        local = self._reached.get(listening)
        if local is None:  # it listens on every address of this machine
            local = address_of(sock.getsockname())
            if local == self._latest:
                return self._latest
            self._latest = local
        return local

    def _accept_some(self, home: Node, listening: socket.socket) -> None:
        ends = home.hold_began + QUANTUM
        bucket, rate = self._bucket, self.server.config.accept_rate
        if bucket is None and rate is not None:
            bucket = Bucket(rate, self.server.config.accept_burst, home.clock())
            self._bucket = bucket
        while True:
            if self.server.census.is_full:
                self.complain("the server is full; clients wait in the backlog")
                self._park(PARKED)
                return
            if self._arrivals.must_wait():
                self._park(HELD_UP, self._stop_waiting)
                return
            if bucket is not None and (seconds := bucket.wait(home.clock())):
                self._pauses += 1
                self._park(seconds)
                return
            try:
                sock, name = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self.complain(f"cannot accept: {error.strerror}; clients wait in the backlog")
                self._park(PARKED)
                return
            if bucket is not None:
                bucket.take()
            try:
                sock.setblocking(False)
                if not INHERITED:
                    tune(sock, self.server.config, self.recipe.slow_reader)
                local = self._local_of(sock, listening)
            except OSError:
                sock.close()  # it left before we looked
            else:
                remote = address_of(name)
                connection = self.make_connection(sock, local, remote, server_side=True)
                self._arrivals.add(connection)
                self.server.admit(connection, sock)
            if home.clock() > ends:
                return
