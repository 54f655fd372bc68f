"""Listening sockets, and what the system says when it will not give one."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
from collections.abc import Callable

from netserver.errors import ListenError
from netwire import Endpoint

# Out of descriptors or memory: it will pass, and trying again at once would only burn time.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Kept free of connections: listeners, loops, files and sockets of the application itself.
RESERVED_DESCRIPTORS = 64


def connection_limit() -> int:
    """How many connections this process's limit of descriptors leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 20
    return max(1, soft - RESERVED_DESCRIPTORS)


def listening_sockets(
    url: str, endpoint: Endpoint, backlog: int, tune: Callable[[socket.socket], object]
) -> list[socket.socket]:
    """Sockets that listen on an address: one for each address of a host name.

    From here on the system takes connections for us, up to ``backlog``. Two sockets may be bound
    to one address, but not listen on it, so only this tells that it is in use.

    Args:
        url, endpoint: The address.
        backlog: How many connections the system takes.
        tune: Sets the options of each, before it takes any.

    Raises:
        ListenError: The address is in use, not allowed, not there, or no socket.
    """
    if endpoint.unix_path is not None:
        return [_unix_socket(url, endpoint.unix_path, backlog)]
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ListenError(url, f"no such host: {error.strerror}") from error
    except UnicodeError as error:  # a label that IDNA does not allow: empty, or too long
        raise ListenError(url, "no such host: the name is malformed") from error
    sockets: list[socket.socket] = []
    port = endpoint.port
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # With port 0 the first address picks, and the others follow.
            sock.bind((address[0], port, *address[2:]))
            tune(sock)
            sock.listen(backlog)
        except OSError as error:
            for opened in sockets:
                opened.close()
            raise ListenError(url, _reason(error)) from error
        port = sock.getsockname()[1]
        sock.setblocking(False)
    return sockets


def is_bound_to_all(sock: socket.socket) -> bool:
    """Whether it listens on every address of this machine, so that connections have to tell."""
    return sock.family != socket.AF_UNIX and sock.getsockname()[0] in ("0.0.0.0", "::")


def _unix_socket(url: str, path: str, backlog: int) -> socket.socket:
    _remove_stale(url, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError(url, _reason(error)) from error
    sock.setblocking(False)
    return sock


def _remove_stale(url: str, path: str) -> None:
    """Remove the socket of a server that ended without removing it; leave anything else alone."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(url, "there is a file, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError:
            pass  # somebody is there, or we may not ask: bind will say


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied"
    return error.strerror or str(error)
