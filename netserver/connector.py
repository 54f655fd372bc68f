"""Connecting out: a worker that keeps one connection to another server up."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from typing import TYPE_CHECKING, ClassVar

from foreman import Node
from netserver.connection import Connection
from netserver.keepalive import tune
from netserver.recipe import Recipe
from netserver.shell import address_of
from netserver.source import Source
from netwire import Backoff, Retry

if TYPE_CHECKING:
    from netserver.server import Server

logger = logging.getLogger(__name__)


class Connector(Source):
    """Connects to one address, and again when the connection is lost. Made by `Server.connect`.

    The connection is a worker of its own, with its own latency, and may run on another node. It
    is an ordinary `Connection`, except that nobody asks its `on_connect` for WebSocket.

    Attributes:
        connection: The connection that is up or coming up; None between two, and when the
            connector was closed.
    """

    required_latency = 1.0
    expected_hold: ClassVar[float | None] = 1e-3

    def __init__(
        self, server: Server, name: str, recipe: Recipe, reconnect: Backoff | None
    ) -> None:
        super().__init__(server, name, recipe)
        self.connection: Connection | None = None
        self._retry = Retry(Backoff(attempts=1) if reconnect is None else reconnect)
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Connector {self.name} to {self.recipe.endpoint}>"

    @property
    def movable(self) -> bool:
        return False  # its task lives on its node's loop

    def _arrived(self, node: Node) -> None:
        self._task = node.create_task(self, self._run(node))

    def on_stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.connection = None

    def close(self, timeout: float = 0.0) -> None:
        if self._foreman is not None:
            self._foreman.remove(self)

    def lost(self, connection: Connection) -> None:
        if self._foreman is not None and self._lost is not None:
            self.call_soon(self._lost.set)

    async def _run(self, node: Node) -> None:
        try:
            await self._keep_connected(node)
        except Exception as error:  # the user's class cannot be made, say: trying again is no use
            self._fail(error)

    async def _keep_connected(self, node: Node) -> None:
        while True:
            self._lost = asyncio.Event()
            lived = 0.0
            try:
                async with asyncio.timeout(self.server.config.handshake_timeout):
                    sock = await self._dial(node.loop)
                connection = self._made_of(sock)
            except (OSError, UnicodeError) as error:  # a name of a host may be no name at all
                logger.info("%r: %s", self, error or type(error).__name__)
            else:
                self.connection = connection
                began = node.clock()
                if self.server.admit(connection, sock):
                    await self._lost.wait()
                    if connection._shell.was_open:
                        lived = node.clock() - began
                self.connection = None
            delay = self._retry.next_delay(lived, random.random)
            if delay is None:
                logger.info("%r gives up after %d failures", self, self._retry.failures)
                return
            await asyncio.sleep(delay)

    def _made_of(self, sock: socket.socket) -> Connection:
        """A connection on this socket.

        Raises:
            OSError: The peer has left already; the socket is closed.
        """
        try:
            tune(sock, self.server.config, self.recipe.slow_reader)
            local, remote = address_of(sock.getsockname()), address_of(sock.getpeername())
        except OSError:
            sock.close()
            raise
        return self.make_connection(sock, local, remote, server_side=False)

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """A connected socket: the first of the host's addresses that answers."""
        endpoint = self.recipe.endpoint
        if endpoint.unix_path is not None:
            return await _connected(loop, socket.AF_UNIX, endpoint.unix_path)
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        failure: OSError = OSError(f"{endpoint.host} has no address")
        for family, _, _, _, address in found:
            try:
                return await _connected(loop, family, address)
            except OSError as error:
                failure = error
        raise failure


async def _connected(
    loop: asyncio.AbstractEventLoop, family: int, address: object
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)  # type: ignore[arg-type]  # any family's address
    except BaseException:
        sock.close()
        raise
    return sock
