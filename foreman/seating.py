"""Who sits where: the ledger, the nodes, and who is on the way, under one lock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from foreman.decisions import Place, Placement, Policy, Refuse, Spawn
from foreman.errors import NotRunning
from foreman.events import Event, Spawned
from foreman.ledger import Ledger
from foreman.pool import NodePool

if TYPE_CHECKING:
    import asyncio

    from foreman.demand import Demand
    from foreman.node import Node
    from foreman.seat import Seat
    from foreman.tuning import Tuning
    from foreman.worker import Worker


class Seating:
    """What a decision is made on and entered in. Guarded by `lock`, and so is every seat.

    Every method is called with the lock held.

    Args:
        policy: What decides.
        max_nodes: The most nodes there may be.
        clock: A monotonic clock, seconds.
        loop_factory: Makes each node's event loop.
        tuning: Says what the interpreter lock costs.
        report: Called by a node, on its thread, with what its workers have cost.
        ended: Called by a node, on its thread, when it runs nothing any more.

    Attributes:
        running: Whether workers are taken.
        bound: How many workers are on each node, or physically on their way to it.
    """

    def __init__(
        self,
        policy: Policy,
        max_nodes: int,
        clock: Callable[[], float],
        loop_factory: Callable[[], asyncio.AbstractEventLoop],
        tuning: Tuning,
        report: Callable[[Node, list[tuple[Worker, float]]], None],
        ended: Callable[[Node], None],
    ) -> None:
        # Reentrant, because the collector may run a finalizer that calls in on the same thread.
        self.lock = threading.RLock()
        self.clock = clock
        self.max_nodes = max_nodes
        self.running = False
        self.pool = NodePool(loop_factory, clock, self.lock, report, ended)
        self.bound: Counter[Node] = Counter()
        self.ledger: Ledger[Node] = Ledger(policy, max_nodes)
        self._policy = policy
        self._tuning = tuning

    @property
    def may_spawn(self) -> bool:
        """Whether there may be a node more."""
        return len(self.ledger.nodes) < self.max_nodes

    def clear(self) -> None:
        """Forget everything and everybody."""
        self.ledger = Ledger(self._policy, self.max_nodes)

    def check_running(self) -> None:
        if not self.running:
            raise NotRunning("the Foreman is not running; call start() first")

    def node(self, name: str) -> Node:
        """The node a policy has named."""
        try:
            return self.ledger.find(name)
        except KeyError:
            raise LookupError(f"the policy named {name!r}, and there is no such node") from None

    def find_node(
        self, demand: Demand, events: list[Event], home: Node | None = None
    ) -> tuple[Node | None, str]:
        """The node for this demand, spawned if need be; None, and why, when there is none."""
        decision = self.decide(demand, home=home)
        if isinstance(decision, Refuse):
            return None, decision.reason
        if isinstance(decision, Place):
            return self.node(decision.node), decision.reason
        node = self.enlist()
        events.append(Spawned(node, decision.reason))
        return node, f"a node of its own: {decision.reason}"

    def decide(
        self, demand: Demand, home: Node | None = None, avoid: Node | None = None
    ) -> Placement:
        """What the policy decides, within what it may."""
        delay = self._tuning.lock_delay(demand.required_latency)
        decision = self.ledger.place(demand, delay, home=home, avoid=avoid)
        if isinstance(decision, Spawn):
            if not self.may_spawn:
                return Refuse(f"there are {self.max_nodes} nodes already; {decision.reason}")
        elif not isinstance(decision, Place | Refuse):
            raise TypeError(f"a policy places by Place, Spawn or Refuse, not by {decision!r}")
        return decision

    def lock_in_use(self) -> float:
        """The share of the time in which somebody computes, 0 to 1; 0 where there is no lock."""
        if not self._tuning.lock_delay():
            return 0.0
        return min(1.0, self.ledger.computing)

    def enlist(self) -> Node:
        node = self.pool.take()
        self.ledger.enlist(node, self.clock())
        return node

    def reseat(self, seat: Seat, node: Node, demand: Demand, reason: str) -> bool:
        """Count the worker elsewhere, or as something else; returns whether to carry it now."""
        begin = seat.node is not node and not seat.in_transit
        self.ledger.reseat(seat, node, demand, reason)
        seat.in_transit = seat.in_transit or begin
        return begin

    def bind(self, seat: Seat) -> Node:
        """The node that the worker is to go to now; it does not end before it was left again."""
        self.unbind(seat)
        node: Node = seat.node
        self.bound[node] += 1
        seat.bound = node
        return node

    def unbind(self, seat: Seat) -> None:
        """The node it was bound to may end, as far as this one is concerned."""
        if seat.bound is not None:
            self.bound[seat.bound] -= 1
            if not self.bound[seat.bound]:
                del self.bound[seat.bound]
            seat.bound = None
