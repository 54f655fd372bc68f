"""Carries out what is decided: workers get their seats, nodes come and go, moves are begun."""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from attrs import evolve

from foreman.carrier import Carrier
from foreman.collector import collector
from foreman.decisions import Place, Placement, Policy, Refuse, Relocate, Retire, Spawn
from foreman.errors import Infeasible, NotRunning
from foreman.evacuation import Evacuation
from foreman.events import Event, Placed, Refused, Retired, Spawned
from foreman.interpreter import has_lock, interval_for, switch_interval
from foreman.latency import check_latency
from foreman.ledger import Cost, Ledger
from foreman.pool import NodePool

if TYPE_CHECKING:
    import asyncio

    from foreman.demand import Demand
    from foreman.foreman import Foreman
    from foreman.node import Node
    from foreman.seat import Seat
    from foreman.worker import Worker

logger = logging.getLogger(__name__)

# How many resting workers are looked at under the lock at a time: nodes wait for it, too.
RESTING = 100

# For how long a worker that could not leave its node in time is not asked again, seconds.
STAYS = 30.0


class Dispatcher:
    """The Foreman's hands. Every method may be called from any thread.

    One lock guards the ledger, every seat and every roster. Nothing under it waits, and no code of
    the user runs under it except the policy, which is pure, and the loop factory; so a decision is
    made and entered under it, and what follows from it, such as events and carries, is done after
    it was released.

    Args:
        foreman: Whose it is: what workers know, and who passes events on.
        policy: What decides.
        max_nodes: The most nodes there may be.
        clock: A monotonic clock, seconds.
        loop_factory: Makes each node's event loop.
        move_timeout: How long a worker may take to let go of its node, seconds.
        tunes_interpreter: Whether the switch interval follows the strictest latency.
        tunes_collector: Whether the garbage collector's pauses do.
    """

    def __init__(
        self,
        foreman: Foreman,
        policy: Policy,
        max_nodes: int,
        clock: Callable[[], float],
        loop_factory: Callable[[], asyncio.AbstractEventLoop],
        move_timeout: float,
        tunes_interpreter: bool,
        tunes_collector: bool,
    ) -> None:
        self._foreman = foreman
        self._policy = policy
        self._max_nodes = max_nodes
        self.clock = clock
        self._has_lock = has_lock()
        self._tunes_interval = tunes_interpreter and self._has_lock
        self._tunes_collector = tunes_collector
        self._carrier = Carrier(self, move_timeout)
        # Reentrant, because the collector may run a finalizer that calls in on the same thread.
        self.lock = threading.RLock()
        self._pool = NodePool(loop_factory, clock, self.lock, self._learn, self._bury)
        self._ledger: Ledger[Node] = Ledger(policy, max_nodes)
        self._bound: Counter[Node] = Counter()
        self._evacuations: dict[Node, Evacuation] = {}
        self._running = False

    # ---------------------------------------------------------------- life

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes there are, oldest first."""
        return self._ledger.nodes

    def begin(self) -> bool:
        """Take workers from now on; False when it did already. The caller holds the lock."""
        begun, self._running = self._running, True
        return not begun

    def end(self) -> tuple[list[Worker], tuple[Node, ...]] | None:
        """Take no more workers; returns those there are, and the nodes. None when it had ended.

        The caller holds the lock.
        """
        if not self._running:
            return None
        self._running = False
        nodes = self._ledger.nodes
        workers = [seat.worker for node in nodes for seat in node.roster.members()]
        self._ledger = Ledger(self._policy, self._max_nodes)
        self._evacuations.clear()
        return workers, nodes

    def close(self, nodes: Sequence[Node], ends: float) -> None:
        """End the nodes' threads, waiting for them until ``ends``, by the Foreman's clock."""
        for node in nodes:
            if self._pool.end(node, max(0.1, ends - self.clock())):
                self._foreman.tell(Retired(node, "the Foreman stops"))
        self._pool.close(max(0.1, ends - self.clock()))
        self.follow_strictest()  # nobody's, unless it was started again meanwhile

    # ---------------------------------------------------------------- workers

    def add(self, worker: Worker) -> Node:
        """As `Foreman.add`."""
        with self.lock:
            self._check_running()
            latency = worker._join(self._foreman)
            if latency is None:
                raise ValueError(f"{_named(worker)} was added already")
            events: list[Event] = []
            node = None
            try:
                demand = self._ledger.assume(_kind(worker), latency, worker.expected_hold)
                node, reason = self._find_node(demand, events)
            finally:
                if node is None:
                    worker._foreman = None
            if node is not None:
                worker._seat = seat = self._ledger.seat(worker, node, demand, reason)
        self.follow_strictest()
        if node is None:
            self._foreman.tell(Refused(worker, latency, reason))
            raise Infeasible(latency, reason)
        try:
            for event in events:
                self._foreman.tell(event)
            self._foreman.tell(Placed(worker, node, reason))
        finally:  # an interrupted listener must not leave it on the way for ever
            self._carrier.fetch(worker, seat, None)
        return node

    def remove(self, worker: Worker) -> Future[None]:
        """As `Foreman.remove`."""
        gone: Future[None] = _promise()
        with self.lock:
            seat = worker._seat
            if worker._foreman is not self._foreman or seat is None:
                gone.set_result(None)
                return gone
            seat.departures.append(gone)
            seat.leaving = True
            begin, seat.in_transit = not seat.in_transit, True
        if begin:
            self._carrier.fetch(worker, seat, worker._home)
        return gone

    def move(self, worker: Worker, node: Node, reason: str) -> Future[bool]:
        """As `Foreman.move`."""
        arrived: Future[bool] = _promise()
        with self.lock:
            seat = worker._seat
            if worker._foreman is not self._foreman or seat is None or seat.leaving:
                raise NotRunning(f"{_named(worker)} is not a worker of this Foreman")
            if node not in self._ledger.nodes:
                raise NotRunning(f"{_named(node)} is not a node of this Foreman")
            now = self.clock()
            self._ledger.unsettle(seat.node, now)
            self._ledger.unsettle(node, now)
            if self._ledger.is_retiring(node):
                self._call_off(self._evacuations[node])
            begin = self._reseat(seat, node, seat.demand, reason)
            if not begin and not seat.in_transit:
                arrived.set_result(True)
                return arrived
            seat.arrivals.append((node, arrived))
        if begin:
            self._carrier.fetch(worker, seat, worker._home)
        return arrived

    def require(self, worker: Worker, seconds: float) -> None:
        """As `Foreman.require`."""
        seconds = check_latency(seconds)
        with self.lock:
            seat = worker._seat
            if worker._foreman not in (None, self._foreman):
                raise NotRunning(f"{_named(worker)} is not a worker of this Foreman")
            if seat is None or seat.leaving or not self._running:
                worker._required_latency = seconds
                return
            demand = seat.demand
            if demand.measured:
                demand = evolve(demand, required_latency=seconds)
            else:
                demand = self._ledger.assume(_kind(worker), seconds, worker.expected_hold)
            here = seat.node
            events: list[Event] = []
            here.roster.remove(seat, seat.demand)
            try:
                node, reason = self._find_node(demand, events, home=here)
            finally:
                here.roster.add(seat, seat.demand)
            begin = False
            if node is not None:
                worker._required_latency = seconds
                begin = self._reseat(seat, node, demand, f"declares {seconds:g} s; {reason}")
        self.follow_strictest()
        for event in events:
            self._foreman.tell(event)
        if node is None:
            self._foreman.tell(Refused(worker, seconds, reason))
            raise Infeasible(seconds, reason)
        if begin:
            self._carrier.fetch(worker, seat, worker._home)

    def spawn(self, reason: str) -> Node:
        """As `Foreman.spawn`."""
        with self.lock:
            self._check_running()
            if len(self._ledger.nodes) >= self._max_nodes:
                raise Infeasible(None, f"there are {self._max_nodes} nodes already")
            node = self._enlist()
        self._foreman.tell(Spawned(node, reason))
        return node

    # ---------------------------------------------------------------- for the watcher

    def was_late(self, node: Node) -> None:
        """A node broke a promise."""
        with self.lock:
            self._ledger.was_late(node, self.clock())

    def rest(self, node: Node) -> float:
        """Nothing has run on a node for a while.

        Returns:
            When to say so again if nothing ran until then, by the Foreman's clock: when the next
            of those who could not leave may be asked again. Infinity when there is none.
        """
        again = math.inf
        with self.lock:
            now = self.clock()
            seats = node.roster.members()
        for first in range(0, len(seats), RESTING):
            with self.lock:
                still = [s for s in seats[first : first + RESTING] if s.worker._seat is s]
                forgiven = self._ledger.rest(still, now)
            if forgiven:
                node.post(_forget_peaks, node, [seat.worker for seat in forgiven])
            stay = (seat.stays_until for seat in still)
            again = min(until for until in (*stay, again) if until >= now)
        return again

    def go_on(self, seconds: float) -> None:
        """So much time has passed since the last call: more of those who are to leave may go."""
        if not self._evacuations:
            return
        with self.lock:
            evacuations = list(self._evacuations.values())
            for evacuation in evacuations:
                evacuation.allow(seconds)
        for evacuation in evacuations:
            self._go_on(evacuation)

    def review(self) -> None:
        """Have the policy look at the nodes as they are, and carry out what it decides."""
        events: list[Event] = []
        evacuations: list[Evacuation] = []
        try:
            with self.lock:
                if not self._running:
                    return
                self._dismiss_emptied(events)
                for action in self._ledger.review(self.clock(), self._lock_delay(None)):
                    if isinstance(action, (Relocate, Retire)):
                        evacuations.append(self._evacuate(action))
                    elif not isinstance(action, Spawn):
                        raise TypeError(f"not what a policy may do in a review: {action!r}")
                    elif len(self._ledger.nodes) < self._max_nodes:
                        events.append(Spawned(self._enlist(), action.reason))
                if 0 < len(self._ledger.nodes) < self._max_nodes:
                    self._pool.reserve()
        finally:  # a policy of the user's may raise: what was entered must be carried out
            for event in events:
                self.tell(event)
            for evacuation in evacuations:
                self._go_on(evacuation)

    # ---------------------------------------------------------------- for carriers and nodes

    def embark(self, seat: Seat) -> Node:
        """Where the worker is to go now; that node does not end before it got there and left."""
        with self.lock:
            node: Node = seat.node
            self._unbind(seat)
            self._bound[node] += 1
            seat.bound = node
            return node

    def settled(self, worker: Worker, seat: Seat, here: Node) -> bool:
        """Whether the worker is where it was last decided to be; its carry is over then."""
        with self.lock:
            if seat.leaving or seat.node is not here:
                return False
            seat.in_transit = False
            arrivals, seat.arrivals = seat.arrivals, []
            evacuation = self._drop_out(seat)
        for target, arrived in arrivals:
            arrived.set_result(target is here)
        self._go_on(evacuation)
        return True

    def stay(self, worker: Worker, seat: Seat, here: Node) -> bool:
        """The worker could not leave: count it where it is; False when it was removed meanwhile."""
        with self.lock:
            if seat.leaving:
                return False
            seat.stays_until = self.clock() + STAYS
            self._reseat(seat, here, evolve(seat.demand, movable=False), "could not leave")
            seat.in_transit = False
            arrivals, seat.arrivals = seat.arrivals, []
            evacuation = self._drop_out(seat)
            if evacuation is not None and evacuation.retires:
                self._call_off(evacuation)
        for _, arrived in arrivals:
            arrived.set_result(False)
        self._go_on(evacuation)
        return True

    def forget(self, worker: Worker, seat: Seat) -> None:
        """The worker is on no node any more and goes to none. Does nothing twice."""
        with self.lock:
            self._unbind(seat)
            if worker._seat is not seat:
                return
            self._ledger.unseat(seat)
            worker._foreman = worker._seat = None
            evacuation = self._drop_out(seat)
        for _, arrived in seat.arrivals:
            arrived.set_result(False)
        for gone in seat.departures:
            gone.set_result(None)
        self.follow_strictest()
        self._go_on(evacuation)

    def tell(self, event: Event) -> None:
        """Pass an event on, from a thread of the Foreman's: no listener may end that."""
        try:
            self._foreman.tell(event)
        except BaseException:  # such as SystemExit; an Exception is dealt with already
            logger.exception("on_event raised for %r", event)

    def follow_strictest(self) -> None:
        """Tune the interpreter to the strictest latency declared anywhere."""
        with self.lock:  # so that the last to look is the last to wish
            strictest = min(
                (n.roster.latencies[0] for n in self._ledger.nodes if n.roster.latencies),
                default=None,
            )
            self._wish(strictest)

    def collect(self) -> None:
        """Have what has outlived the young collections examined, if it is time to."""
        if self._tunes_collector:
            collector.look()

    def _wish(self, strictest: float | None) -> None:
        if self._tunes_interval:
            switch_interval.wish(self, strictest)
        if self._tunes_collector:
            collector.wish(self, strictest)

    def _learn(self, node: Node, costs: list[tuple[Worker, float]]) -> None:
        """What workers were measured to cost. On their node's thread."""
        movable = {worker for worker, _ in costs if _is_movable(worker)}
        with self.lock:
            now = self.clock()
            self._ledger.learn(
                (
                    seat,
                    Cost(
                        runs=worker.holds.total_runs,
                        hold=worker.holds.peak,
                        mean=worker.holds.mean,
                        load=load,
                        computing=worker.holds.computing,
                        movable=worker in movable and now >= seat.stays_until,
                    ),
                )
                for worker, load in costs
                if (seat := worker._seat) is not None and worker._foreman is self._foreman
            )

    def _bury(self, node: Node) -> None:
        """A node has ended: whoever is left on it is forgotten. On the node's thread."""
        with self.lock:
            left = [
                seat
                for seat in node.roster.members()
                if seat.worker._home is None or seat.worker._home is node
            ]
        for seat in left:
            seat.worker._home = None
            self.forget(seat.worker, seat)

    # ---------------------------------------------------------------- under the lock

    def _check_running(self) -> None:
        if not self._running:
            raise NotRunning("the Foreman is not running; call start() first")

    def _lock_delay(self, demand: Demand | None) -> float:
        """What one other node that computes costs a ready worker, seconds."""
        if not self._has_lock:
            return 0.0
        interval = sys.getswitchinterval()
        if self._tunes_interval and demand is not None:
            interval = min(interval, interval_for(demand.required_latency))
        return interval

    def _unbind(self, seat: Seat) -> None:
        """The node it was bound to may end, as far as this one is concerned."""
        if seat.bound is not None:
            self._bound[seat.bound] -= 1
            if not self._bound[seat.bound]:
                del self._bound[seat.bound]
            seat.bound = None

    def _node(self, name: str) -> Node:
        """The node a policy has named."""
        for node in self._ledger.nodes:
            if node.name == name:
                return node
        raise LookupError(f"the policy named {name!r}, and there is no such node")

    def _find_node(
        self, demand: Demand, events: list[Event], home: Node | None = None
    ) -> tuple[Node | None, str]:
        """The node for this demand, spawned if need be; None, and why, when there is none."""
        decision = self._decide(demand, home=home)
        if isinstance(decision, Refuse):
            return None, decision.reason
        if isinstance(decision, Place):
            return self._node(decision.node), decision.reason
        node = self._enlist()
        events.append(Spawned(node, decision.reason))
        return node, f"a node of its own: {decision.reason}"

    def _decide(
        self, demand: Demand, home: Node | None = None, avoid: Node | None = None
    ) -> Placement:
        """What the policy decides, within what it may."""
        decision = self._ledger.place(demand, self._lock_delay(demand), home=home, avoid=avoid)
        if isinstance(decision, Spawn):
            if len(self._ledger.nodes) >= self._max_nodes:
                return Refuse(f"there are {self._max_nodes} nodes already; {decision.reason}")
        elif not isinstance(decision, Place | Refuse):
            raise TypeError(f"a policy places by Place, Spawn or Refuse, not by {decision!r}")
        return decision

    def _enlist(self) -> Node:
        node = self._pool.take()
        self._ledger.enlist(node, self.clock())
        return node

    def _reseat(self, seat: Seat, node: Node, demand: Demand, reason: str) -> bool:
        """Count the worker elsewhere, or as something else; returns whether to carry it now."""
        begin = seat.node is not node and not seat.in_transit
        self._ledger.reseat(seat, node, demand, reason)
        seat.in_transit = seat.in_transit or begin
        return begin

    def _dismiss_emptied(self, events: list[Event]) -> None:
        """End the nodes that everybody has left who was to leave."""
        for node, evacuation in list(self._evacuations.items()):
            if not evacuation.is_over:
                continue
            if node.roster.count:  # such as one that was on its way there already
                self._call_off(evacuation)
            elif not self._bound[node]:
                del self._evacuations[node]
                self._ledger.strike_off(node)
                self._pool.dismiss(node)
                events.append(Retired(node, evacuation.reason))

    def _call_off(self, evacuation: Evacuation) -> None:
        """Nobody else needs to leave the node, which goes on."""
        evacuation.call_off()
        if self._evacuations.get(evacuation.node) is evacuation:
            del self._evacuations[evacuation.node]
        self._ledger.end_action(evacuation.node, self.clock())
        self._ledger.unsettle(evacuation.node, self.clock())

    def _evacuate(self, action: Relocate | Retire) -> Evacuation:
        node = self._node(action.node)
        retires = isinstance(action, Retire)
        if isinstance(action, Relocate):
            seats = self._ledger.accuse(action, self.clock())
        else:
            seats = self._ledger.pardon(node)
        evacuation = self._evacuations.get(node)
        if evacuation is not None and evacuation.retires is retires:
            evacuation.extend(seats)
            return evacuation
        if evacuation is not None:
            self._call_off(evacuation)
        self._ledger.begin_action(node, retiring=retires)
        evacuation = Evacuation(node, seats, action.reason, retires=retires)
        self._evacuations[node] = evacuation
        return evacuation

    def _drop_out(self, seat: Seat) -> Evacuation | None:
        """The worker has been moved, or will not be; returns the evacuation that goes on."""
        evacuation, seat.evacuation = seat.evacuation, None
        if evacuation is not None:
            evacuation.on_the_way -= 1
        return evacuation

    def _go_on(self, evacuation: Evacuation | None) -> None:
        """Move the next few; at the end, let the node be judged anew, or end."""
        if evacuation is None:
            return
        events: list[Event] = []
        begun: list[Seat] = []
        failure: Exception | None = None
        with self.lock:
            if not self._running:
                return
            try:
                while (seat := evacuation.next()) is not None:
                    if self._send_away(seat, evacuation, events):
                        begun.append(seat)
            except Exception as error:
                failure = error
                self._call_off(evacuation)
            node = evacuation.node
            ended = evacuation.is_over and not evacuation.retires
            if ended and self._evacuations.get(node) is evacuation:
                del self._evacuations[node]
                self._ledger.end_action(node, self.clock())
        if failure is not None:  # such as a policy of the user's, or want of descriptors
            logger.error("no place for those who leave %s", node.name, exc_info=failure)
        for event in events:
            self.tell(event)
        for seat in begun:
            self._carrier.fetch(seat.worker, seat, seat.worker._home)

    def _send_away(self, seat: Seat, evacuation: Evacuation, events: list[Event]) -> bool:
        """Find one worker another node; False when there is none for it."""
        demand, node = seat.demand, evacuation.node
        decision = self._decide(demand, avoid=node)
        if isinstance(decision, Place):
            target = self._node(decision.node)
        elif isinstance(decision, Refuse) or evacuation.retires:
            if evacuation.retires:  # it was not to cost others a node
                self._call_off(evacuation)
            return False
        else:
            target = self._enlist()
            events.append(Spawned(target, evacuation.reason))
        begin = self._reseat(seat, target, demand, evacuation.reason)
        if begin:
            seat.evacuation = evacuation
            evacuation.on_the_way += 1
        return begin


def _forget_peaks(node: Node, workers: Sequence[Worker]) -> None:
    """What these did long ago is not to be held against them. On the node's thread."""
    for worker in workers:
        if worker._home is node:
            worker.holds.peak = 0.0


def _promise() -> Future[Any]:
    """A future that only its maker ends: were it cancelled, those waiting beside it would hang."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _is_movable(worker: Worker) -> bool:
    try:
        return worker.movable
    except Exception:  # the user's; it is told when it is to move, and not again and again
        return False


def _named(whom: object) -> str:
    """What to call it in an error made under the lock: its own `repr` may ask for the lock, too."""
    return object.__repr__(whom)


def _kind(worker: Worker) -> str:
    return f"{type(worker).__module__}.{type(worker).__qualname__}"
