"""Whatever a program does, in any order: nobody is lost, sums stay right, promises stay kept."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from foreman import BestFit, Infeasible
from foreman.demand import Group, NodeView, Snapshot
from foreman.feasibility import find_obstacle
from tests.foreman.simulation import SimNode, Simulation, SimWorker

latencies = st.sampled_from([0.01, 0.1, 1.0])
holds = st.sampled_from([0.0001, 0.001, 0.02, 0.2])
rates = st.sampled_from([0.0, 0.2, 2.0, 20.0])
shares = st.sampled_from([0.0, 1.0])


def promises(sim: Simulation, node: SimNode, *newcomers: Group) -> bool:
    """Whether all on a node who keep the deal can be kept what they were promised."""
    views = [NodeView(name=one.name, groups=one.roster.groups()) for one in sim.nodes]
    picture = Snapshot(nodes=tuple(views), max_nodes=sim.max_nodes, lock_delay=sim.lock_delay)
    (view,) = [view for view in views if view.name == node.name]
    rules = BestFit().conditions(view, picture)
    return all(
        find_obstacle(groups, rules) is None for groups in ([*view.groups, *newcomers], view.groups)
    )


class Program(RuleBasedStateMachine):
    sim: Simulation

    @initialize(max_nodes=st.integers(1, 6), lock_delay=st.sampled_from([0.0, 1e-4]))
    def begin(self, max_nodes: int, lock_delay: float) -> None:
        self.sim = Simulation(max_nodes=max_nodes, lock_delay=lock_delay)

    def some_worker(self, data: st.DataObject) -> SimWorker:
        return data.draw(st.sampled_from(self.sim.workers))

    def some_node(self, data: st.DataObject) -> SimNode:
        return data.draw(st.sampled_from(self.sim.nodes))

    # ---------------------------------------------------------------- what a program does

    @rule(
        kind=st.sampled_from(["app.A", "app.B"]),
        latency=latencies,
        hold=holds,
        rate=rates,
        computing=shares,
        movable=st.integers(0, 9).map(bool),
    )
    def add(
        self, kind: str, latency: float, hold: float, rate: float, computing: float, movable: bool
    ) -> None:
        sim = self.sim
        kept = {node for node in sim.nodes if promises(sim, node)}
        load = min(0.9, rate * hold)
        try:
            worker = sim.add(kind, latency, hold, load, computing=computing, movable=movable)
        except Infeasible:
            self.nobody_is_refused_below_the_cap()
            return
        assert not worker.node.stuck
        assert not sim.ledger.is_retiring(worker.node)
        self.check_kept(kept, worker)

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data(), latency=latencies)
    def declare(self, data: st.DataObject, latency: float) -> None:
        sim, worker = self.sim, self.some_worker(data)
        kept = {node for node in sim.nodes if promises(sim, node)}
        before = worker.latency, worker.node
        try:
            sim.require(worker, latency)
        except Infeasible:
            self.nobody_is_refused_below_the_cap()
            assert (worker.latency, worker.node) == before
            return
        self.check_kept(kept, worker)

    def check_kept(self, kept: set[SimNode], worker: SimWorker) -> None:
        """Placing breaks no promise that was kept, except of what is assumed, at the cap."""
        sim = self.sim
        assert worker.node in sim.nodes
        free = sim.max_nodes - len(sim.nodes)
        if free > 1:
            for node in {*kept, worker.node}:
                # Who computes makes those on other nodes wait for the lock, a little.
                assert sim.lock_delay or node not in kept or promises(sim, node)

    def nobody_is_refused_below_the_cap(self) -> None:
        assert len(self.sim.nodes) == self.sim.max_nodes

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.sim.remove(self.some_worker(data))

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        worker, node = self.some_worker(data), self.some_node(data)
        if worker.movable:
            self.sim.move(worker, node)

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data(), hold=holds, rate=rates)
    def change_cost(self, data: st.DataObject, hold: float, rate: float) -> None:
        worker = self.some_worker(data)
        worker.hold = worker.mean = hold
        worker.load = min(0.9, rate * hold)

    @precondition(lambda self: self.sim.nodes)
    @rule(data=st.data())
    def stall_or_come_round(self, data: st.DataObject) -> None:
        node = self.some_node(data)
        self.sim.stick(node, not node.stuck)

    @precondition(lambda self: self.sim.nodes)
    @rule(data=st.data())
    def be_late(self, data: st.DataObject) -> None:
        self.sim.ledger.was_late(self.some_node(data), self.sim.now)

    @rule(steps=st.sampled_from([1, 1, 2, 8, 60]))
    def let_time_pass(self, steps: int) -> None:
        self.sim.advance(steps / 4)

    # ---------------------------------------------------------------- what always holds

    @invariant()
    def everybody_is_on_exactly_one_node(self) -> None:
        listed = [seat for node in self.sim.nodes for seat in node.roster.members()]
        assert len(listed) == len(self.sim.workers)
        assert set(listed) == {worker.seat for worker in self.sim.workers}
        for worker in self.sim.workers:
            assert worker.node in self.sim.nodes
            assert worker.seat in worker.node.roster.members()

    @invariant()
    def sums_are_those_of_the_members(self) -> None:
        for node in self.sim.nodes:
            groups = node.roster.groups()
            demands = [seat.demand for seat in node.roster.members()]
            assert node.roster.count == sum(group.count for group in groups) == len(demands)
            for name, total in [
                ("round", sum(one.mean for one in demands)),
                ("load", sum(one.load for one in demands)),
                ("rush", sum(one.load * one.mean for one in demands)),
                ("computing", sum(one.load * one.computing for one in demands)),
            ]:
                assert sum(getattr(g, name) for g in groups) == pytest.approx(total, abs=1e-6)
            assert max((group.hold for group in groups), default=0.0) == max(
                (one.hold for one in demands), default=0.0
            )

    @invariant()
    def demands_make_sense(self) -> None:
        for worker in self.sim.workers:
            demand = worker.seat.demand
            assert demand.required_latency == worker.latency
            assert 0.0 <= demand.mean <= demand.hold < math.inf
            assert 0.0 <= demand.load <= 1.0

    @invariant()
    def there_are_not_too_many_nodes(self) -> None:
        assert len(self.sim.nodes) <= self.sim.max_nodes
        names = [node.name for node in self.sim.nodes]
        assert len(set(names)) == len(names)

    def teardown(self) -> None:
        """Left alone, it settles: nothing is retired for ever, and then nothing happens."""
        sim = self.sim
        for node in sim.nodes:
            self.sim.stick(node, False)
        for worker in sim.workers:
            worker.load = 0.0
        sim.advance(60)
        assert not any(sim.ledger.is_retiring(node) for node in sim.nodes)


def test_any_program() -> None:
    run_state_machine_as_test(
        Program, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
