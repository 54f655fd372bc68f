"""From start to close: what a server begins, what it waits for, and what it ends."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from foreman import Foreman, Node, NotRunning
from netserver.allocator import keep_freed_memory
from netserver.census import Census
from netserver.config import ServerConfig
from netserver.quota import Quota
from netserver.rounds import Rounds
from netserver.signals import stopping_on_signals
from netserver.sockets import connection_limit

if TYPE_CHECKING:
    from netserver.cluster.cluster import Cluster
    from netserver.source import Source

logger = logging.getLogger(__name__)

GOING_AWAY = 1001

# How long connections that are cut may take to say so to their callbacks, seconds.
LAST_WORDS = 1.0


class LifeCycle:
    """A server's start, its end, and what lives in between. All methods are thread-safe.

    Attributes:
        foreman: Places the connections.
        config: Limits and deadlines.
        census: The connections there are.
        quota: How many of them came from each address.
        rounds: Looks at them, on each node.
        cluster: The other servers.
    """

    cluster: Cluster

    def __init__(self, foreman: Foreman | None, config: ServerConfig | None) -> None:
        if not isinstance(foreman, Foreman | None):
            raise TypeError(f"foreman is a Foreman, not {foreman!r}")
        if not isinstance(config, ServerConfig | None):
            raise TypeError(f"config is a ServerConfig, not {config!r}")
        self.config = config = ServerConfig() if config is None else config
        self.foreman = Foreman() if foreman is None else foreman
        self.census = Census(config.max_connections or connection_limit())
        self.quota = Quota(config.max_connections_per_address)
        # Whom each node looks at, where it does; each entry is owned by that node's thread.
        self.rounds: dict[Node, Rounds] = {}
        self._ends_foreman = False  # written by the one start that counts
        # The lock guards everything below. No code of the user runs under it.
        self._lock = threading.Lock()
        self._sources: list[Source] = []
        self._running = False
        self._draining = False
        self._closed = False
        # What `run` waits on. Its put may interrupt its get on the same thread, in a signal.
        self._stops: SimpleQueue[None] = SimpleQueue()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The listeners and connectors there are, in the order in which they were made."""
        with self._lock:
            return tuple(self._sources)

    def start(self) -> None:
        """Begin to accept. Does nothing twice; where it fails, the server is closed.

        Raises:
            Infeasible: No node can take a listener or connector.
            NotRunning: The server was closed.
            BackplaneError: The backplane can never work, as with a wrong password. A broker that is
                not there is no error: the server joins the others when it is.
        """
        with self._lock:
            if self._closed:
                raise NotRunning("the server was closed; make a new one")
            if self._running:
                return
            self._running = True
            sources = list(self._sources)
        keep_freed_memory()
        try:
            self.cluster.start()
            self._ends_foreman = self.foreman.start()
            for source in sources:
                self.foreman.add(source)
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Start, serve until SIGINT, SIGTERM or `close`, then drain for the config's grace.

        A second signal ends the process at once. Called on another thread than the main one, it
        leaves signals alone.
        """
        with stopping_on_signals(self.stop), self:
            for source in self.sources:
                logger.info("serving %r", source)
            self._stops.get()
            logger.info("draining %d connections", len(self.census))

    def stop(self) -> None:
        """Have `run` end; it drains then. Any thread, and signal handlers too."""
        self._stops.put(None)

    def drain(self, timeout: float | None = None) -> bool:
        """Stop accepting, close every connection with 1001, and wait for them to end.

        A callback under way may end first, and what was sent is written.

        Args:
            timeout: The longest to wait, seconds; None for the config's grace.

        Returns:
            Whether all have ended; those that have not are still there.

        Raises:
            RuntimeError: It was called from a worker's callback, or on the cluster's thread, which
                cannot wait for its own end.
        """
        self._refuse_on_node("drain")
        with self._lock:
            self._draining = True
            sources, self._sources = self._sources, []
        self.census.close()
        ends = monotonic() + (self.config.grace if timeout is None else timeout)
        for source in sources:
            source.close(0)
        for connection in self.census.connections:
            connection._run_here(connection._shell.ending.drain, GOING_AWAY, "going away")
        for source in sources:
            source.close(max(0, ends - monotonic()))
        return self.census.wait_until_empty(max(0, ends - monotonic()))

    def close(self) -> None:
        """Stop accepting, cut every connection, and end the Foreman if the server started it.

        Does nothing twice. `drain` first to say goodbye. Takes at most about two seconds; a
        callback that does not end by then is left to end with the process.

        Raises:
            RuntimeError: It was called from a worker's callback, or on the cluster's thread, which
                cannot wait for its own end.
        """
        self._refuse_on_node("close")
        with self._lock:
            self._closed = True
        self.stop()
        self.drain(0)
        for connection in self.census.connections:
            connection._run_here(connection._shell.ending.cancel)
        self.census.wait_until_empty(LAST_WORDS)
        self.cluster.stop()
        if self._ends_foreman:
            self.foreman.stop(LAST_WORDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.drain()
        finally:
            self.close()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _refuse_on_node(self, name: str) -> None:
        if self.cluster.here or any(node.here for node in self.foreman.nodes):
            raise RuntimeError(
                f"Server.{name}() cannot wait for the callback it was called from; "
                "Server.stop() does not wait, and ends run()"
            )

    def add_source(self, source: Source) -> None:
        """Begin to use it, now or at the start.

        Raises:
            Infeasible: No node can take it; it is closed.
            NotRunning: The server was closed, or drains; it is closed.
        """
        with self._lock:
            going = self._draining
            if not going:
                self._sources.append(source)
            running = self._running
        try:
            if going:
                raise NotRunning("the server was closed, or drains; make a new one")
            if running:
                self.foreman.add(source)
        except BaseException:
            with self._lock, suppress(ValueError):
                self._sources.remove(source)
            source.close()
            raise
