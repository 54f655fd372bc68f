"""Sockets on foreman nodes: every connection declares the latency it needs."""

from foreman import Foreman, Infeasible, InvalidLatency
from netserver import events
from netserver.backplane.errors import BackplaneError
from netserver.cluster.answer import Answer
from netserver.cluster.config import ClusterConfig
from netserver.cluster.delivery import Delivery, Outcome, Settled
from netserver.cluster.history import Entry, History, Position, Recovery
from netserver.cluster.presence import Member
from netserver.cluster.rules import GroupRules
from netserver.config import ServerConfig
from netserver.connection import Connection
from netserver.connector import Connector
from netserver.errors import (
    CertificateError,
    IdentityTaken,
    ListenError,
    Reject,
    ServerError,
    Unanswered,
)
from netserver.groups import Groups
from netserver.listener import Listener
from netserver.server import Server, ServerStatistics
from netserver.slow_reader import SlowReader
from netserver.statistics import ConnectionStatistics
from netserver.tls import server_context
from netwire import Deflate, Limits, Request, Response, State

__all__ = [
    "Answer",
    "BackplaneError",
    "CertificateError",
    "ClusterConfig",
    "Connection",
    "ConnectionStatistics",
    "Connector",
    "Deflate",
    "Delivery",
    "Entry",
    "Foreman",
    "GroupRules",
    "Groups",
    "History",
    "IdentityTaken",
    "Infeasible",
    "InvalidLatency",
    "Limits",
    "ListenError",
    "Listener",
    "Member",
    "Outcome",
    "Position",
    "Recovery",
    "Reject",
    "Request",
    "Response",
    "Server",
    "ServerConfig",
    "ServerError",
    "ServerStatistics",
    "Settled",
    "SlowReader",
    "State",
    "Unanswered",
    "events",
    "server_context",
]
