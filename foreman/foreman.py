"""The Foreman: gives every worker a node, and remembers what it promised to whom."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from time import perf_counter
from types import TracebackType
from typing import Any

from attrs import evolve

from foreman.carrier import Carrier
from foreman.demand import Demand, NodeView, Snapshot
from foreman.errors import Infeasible, NotRunning
from foreman.events import Event, Placed, Refused, Retired, Spawned
from foreman.experience import Experience
from foreman.interpreter import has_lock, switch_interval
from foreman.latency import check_latency
from foreman.loops import new_loop
from foreman.node import Node
from foreman.policy import BestFit, Place, Policy, Refuse
from foreman.seat import Seat
from foreman.statistics import ForemanStatistics, NodeStatistics
from foreman.watcher import Watcher
from foreman.worker import Worker

logger = logging.getLogger(__name__)

# An idle node costs a thread and no time, so the cap is there against runaways, not to save.
DEFAULT_MAX_NODES = max(8, 2 * (os.cpu_count() or 1))

# How often a worker must have run before its longest hold so far is taken for its longest.
BELIEVED_AFTER = 16


class Foreman:
    """Places workers on nodes so that every declared latency can be kept.

    Usable from plain threads and from asyncio programs: no method waits, except `stop`. All
    methods are thread-safe. `with Foreman() as foreman:` starts and stops it.

    Args:
        policy: What decides; None for `BestFit`.
        max_nodes: The most nodes, threads that is, there may be.
        clock: A monotonic clock, seconds.
        loop_factory: Makes each node's event loop; None for uvloop, or asyncio where it is missing.
        move_timeout: How long a worker may take to let go of its node, seconds; then it stays.
        tune_interpreter: Whether the interpreter's switch interval follows the strictest declared
            latency. It is process-wide, and restored by `stop`.
        on_event: Called with every `foreman.events.Event`, on whichever thread it happened;
            it must be quick. None to override the method, or not to listen.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        max_nodes: int = DEFAULT_MAX_NODES,
        clock: Callable[[], float] = perf_counter,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        move_timeout: float = 5.0,
        tune_interpreter: bool = True,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if isinstance(max_nodes, bool) or not isinstance(max_nodes, int) or max_nodes < 1:
            raise ValueError(f"max_nodes must be a whole number of at least 1, not {max_nodes!r}")
        if not move_timeout > 0:
            raise ValueError(f"move_timeout must be a positive time, seconds, not {move_timeout!r}")
        self._policy: Policy = BestFit() if policy is None else policy
        self._max_nodes = max_nodes
        self._clock = clock
        self._loop_factory = loop_factory or new_loop
        self._tunes = tune_interpreter and has_lock()
        self._carrier = Carrier(self, move_timeout)
        self._listener = on_event
        # The lock guards everything below, every seat and every roster. No code of the user runs
        # under it, and nothing under it waits.
        self._lock = threading.Lock()
        self._running = False
        self._watcher: Watcher | None = None
        self._nodes: tuple[Node, ...] = ()
        self._spawned = 0
        self._experience = Experience()
        self._events: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Foreman: {len(self._nodes)} nodes>"

    def __enter__(self) -> Foreman:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # ---------------------------------------------------------------- for users

    def start(self) -> bool:
        """Begin to watch. Nodes are started when there are workers for them.

        Returns:
            Whether it began now; False, and nothing happens, when it was running already.
        """
        with self._lock:
            if self._running:
                return False
            self._running = True
            self._watcher = Watcher(self)
            self._watcher.start()
            return True

    def stop(self, timeout: float = 10.0) -> None:
        """Let every worker go, each with its `on_stop`, and end the nodes. Does nothing twice.

        Must not be called from a worker's hook: a node cannot wait for its own end.

        Args:
            timeout: The longest it may take, seconds. A node that is stuck for longer is left
                to end with the process, and logged.

        Raises:
            RuntimeError: It was called on a node's thread.
        """
        if any(node.here for node in self._nodes):
            raise RuntimeError("Foreman.stop was called from a worker on one of its nodes")
        with self._lock:
            if not self._running:
                return
            self._running = False
            watcher, self._watcher = self._watcher, None
            nodes, self._nodes = self._nodes, ()
            workers = [worker for node in nodes for worker in node.roster.members()]
            self._experience = Experience()
        assert watcher is not None  # made by start
        watcher.stop()
        ends = self._clock() + timeout
        wait([self.remove(worker) for worker in workers], timeout)
        for node in nodes:
            if node.stop(max(0.1, ends - self._clock())):
                self.tell(Retired(node, "the Foreman stops"))
            else:
                logger.error("%s did not end in time; it is busy with %r", node.name, node.holder)
        self._settle_interpreter()

    def add(self, worker: Worker) -> Node:
        """Place a worker; returns its node at once, and `on_start` runs there soon.

        Raises:
            Infeasible: No node can keep its declared latency and no more may be spawned.
            NotRunning: The Foreman is not running.
            ValueError: The worker has a Foreman already.
        """
        with self._lock:
            latency = worker.required_latency
            if not self._running:
                raise NotRunning("the Foreman is not running; call start() first")
            if worker._foreman is not None:
                raise ValueError(f"{worker!r} was added already")
            demand = self._assume(worker, latency)
            events: list[Event] = []
            node, reason = self._find_node(demand, None, events)
            if node is not None:
                seat = Seat(node, demand, reason)
                worker._foreman, worker._seat = self, seat
                node.roster.add(worker, demand)
        self._settle_interpreter()
        if node is None:
            self.tell(Refused(worker, latency, reason))
            raise Infeasible(latency, reason)
        try:
            for event in events:
                self.tell(event)
            self.tell(Placed(worker, node, reason))
        finally:  # an interrupted listener must not leave it on the way for ever
            self._carrier.fetch(worker, seat, None)
        return node

    def remove(self, worker: Worker) -> Future[None]:
        """Let a worker go: `on_stop` runs on its node, then it has none.

        Returns:
            A future that is done when it has gone; at once when it had been removed already.
        """
        gone: Future[None] = _promise()
        with self._lock:
            seat = worker._seat
            if worker._foreman is not self or seat is None:
                gone.set_result(None)
                return gone
            seat.departures.append(gone)
            seat.leaving = True
            begin, seat.in_transit = not seat.in_transit, True
        if begin:
            self._carrier.fetch(worker, seat, worker._home)
        return gone

    def move(self, worker: Worker, node: Node, reason: str = "asked for") -> Future[bool]:
        """Have a worker run on another node, whatever the policy thinks of it.

        Returns:
            A future: True when it arrived; False when it stayed, was sent elsewhere or removed
            meanwhile.

        Raises:
            NotRunning: The worker, or the node, does not belong to this Foreman.
        """
        arrived: Future[bool] = _promise()
        with self._lock:
            seat = worker._seat
            if worker._foreman is not self or seat is None or seat.leaving:
                raise NotRunning(f"{worker!r} is not a worker of this Foreman")
            if node not in self._nodes:
                raise NotRunning(f"{node!r} is not a node of this Foreman")
            begin = self._reseat(worker, seat, node, seat.demand, reason)
            if not begin and not seat.in_transit:
                arrived.set_result(True)
                return arrived
            seat.arrivals.append((node, arrived))
        if begin:
            self._carrier.fetch(worker, seat, worker._home)
        return arrived

    def require(self, worker: Worker, seconds: float) -> None:
        """Change a worker's declared latency and place it anew (`worker.required_latency = …`).

        Raises:
            Infeasible: It cannot be kept; the worker stays with what it had declared before.
            InvalidLatency: It is no positive, finite number.
            NotRunning: The worker belongs to another Foreman.
        """
        seconds = check_latency(seconds)
        with self._lock:
            seat = worker._seat
            if worker._foreman not in (None, self):
                raise NotRunning(f"{worker!r} is not a worker of this Foreman")
            if seat is None or seat.leaving or not self._running:
                worker._required_latency = seconds
                return
            demand = seat.demand
            if demand.measured:
                demand = evolve(demand, required_latency=seconds)
            else:
                demand = self._assume(worker, seconds)
            here = seat.node
            events: list[Event] = []
            here.roster.remove(worker, seat.demand)
            try:
                node, reason = self._find_node(demand, here, events)
            finally:
                here.roster.add(worker, seat.demand)
            begin = False
            if node is not None:
                worker._required_latency = seconds
                begin = self._reseat(
                    worker, seat, node, demand, f"declares {seconds:g} s; {reason}"
                )
        self._settle_interpreter()
        for event in events:
            self.tell(event)
        if node is None:
            self.tell(Refused(worker, seconds, reason))
            raise Infeasible(seconds, reason)
        if begin:
            self._carrier.fetch(worker, seat, worker._home)

    def spawn(self, reason: str = "asked for") -> Node:
        """Start a node ahead of need.

        Raises:
            Infeasible: There are `max_nodes` already.
            NotRunning: The Foreman is not running.
        """
        with self._lock:
            if not self._running:
                raise NotRunning("the Foreman is not running; call start() first")
            if len(self._nodes) >= self._max_nodes:
                raise Infeasible(None, f"there are {self._max_nodes} nodes already")
            node = self._spawn()
        self.tell(Spawned(node, reason))
        return node

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes there are, oldest first."""
        return self._nodes

    @property
    def max_nodes(self) -> int:
        """The most nodes there may be."""
        return self._max_nodes

    def statistics(self) -> ForemanStatistics:
        """What there is now, and what happened so far."""
        with self._lock:
            views = [(node, node.roster.groups(), node.roster.count) for node in self._nodes]
            events = dict(self._events)
        nodes = tuple(
            NodeStatistics(
                name=node.name,
                workers=count,
                load=sum(group.load for group in groups),
                scan_latency=node.scan_latency,
                required_latency=min((g.required_latency for g in groups), default=None),
                stuck=node.stuck,
            )
            for node, groups, count in views
        )
        return ForemanStatistics(nodes=nodes, workers=sum(n.workers for n in nodes), events=events)

    def on_event(self, event: Event) -> None:
        """Something happened; called on whichever thread it did. Must be quick."""
        if self._listener is not None:
            self._listener(event)

    # ---------------------------------------------------------------- under the lock

    def _assume(self, worker: Worker, latency: float) -> Demand:
        kind = _kind(worker)
        shown = self._experience.of(kind)
        demand = self._policy.assume(kind, latency, shown)
        if shown is None and worker.expected_hold is not None:
            demand = evolve(demand, hold=worker.expected_hold)
        return demand

    def _find_node(
        self, demand: Demand, home: Node | None, events: list[Event]
    ) -> tuple[Node | None, str]:
        """The node for this demand, spawned if need be; None, and why, when there is none."""
        snapshot = Snapshot(
            nodes=tuple(
                NodeView(name=node.name, groups=node.roster.groups(), stuck=node.stuck)
                for node in self._nodes
            ),
            max_nodes=self._max_nodes,
            lock_delay=sys.getswitchinterval() if self._tunes else 0.0,
        )
        decision = self._policy.place(demand, snapshot, None if home is None else home.name)
        if isinstance(decision, Refuse):
            return None, decision.reason
        if isinstance(decision, Place):
            return next(n for n in self._nodes if n.name == decision.node), decision.reason
        node = self._spawn()
        events.append(Spawned(node, decision.reason))
        return node, f"a node of its own: {decision.reason}"

    def _spawn(self) -> Node:
        self._spawned += 1
        name = f"node-{self._spawned}"
        node = Node(name, self._loop_factory(), self._clock, self._lock, self._learn, self._bury)
        node.start()
        self._nodes = (*self._nodes, node)
        return node

    def _reseat(self, worker: Worker, seat: Seat, node: Node, demand: Demand, reason: str) -> bool:
        """Count the worker elsewhere, or as something else; returns whether to carry it now."""
        seat.node.roster.remove(worker, seat.demand)
        node.roster.add(worker, demand)
        begin = seat.node is not node and not seat.in_transit
        seat.node, seat.demand, seat.reason = node, demand, reason
        seat.in_transit = seat.in_transit or begin
        return begin

    # ---------------------------------------------------------------- for nodes and carriers

    def settled(self, worker: Worker, seat: Seat, here: Node) -> bool:
        """Whether the worker is where it was last decided to be; its carry is over then."""
        with self._lock:
            if seat.leaving or seat.node is not here:
                return False
            seat.in_transit = False
            arrivals, seat.arrivals = seat.arrivals, []
        for target, arrived in arrivals:
            arrived.set_result(target is here)
        return True

    def stay(self, worker: Worker, seat: Seat, here: Node) -> bool:
        """The worker could not leave: count it where it is; False when it was removed meanwhile."""
        with self._lock:
            if seat.leaving:
                return False
            self._reseat(worker, seat, here, seat.demand, "could not leave")
            seat.in_transit = False
            arrivals, seat.arrivals = seat.arrivals, []
        for _, arrived in arrivals:
            arrived.set_result(False)
        return True

    def forget(self, worker: Worker, seat: Seat) -> None:
        """The worker is on no node any more and goes to none. Does nothing twice."""
        with self._lock:
            if worker._seat is not seat:
                return
            seat.node.roster.remove(worker, seat.demand)
            worker._foreman = worker._seat = None
        for _, arrived in seat.arrivals:
            arrived.set_result(False)
        for gone in seat.departures:
            gone.set_result(None)
        self._settle_interpreter()

    def tell(self, event: Event) -> None:
        """Count an event and pass it on; a listener that raises is logged."""
        kind = type(event).__name__.lower()
        with self._lock:
            self._events[kind] = self._events.get(kind, 0) + 1
        logger.debug("%s: %s", kind, getattr(event, "reason", ""))
        try:
            self.on_event(event)
        except Exception:
            logger.exception("on_event raised for %r", event)

    def _bury(self, node: Node) -> None:
        """A node has ended: whoever is left on it is forgotten. On the node's thread."""
        with self._lock:
            left = [
                (worker, worker._seat)
                for worker in node.roster.members()
                if worker._home is None or worker._home is node
            ]
        for worker, seat in left:
            worker._home = None
            self.forget(worker, seat)

    def _learn(self, node: Node, costs: list[tuple[Worker, float]]) -> None:
        """Measured costs take the place of assumed ones. On the node's thread.

        The room reserved for a worker is given back at once. That its holds are short is believed
        only when it has run a few times: until then it may not have met its real work yet.
        """
        shown: dict[str, list[Demand]] = {}
        with self._lock:
            for worker, load in costs:
                seat = worker._seat
                if seat is None or worker._foreman is not self:
                    continue
                hold = worker.holds.peak
                if worker.holds.total_runs >= BELIEVED_AFTER:
                    demand = evolve(seat.demand, hold=hold, load=load, measured=True)
                    shown.setdefault(demand.kind, []).append(demand)
                else:
                    demand = evolve(seat.demand, hold=max(hold, seat.demand.hold), load=load)
                seat.node.roster.remove(worker, seat.demand)
                seat.node.roster.add(worker, demand)
                seat.demand = demand
            for kind, demands in shown.items():
                self._experience.learn(kind, demands)

    def _settle_interpreter(self) -> None:
        if not self._tunes:
            return
        with self._lock:  # so that the last to look is the last to wish
            strictest = min(
                (n.roster.latencies[0] for n in self._nodes if n.roster.latencies), default=None
            )
            switch_interval.wish(self, strictest)


def _promise() -> Future[Any]:
    """A future that only its maker ends: were it cancelled, those waiting beside it would hang."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _kind(worker: Worker) -> str:
    return f"{type(worker).__module__}.{type(worker).__qualname__}"
