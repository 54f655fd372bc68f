"""Opening the connections: TCP, Unix and TLS sockets, and the WebSocket handshake over each."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.utilities import ProtocolError

from benchmark.load.client import LoadError

SPARE_DESCRIPTORS = 64  # for everything else that a process has open, here and in the server
CONNECT_TIMEOUT = 5.0  # the benchmark's limit for a server that does not answer


def connect_all(urls: Sequence[str], certificate: str | None) -> list[socket.socket]:
    """Open a connection to each URL, ready for frames, and leave them non-blocking.

    Args:
        urls: Where to, as many times as there are to be connections.
        certificate: PEM file of the authority to trust, where a URL asks for TLS.

    Raises:
        LoadError: One could not be opened; those before it are closed again.
    """
    _check_descriptors(len(urls))
    context = None
    if any(urlsplit(url).scheme in ("wss", "tls") for url in urls):
        context = ssl.create_default_context(cafile=certificate)
    with ExitStack() as opened:
        sockets = []
        for number, url in enumerate(urls):
            try:
                sockets.append(opened.enter_context(_connect(url, context)))
            except (OSError, ProtocolError) as error:
                raise LoadError(f"connection {number} to {url} failed: {error}") from error
        for sock in sockets:
            sock.setblocking(False)
        opened.pop_all()
    return sockets


def _check_descriptors(connections: int) -> None:
    """Fail before the first connection rather than at the last one, or in the server."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if connections > limit - SPARE_DESCRIPTORS:
        raise LoadError(f"{connections} connections do not fit the limit of {limit} descriptors")


def _connect(url: str, context: ssl.SSLContext | None) -> socket.socket:
    parts = urlsplit(url)
    with ExitStack() as on_error:
        if parts.scheme.endswith("unix"):
            sock = socket.socket(socket.AF_UNIX)
            on_error.callback(sock.close)
            sock.settimeout(CONNECT_TIMEOUT)
            sock.connect(parts.path)
        else:
            address = (parts.hostname, parts.port)
            sock = socket.create_connection(address, timeout=CONNECT_TIMEOUT)
            on_error.callback(sock.close)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
            on_error.callback(sock.close)
        if parts.scheme.startswith("ws"):
            _shake_hands(sock, parts.netloc or "localhost")
        on_error.pop_all()
    return sock


def _shake_hands(sock: socket.socket, host: str) -> None:
    websocket = WSConnection(ConnectionType.CLIENT)
    sock.sendall(websocket.send(Request(host=host, target="/")))
    while True:
        data = sock.recv(4096)
        websocket.receive_data(data or None)
        for event in websocket.events():
            if isinstance(event, AcceptConnection):
                return
            raise ConnectionRefusedError(f"the server answered the handshake with {event}")
        if not data:
            raise ConnectionResetError("the server closed during the handshake")
