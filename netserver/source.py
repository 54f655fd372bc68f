"""Where connections come from: what a listener and a connector share."""

from __future__ import annotations

import logging
import math
import socket
from typing import TYPE_CHECKING

from foreman import Node, Worker
from foreman.worker import check_worker
from netserver.connection import Address, Connection
from netserver.events import Failed, Moved
from netserver.recipe import Recipe
from netserver.shell import Shell, address_of

if TYPE_CHECKING:
    from netserver.server import Server

logger = logging.getLogger(__name__)

# A trouble that lasts is logged this often, seconds.
LOG_PERIOD = 1.0


class Source(Worker):
    """A worker that gets connected sockets and makes connections of them.

    Attributes:
        server: The server it belongs to.
        name: Stands for it in logs.
        recipe: What it makes.
    """

    def __init__(self, server: Server, name: str, recipe: Recipe) -> None:
        super().__init__()
        self.server = server
        self.name = name
        self.recipe = recipe
        self._complained = -math.inf
        # What the last connection was reached at, which the next one mostly is, too: one object
        # for all. Owned by the thread that makes connections.
        self._local: Address = None

    def make_connection(self, sock: socket.socket, *, server_side: bool) -> Connection:
        """A connection on this socket, which is its own from here on, not placed yet.

        Raises:
            OSError: The peer has left already; the socket is closed.
        """
        recipe = self.recipe
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = recipe.connection_class()
            check_worker(connection)
            connection.server = self.server
            connection.listener = self
            local = address_of(sock.getsockname())
            if local != self._local:
                self._local = local
            connection.local_address = self._local
            connection.remote_address = address_of(sock.getpeername())
            if recipe.required_latency is not None:
                connection._declare(recipe.required_latency)
            tls = recipe.make_tls(server_side)
            # Last: from here on there are circles of references, which only its end breaks.
            connection._shell = Shell(connection, recipe.make_wire(), tls, sock, self.server.config)
        except BaseException:
            sock.close()
            raise
        return connection

    def lost(self, connection: Connection) -> None:
        """A connection that it made has ended. Any thread."""

    def turn_away(self, connection: Connection, sock: socket.socket) -> None:
        """No node takes a connection that it made: let the peer know, and close. On its thread."""
        sock.close()

    def complain(self, what: str) -> None:
        """Log a trouble that may last, at most once in `LOG_PERIOD`. On its node's thread."""
        home = self._home
        if home is not None and home.clock() - self._complained >= LOG_PERIOD:
            self._complained = home.clock()
            logger.warning("%r: %s", self, what)

    def close(self, timeout: float = 0.0) -> None:
        """Make no more connections; those there are stay. Any thread.

        Args:
            timeout: How long to wait until it is so, seconds.
        """
        raise NotImplementedError

    def _moved(self, old: Node, new: Node) -> None:
        self.server.tell(self, Moved(old, new))

    def _fail(self, error: BaseException) -> None:
        super()._fail(error)
        self.server.tell(self, Failed(error))
