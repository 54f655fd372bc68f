"""Bytes to messages and back, without any I/O: WebSocket, framed streams, TLS, URLs, backoff.

A `Wire` is the protocol of one connection; `server_wire` and `client_wire` give the one that a
URL asks for. Nothing here knows a loop, a socket, a thread or a clock.
"""

from __future__ import annotations

from netwire.backoff import Backoff, Retry
from netwire.errors import (
    ConnectionLost,
    HandshakeError,
    InvalidPayload,
    LocalError,
    MessageTooBig,
    ProtocolError,
    RemoteError,
    TlsError,
    UrlError,
    WireError,
)
from netwire.events import (
    Closed,
    Event,
    Failed,
    More,
    Opened,
    Ping,
    PlainRequest,
    Pong,
    Requested,
)
from netwire.factory import client_wire, server_wire
from netwire.framing import FRAMINGS, Framing
from netwire.http import Headers, Request, Response
from netwire.limits import Limits
from netwire.tls import TlsEngine
from netwire.url import Endpoint, parse_url
from netwire.websocket import Deflate
from netwire.wire import Message, State, Transform, TransformFactory, Wire

__all__ = [
    "FRAMINGS",
    "Backoff",
    "Closed",
    "ConnectionLost",
    "Deflate",
    "Endpoint",
    "Event",
    "Failed",
    "Framing",
    "HandshakeError",
    "Headers",
    "InvalidPayload",
    "Limits",
    "LocalError",
    "Message",
    "MessageTooBig",
    "More",
    "Opened",
    "Ping",
    "PlainRequest",
    "Pong",
    "ProtocolError",
    "RemoteError",
    "Request",
    "Requested",
    "Response",
    "Retry",
    "State",
    "TlsEngine",
    "TlsError",
    "Transform",
    "TransformFactory",
    "UrlError",
    "Wire",
    "WireError",
    "client_wire",
    "parse_url",
    "server_wire",
]
