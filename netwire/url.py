"""Addresses as URLs.

    ws://host[:port][/path][?query]         WebSocket; port 80 unless given
    wss://host[:port][/path][?query]        the same over TLS; port 443
    tcp://host:port                         a framed stream
    tls://host:port                         the same over TLS
    unix:///path                            a framed stream on a Unix socket
    ws+unix:///path[:/path[?query]]         WebSocket on a Unix socket

An IPv6 address stands in brackets. Port 0 is for listening: the system picks a free one.
"""

from __future__ import annotations

from urllib.parse import SplitResult, quote, unquote, urlsplit

from attrs import field, frozen

from netwire.errors import UrlError


@frozen
class _Scheme:
    websocket: bool = False
    secure: bool = False
    unix: bool = False
    default_port: int | None = None


_SCHEMES = {
    "ws": _Scheme(websocket=True, default_port=80),
    "wss": _Scheme(websocket=True, secure=True, default_port=443),
    "tcp": _Scheme(),
    "tls": _Scheme(secure=True),
    "unix": _Scheme(unix=True),
    "ws+unix": _Scheme(unix=True, websocket=True),
}


@frozen(kw_only=True)
class Endpoint:
    """Where to listen or to connect, and how to speak there; made by `parse_url`.

    Attributes:
        scheme: The URL's, in lower case.
        websocket: Whether it speaks WebSocket; a framed stream otherwise.
        secure: Whether over TLS.
        host: A name or an address, without brackets; None on a Unix socket.
        port: 0 to 65535; None on a Unix socket.
        unix_path: The absolute path of a Unix socket; None on a network.
        target: What a WebSocket handshake asks for: path and query.
    """

    scheme: str
    websocket: bool
    secure: bool
    host: str | None = None
    port: int | None = None
    unix_path: str | None = None
    target: str = field(default="/")

    @property
    def host_header(self) -> str:
        """The value of the Host header (RFC 9110, section 7.2); ``localhost`` on a Unix socket."""
        if self.host is None:
            return "localhost"
        if self.port == _SCHEMES[self.scheme].default_port:
            return self._bracketed
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in str(self.host) else str(self.host)

    def __str__(self) -> str:
        target = "" if self.target == "/" else self.target
        if self.unix_path is not None:
            return f"{self.scheme}://{quote(self.unix_path)}{target and ':' + target}"
        return f"{self.scheme}://{self._bracketed}:{self.port}{target}"


def parse_url(url: str) -> Endpoint:
    """What ``url`` says.

    Raises:
        UrlError: It is not one of the forms above; the text tells what is wrong with it.
        TypeError: It is no str.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, such as 'tcp://127.0.0.1:8765', not {url!r}")
    for character in url:
        if not "!" <= character <= "~":
            raise UrlError(url, f"holds {character!r}; write it percent-encoded")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlError(url, str(error)) from error
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        allowed = ", ".join(f"{name}://" for name in _SCHEMES)
        raise UrlError(url, f"begins with none of {allowed}")
    if "#" in url:
        raise UrlError(url, "has a fragment, which never reaches a server (RFC 6455, section 3)")
    if "@" in parts.netloc:
        # A password must not reach a log, so this error does not show the URL as it was given.
        shown = f"{parts.scheme}://...@{parts.netloc.rpartition('@')[2]}"
        raise UrlError(shown, "holds a user or a password; send them in a header or a message")
    return _on_unix(url, parts, scheme) if scheme.unix else _on_network(url, parts, scheme)


def _on_network(url: str, parts: SplitResult, scheme: _Scheme) -> Endpoint:
    if not parts.hostname:
        raise UrlError(url, f"names no host, as in {parts.scheme}://127.0.0.1:8765")
    try:
        port = scheme.default_port if parts.port is None else parts.port
    except ValueError as error:
        raise UrlError(url, "has a port that is no number from 0 to 65535") from error
    if port is None:
        raise UrlError(url, f"names no port, as in {parts.scheme}://{parts.netloc}:5500")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if target != "/" and not scheme.websocket:
        raise UrlError(url, f"has a path or a query, and {parts.scheme}:// has neither")
    return Endpoint(
        scheme=parts.scheme,
        websocket=scheme.websocket,
        secure=scheme.secure,
        host=parts.hostname,
        port=port,
        target=target,
    )


def _on_unix(url: str, parts: SplitResult, scheme: _Scheme) -> Endpoint:
    example = f"{parts.scheme}:///run/app.sock"
    if parts.netloc or not parts.path.startswith("/"):
        raise UrlError(url, f"names no absolute path, as in {example}")
    path, colon, target = parts.path.partition(":")
    if parts.query:
        target += f"?{parts.query}"
    if target and not (scheme.websocket and colon and target.startswith("/")):
        allowed = f"{example}:/path?query" if scheme.websocket else example
        raise UrlError(url, f"has something behind the socket's path, as in {allowed}")
    if path.endswith("/"):
        raise UrlError(url, f"names a directory, not a socket as in {example}")
    if "%00" in path:
        raise UrlError(url, "has a zero byte in its path")
    return Endpoint(
        scheme=parts.scheme,
        websocket=scheme.websocket,
        secure=scheme.secure,
        unix_path=unquote(path),
        target=target or "/",
    )
