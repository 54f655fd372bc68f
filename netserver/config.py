"""What a server can be told, with the defaults and where they come from."""

from __future__ import annotations

import math
from typing import Any

from attrs import field, frozen, validators

from netserver.slow_reader import SlowReader
from netwire import Limits

_seconds: Any = validators.and_(validators.gt(0), validators.lt(math.inf))
_bytes: Any = validators.and_(validators.instance_of(int), validators.gt(0))


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
        grace: How long `Server.run` and leaving a ``with`` block wait for handlers and closes,
            seconds.
        backlog: Connections the system keeps for us before they are accepted.
        max_connections: The most open at a time; further ones wait in the backlog. None to stay
            64 below the process's limit of descriptors.
    """

    limits: Limits = field(factory=Limits)
    receive_limit: int = field(default=256 * 1024, validator=_bytes)
    send_limit: int = field(default=1024 * 1024, validator=_bytes)
    slow_reader: SlowReader = field(
        factory=SlowReader, validator=validators.instance_of(SlowReader)
    )
    write_high_water: int = field(default=64 * 1024, validator=_bytes)
    handshake_timeout: float = field(default=5.0, validator=_seconds)
    write_timeout: float = field(default=10.0, validator=_seconds)
    close_timeout: float = field(default=5.0, validator=_seconds)
    grace: float = field(default=10.0, validator=_seconds)
    backlog: int = field(default=1024, validator=_bytes)
    max_connections: int | None = field(default=None, validator=validators.optional(_bytes))
