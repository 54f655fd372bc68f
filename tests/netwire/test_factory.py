from __future__ import annotations

import pytest

from netwire import Limits, Message, State, UrlError, client_wire, parse_url, server_wire
from netwire.framing import FRAMINGS, Envelope, Lines, Raw
from netwire.websocket import WebSocketClient, WebSocketServer

STREAMS = ["tcp://localhost:1", "tls://localhost:1", "unix:///run/app.sock"]
WEBSOCKETS = ["ws://localhost:8765/chat?a=b", "wss://localhost/", "ws+unix:///run/app.sock:/chat"]


class Reverse:
    """A transform with something to see."""

    def outgoing(self, message: Message) -> Message:
        return message[::-1]

    def incoming(self, message: Message) -> Message:
        return message[::-1]


@pytest.mark.parametrize("url", STREAMS)
def test_streams_are_framed(url: str) -> None:
    endpoint = parse_url(url)
    limits = Limits(message=5)
    for wire in (server_wire(endpoint, limits=limits), client_wire(endpoint, limits=limits)):
        assert type(wire) is Envelope
        assert wire.limits is limits
        assert wire.encode(b"hello") == b"15hello"


@pytest.mark.parametrize("name", FRAMINGS)
def test_framings_by_name(name: str) -> None:
    endpoint = parse_url("tcp://localhost:1")
    assert type(server_wire(endpoint, framing=name)) is FRAMINGS[name]
    assert type(client_wire(endpoint, framing=name)) is FRAMINGS[name]


def test_a_framing_by_class() -> None:
    assert type(server_wire(parse_url("tcp://localhost:1"), framing=Raw)) is Raw


def test_an_unknown_framing_names_the_known_ones() -> None:
    known = "no framing is named 'json'; there are envelope, length-prefix, lines, raw"
    with pytest.raises(ValueError, match=known):
        server_wire(parse_url("tcp://localhost:1"), framing="json")


@pytest.mark.parametrize("url", WEBSOCKETS)
def test_websockets_know_their_role(url: str) -> None:
    endpoint = parse_url(url)
    assert type(server_wire(endpoint)) is WebSocketServer
    client = client_wire(
        endpoint, headers=(("X-One", "1"),), subprotocols=("chat",), origin="http://localhost"
    )
    assert type(client) is WebSocketClient
    assert client.state is State.CONNECTING
    request = client.start()
    assert request.startswith(f"GET {endpoint.target} HTTP/1.1\r\n".encode())
    for line in (
        f"Host: {endpoint.host_header}",
        "X-One: 1",
        "Sec-WebSocket-Protocol: chat",
        "Origin: http://localhost",
    ):
        assert line.encode() in request


@pytest.mark.parametrize("url", WEBSOCKETS)
def test_a_websocket_takes_no_framing(url: str) -> None:
    for make in (server_wire, client_wire):
        with pytest.raises(UrlError, match="is WebSocket, which has frames of its own"):
            make(parse_url(url), framing=Lines)


@pytest.mark.parametrize("url", ["tcp://localhost:1", "ws://localhost"])
def test_each_wire_gets_a_transform_of_its_own(url: str) -> None:
    made: list[Reverse] = []

    def factory() -> Reverse:
        made.append(Reverse())
        return made[-1]

    endpoint = parse_url(url)
    server_wire(endpoint, transform=factory)
    wire = client_wire(endpoint, transform=factory)
    assert len(made) == 2
    assert wire.encoding_key is None


def test_a_transform_reaches_the_wire() -> None:
    wire = server_wire(parse_url("tcp://localhost:1"), transform=Reverse)
    assert wire.encode(b"hello") == b"15olleh"
    assert wire.receive(b"15olleh") == [b"hello"]
