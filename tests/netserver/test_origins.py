"""Which web pages a listener lets in."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from netserver import Connection, Response, Server
from netwire import Request, UrlError

ALLOWED = ("https://Example.org", "http://localhost:8000")


class Echo(Connection):
    asked = False

    def on_connect(self, request: Request) -> None:
        Echo.asked = True

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@pytest.mark.parametrize(
    "origin", ["https://example.org", "HTTPS://EXAMPLE.ORG", "http://localhost:8000", None]
)
def test_pages_that_may_connect(site: Any, origin: str | None) -> None:
    url = site.url(site.listen("ws://127.0.0.1:0", Echo, allowed_origins=ALLOWED))
    with connect(url, origin=None if origin is None else Origin(origin)) as client:
        client.send("hello")
        assert client.recv(10) == "hello"


@pytest.mark.parametrize(
    "origins",
    [
        ["https://evil.example"],
        ["http://example.org"],  # not encrypted, so anybody on the way could be it
        ["https://example.org:8443"],
        ["https://example.org.evil.example"],
        ["https://sub.example.org"],
        ["null"],
        [""],
        ["https://example.org https://evil.example"],
        ["https://example.org", "https://evil.example"],
        ["https://example.org", "https://example.org"],
    ],
)
def test_pages_that_may_not(site: Any, origins: list[str]) -> None:
    Echo.asked = False
    url = site.url(site.listen("ws://127.0.0.1:0", Echo, allowed_origins=ALLOWED))
    with (
        pytest.raises(InvalidStatus) as refusal,
        connect(url, additional_headers=[("Origin", origin) for origin in origins]),
    ):
        pass
    assert refusal.value.response.status_code == 403
    assert not Echo.asked, "the user is not asked about a page that may not connect"
    assert site.server.statistics().events["refused"] == 1


def test_null_where_it_is_listed(site: Any) -> None:
    url = site.url(site.listen("ws://127.0.0.1:0", Echo, allowed_origins=["null"]))
    with connect(url, origin=Origin("null")) as client:
        client.send(b"x")
        assert client.recv(10) == b"x"
    with pytest.raises(InvalidStatus):
        connect(url, origin=Origin("https://example.org"))


def test_nothing_is_checked_where_nothing_is_listed(site: Any) -> None:
    url = site.url(site.listen("ws://127.0.0.1:0", Echo))
    with connect(url, origin=Origin("https://evil.example")) as client:
        client.send(b"x")
        assert client.recv(10) == b"x"


def test_no_page_at_all(site: Any) -> None:
    url = site.url(site.listen("ws://127.0.0.1:0", Echo, allowed_origins=()))
    with pytest.raises(InvalidStatus):
        connect(url, origin=Origin("https://example.org"))
    with connect(url):
        pass


def test_plain_http_is_answered_whoever_asks(site: Any, receive_all: Any) -> None:
    site.server.on_request = lambda request: Response(200, "fine\n")
    listener = site.listen("ws://127.0.0.1:0", Echo, allowed_origins=())
    head = b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n"
    with site.dial(listener, head) as sock:
        assert receive_all(sock).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "origin",
    [
        "example.org",
        "https://example.org/",
        "https://example.org/page",
        "https://user@example.org",
        "https://*.example.org",
        "*",
        "",
        "https://example.org:443",
        "http://example.org:80",
    ],
)
def test_what_no_browser_sends(origin: str) -> None:
    with Server() as server, pytest.raises(UrlError, match=r"is no origin|default port"):
        server.listen("ws://127.0.0.1:0", Echo, allowed_origins=[origin])


@pytest.mark.parametrize("origins", ["https://example.org", 7, [7], [None]])
def test_what_is_no_list_of_origins(origins: Any) -> None:
    with Server() as server, pytest.raises(TypeError, match="origin"):
        server.listen("ws://127.0.0.1:0", Echo, allowed_origins=origins)


def test_where_there_is_no_handshake() -> None:
    with Server() as server, pytest.raises(UrlError, match="no handshake"):
        server.listen("tcp://127.0.0.1:0", Echo, allowed_origins=["https://example.org"])


def test_ipv6(site: Any) -> None:
    url = site.url(site.listen("ws://127.0.0.1:0", Echo, allowed_origins=["http://[::1]:8000"]))
    with connect(url, origin=Origin("http://[::1]:8000")) as client:
        assert isinstance(client.socket, socket.socket)
