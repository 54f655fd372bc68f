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
from netserver.hearing import HearingShell
from netserver.recipe import Recipe
from netserver.shell import Shell
from netserver.turnaway import NO_PLACE
from netwire import Response

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

    def make_connection(
        self, sock: socket.socket, local: Address, remote: Address, *, server_side: bool
    ) -> Connection:
        """A connection on this socket, which is its own from here on, not placed yet.

        Args:
            sock: Non-blocking, and with its options set (`netserver.keepalive.tune`).
            local, remote: Its ends.
            server_side: Whether it was accepted.
        """
        recipe, config = self.recipe, self.server.config
        hears = config.idle_timeout is not None or config.first_message_timeout is not None
        make_shell = HearingShell if hears else Shell
        try:
            connection = recipe.connection_class()
            check_worker(connection)
            connection.server = self.server
            connection.listener = self
            connection.local_address = local
            connection.remote_address = remote
            if recipe.required_latency is not None:
                connection._declare(recipe.required_latency)
            tls = recipe.make_tls(server_side)
            # Last: from here on there are circles of references, which only its end breaks.
            connection._shell = make_shell(connection, recipe.make_wire(), tls, sock, config)
        except BaseException:
            sock.close()
            raise
        return connection

    def begun(self, connection: Connection) -> None:
        """A connection that it made has come to its node, and what came with it is dealt with.

        On the connection's thread.
        """

    def lost(self, connection: Connection) -> None:
        """A connection that it made has ended. Any thread."""

    def turn_away(
        self, connection: Connection, sock: socket.socket, response: Response = NO_PLACE
    ) -> None:
        """There is no place for a connection that it made: let the peer know, and close.

        On its thread.
        """
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
