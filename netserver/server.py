"""The server: listeners, connections, and the Foreman that keeps them apart."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Hashable, Iterable
from functools import partial

from attrs import frozen

from foreman import Foreman, ForemanStatistics, NotRunning, Worker
from netserver.broadcast import broadcast
from netserver.cluster.answer import Answer
from netserver.cluster.cluster import Cluster, ClusterStatistics
from netserver.cluster.config import ClusterConfig
from netserver.cluster.delivery import Delivery
from netserver.cluster.presence import Member
from netserver.config import ServerConfig
from netserver.connection import Connection
from netserver.connector import Connector
from netserver.errors import OverQuota
from netserver.events import Accepted, Event, Refused
from netserver.groups import Groups
from netserver.keepalive import tune
from netserver.lifecycle import LifeCycle
from netserver.listener import Listener
from netserver.outflow import check_message
from netserver.recipe import Recipe
from netserver.slow_reader import SlowReader
from netserver.sockets import listening_sockets
from netserver.turnaway import NO_PLACE, TOO_MANY
from netwire import (
    Backoff,
    Deflate,
    Framing,
    Limits,
    Message,
    Request,
    Response,
    State,
    TransformFactory,
)

logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class ServerStatistics:
    """What there is now, and what happened since the start.

    Attributes:
        connections: Connections now, those that are not open yet included.
        max_connections: How many there may be at a time.
        addresses: Addresses, or networks under IPv6, that they came from; 0 unless
            `ServerConfig.max_connections_per_address` is given.
        most_per_address: How many came from the one with the most of them.
        refused_per_address: Connections turned away so far because theirs had enough.
        accept_pauses: How often a listener has waited so far because of
            `ServerConfig.accept_rate`; those that were closed do not count.
        groups: Groups that have members.
        dropped: Messages that slow readers were not sent, as `SlowReader` says.
        events: How many events of each kind (`netserver.events`) there have been.
        foreman: The Foreman's own statistics.
        cluster: What it has to do with other servers.
    """

    connections: int
    max_connections: int
    addresses: int
    most_per_address: int
    refused_per_address: int
    accept_pauses: int
    groups: int
    dropped: int
    events: dict[str, int]
    foreman: ForemanStatistics
    cluster: ClusterStatistics


class Server(LifeCycle):
    """Listens on any number of addresses; every connection declares the latency it needs.

    All methods are thread-safe. ``with Server() as server:`` starts it, and drains and closes it
    at the end; ``async with`` does the same without blocking the loop.

    Args:
        foreman: Places the connections; None for one of its own. One that does not run yet is
            started with the server and ends with it; one that runs is left running.
        config: Limits and deadlines.
        cluster: The URL of the backplane that connects this server with others, such as
            ``nats://127.0.0.1`` (`netserver.backplane`); None for this server alone.
        cluster_config: How they work together; the same for all of them.
        on_event: Called with ``(worker, event)`` for everything in `netserver.events`, on the
            worker's thread; it must be quick. Overriding the method does as well.
    """

    def __init__(
        self,
        *,
        foreman: Foreman | None = None,
        config: ServerConfig | None = None,
        cluster: str | None = None,
        cluster_config: ClusterConfig | None = None,
        on_event: Callable[[Worker, Event], None] | None = None,
    ) -> None:
        super().__init__(foreman, config)
        self.groups = Groups()
        self.cluster = Cluster(self, cluster, cluster_config)
        self._event_listener = on_event

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
        compression: Deflate | None = None,
        limits: Limits | None = None,
        slow_reader: SlowReader | None = None,
        allowed_origins: Iterable[str] | None = None,
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
            compression: How to compress WebSocket messages for peers that can, and what it costs:
                see `netwire.Deflate`. None not to.
            limits: What a peer may make us hold; None for those of the config.
            slow_reader: What gives way for a peer that reads more slowly than it is sent to; None
                for what the config says.
            allowed_origins: The web pages that may connect, as ``https://example.org`` or, with a
                port, ``http://localhost:8000``; others are answered 403, and so is ``null`` unless
                it is listed. Who sends no Origin is no page, and let in. None for all: enough only
                where a browser's cookies, or its place in the network, give no rights.

        Raises:
            UrlError: The URL is none of these, or the options do not fit it.
            TypeError: An option is not what it should be.
            CertificateError: TLS is asked for without a certificate.
            InvalidLatency: The latency is no positive, finite number.
            ListenError: The address is in use, or not to be had.
            Infeasible: No node can take the listener.
            NotRunning: The server was closed, or drains.
        """
        recipe = Recipe.to_listen(
            url,
            connection_class,
            required_latency=required_latency,
            tls=tls,
            framing=framing,
            transform=transform,
            compression=compression,
            limits=self.config.limits if limits is None else limits,
            slow_reader=self._slow_reader(slow_reader),
            allowed_origins=allowed_origins,
        )
        tuned = partial(tune, config=self.config, slow_reader=recipe.slow_reader)
        sockets = listening_sockets(url, recipe.endpoint, self.config.backlog, tuned)
        listener = Listener(self, name or url, recipe, sockets)
        self.add_source(listener)
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
        compression: Deflate | None = None,
        limits: Limits | None = None,
        slow_reader: SlowReader | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        subprotocols: tuple[str, ...] = (),
        reconnect: Backoff | None = Backoff(),
    ) -> Connector:
        """Keep a connection to another server up, at once or as soon as the server is started.

        Args:
            url, connection_class, required_latency, name, framing, transform, compression, limits,
            slow_reader:
                As for `listen`.
            tls: What to trust on ``wss://`` and ``tls://``; None for the system's certificates.
            headers: Further headers of a WebSocket handshake.
            subprotocols: What to offer in it, best first.
            reconnect: The waits before connecting again; None not to.

        Raises:
            UrlError: As for `listen`.
            InvalidLatency, Infeasible, NotRunning: As for `listen`.
        """
        recipe = Recipe.to_connect(
            url,
            connection_class,
            required_latency=required_latency,
            tls=tls,
            framing=framing,
            transform=transform,
            compression=compression,
            limits=self.config.limits if limits is None else limits,
            slow_reader=self._slow_reader(slow_reader),
            headers=headers,
            subprotocols=subprotocols,
        )
        connector = Connector(self, name or url, recipe, reconnect)
        self.add_source(connector)
        return connector

    def broadcast(
        self,
        message: Message,
        group: str | None = None,
        exclude: Connection | Iterable[Connection] | None = None,
        key: Hashable = None,
        local: bool = False,
    ) -> int:
        """Send one message to many, encoded once per kind of wire. Any thread.

        At most once to each, in order with what this thread sends to it otherwise, and wherever
        it moves meanwhile; a slow reader does not hold up others. It is not waited for: of those
        on other nodes, and of many on the caller's own, some are written to in each turn of their
        loops, what has gathered for one in one write, and whatever else is ready comes between.

        Args:
            message: As for `Connection.send`.
            group: To whom; None for every connection that is open.
            exclude: Those that are left out, mostly the sender.
            key: As for `Connection.send`; other servers are told one that is a str.
            local: Whether to leave out what is connected to other servers. Otherwise those that
                have a member of the group are sent it once, if they can be reached now.
                Members of a group with a history can be sent what does not belong into it.

        Returns:
            How many of this server's own it was handed over to.

        Raises:
            ValueError: The group has a history: see `publish`; not with ``local``. Or the message
                is longer than what goes to other servers.
        """
        check_message(message)
        if not local:
            if group is not None and self.groups.rules.of(group).history is not None:
                raise ValueError(f"group {group!r} has a history; use publish()")
            self.cluster.broadcast(message, group, key)
        left_out = {exclude} if isinstance(exclude, Connection) else set(exclude or ())
        to = self.census.connections if group is None else self.groups.members(group)
        return broadcast(to, message, key, left_out)

    def publish(self, group: str, message: Message, *, id: str | None = None) -> Delivery:
        """Say something in a group that has a history (`GroupRules`). Any thread.

        It is numbered, kept, and sent to every member, on this server and on others, in one order
        for all of them where the backplane keeps history, and else in one order on each server.
        What one thread publishes keeps its order. Where the backplane keeps history, it is stored
        at least once and delivered once; while the broker is away it waits, within
        `ClusterConfig.publish_limit`.

        Args:
            id: Unique for the message, 1 to 256 bytes: a client that does not know whether it was
                taken says it again with the same one, on any server, and it is stored once. With
                NATS that holds for two minutes, or the history's age where that is shorter;
                elsewhere on this server, as long as its history has the first. None for one of its
                own.

        Returns:
            What becomes of it: `Outcome.QUEUED`, with its position, when it is stored; that takes
            as long as the broker is away. `Outcome.REFUSED` beyond `ClusterConfig.publish_limit`.

        Raises:
            ValueError: The group has no history, the id is empty, or it or the message too long.
        """
        check_message(message)
        if self.groups.rules.of(group).history is None:
            raise ValueError(f"group {group!r} has no history; use broadcast()")
        return self.cluster.publish(group, message, id)

    def send_to(self, identity: str, message: Message, *, timeout: float = 5.0) -> Delivery:
        """Send a message to the connections of an identity, on whatever server. Any thread.

        At most once to each, in order with what this thread sends to it otherwise. It goes to those
        servers only that have a connection of the identity. Where the rules of the group ``@`` and
        the identity keep a history (`Connection.inbox`), it is stored there, as with `publish`, and
        goes to those that are in that group, and to no others: then nothing is lost while they are
        away, and nobody is told that there is no such identity.

        Args:
            timeout: How long to wait to hear what became of it, seconds.

        Returns:
            What becomes of it, at once or later: see `Outcome`.

        Raises:
            ValueError: The message is longer than what goes to other servers; nobody got it.
        """
        return self.cluster.send_to(identity, message, timeout)

    def ask(self, identity: str, message: Message, *, timeout: float = 5.0) -> Answer:
        """Ask a connection of an identity, on whatever server, by its `on_ask`. Any thread.

        With connections on this server the newest of them is asked; else the newest on each server
        that has some, and the first answer counts. That there was none within the timeout does not
        mean that it was not asked.

        Args:
            timeout: How long to wait for the answer, seconds.

        Returns:
            The answer that is to come: await it, or wait for it. It raises `Unanswered` where there
            is none.

        Raises:
            ValueError: The message is longer than what goes to other servers.
        """
        check_message(message)
        return self.cluster.ask(identity, message, timeout)

    def presence(self, group: str) -> list[Member]:
        """Who is in a group, on all servers, where its rules keep presence. Any thread.

        It is complete while this server has a member in the group, from a moment after the first
        has joined; without one it is empty, unless the group is watched (`Groups.watch`). A server
        that dies is noticed after `ClusterConfig.dead_after`, and its members are gone then.
        """
        return self.cluster.members(group)

    def _slow_reader(self, chosen: SlowReader | None) -> SlowReader:
        rules = self.config.slow_reader if chosen is None else chosen
        if not isinstance(rules, SlowReader):
            raise TypeError(f"slow_reader is a SlowReader, not {rules!r}")
        return rules.within(self.config.send_limit)

    # ---------------------------------------------------------------- for users to override

    def on_request(self, request: Request) -> Response | None:
        """A plain HTTP request reached a WebSocket listener: a health check, a page.

        Called on the node of the connection it came on. None answers 426.
        """
        return None

    def on_presence(self, group: str, came: tuple[Member, ...], went: tuple[Member, ...]) -> None:
        """Who came to a group that has presence, and who went, on this server or on another.

        Called on the cluster's thread; must be quick. What it sends to members of the group, with
        ``local=True``, tells each of them once: every server is told of every change.
        """

    def on_event(self, worker: Worker, event: Event) -> None:
        """Something happened to a worker; called on that worker's thread. Must be quick."""
        if self._event_listener is not None:
            self._event_listener(worker, event)

    # ---------------------------------------------------------------- looking at it

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The listeners there are, in the order of `listen`."""
        return tuple(source for source in self.sources if isinstance(source, Listener))

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections that are open now."""
        return tuple(c for c in self.census.connections if c.state is State.OPEN)

    def statistics(self) -> ServerStatistics:
        """What there is now, and what happened so far."""
        return ServerStatistics(
            connections=len(self.census),
            max_connections=self.census.capacity,
            addresses=len(self.quota),
            most_per_address=self.quota.largest,
            refused_per_address=self.quota.refused,
            accept_pauses=sum(listener.pauses for listener in self.listeners),
            groups=len(self.groups),
            dropped=self.census.dropped,
            events=self.census.events,
            foreman=self.foreman.statistics(),
            cluster=self.cluster.counts(),
        )

    # ---------------------------------------------------------------- for workers of the server

    def admit(self, connection: Connection, sock: socket.socket) -> bool:
        """Give a new connection to the Foreman; False, and the peer told, when it refuses."""
        stays = self.census.add(connection)
        # Told before it is placed: it may be open on its node before `add` has returned here.
        self.tell(connection, Accepted())
        response = NO_PLACE
        try:
            if not stays:
                raise NotRunning("the server is going away")
            address = connection.remote_address
            if (
                isinstance(address, tuple)
                and isinstance(connection.listener, Listener)
                and not self.quota.enter(connection, address[0])
            ):
                response = TOO_MANY
                raise OverQuota(address[0], self.config.max_connections_per_address)
            self.foreman.add(connection)
        except Exception as refusal:  # Infeasible, no descriptors for a node, a policy that raises
            self.census.remove(connection)
            self.quota.leave(connection)
            connection.listener.complain(f"{connection!r} refused: {refusal}")
            self.tell(connection, Refused(str(refusal)))
            # Last, so that whoever sees it closed sees it counted.
            connection.listener.turn_away(connection, sock, response)
            connection._shell.dissolve()
            return False
        return True

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self.census.remove(connection)
        self.quota.leave(connection)
        self.foreman.remove(connection)
        connection.listener.lost(connection)

    def tell(self, worker: Worker, event: Event) -> None:
        """Count an event and pass it on; a subscriber that raises is logged."""
        self.census.count(type(event).__name__.lower())
        try:
            self.on_event(worker, event)
        except Exception:
            logger.exception("on_event raised for %r of %r", event, worker)
