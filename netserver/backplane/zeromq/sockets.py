"""How the ZeroMQ sockets are set up, and where they connect to."""

from __future__ import annotations

import asyncio
import socket as system

import zmq

from netserver.backplane.url import Address
from netserver.backplane.zeromq import wire
from netserver.backplane.zeromq.curve import Keys
from netserver.backplane.zeromq.outbox import DROP_AT, FRAME_COST
from netserver.backplane.zeromq.wire import CHUNK, RECORD_EXTRA

# What was sent has to be acknowledged by the other end's kernel within so long, milliseconds, or
# the connection is dropped with all that is queued for it. It sees a cut cable; for a process that
# is frozen, or hangs, there are our own beats. ZeroMQ's (ZMQ_HEARTBEAT_IVL) are not for us: in
# libzmq 4.3.5, one that is due when the connection has broken while more has come than was read
# ahead ends the whole process ("Assertion failed: !_io_error").
_UNACKNOWLEDGED = 3000

# So long the handshake of ZeroMQ may take, milliseconds: with CURVE the peer's loop takes part.
_HANDSHAKE = 2000

# Frames queued for one peer: more than `Outbox`, which counts bytes, lets through of the smallest.
# So it bounds the answers to strangers only, to a few MiB.
_MOST_QUEUED = 2 * DROP_AT // FRAME_COST

# How long a look-up may take, seconds.
_LONGEST_LOOK_UP = 2.0

# Frames of one peer that are read ahead of the loop: some MiB, as they are a chunk or smaller when
# there are many.
_MOST_READ_AHEAD = 64


def make_context() -> zmq.Context[zmq.Socket[bytes]]:
    """A context of its own for each backplane: ZAP, which lets callers in, is one per context."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 8 * wire.MOST_PEERS)
    return context


def make_router(
    context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None, ip: str
) -> zmq.Socket[bytes]:
    """What peers connect to; not yet bound."""
    socket = _make(context, zmq.ROUTER, ip)
    # Frames for a peer that has gone, or takes no more, are refused, not silently dropped.
    socket.router_mandatory = True
    socket.maxmsgsize = wire.LARGEST_REQUEST
    socket.sndhwm = _MOST_QUEUED
    if keys is not None:
        keys.serve(socket)
    return socket


def make_dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    keys: Keys | None,
    server_key: bytes,
    ip: str,
    max_payload: int,
) -> zmq.Socket[bytes]:
    """What connects to one peer; not yet connected."""
    socket = _make(context, zmq.DEALER, ip)
    socket.reconnect_ivl = -1
    socket.connect_timeout = _HANDSHAKE
    socket.maxmsgsize = max_payload + RECORD_EXTRA + 2 * CHUNK
    socket.rcvhwm = _MOST_READ_AHEAD
    if keys is not None:
        keys.call(socket, server_key)
    return socket


def _make(context: zmq.Context[zmq.Socket[bytes]], kind: int, ip: str) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.linger = 0
    socket.ipv6 = ":" in ip
    socket.handshake_ivl = _HANDSHAKE
    socket.tcp_maxrt = _UNACKNOWLEDGED
    return socket


def endpoint(ip: str, port: int) -> str:
    """An address as ZeroMQ writes it."""
    return f"tcp://{Address(ip, port)}"


async def look_up(host: str, port: int) -> list[str]:
    """The IP addresses of a name, off the loop's thread.

    Raises:
        OSError: There are none, or it takes too long.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_LONGEST_LOOK_UP):
            found = await loop.getaddrinfo(host, port, type=system.SOCK_STREAM)
    except UnicodeError as error:  # a word between dots that is empty or too long
        raise OSError(f"{host!r} is no name: {error}") from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))
