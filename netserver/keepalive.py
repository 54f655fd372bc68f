"""What the system does for a connection: its options, and what it knows of the peer."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netserver.config import ServerConfig
    from netserver.slow_reader import SlowReader

# In how many probes the time for an answer is divided.
PROBES = 4

# Where Linux's struct tcp_info has the milliseconds since data came: 8 bytes, then 11 numbers.
_LAST_DATA = 8 + 11 * 4
_SIZE = _LAST_DATA + 4

# How much the system takes ahead of what it sends, where that can be set.
_NOT_SENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)

# Whether the sockets that are accepted have the options of the one that listens, all that we set:
# six system calls less for each.
INHERITED = sys.platform == "linux"


def tune(sock: socket.socket, config: ServerConfig, slow_reader: SlowReader) -> None:
    """Set the options of a connection's socket, or of one that listens; a Unix socket has none."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(sock, config)
    if slow_reader.drops and _NOT_SENT is not None:
        # The system would keep megabytes that nobody can drop any more.
        sock.setsockopt(socket.IPPROTO_TCP, _NOT_SENT, config.write_high_water)


def keep_alive(sock: socket.socket, config: ServerConfig) -> None:
    """Have the system notice a TCP peer that has vanished; what it does not know is left out."""
    interval, timeout = config.keepalive_interval, config.keepalive_timeout
    if interval is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS calls the first of them TCP_KEEPALIVE.
    idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
    _set(sock, idle, ceil(interval))
    _set(sock, "TCP_KEEPINTVL", ceil(timeout / PROBES))
    _set(sock, "TCP_KEEPCNT", PROBES)
    # On Linux this takes the place of the count of probes, and it cuts peers as well that keep
    # their window shut for so long: not sooner than our own deadline for those.
    _set(sock, "TCP_USER_TIMEOUT", ceil(1000 * max(interval + timeout, config.write_timeout)))


def _set(sock: socket.socket, name: str, value: int) -> None:
    option = getattr(socket, name, None)
    if option is None:
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:  # a longer time than the system can count, or one it only seems to know
        pass


def has_gone(transport: asyncio.Transport | None) -> bool:
    """Whether the connection is no more, which a loop that does not read is not told."""
    if transport is None or transport.is_closing():
        return False  # it is about to be told, or on its way
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0))


def was_heard(transport: asyncio.Transport | None, seconds: float) -> bool:
    """Whether anything came from the peer lately, read or not.

    Linux tells of TCP when; elsewhere only what waits to be read is known.
    """
    if transport is None or transport.is_closing():
        return False
    sock = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_INFO") and sock.family != socket.AF_UNIX:
        try:
            info: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
        except OSError:
            info = b""
        if len(info) == _SIZE:
            return int.from_bytes(info[_LAST_DATA:], sys.byteorder) < 1000 * seconds
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return any(found & select.POLLIN for _, found in poll.poll(0))
