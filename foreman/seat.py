"""Where the Foreman has put a worker, and what it reckons with for it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreman.demand import Demand
    from foreman.node import Node


class Seat:
    """One worker's place. Guarded by the Foreman's lock.

    A decision only changes `node` or `leaving`; whoever carries the worker looks at them after
    every leg of the way, so a second decision during a move merely extends it.

    Attributes:
        node: The node on whose roster it counts: where it is, or where it goes.
        demand: What it counts there.
        in_transit: Whether somebody is carrying it already.
        leaving: Whether it was removed and only has to be let go.
        arrivals: Futures of those who wait for a move, each with the node it was asked to go to.
        departures: Futures of those who wait for its removal.
        reason: Why it goes where it goes.
    """

    __slots__ = ("arrivals", "demand", "departures", "in_transit", "leaving", "node", "reason")

    def __init__(self, node: Node, demand: Demand, reason: str) -> None:
        self.node = node
        self.demand = demand
        self.reason = reason
        self.in_transit = True
        self.leaving = False
        self.arrivals: list[tuple[Node, Future[bool]]] = []
        self.departures: list[Future[None]] = []
