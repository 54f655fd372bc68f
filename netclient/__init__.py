"""Clients that come back: `Client` for asyncio, `netclient.blocking.Client` for plain threads."""

from __future__ import annotations

from netclient.client import Client
from netclient.errors import (
    CertificateRefused,
    ClientError,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    HandshakeRefused,
    NotConnected,
    OperationTimeout,
    Unsupported,
)
from netclient.state import ClientState
from netwire import Backoff, Deflate, Limits, Message, UrlError

__all__ = [
    "Backoff",
    "CertificateRefused",
    "Client",
    "ClientError",
    "ClientState",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "Deflate",
    "HandshakeRefused",
    "Limits",
    "Message",
    "NotConnected",
    "OperationTimeout",
    "Unsupported",
    "UrlError",
]
