"""The WebSocket protocol (RFC 6455), both roles, without I/O.

Data frames are parsed and built here, and their payloads, compressed ones too, put together within
limits. So are whole pings, pongs and plain closes, and plain requests to upgrade; wsproto reads
other control frames, and h11 the HTTP of other handshakes.
"""

from __future__ import annotations

from netwire.websocket.client import WebSocketClient
from netwire.websocket.deflate import Deflate
from netwire.websocket.server import WebSocketServer

__all__ = ["Deflate", "WebSocketClient", "WebSocketServer"]
