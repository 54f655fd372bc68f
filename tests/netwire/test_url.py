from __future__ import annotations

import pytest

from netwire import Endpoint, UrlError, WireError, parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "host_header"),
    [
        ("ws://example.org", "example.org", 80, "/", "example.org"),
        ("ws://example.org:80/", "example.org", 80, "/", "example.org"),
        ("WS://Example.org:8765", "example.org", 8765, "/", "example.org:8765"),
        ("wss://example.org/chat", "example.org", 443, "/chat", "example.org"),
        ("wss://example.org?a=1&b=%20", "example.org", 443, "/?a=1&b=%20", "example.org"),
        ("wss://[::1]:8443/a/b?c=d", "::1", 8443, "/a/b?c=d", "[::1]:8443"),
        ("tcp://127.0.0.1:5500", "127.0.0.1", 5500, "/", "127.0.0.1:5500"),
        ("tcp://127.0.0.1:0", "127.0.0.1", 0, "/", "127.0.0.1:0"),
        ("tls://[::]:65535/", "::", 65535, "/", "[::]:65535"),
    ],
)
def test_network(url: str, host: str, port: int, target: str, host_header: str) -> None:
    endpoint = parse_url(url)
    scheme = url.split(":", maxsplit=1)[0].lower()
    assert endpoint == Endpoint(
        scheme=scheme,
        websocket=scheme in ("ws", "wss"),
        secure=scheme in ("wss", "tls"),
        host=host,
        port=port,
        target=target,
    )
    assert endpoint.host_header == host_header
    assert parse_url(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("url", "websocket", "path", "target"),
    [
        ("unix:///run/app.sock", False, "/run/app.sock", "/"),
        ("unix:///tmp/with%20space%3A", False, "/tmp/with space:", "/"),
        ("ws+unix:///run/app.sock", True, "/run/app.sock", "/"),
        ("ws+unix:///run/app.sock:/chat?room=1", True, "/run/app.sock", "/chat?room=1"),
    ],
)
def test_unix(url: str, websocket: bool, path: str, target: str) -> None:
    endpoint = parse_url(url)
    assert (endpoint.websocket, endpoint.secure) == (websocket, False)
    assert (endpoint.host, endpoint.port) == (None, None)
    assert (endpoint.unix_path, endpoint.target) == (path, target)
    assert endpoint.host_header == "localhost"
    assert parse_url(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begins with none of ws://, wss://, tcp://"),
        ("localhost:80", "begins with none of"),
        ("http://localhost", "begins with none of"),
        ("tcp://localhost", "names no port, as in tcp://localhost:5500"),
        ("tls://localhost", "names no port"),
        ("tcp://localhost:", "names no port"),
        ("ws://", "names no host"),
        ("ws:///path", "names no host"),
        ("tcp://:5500", "names no host"),
        ("ws://localhost:65536", "no number from 0 to 65535"),
        ("ws://localhost:-1", "no number from 0 to 65535"),
        ("ws://localhost:http", "no number from 0 to 65535"),
        ("ws://[::1", "Invalid IPv6"),
        ("ws://localhost/#part", "fragment"),
        ("ws://localhost/#", "fragment"),
        ("tcp://localhost:1/path", "tcp:// has neither"),
        ("tcp://localhost:1?query", "tcp:// has neither"),
        ("ws://localhost/a b", "holds ' '; write it percent-encoded"),
        ("ws://localhost/a\r\nb", "percent-encoded"),
        ("ws://gr\xfcn/", "percent-encoded"),
        ("unix://run/app.sock", "no absolute path, as in unix:///run/app.sock"),
        ("unix:app.sock", "no absolute path"),
        ("unix://", "no absolute path"),
        ("unix:///", "names a directory"),
        ("unix:///run/", "names a directory"),
        ("unix:///run/app%00.sock", "zero byte"),
        ("unix:///run/app.sock:/chat", "as in unix:///run/app.sock"),
        ("unix:///run/app.sock?a=b", "something behind the socket's path"),
        ("ws+unix:///run/app.sock?a=b", "as in ws+unix:///run/app.sock:/path?query"),
        ("ws+unix:///run/app.sock:chat", "something behind the socket's path"),
    ],
)
def test_refused(url: str, words: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(url)
    assert words in str(caught.value)
    assert caught.value.url == url
    assert isinstance(caught.value, WireError)
    assert isinstance(caught.value, ValueError)


def test_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(UrlError, match="user or a password") as caught:
        parse_url("ws://me:hunter2@localhost/")
    assert "hunter2" not in str(caught.value)
    assert "ws://...@localhost" in str(caught.value)
