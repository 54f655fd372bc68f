"""The pattern by itself: workers that declare the latency they need, nodes that run them, and a
Foreman that puts one on the other. It knows no sockets."""

from foreman import events
from foreman.decisions import (
    Action,
    Place,
    Placement,
    Policy,
    Refuse,
    Relocate,
    Retire,
    Spawn,
)
from foreman.demand import Demand, Group, NodeView, Snapshot
from foreman.errors import ForemanError, Infeasible, InvalidLatency, NotMovable, NotRunning
from foreman.foreman import Foreman
from foreman.meters import HoldStatistics, ScanLatency, WaitStatistics
from foreman.node import Node
from foreman.policy import BestFit
from foreman.scan import ScanWorker
from foreman.statistics import ForemanStatistics, NodeStatistics
from foreman.worker import Worker, WorkerStatistics

__all__ = [
    "Action",
    "BestFit",
    "Demand",
    "Foreman",
    "ForemanError",
    "ForemanStatistics",
    "Group",
    "HoldStatistics",
    "Infeasible",
    "InvalidLatency",
    "Node",
    "NodeStatistics",
    "NodeView",
    "NotMovable",
    "NotRunning",
    "Place",
    "Placement",
    "Policy",
    "Refuse",
    "Relocate",
    "Retire",
    "ScanLatency",
    "ScanWorker",
    "Snapshot",
    "Spawn",
    "WaitStatistics",
    "Worker",
    "WorkerStatistics",
    "events",
]
