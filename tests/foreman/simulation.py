"""A ledger and its policy on a simulated clock: nodes and workers of which only the costs exist.

It does with the policy's decisions what the dispatcher does, at once and on one thread, and shows
the ledger what the meters would have measured of workers with known costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from attrs import Factory, define, evolve, field, frozen

from foreman import BestFit, Demand, Infeasible, Place, Policy, Refuse, Relocate, Retire
from foreman.accounts import AT_REST, FOLD_PERIOD
from foreman.dispatcher import ASKED_AGAIN_AFTER
from foreman.ledger import Cost, Ledger
from foreman.meters import PEAK_DECAY
from foreman.roster import Roster
from foreman.seat import Seat
from foreman.watcher import REST_AFTER, REVIEW_PERIOD

FOLD_EVERY = round(FOLD_PERIOD / REVIEW_PERIOD)  # steps of the simulation


@define(eq=False)
class SimNode:
    """What the ledger has to know of a node, and when it is at rest, unless it does something."""

    name: str
    roster: Roster = field(factory=Roster)
    stuck: bool = False
    rests: float = math.inf


@define(eq=False)
class SimWorker:
    """A worker with its true costs, which a test may change at any time; see `Demand` for units.

    Attributes:
        jitter: By what share its costs vary from one window to the next, either way.
        latest: Its longest hold in the latest window, seconds; 0 when it did not run.
        runs, peak, average, shown: What the meters say: how often it ran, its longest and its mean
            hold lately, seconds, and the share of its node that it used.
    """

    kind: str
    latency: float
    hold: float
    load: float
    mean: float
    computing: float = 1.0
    movable: bool = True
    jitter: float = 0.0
    due: float = 0.0
    latest: float = 0.0
    runs: int = 0
    peak: float = 0.0
    average: float = 0.0
    shown: float = 0.0
    seat: Seat = field(init=False)

    @property
    def node(self) -> SimNode:
        node: SimNode = self.seat.node
        return node


@frozen
class Happened:
    """Something the Foreman did.

    ``what`` is one of spawn, move, relocate, retire, call off and struck off; ``worker`` is who
    was moved.
    """

    now: float
    what: str
    node: str
    reason: str
    worker: SimWorker | None = None


@define(eq=False)
class Simulation:
    """Nodes, workers, and time.

    Args:
        max_nodes, policy: As of the `Foreman`.
        lock_delay: As in `Snapshot`.
        together: Whether all workers of a node become ready at the same time.

    Attributes:
        now: Seconds since the beginning.
        log: What has been done, oldest first.
        after_step: Called after every step, for a test that looks at all of them.
    """

    max_nodes: int = 8
    lock_delay: float = 0.0
    together: bool = False
    policy: Policy = field(factory=BestFit)
    now: float = 0.0
    workers: list[SimWorker] = field(factory=list)
    log: list[Happened] = field(factory=list)
    after_step: Callable[[], None] = lambda: None
    ledger: Ledger[SimNode] = Factory(lambda self: Ledger(self.policy, self.max_nodes), True)
    _random: Random = field(factory=lambda: Random(1))
    _steps: int = 0
    _enlisted: int = 0
    _acted_on: dict[SimNode, bool] = field(factory=dict)  # whether it is to retire

    # ---------------------------------------------------------------- what a program does

    @property
    def nodes(self) -> tuple[SimNode, ...]:
        return self.ledger.nodes

    def add(
        self,
        kind: str = "app.Kind",
        latency: float = 1.0,
        hold: float = 0.001,
        load: float = 0.01,
        *,
        mean: float | None = None,
        computing: float = 1.0,
        movable: bool = True,
        jitter: float = 0.0,
        node: SimNode | None = None,
    ) -> SimWorker:
        """A new worker, on the node the policy chose, or on ``node``.

        Raises:
            Infeasible: The policy refuses it.
        """
        mean = hold if mean is None else mean
        worker = SimWorker(kind, latency, hold, load, mean, computing, movable, jitter)
        demand = self.ledger.assume(kind, latency, None)
        if node is None:
            decision = self.ledger.place(demand, self.lock_delay)
            if isinstance(decision, Refuse):
                raise Infeasible(latency, decision.reason)
            if isinstance(decision, Place):
                node = self.ledger.find(decision.node)
            else:
                node = self.spawn(decision.reason)
        worker.seat = self.ledger.seat(worker, node, demand, "added")
        self.workers.append(worker)
        return worker

    def remove(self, worker: SimWorker) -> None:
        self.workers.remove(worker)
        self.ledger.unseat(worker.seat)

    def require(self, worker: SimWorker, latency: float) -> None:
        """Have it declare another latency.

        Raises:
            Infeasible: The policy refuses it; everything stays as it was.
        """
        seat = worker.seat
        demand = self.ledger.redeclare(seat, latency, None)
        home = worker.node
        home.roster.remove(seat, seat.demand)
        decision = self.ledger.place(demand, self.lock_delay, home=home)
        home.roster.add(seat, seat.demand)
        if isinstance(decision, Refuse):
            raise Infeasible(latency, decision.reason)
        if isinstance(decision, Place):
            node = self.ledger.find(decision.node)
        else:
            node = self.spawn(decision.reason)
        self._reseat(seat, node, demand, "declares")
        worker.latency = latency

    def move(self, worker: SimWorker, node: SimNode) -> None:
        self.ledger.unsettle(worker.node, self.now)
        self.ledger.unsettle(node, self.now)
        if self.ledger.is_retiring(node):
            self._call_off(node, "the program moves somebody there")
        self._reseat(worker.seat, node, worker.seat.demand, "the program wants it")

    def spawn(self, reason: str = "the program wants it") -> SimNode:
        self._enlisted += 1
        node = SimNode(f"node-{self._enlisted}", rests=self.now + REST_AFTER)
        self.ledger.enlist(node, self.now)
        self._note("spawn", node, reason)
        return node

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps as long as the Foreman's own."""
        for _ in range(round(seconds / REVIEW_PERIOD)):
            self.now += REVIEW_PERIOD
            self._steps += 1
            self._finish()
            if self._steps % FOLD_EVERY == 0:
                self._run()
            self._watch()
            self._review()
            self.after_step()

    def stick(self, node: SimNode, stuck: bool = True) -> None:
        """Something keeps the node from coming round, or does not any more."""
        node.stuck = stuck
        self.ledger.mark_stuck(node, stuck)

    # ---------------------------------------------------------------- what a test looks at

    def count(self, what: str, since: float = -1.0) -> int:
        """How often this happened after ``since``."""
        return sum(1 for one in self.log if one.what == what and one.now > since)

    def members(self, node: SimNode) -> list[SimWorker]:
        return [seat.worker for seat in node.roster.members()]

    # ---------------------------------------------------------------- what runs

    def _run(self) -> None:
        """One window of work on every node, and what its meters show of it, if anybody ran."""
        for node in self.nodes:
            if node.stuck:
                continue
            members = self.members(node)
            share = 1.0 / max(1.0, sum(worker.load for worker in members))
            runs = [self._count_runs(worker, share) for worker in members]
            before = [worker.shown for worker in members]
            for worker, times in zip(members, runs, strict=True):
                self._work(worker, times, idle=not any(runs))
            if any(runs):
                self.ledger.learn(
                    (worker.seat, self._cost(worker))
                    for worker, times, load in zip(members, runs, before, strict=True)
                    if times or load
                )

    @staticmethod
    def _count_runs(worker: SimWorker, share: float) -> int:
        """How often it runs in a window in which it gets this share of what it wants."""
        if worker.load:
            worker.due += share * FOLD_PERIOD * worker.load / worker.mean
        runs = int(worker.due)
        worker.due -= runs
        return runs

    def _work(self, worker: SimWorker, runs: int, *, idle: bool) -> None:
        """One window of one worker; an idle node is not even looked at."""
        factor = 1.0 + worker.jitter * self._random.uniform(-1.0, 1.0)
        hold, mean = factor * worker.hold, factor * worker.mean
        worker.latest = hold if runs else 0.0
        if idle:
            return
        worker.peak = max(worker.latest, PEAK_DECAY * worker.peak)
        if runs:
            worker.average = (worker.average + mean) / 2 if worker.runs else mean
        worker.runs += runs
        load = min(1.0, runs * mean / FOLD_PERIOD)
        load = max(load, (load + worker.shown) / 2)
        worker.shown = load if load > AT_REST else 0.0

    def _cost(self, worker: SimWorker) -> Cost:
        return Cost(
            runs=worker.runs,
            hold=worker.peak,
            mean=worker.average,
            load=worker.shown,
            computing=worker.computing,
            movable=worker.movable and self.now >= worker.seat.stays_until,
        )

    # ---------------------------------------------------------------- what the Foreman does

    def _watch(self) -> None:
        """Broken promises, and nodes at rest."""
        for node in self.nodes:
            holds = [worker.latest for worker in self.members(node)]
            wait = math.inf if node.stuck else (sum if self.together else max)([0.0, *holds])
            if wait > node.roster.promised:
                self.ledger.was_late(node, self.now)
            if wait:
                node.rests = self.now + REST_AFTER
            elif self.now >= node.rests:
                seats = node.roster.members()
                self.ledger.rest(seats, self.now)
                later = (seat.changes_after(self.now) for seat in seats)
                node.rests = min(later, default=math.inf)

    def _review(self) -> None:
        begun: list[tuple[SimNode, list[Seat], str, bool]] = []
        for action in self.ledger.review(self.now, self.lock_delay):
            if isinstance(action, Relocate | Retire):
                node, retires = self.ledger.find(action.node), isinstance(action, Retire)
                if isinstance(action, Relocate):
                    seats = self.ledger.accuse(action, self.now)
                else:
                    seats = self.ledger.pardon(node)
                self._note("retire" if retires else "relocate", node, action.reason)
                self.ledger.begin_action(node, retiring=retires)
                self._acted_on[node] = retires
                begun.append((node, seats, action.reason, retires))
            elif len(self.nodes) < self.max_nodes:
                self.spawn(action.reason)
        for node, seats, reason, retires in begun:
            for seat in seats:
                if seat.node is node and not self._send_away(seat, reason, retires):
                    break

    def _send_away(self, seat: Seat, reason: str, retires: bool) -> bool:
        """Find one worker another node; False when the whole is to be called off."""
        worker, home = seat.worker, seat.node
        decision = self.ledger.place(seat.demand, self.lock_delay, avoid=home)
        if retires and not isinstance(decision, Place):
            self._call_off(home, decision.reason)
            return False
        if isinstance(decision, Refuse):
            return True
        if not worker.movable:
            seat.stays_until = self.now + ASKED_AGAIN_AFTER
            demand = evolve(seat.demand, movable=False)
            self.ledger.reseat(seat, home, demand, "could not leave")
            if retires:
                self._call_off(home, "one could not leave")
            return not retires
        if isinstance(decision, Place):
            target = self.ledger.find(decision.node)
        else:
            target = self.spawn(reason)
        self._reseat(seat, target, seat.demand, reason)
        self._note("move", target, reason, worker)
        return True

    def _reseat(self, seat: Seat, node: SimNode, demand: Demand, reason: str) -> None:
        if node is not seat.node:
            seat.worker.shown = 0.0  # the load is told by the node, and this one knows of none yet
        self.ledger.reseat(seat, node, demand, reason)

    def _call_off(self, node: SimNode, reason: str) -> None:
        self._note("call off", node, reason)
        self._acted_on.pop(node)
        self.ledger.end_action(node, self.now)
        self.ledger.unsettle(node, self.now)

    def _finish(self) -> None:
        """What was begun in the step before has been done."""
        acted_on, self._acted_on = self._acted_on, {}
        for node, retires in acted_on.items():
            if not retires:
                self.ledger.end_action(node, self.now)
            elif node.roster.count:  # somebody who was placed there meanwhile
                self._acted_on[node] = True
                self._call_off(node, "somebody is there again")
            else:
                self.ledger.strike_off(node)
                self._note("struck off", node, "everybody has left")

    def _note(self, what: str, node: SimNode, reason: str, worker: SimWorker | None = None) -> None:
        self.log.append(Happened(self.now, what, node.name, reason, worker))
