"""What a server can be told, with the defaults and where they come from."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen, validators

from netserver.slow_reader import SlowReader
from netwire import Limits
from netwire.checks import of_kind, seconds, whole

_perhaps: Any = validators.optional(seconds)


@frozen(kw_only=True)
class ServerConfig:
    """The limits and deadlines of every connection of a server.

    Args:
        limits: What a peer may make us hold while it sends; see `netwire.Limits`.
        receive_limit: Messages waiting for an async handler, bytes. Above it the connection is
            not read until the handler has caught up.
        send_limit: What waits for a peer that does not read, and again what other threads have
            sent and the connection's own has not taken yet, bytes; every message counts 256 more
            than its own. What happens there, ``slow_reader`` says.
        slow_reader: What gives way for a peer that reads more slowly than it is sent to, where
            `Server.listen` is told nothing else; by default the connection.
        write_high_water: What the transport may hold, bytes, before later sends wait in the
            connection and the peer is no longer read.
        handshake_timeout: From accepting to open, TLS and ``on_connect`` included, seconds.
        write_timeout: How long a peer may leave the write buffer over its mark, seconds; then the
            connection is cut. With another policy of ``slow_reader`` than ``close``, how long it
            may take nothing at all.
        close_timeout: How long a peer may take to answer our close, or to take what is still to
            be written, seconds; then the connection is cut.
        ping_interval: Time between two pings of a WebSocket, seconds; None sends none. How long the
            answers take is `Connection.round_trip`.
        ping_timeout: How long the peer may take to answer one, seconds; then the connection is cut
            with 1006. It is not while anything else comes from the peer, and not while we do not
            read it, which is not its fault. None never cuts.
        keepalive_interval: After so many seconds of silence the system asks a TCP peer whether it
            is there, WebSocket or not; None never asks. Whole seconds, rounded up.
        keepalive_timeout: How long the peer's system may take to answer then, seconds. What it
            does not acknowledge for both together ends the connection as well. Where both are less
            than ``write_timeout``, Linux takes that for both.
        message_timeout: How long a message may take from its beginning to its end, seconds; then
            the connection is cut with 1008. It is looked at four times as often, so it may be a
            quarter later. None for ever.
        first_message_timeout: Where there is no handshake to make: how long a peer may take until
            its first message is there, seconds; then it is cut with 1008. None for ever.
        idle_timeout: After so many seconds without a message of the peer's it is closed with 1001.
            Pings and pongs are no messages, nor is what we send. None never does.
        grace: How long `Server.run` and leaving a ``with`` block wait for handlers and closes,
            seconds.
        backlog: Connections the system keeps for us before they are accepted; Linux caps it at
            ``net.core.somaxconn``. Where it is full, a client's system tries again after 1 s, 3 s
            and so on: of thousands that come back at once many would be late, not refused.
        max_connections: The most open at a time; further ones wait in the backlog. None to stay
            64 below the process's limit of descriptors.
        max_connections_per_address: The most that listeners take of one IP address at a time, of
            one /64 network under IPv6; further ones are turned away with 503, or the end of the
            stream where there is no HTTP. Unix sockets have none. None for no such limit.
        accept_rate: The most connections that one listener accepts, a second on average; beyond
            it clients wait in the backlog. None for no such limit.
        accept_burst: How many it accepts at once after a pause, where there is an ``accept_rate``.
    """

    limits: Limits = field(factory=Limits, validator=of_kind(Limits))
    receive_limit: int = field(default=256 * 1024, validator=whole)
    send_limit: int = field(default=1024 * 1024, validator=whole)
    slow_reader: SlowReader = field(factory=SlowReader, validator=of_kind(SlowReader))
    write_high_water: int = field(default=64 * 1024, validator=whole)
    handshake_timeout: float = field(default=5.0, validator=seconds)
    write_timeout: float = field(default=10.0, validator=seconds)
    close_timeout: float = field(default=5.0, validator=seconds)
    ping_interval: float | None = field(default=20.0, validator=_perhaps)
    ping_timeout: float | None = field(default=20.0, validator=_perhaps)
    keepalive_interval: float | None = field(default=20.0, validator=_perhaps)
    keepalive_timeout: float = field(default=20.0, validator=seconds)
    message_timeout: float | None = field(default=60.0, validator=_perhaps)
    first_message_timeout: float | None = field(default=None, validator=_perhaps)
    idle_timeout: float | None = field(default=None, validator=_perhaps)
    grace: float = field(default=10.0, validator=seconds)
    backlog: int = field(default=4096, validator=whole)
    max_connections: int | None = field(default=None, validator=validators.optional(whole))
    max_connections_per_address: int | None = field(
        default=None, validator=validators.optional(whole)
    )
    accept_rate: float | None = field(default=None, validator=_perhaps)
    accept_burst: int = field(default=64, validator=whole)

    @property
    def periods(self) -> tuple[float, ...]:
        """The times after which an open connection is looked at, those that are not None."""
        found = (
            self.ping_interval,
            None if self.ping_interval is None else self.ping_timeout,
            self.message_timeout,
            self.first_message_timeout,
            self.idle_timeout,
        )
        return tuple(period for period in found if period is not None)
