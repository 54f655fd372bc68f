"""Carries out what is decided: workers get their seats, nodes come and go, moves are begun."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from attrs import evolve

from foreman.carrier import Carrier
from foreman.decisions import Policy, Relocate, Retire, Spawn
from foreman.errors import Infeasible, NotRunning
from foreman.evacuation import Evacuation
from foreman.evacuations import Evacuations
from foreman.events import Event, Placed, Refused, Retired, Spawned
from foreman.latency import check_latency
from foreman.ledger import Cost
from foreman.seating import Seating
from foreman.tuning import Tuning

if TYPE_CHECKING:
    import asyncio

    from foreman.foreman import Foreman
    from foreman.node import Node
    from foreman.seat import Seat
    from foreman.worker import Worker

logger = logging.getLogger(__name__)

# How many resting workers are looked at under the lock at a time: nodes wait for it, too.
RESTING = 100

# When a worker that could not leave its node in time is asked again, at the earliest, seconds.
ASKED_AGAIN_AFTER = 30.0


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
        move_timeout: How long a worker may take to let go of a node, or to arrive, seconds.
        tuning: What the process is tuned to.
    """

    def __init__(
        self,
        foreman: Foreman,
        policy: Policy,
        max_nodes: int,
        clock: Callable[[], float],
        loop_factory: Callable[[], asyncio.AbstractEventLoop],
        move_timeout: float,
        tuning: Tuning,
    ) -> None:
        self._foreman = foreman
        self._seating = Seating(
            policy, max_nodes, clock, loop_factory, tuning, self._learn, self._bury
        )
        self._carrier = Carrier(self, move_timeout)
        self._evacuations = Evacuations(self._seating, self._carrier, self.tell)
        self._tuning = tuning
        self._strictest: float | None = None  # what it was tuned to last; guarded by the lock
        self.clock = clock
        self.lock = self._seating.lock

    # ---------------------------------------------------------------- life

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes there are, oldest first."""
        return self._seating.ledger.nodes

    def begin(self) -> bool:
        """Take workers from now on; False when it did already. The caller holds the lock."""
        begun, self._seating.running = self._seating.running, True
        return not begun

    def end(self) -> tuple[list[Worker], tuple[Node, ...]] | None:
        """Take no more workers; returns those there are, and the nodes. None when it had ended.

        The caller holds the lock.
        """
        if not self._seating.running:
            return None
        self._seating.running = False
        nodes = self._seating.ledger.nodes
        workers = [seat.worker for node in nodes for seat in node.roster.members()]
        self._seating.clear()
        self._evacuations.clear()
        return workers, nodes

    def close(self, nodes: Sequence[Node], ends: float) -> None:
        """End the nodes' threads, waiting for them until ``ends``, by the Foreman's clock."""
        for node in nodes:
            if self._seating.pool.end(node, max(0.1, ends - self.clock())):
                self._foreman.tell(Retired(node, "the Foreman stops"))
        self._seating.pool.close(max(0.1, ends - self.clock()))
        self.follow_strictest()  # nobody's, unless it was started again meanwhile

    # ---------------------------------------------------------------- workers

    def add(self, worker: Worker) -> Node:
        """As `Foreman.add`."""
        with self.lock:
            self._seating.check_running()
            latency = worker._join(self._foreman)
            if latency is None:
                raise ValueError(f"{_named(worker)} was added already")
            events: list[Event] = []
            node = None
            try:
                demand = self._seating.ledger.assume(_kind(worker), latency, worker.expected_hold)
                node, reason = self._seating.find_node(demand, events)
            finally:
                if node is None:
                    worker._foreman = None
            if node is not None:
                worker._seat = seat = self._seating.ledger.seat(worker, node, demand, reason)
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
            seat.departures = [*(seat.departures or ()), gone]
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
            if node not in self._seating.ledger.nodes:
                raise NotRunning(f"{_named(node)} is not a node of this Foreman")
            now = self.clock()
            self._seating.ledger.unsettle(seat.node, now)
            self._seating.ledger.unsettle(node, now)
            self._evacuations.call_off_retiring(node)
            begin = self._seating.reseat(seat, node, seat.demand, reason)
            if not begin and not seat.in_transit:
                arrived.set_result(True)
                return arrived
            seat.arrivals = [*(seat.arrivals or ()), (node, arrived)]
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
            if seat is None or seat.leaving or not self._seating.running:
                worker._required_latency = seconds
                return
            before = seat.demand
            demand = self._seating.ledger.redeclare(seat, seconds, worker.expected_hold)
            if demand.required_latency == before.required_latency:
                worker._required_latency = seconds
                return
            here = seat.node
            events: list[Event] = []
            here.roster.remove(seat, seat.demand)
            try:
                node, reason = self._seating.find_node(demand, events, home=here)
            finally:
                here.roster.add(seat, seat.demand)
            if node is None and demand.required_latency > before.required_latency:
                node, reason = here, "stays: it asks for less than before"
            begin = False
            if node is not None:
                worker._required_latency = seconds
                reason = f"declares {seconds:g} s; {reason}"
                begin = self._seating.reseat(seat, node, demand, reason)
        self.follow_strictest()
        try:
            for event in events:
                self._foreman.tell(event)
            if node is None:
                self._foreman.tell(Refused(worker, seconds, reason))
                raise Infeasible(seconds, reason)
        finally:  # an interrupted listener must not leave it on the way for ever
            if begin:
                self._carrier.fetch(worker, seat, worker._home)

    def spawn(self, reason: str) -> Node:
        """As `Foreman.spawn`."""
        with self.lock:
            self._seating.check_running()
            if not self._seating.may_spawn:
                raise Infeasible(None, f"there are {self._seating.max_nodes} nodes already")
            node = self._seating.enlist()
        self._foreman.tell(Spawned(node, reason))
        return node

    # ---------------------------------------------------------------- for the watcher

    def mark_stuck(self, node: Node, stuck: bool) -> None:
        """Something keeps a node from coming round, or does not any more."""
        if node.stuck is not stuck:
            with self.lock:
                node.stuck = stuck
                self._seating.ledger.mark_stuck(node, stuck)

    def was_late(self, node: Node) -> None:
        """A node broke a promise."""
        with self.lock:
            self._seating.ledger.was_late(node, self.clock())

    def rest(self, node: Node) -> float:
        """Nothing has run on a node for a while.

        Returns:
            When to say so again if nothing ran until then, by the Foreman's clock.
        """
        again = math.inf
        with self.lock:
            now = self.clock()
            seats = node.roster.members()
        for first in range(0, len(seats), RESTING):
            with self.lock:
                still = [s for s in seats[first : first + RESTING] if s.worker._seat is s]
                forgiven = self._seating.ledger.rest(still, now)
            if forgiven:
                node.post(_forget_peaks, node, [seat.worker for seat in forgiven])
            fixed = [s for s in still if not s.demand.movable and s.stays_until < now]
            if fixed:
                node.post(self._ask_again, node, fixed)
                again = min(again, now + ASKED_AGAIN_AFTER)
            changes = min((seat.changes_after(now) for seat in still), default=math.inf)
            again = min(again, changes)
        return again

    def _ask_again(self, node: Node, seats: Sequence[Seat]) -> None:
        """These rest, and could not be moved when they last ran. On their node's thread."""
        free = [seat for seat in seats if _is_movable(seat.worker)]
        with self.lock:
            for seat in free:
                if seat.node is node and seat.worker._seat is seat:
                    self._seating.ledger.free(seat)

    def review(self) -> None:
        """Have the policy look at the nodes as they are, and carry out what it decides."""
        events: list[Event] = []
        evacuations: list[Evacuation] = []
        try:
            with self.lock:
                if not self._seating.running:
                    return
                self._evacuations.dismiss_emptied(events)
                delay = self._tuning.lock_delay()
                for action in self._seating.ledger.review(self.clock(), delay):
                    if isinstance(action, (Relocate, Retire)):
                        evacuations.append(self._evacuations.order(action))
                    elif not isinstance(action, Spawn):
                        raise TypeError(f"not what a policy may do in a review: {action!r}")
                    elif self._seating.may_spawn:
                        events.append(Spawned(self._seating.enlist(), action.reason))
                if self._seating.ledger.nodes and self._seating.may_spawn:
                    self._seating.pool.reserve()
        finally:  # a policy of the user's may raise: what was entered must be carried out
            for event in events:
                self.tell(event)
            for evacuation in evacuations:
                self._evacuations.go_on(evacuation)

    # ---------------------------------------------------------------- for carriers and nodes

    def embark(self, seat: Seat) -> Node:
        """Where the worker is to go now; that node does not end before it got there and left."""
        with self.lock:
            return self._seating.bind(seat)

    def settled(self, worker: Worker, seat: Seat, here: Node) -> bool:
        """Whether the worker is where it was last decided to be; its carry is over then."""
        with self.lock:
            if seat.leaving or seat.node is not here:
                return False
            arrivals = seat.settle()
            evacuation = self._evacuations.drop_out(seat)
        for target, arrived in arrivals:
            arrived.set_result(target is here)
        self._evacuations.go_on(evacuation)
        return True

    def stay(self, worker: Worker, seat: Seat, here: Node) -> bool:
        """The worker could not leave: count it where it is; False when it was removed meanwhile."""
        with self.lock:
            if seat.leaving:
                return False
            seat.stays_until = self.clock() + ASKED_AGAIN_AFTER
            self._seating.reseat(seat, here, evolve(seat.demand, movable=False), "could not leave")
            arrivals = seat.settle()
            evacuation = self._evacuations.drop_out(seat)
            if evacuation is not None and evacuation.retires:
                self._evacuations.call_off_retiring(here)
        for _, arrived in arrivals:
            arrived.set_result(False)
        self._evacuations.go_on(evacuation)
        return True

    def forget(self, worker: Worker, seat: Seat) -> None:
        """The worker is on no node any more and goes to none. Does nothing twice."""
        with self.lock:
            self._seating.unbind(seat)
            if worker._seat is not seat:
                return
            self._seating.ledger.unseat(seat)
            worker._foreman = worker._seat = None
            evacuation = self._evacuations.drop_out(seat)
        for _, arrived in seat.arrivals or ():
            arrived.set_result(False)
        for gone in seat.departures or ():
            gone.set_result(None)
        self.follow_strictest()
        self._evacuations.go_on(evacuation)

    def tell(self, event: Event) -> None:
        """Pass an event on, from a thread of the Foreman's: no listener may end that."""
        try:
            self._foreman.tell(event)
        except BaseException:  # such as SystemExit; an Exception is dealt with already
            logger.exception("on_event raised for %r", event)

    def follow_strictest(self) -> None:
        """Tune the interpreter to the strictest latency declared anywhere."""
        with self.lock:  # so that the last to look is the last to wish
            declared = [n.roster.latencies for n in self._seating.ledger.nodes]
            strictest = min([latencies[0] for latencies in declared if latencies], default=None)
            if strictest != self._strictest:  # seldom, but asked for each worker
                self._strictest = strictest
                self._tuning.follow(strictest)

    def collect(self) -> bool:
        """As `Tuning.collect`."""
        return self._tuning.collect()

    def go_on(self, seconds: float) -> None:
        """So much time has passed since the last call: more of those who are to leave may go."""
        self._evacuations.allow(seconds)

    def _learn(self, node: Node, costs: list[tuple[Worker, float]]) -> None:
        """What workers were measured to cost. On their node's thread."""
        movable = {worker for worker, _ in costs if _is_movable(worker)}
        with self.lock:
            now = self.clock()
            self._seating.ledger.learn(
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
    # One string for all of a class, because each of them keeps it.
    return sys.intern(f"{type(worker).__module__}.{type(worker).__qualname__}")
