"""The WebSocket protocol (RFC 6455), both roles, without I/O.

Whole data frames, which are nearly all there ever are, are parsed and built here; wsproto reads
every other frame, and h11 the HTTP of the handshake.
"""

from __future__ import annotations

from netwire.websocket.client import WebSocketClient
from netwire.websocket.server import WebSocketServer

__all__ = ["WebSocketClient", "WebSocketServer"]
