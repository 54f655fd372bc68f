"""Making one connection: transport, TLS and handshake under one deadline."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from netclient.connection import Connection
from netclient.errors import CertificateRefused, ConnectFailed, ConnectTimeout, HandshakeRefused
from netwire import Endpoint, HandshakeError


async def dial(
    endpoint: Endpoint,
    make_connection: Callable[[], Connection],
    *,
    url: str,
    tls: ssl.SSLContext | None,
    open_timeout: float,
    close_timeout: float,
) -> Connection:
    """A connection that may be used.

    Args:
        endpoint: Where to connect to.
        make_connection: Makes a fresh one.
        url: For errors.
        tls: What to trust; None means no TLS.
        open_timeout: For everything until the connection is open, seconds.
        close_timeout: For the end of TLS, seconds.

    Raises:
        ConnectFailed: There is none; its subclasses say why. Nothing is left open then, nor when
            this is cancelled.
    """
    connection = make_connection()
    try:
        async with asyncio.timeout(open_timeout):
            await _open_transport(endpoint, connection, tls, close_timeout)
            await connection.opened.wait()
        if not connection.accepted:
            raise _refusal(url, connection)
        return connection
    except TimeoutError as error:
        await connection.discard()
        raise ConnectTimeout(url, open_timeout) from error
    except ssl.SSLCertVerificationError as error:
        reason = f"the server's certificate was refused: {error.verify_message}"
        raise CertificateRefused(url, reason) from error
    except ConnectFailed:
        await connection.discard()
        raise
    except (OSError, UnicodeError) as error:
        # A host name that cannot be encoded for DNS is a UnicodeError.
        raise ConnectFailed(url, f"cannot connect: {error}") from error
    except asyncio.CancelledError:
        await connection.discard()
        raise


def _refusal(url: str, connection: Connection) -> ConnectFailed:
    error = connection.error
    if isinstance(error, HandshakeError):
        return HandshakeRefused(url, error.status, error.reason)
    return ConnectFailed(url, f"lost before it was open: {connection.reason}")


async def _open_transport(
    endpoint: Endpoint, connection: Connection, tls: ssl.SSLContext | None, close_timeout: float
) -> None:
    loop = asyncio.get_running_loop()
    if endpoint.unix_path is not None:
        await loop.create_unix_connection(lambda: connection, endpoint.unix_path)
        return
    assert endpoint.host is not None
    assert endpoint.port is not None
    await loop.create_connection(
        lambda: connection,
        endpoint.host,
        endpoint.port,
        ssl=tls,
        ssl_shutdown_timeout=None if tls is None else close_timeout,
    )
