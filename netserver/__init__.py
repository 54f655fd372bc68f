"""Sockets on foreman nodes: every connection declares the latency it needs."""

from foreman import Foreman, Infeasible, InvalidLatency
from netserver import events
from netserver.config import ServerConfig
from netserver.connection import Connection
from netserver.connector import Connector
from netserver.errors import CertificateError, ListenError, Reject, ServerError
from netserver.groups import Groups
from netserver.listener import Listener
from netserver.server import Server, ServerStatistics
from netserver.tls import server_context
from netwire import Deflate, Limits, Request, Response, State

__all__ = [
    "CertificateError",
    "Connection",
    "Connector",
    "Deflate",
    "Foreman",
    "Groups",
    "Infeasible",
    "InvalidLatency",
    "Limits",
    "ListenError",
    "Listener",
    "Reject",
    "Request",
    "Response",
    "Server",
    "ServerConfig",
    "ServerError",
    "ServerStatistics",
    "State",
    "events",
    "server_context",
]
