"""The Foreman's ledger and policy at work on simulated workers.

It does with their decisions what `foreman.dispatcher` does, on one thread and at once: a move takes
no time. Workers come, run, drift, burst and go; what they cost is shown to the ledger twice a
second, as nodes do, and the policy reviews just as often, which is half as often as the Foreman.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from math import inf
from random import Random
from time import thread_time_ns

from attrs import define, field, frozen

from benchmark.histogram import Histogram
from benchmark.simulation.node import Promises, SimNode
from benchmark.simulation.population import KINDS, Kind, counts_of
from benchmark.simulation.worker import SimWorker
from foreman import BestFit, Place, Refuse, Relocate, Retire, Spawn
from foreman.accounts import FOLD_PERIOD
from foreman.interpreter import interval_for
from foreman.ledger import Cost, Ledger
from foreman.watcher import REST_AFTER

RAMP = 10.0  # seconds within which everybody comes at first
LIFE = 300.0  # mean time a worker stays, seconds; as many come as go
CROWD_EVERY = 60.0  # all workers of one kind run CROWD times as often for CROWD_LENGTH
CROWD_LENGTH = 5.0
CROWD = 3.0
# What all together compute by what is typical of their kinds, of one processor, where there is an
# interpreter lock. Drifts, bursts and crowds come on top of it, and more than double it at times.
LOCK_LOAD = 0.2


@frozen(kw_only=True)
class Settings:
    """What to simulate.

    Args:
        workers: How many there are.
        seconds: Measured, by the simulated clock.
        settle: Before that, the coming of all workers included.
        lock: Whether there is an interpreter lock. All rates are then lowered until everybody
            together leaves most of the one processor idle.
        max_nodes: The most nodes there may be.
        seed: For everything that is drawn at random.
    """

    workers: int
    seconds: float
    settle: float
    lock: bool
    max_nodes: int
    seed: int


@define(eq=False)
class Tally:
    """What was seen since it was last cleared.

    Attributes:
        promises: Kept and broken.
        moves, refused, spawned, retired: How often.
        nodes: Nodes there were at each step, added up.
        most_nodes, fewest_nodes: At any step.
        steps: How many.
        placements: What it took to place a newcomer, nanoseconds of CPU time.
        reviews: What it took to review, without carrying it out, nanoseconds of CPU time.
        learned: Measured costs that were taken in.
        learning: What that took in all, nanoseconds of CPU time.
    """

    promises: Promises = field(factory=Promises)
    moves: int = 0
    refused: int = 0
    spawned: int = 0
    retired: int = 0
    nodes: int = 0
    most_nodes: int = 0
    fewest_nodes: int = 1 << 62
    steps: int = 0
    placements: Histogram = field(factory=Histogram)
    reviews: Histogram = field(factory=Histogram)
    learned: int = 0
    learning: int = 0


class World:
    """A simulation. One thread uses it.

    Attributes:
        now: Seconds of the simulated clock.
        counts: How many workers there are of each kind, once all have come.
        tally: What was seen; replace it to begin anew.
        lock_delay: As in `foreman.Snapshot`.
        slowness: What all rates are divided by.
    """

    def __init__(self, settings: Settings) -> None:
        self.now = 0.0
        self.counts = counts_of(settings.workers)
        self.tally = Tally()
        self._random = Random(settings.seed)
        self._settings = settings
        self._ledger: Ledger[SimNode] = Ledger(BestFit(), settings.max_nodes)
        strictest = min(kind.required_latency for kind in KINDS)
        self.lock_delay = interval_for(strictest) if settings.lock else 0.0
        computing = sum(n * kind.load * kind.computing for kind, n in self.counts.items())
        self.slowness = max(1.0, computing / LOCK_LOAD) if settings.lock else 1.0
        self._names = (f"node-{number}" for number in count(1))
        self._due: defaultdict[int, list[SimWorker]] = defaultdict(list)
        self._here: list[SimWorker] = []
        self._step = 0
        self._to_come = self._shuffled()

    def run(self) -> Iterator[float]:
        """Simulate it all; yields the seconds simulated so far."""
        settings = self._settings
        measured = False
        while self.now < settings.settle + settings.seconds:
            if not measured and self.now >= settings.settle:
                measured, self.tally = True, Tally()
            self.step()
            yield self.now

    def step(self) -> None:
        """Let a window pass."""
        self._go()
        self._come()
        self._work()
        self._learn()
        self._review()
        self._step += 1
        self.now = self._step * FOLD_PERIOD
        nodes = len(self.nodes)
        tally = self.tally
        tally.steps += 1
        tally.nodes += nodes
        tally.most_nodes = max(tally.most_nodes, nodes)
        tally.fewest_nodes = min(tally.fewest_nodes, nodes)

    @property
    def nodes(self) -> tuple[SimNode, ...]:
        """The nodes there are."""
        return self._ledger.nodes

    # ---------------------------------------------------------------- workers

    def _shuffled(self) -> list[Kind]:
        kinds = [kind for kind, n in self.counts.items() for _ in range(n)]
        self._random.shuffle(kinds)
        return kinds

    def _come(self) -> None:
        if self._to_come:
            batch = max(1, round(self._settings.workers * FOLD_PERIOD / RAMP))
            kinds, self._to_come = self._to_come[:batch], self._to_come[batch:]
            for kind in kinds:
                self._add(kind)
            return
        for _ in range(self._settings.workers - len(self._here)):
            self._add(self._random.choices(list(self.counts), list(self.counts.values()))[0])

    def _go(self) -> None:
        if self._to_come:
            return
        leaving = self._settings.workers * FOLD_PERIOD / LIFE
        for _ in range(int(leaving) + (self._random.random() < leaving % 1)):
            at = self._random.randrange(len(self._here))
            worker, self._here[at] = self._here[at], self._here[-1]
            self._here.pop()
            if worker.seat is not None:
                self._ledger.unseat(worker.seat)
                worker.seat = None

    def _add(self, kind: Kind) -> None:
        ledger = self._ledger
        worker = SimWorker.born(kind, self.slowness, self.now, self._random)
        began = thread_time_ns()
        demand = ledger.assume(kind.name, kind.required_latency, None)
        placement = ledger.place(demand, self.lock_delay)
        if isinstance(placement, Place):
            worker.seat = ledger.seat(worker, ledger.find(placement.node), demand, placement.reason)
            self.tally.placements.record(thread_time_ns() - began)
        elif isinstance(placement, Spawn):
            worker.seat = ledger.seat(worker, self._enlist(), demand, placement.reason)
        else:
            self.tally.refused += 1
        self._here.append(worker)
        self._due[self._step].append(worker)

    # ---------------------------------------------------------------- a window

    def _work(self) -> None:
        """Everybody who is due runs, and waits."""
        crowd = self._crowd()
        for worker in self._due.pop(self._step, ()):
            seat = worker.seat
            if seat is None:
                continue
            worker.drift(self.now, self.slowness, self._random)
            factor = CROWD if worker.kind is crowd else 1.0
            due = worker.run(self.now, FOLD_PERIOD, factor, self._random)
            self._due[max(self._step + 1, int(due / FOLD_PERIOD))].append(worker)
            seat.node.active.append(worker)
        computed = {node: node.computed for node in self.nodes} if self.lock_delay else {}
        everybody = sum(computed.values())
        for node in self.nodes:
            others = everybody - computed.get(node, 0.0)
            lock_wait = self.lock_delay * others / FOLD_PERIOD
            if everybody > FOLD_PERIOD:  # what one processor cannot do is left over
                node.backlog += (everybody - FOLD_PERIOD) * computed[node] / everybody
            if node.serve(FOLD_PERIOD, lock_wait, self.tally.promises):
                self._ledger.was_late(node, self.now)

    def _crowd(self) -> Kind | None:
        """The kind of which all are busier than usual, if any."""
        number, since = divmod(self.now, CROWD_EVERY)
        return KINDS[int(number) % len(KINDS)] if number and since < CROWD_LENGTH else None

    def _learn(self) -> None:
        for node in self.nodes:
            looked_at = {*node.active, *node.watched}
            if node.active:
                node.rests = self.now + REST_AFTER
            node.active, node.watched = [], []
            costs = []
            for worker in looked_at:
                seat = worker.seat
                if seat is None or seat.node is not node:
                    continue
                if worker.meter(FOLD_PERIOD):
                    node.watched.append(worker)
                cost = Cost(
                    runs=worker.runs,
                    hold=worker.peak,
                    mean=worker.mean,
                    load=worker.load,
                    computing=worker.kind.computing,
                    movable=self.now >= seat.stays_until,
                )
                costs.append((seat, cost))
            began = thread_time_ns()
            self._ledger.learn(costs)
            self.tally.learning += thread_time_ns() - began
            self.tally.learned += len(costs)
            if self.now >= node.rests:
                seats = node.roster.members()
                self._ledger.rest(seats, self.now)
                node.rests = min((seat.changes_after(self.now) for seat in seats), default=inf)

    # ---------------------------------------------------------------- what is decided

    def _enlist(self) -> SimNode:
        node = SimNode(name=next(self._names), rests=self.now + REST_AFTER)
        self._ledger.enlist(node, self.now)
        self.tally.spawned += 1
        return node

    def _review(self) -> None:
        began = thread_time_ns()
        actions = self._ledger.review(self.now, self.lock_delay)
        self.tally.reviews.record(thread_time_ns() - began)
        for action in actions:
            if isinstance(action, Relocate):
                self._relocate(action)
            elif isinstance(action, Retire):
                self._retire(action)
            elif len(self.nodes) < self._settings.max_nodes:
                self._enlist()

    def _relocate(self, action: Relocate) -> None:
        ledger = self._ledger
        node = ledger.find(action.node)
        seats = ledger.accuse(action, self.now)
        ledger.begin_action(node)
        for seat in seats:
            decision = ledger.place(seat.demand, self.lock_delay, avoid=node)
            if isinstance(decision, Refuse):
                continue
            target = ledger.find(decision.node) if isinstance(decision, Place) else self._enlist()
            self._move(seat.worker, target, action.reason)
        ledger.end_action(node, self.now)

    def _retire(self, action: Retire) -> None:
        ledger = self._ledger
        node = ledger.find(action.node)
        seats = ledger.pardon(node)
        ledger.begin_action(node, retiring=True)
        for seat in seats:
            decision = ledger.place(seat.demand, self.lock_delay, avoid=node)
            if not isinstance(decision, Place):  # it was not to cost others a node
                ledger.end_action(node, self.now)
                ledger.unsettle(node, self.now)
                return
            self._move(seat.worker, ledger.find(decision.node), action.reason)
        ledger.strike_off(node)
        self.tally.retired += 1

    def _move(self, worker: SimWorker, target: SimNode, reason: str) -> None:
        seat = worker.seat
        assert seat is not None
        self._ledger.reseat(seat, target, seat.demand, reason)
        target.watched.append(worker)
        self.tally.moves += 1
