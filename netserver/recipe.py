"""What is made of a connected socket: the options of `Server.listen` and `connect`, checked."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from attrs import frozen

from foreman.latency import check_declaration, check_latency
from netserver.connection import Connection
from netserver.errors import CertificateError
from netwire import (
    Deflate,
    Endpoint,
    Framing,
    Limits,
    TlsEngine,
    TransformFactory,
    UrlError,
    Wire,
    parse_url,
)
from netwire.factory import client_wire, server_wire


@frozen(kw_only=True)
class Recipe:
    """What is made of a connected socket.

    Options that do not fit are told to whoever gave them, not to the first connection.

    Attributes:
        endpoint: What the URL says.
        connection_class: The user's class.
        required_latency: What its connections declare, seconds; None for their class's default.
        make_wire: Makes each connection's protocol.
        tls: The certificates; None for plain bytes.

    Raises:
        UrlError: The options do not fit the URL.
        TypeError: An option is not what it should be.
        InvalidLatency: The latency is no positive, finite number.
    """

    endpoint: Endpoint
    connection_class: type[Connection]
    required_latency: float | None
    make_wire: Callable[[], Wire]
    tls: ssl.SSLContext | None

    @classmethod
    def to_listen(
        cls,
        url: str,
        connection_class: type[Connection],
        *,
        required_latency: float | None,
        tls: ssl.SSLContext | None,
        framing: type[Framing] | str | None,
        transform: TransformFactory | None,
        compression: Deflate | None,
        limits: Limits,
    ) -> Recipe:
        """For the peers that a listener accepts.

        Raises:
            CertificateError: TLS is asked for without a certificate.
        """
        endpoint = parse_url(url)
        if endpoint.secure and tls is None:
            raise CertificateError(f"{url} needs tls=, as from netserver.server_context(…)")
        if endpoint.target != "/":
            raise UrlError(
                url, "has a path: a listener serves every one; on_connect may refuse some"
            )
        server_wire(endpoint, limits=limits, framing=framing)
        _check(url, endpoint, connection_class, tls, transform, compression)
        return cls(
            endpoint=endpoint,
            connection_class=connection_class,
            required_latency=_checked(required_latency),
            make_wire=lambda: server_wire(
                endpoint,
                limits=limits,
                framing=framing,
                transform=transform,
                compression=compression,
            ),
            tls=tls,
        )

    @classmethod
    def to_connect(
        cls,
        url: str,
        connection_class: type[Connection],
        *,
        required_latency: float | None,
        tls: ssl.SSLContext | None,
        framing: type[Framing] | str | None,
        transform: TransformFactory | None,
        compression: Deflate | None,
        limits: Limits,
        headers: tuple[tuple[str, str], ...],
        subprotocols: tuple[str, ...],
    ) -> Recipe:
        """For the server that a connector connects to."""
        endpoint = parse_url(url)
        if endpoint.secure and tls is None:
            tls = ssl.create_default_context()

        def make_wire(transform: TransformFactory | None = transform) -> Wire:
            return client_wire(
                endpoint,
                limits=limits,
                framing=framing,
                transform=transform,
                compression=compression,
                headers=headers,
                subprotocols=subprotocols,
            )

        make_wire(None)
        _check(url, endpoint, connection_class, tls, transform, compression)
        return cls(
            endpoint=endpoint,
            connection_class=connection_class,
            required_latency=_checked(required_latency),
            make_wire=make_wire,
            tls=tls,
        )

    def make_tls(self, server_side: bool) -> TlsEngine | None:
        if self.tls is None:
            return None
        name = None if server_side else self.endpoint.host
        return TlsEngine(self.tls, server_side=server_side, server_hostname=name)


def _checked(required_latency: float | None) -> float | None:
    return None if required_latency is None else check_latency(required_latency)


def _check(
    url: str,
    endpoint: Endpoint,
    connection_class: type[Connection],
    tls: ssl.SSLContext | None,
    transform: TransformFactory | None,
    compression: Deflate | None,
) -> None:
    if not (isinstance(connection_class, type) and issubclass(connection_class, Connection)):
        raise TypeError(f"connection_class must subclass Connection, not {connection_class!r}")
    check_declaration(connection_class)
    if transform is not None and not callable(transform):
        raise TypeError(f"transform makes a Transform for each connection, {transform!r} does not")
    if not isinstance(compression, Deflate | None):
        raise TypeError(f"compression is a Deflate or None, not {compression!r}")
    if compression is not None and not endpoint.websocket:
        raise UrlError(url, "is not WebSocket, and only that has compression=")
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls is an ssl.SSLContext, as from server_context(…), not {tls!r}")
    if tls is not None and not endpoint.secure:
        raise UrlError(url, "is not encrypted; with tls= use wss:// or tls://")
