"""The server: listeners, connections, and the Foreman that keeps them apart."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from types import TracebackType

from attrs import frozen

from foreman import Foreman, ForemanStatistics, NotRunning, Worker
from foreman.latency import check_latency
from netserver.config import ServerConfig
from netserver.connection import Connection
from netserver.connector import Connector
from netserver.errors import CertificateError
from netserver.events import Accepted, Event, Refused
from netserver.groups import Groups
from netserver.listener import Listener
from netserver.signals import stopping_on_signals
from netserver.sockets import connection_limit, listening_sockets
from netserver.source import Recipe, Source
from netwire import (
    Backoff,
    Framing,
    Limits,
    Message,
    Request,
    Response,
    State,
    TransformFactory,
    UrlError,
    Wire,
    parse_url,
)
from netwire.factory import client_wire, server_wire

logger = logging.getLogger(__name__)

GOING_AWAY = 1001

# How long connections that are cut may take to say so to their callbacks, seconds.
LAST_WORDS = 1.0


@frozen(kw_only=True)
class ServerStatistics:
    """What there is now, and what happened since the start.

    Attributes:
        connections: Connections now, those that are not open yet included.
        groups: Groups that have members.
        events: How many events of each kind (`netserver.events`) there have been.
        foreman: The Foreman's own statistics.
    """

    connections: int
    groups: int
    events: dict[str, int]
    foreman: ForemanStatistics


class Server:
    """Listens on any number of addresses; every connection declares the latency it needs.

    All methods are thread-safe. ``with Server() as server:`` starts it, and drains and closes it
    at the end; ``async with`` does the same without blocking the loop.

    Args:
        foreman: Places the connections; None for one of its own. One that does not run yet is
            started with the server and ends with it; one that runs is left running.
        config: Limits and deadlines.
        on_event: Called with ``(worker, event)`` for everything in `netserver.events`, on the
            worker's thread; it must be quick. Overriding the method does as well.
    """

    def __init__(
        self,
        *,
        foreman: Foreman | None = None,
        config: ServerConfig | None = None,
        on_event: Callable[[Worker, Event], None] | None = None,
    ) -> None:
        self.config = config = ServerConfig() if config is None else config
        self.foreman = Foreman() if foreman is None else foreman
        self.groups = Groups()
        self._ends_foreman = False  # written by the one start that counts
        self._event_listener = on_event
        self._capacity = config.max_connections or connection_limit()
        # The lock guards everything below. No code of the user runs under it.
        self._lock = threading.Lock()
        self._sources: list[Source] = []
        self._connections: dict[Connection, None] = {}
        self._empty = threading.Condition(self._lock)
        self._events: dict[str, int] = {}
        self._running = False
        self._draining = False
        self._closed = False
        # What `run` waits on. Its put may interrupt its get on the same thread, in a signal.
        self._stops: SimpleQueue[None] = SimpleQueue()

    # ---------------------------------------------------------------- listening

    def listen(
        self,
        url: str,
        connection_class: type[Connection],
        *,
        required_latency: float | None = None,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        framing: type[Framing] | str | None = None,
        transform: TransformFactory | None = None,
        limits: Limits | None = None,
    ) -> Listener:
        """Accept connections on an address, at once or as soon as the server is started.

        Args:
            url: ``ws://``, ``wss://``, ``tcp://``, ``tls://``, ``unix://`` or ``ws+unix://``; port
                0 picks a free one, and `Listener.address` tells which.
            connection_class: What is made of each.
            required_latency: What they declare, seconds; None for their class's default.
            tls: The certificate for ``wss://`` and ``tls://``; see `netserver.server_context`.
            name: Stands for the listener in logs; None for the URL.
            framing: How a stream is cut into messages, a class or one of `netwire.FRAMINGS`; None
                for envelopes. Not for WebSocket.
            transform: Makes each connection's own `netwire.Transform`; None leaves payloads alone.
            limits: What a peer may make us hold; None for those of the config.

        Raises:
            UrlError: The URL is none of these, or the options do not fit it.
            TypeError: An option is not what it should be.
            CertificateError: TLS is asked for without a certificate.
            InvalidLatency: The latency is no positive, finite number.
            ListenError: The address is in use, or not to be had.
            Infeasible: No node can take the listener.
            NotRunning: The server was closed, or drains.
        """
        endpoint = parse_url(url)
        if endpoint.secure and tls is None:
            raise CertificateError(f"{url} needs tls=, as from netserver.server_context(…)")
        if endpoint.target != "/":
            raise UrlError(
                url, "has a path: a listener serves every one; on_connect may refuse some"
            )
        limits = self.config.limits if limits is None else limits
        # Options that do not fit are told to whoever gave them, not to the first connection.
        server_wire(endpoint, limits=limits, framing=framing)
        recipe = _recipe(
            url,
            connection_class,
            required_latency,
            tls,
            transform,
            lambda: server_wire(endpoint, limits=limits, framing=framing, transform=transform),
        )
        sockets = listening_sockets(url, endpoint, self.config.backlog)
        listener = Listener(self, name or url, recipe, sockets)
        self._add_source(listener)
        return listener

    def connect(
        self,
        url: str,
        connection_class: type[Connection],
        *,
        required_latency: float | None = None,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        framing: type[Framing] | str | None = None,
        transform: TransformFactory | None = None,
        limits: Limits | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        subprotocols: tuple[str, ...] = (),
        reconnect: Backoff | None = Backoff(),
    ) -> Connector:
        """Keep a connection to another server up, at once or as soon as the server is started.

        Args:
            url, connection_class, required_latency, name, framing, transform, limits: As for
                `listen`.
            tls: What to trust on ``wss://`` and ``tls://``; None for the system's certificates.
            headers: Further headers of a WebSocket handshake.
            subprotocols: What to offer in it, best first.
            reconnect: The waits before connecting again; None not to.

        Raises:
            UrlError: As for `listen`.
            InvalidLatency, Infeasible, NotRunning: As for `listen`.
        """
        endpoint = parse_url(url)
        if endpoint.secure and tls is None:
            tls = ssl.create_default_context()
        limits = self.config.limits if limits is None else limits

        def make_wire(transform: TransformFactory | None = transform) -> Wire:
            return client_wire(
                endpoint,
                limits=limits,
                framing=framing,
                transform=transform,
                headers=headers,
                subprotocols=subprotocols,
            )

        make_wire(None)  # as in `listen`
        recipe = _recipe(url, connection_class, required_latency, tls, transform, make_wire)
        connector = Connector(self, name or url, recipe, reconnect)
        self._add_source(connector)
        return connector

    def broadcast(
        self,
        message: Message,
        group: str | None = None,
        exclude: Connection | Iterable[Connection] | None = None,
    ) -> int:
        """Send one message to many, encoded once per kind of wire. Any thread.

        At most once to each, in order per sending thread; a slow reader does not hold up others.

        Args:
            message: As for `Connection.send`.
            group: To whom; None for every connection that is open.
            exclude: Those that are left out, mostly the sender.

        Returns:
            How many it was handed over to.
        """
        if not isinstance(message, (bytes, str)):
            raise TypeError(f"a message is bytes or str, not {type(message).__name__}")
        left_out = {exclude} if isinstance(exclude, Connection) else set(exclude or ())
        to = self.connections if group is None else self.groups.members(group)
        encoded: dict[Hashable, bytes] = {}
        return sum(
            connection._broadcast(message, encoded)
            for connection in to
            if connection not in left_out
        )

    # ---------------------------------------------------------------- running

    def start(self) -> None:
        """Begin to accept. Does nothing twice; where it fails, the server is closed.

        Raises:
            Infeasible: No node can take a listener or connector.
            NotRunning: The server was closed.
        """
        with self._lock:
            if self._closed:
                raise NotRunning("the server was closed; make a new one")
            if self._running:
                return
            self._running = True
            sources = list(self._sources)
        try:
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
            for source in self._sources:
                logger.info("serving %r", source)
            self._stops.get()
            logger.info("draining %d connections", len(self._connections))

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
            RuntimeError: It was called from a worker's callback, which cannot wait for its own end.
        """
        self._refuse_on_node("drain")
        with self._lock:
            self._draining = True
            sources, self._sources = self._sources, []
            connections = list(self._connections)
        ends = monotonic() + (self.config.grace if timeout is None else timeout)
        for source in sources:
            source.close(0)
        for connection in connections:
            connection._run_here(connection._shell.ending.drain, GOING_AWAY, "going away")
        for source in sources:
            source.close(max(0, ends - monotonic()))
        with self._empty:
            return self._empty.wait_for(lambda: not self._connections, max(0, ends - monotonic()))

    def close(self) -> None:
        """Stop accepting, cut every connection, and end the Foreman if the server started it.

        Does nothing twice. `drain` first to say goodbye. Takes at most about two seconds; a
        callback that does not end by then is left to end with the process.

        Raises:
            RuntimeError: It was called from a worker's callback, which cannot wait for its own end.
        """
        self._refuse_on_node("close")
        with self._lock:
            self._closed = True
        self.stop()
        self.drain(0)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection._run_here(connection._shell.ending.cancel)
        with self._empty:
            self._empty.wait_for(lambda: not self._connections, LAST_WORDS)
        if self._ends_foreman:
            self.foreman.stop(LAST_WORDS)

    def __enter__(self) -> Server:
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

    async def __aenter__(self) -> Server:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    # ---------------------------------------------------------------- for users to override

    def on_request(self, request: Request) -> Response | None:
        """A plain HTTP request reached a WebSocket listener: a health check, a page.

        Called on the node of the connection it came on. None answers 426.
        """
        return None

    def on_event(self, worker: Worker, event: Event) -> None:
        """Something happened to a worker; called on that worker's thread. Must be quick."""
        if self._event_listener is not None:
            self._event_listener(worker, event)

    # ---------------------------------------------------------------- looking at it

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The listeners there are, in the order of `listen`."""
        with self._lock:
            return tuple(source for source in self._sources if isinstance(source, Listener))

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections that are open now."""
        with self._lock:
            connections = list(self._connections)
        return tuple(c for c in connections if c.state is State.OPEN)

    def statistics(self) -> ServerStatistics:
        """What there is now, and what happened so far."""
        with self._lock:
            connections = len(self._connections)
            events = dict(self._events)
        return ServerStatistics(
            connections=connections,
            groups=len(self.groups),
            events=events,
            foreman=self.foreman.statistics(),
        )

    # ---------------------------------------------------------------- for workers of the server

    def is_full(self) -> bool:
        """Whether as many connections are open as there may be."""
        return len(self._connections) >= self._capacity

    def admit(self, connection: Connection, sock: socket.socket) -> bool:
        """Give a new connection to the Foreman; False, and the peer told, when it refuses."""
        with self._lock:
            going = self._draining
            if not going:
                self._connections[connection] = None
        # Told before it is placed: it may be open on its node before `add` has returned here.
        self.tell(connection, Accepted())
        try:
            if going:
                raise NotRunning("the server is going away")
            self.foreman.add(connection)
        except Exception as refusal:  # Infeasible, no descriptors for a node, a policy that raises
            with self._empty:
                self._connections.pop(connection, None)
                self._empty.notify_all()
            connection.listener.complain(f"{connection!r} refused: {refusal}")
            self.tell(connection, Refused(str(refusal)))
            # Last, so that whoever sees it closed sees it counted.
            connection.listener.turn_away(connection, sock)
            connection._shell.dissolve()
            return False
        return True

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        with self._empty:
            self._connections.pop(connection, None)
            if not self._connections:
                self._empty.notify_all()
        self.foreman.remove(connection)
        connection.listener.lost(connection)

    def tell(self, worker: Worker, event: Event) -> None:
        """Count an event and pass it on; a subscriber that raises is logged."""
        kind = type(event).__name__.lower()
        with self._lock:
            self._events[kind] = self._events.get(kind, 0) + 1
        try:
            self.on_event(worker, event)
        except Exception:
            logger.exception("on_event raised for %r of %r", event, worker)

    def _refuse_on_node(self, name: str) -> None:
        if any(node.here for node in self.foreman.nodes):
            raise RuntimeError(
                f"Server.{name}() cannot wait for the callback it was called from; "
                "Server.stop() does not wait, and ends run()"
            )

    def _add_source(self, source: Source) -> None:
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


def _recipe(
    url: str,
    connection_class: type[Connection],
    required_latency: float | None,
    tls: ssl.SSLContext | None,
    transform: TransformFactory | None,
    make_wire: Callable[[], Wire],
) -> Recipe:
    if not (isinstance(connection_class, type) and issubclass(connection_class, Connection)):
        raise TypeError(f"connection_class must subclass Connection, not {connection_class!r}")
    endpoint = parse_url(url)
    if transform is not None and not callable(transform):
        raise TypeError(f"transform makes a Transform for each connection, {transform!r} does not")
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls is an ssl.SSLContext, as from server_context(…), not {tls!r}")
    if tls is not None and not endpoint.secure:
        raise UrlError(url, "is not encrypted; with tls= use wss:// or tls://")
    return Recipe(
        endpoint=endpoint,
        connection_class=connection_class,
        required_latency=None if required_latency is None else check_latency(required_latency),
        make_wire=make_wire,
        tls=tls,
    )
