"""Opening the connections: TCP, Unix and TLS sockets, and the WebSocket handshake over each."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from attrs import frozen
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.extensions import Extension
from wsproto.utilities import ProtocolError

from benchmark.load.client import LoadError
from benchmark.load.deflate import Negotiated, Offer
from benchmark.load.native_tls import Channel, NativeTls, NativeTlsContext

TLS = ("wss", "tls")

SPARE_DESCRIPTORS = 64  # for everything else that a process has open, here and in the server
CONNECT_TIMEOUT = 5.0  # the benchmark's limit for a server that does not answer


@frozen(kw_only=True)
class Opened:
    """Connections that are ready for frames.

    Args:
        channels: They, non-blocking.
        deflate: What was agreed on about compression; None where there is none.
    """

    channels: list[Channel]
    deflate: Negotiated | None


def connect_all(urls: Sequence[str], certificate: str | None) -> list[Channel]:
    """Open a connection to each URL, as `open_all` does, for a client in Python."""
    return open_all(urls, certificate).channels


def open_all(
    urls: Sequence[str],
    certificate: str | None,
    library: str | None = None,
    *,
    deflate: bool = False,
) -> Opened:
    """Open a connection to each URL, ready for frames, and leave them non-blocking.

    Args:
        urls: Where to, as many times as there are to be connections.
        certificate: PEM file of the authority to trust, where a URL asks for TLS.
        library: The clients in C, if one of them is to drive the connections.
        deflate: Whether to offer permessage-deflate, which must then be agreed on.

    Raises:
        LoadError: One could not be opened; those before it are closed again.
    """
    _check_descriptors(len(urls))
    with ExitStack() as opened, ExitStack() as at_the_end:
        context = _tls_context(urls, certificate, library, at_the_end)
        channels: list[Channel] = []
        agreed: set[Negotiated | None] = set()
        for number, url in enumerate(urls):
            try:
                channel = _connect(url, context)
                opened.callback(channel.close)
                channels.append(channel)
                if url.startswith("ws"):
                    agreed.add(_shake_hands(channel, url, deflate))
            except (OSError, ProtocolError, ValueError) as error:
                raise LoadError(f"connection {number} to {url} failed: {error}") from error
        if deflate and (len(agreed) != 1 or None in agreed):
            raise LoadError(f"the server did not agree on permessage-deflate: {agreed}")
        for channel in channels:
            channel.setblocking(False)
        opened.pop_all()
    return Opened(channels=channels, deflate=next(iter(agreed)) if deflate else None)


def _tls_context(
    urls: Sequence[str], certificate: str | None, library: str | None, at_the_end: ExitStack
) -> ssl.SSLContext | NativeTlsContext | None:
    if not any(urlsplit(url).scheme in TLS for url in urls):
        return None
    if library is None or certificate is None:
        return ssl.create_default_context(cafile=certificate)
    context = NativeTlsContext(library, certificate)
    at_the_end.callback(context.close)  # what it opened stays open
    return context


def _check_descriptors(connections: int) -> None:
    """Fail before the first connection rather than at the last one, or in the server."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if connections > limit - SPARE_DESCRIPTORS:
        raise LoadError(f"{connections} connections do not fit the limit of {limit} descriptors")


def _connect(url: str, context: ssl.SSLContext | NativeTlsContext | None) -> Channel:
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
        channel: Channel = sock
        if parts.scheme in TLS:
            assert context is not None
            assert parts.hostname is not None
            if isinstance(context, ssl.SSLContext):
                channel = context.wrap_socket(sock, server_hostname=parts.hostname)
            else:
                channel = NativeTls(context, sock, parts.hostname)
        on_error.pop_all()
    return channel


def _shake_hands(channel: Channel, url: str, deflate: bool) -> Negotiated | None:
    parts = urlsplit(url)
    host = parts.netloc or "localhost"
    target = parts.path if parts.netloc and parts.path else "/"
    websocket = WSConnection(ConnectionType.CLIENT)
    offer = Offer()
    extensions: list[Extension] = [offer] if deflate else []
    channel.sendall(websocket.send(Request(host=host, target=target, extensions=extensions)))
    while True:
        data = channel.recv(4096)
        websocket.receive_data(data or None)
        for event in websocket.events():
            if isinstance(event, AcceptConnection):
                return offer.negotiated
            raise ConnectionRefusedError(f"the server answered the handshake with {event}")
        if not data:
            raise ConnectionResetError("the server closed during the handshake")
