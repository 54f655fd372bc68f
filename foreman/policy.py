"""Where a worker may run: decisions from measurements, and nothing else.

A policy is pure. It reads no clock and does no I/O: the same snapshot gives the same decision, so
it is tested with made-up snapshots. The Foreman carries its decisions out.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from attrs import evolve, field, frozen, validators

from foreman.demand import Demand, Group, NodeView, Snapshot


@frozen
class Place:
    """Put the worker on this node."""

    node: str
    reason: str


@frozen
class Spawn:
    """Start a node and put the worker on it."""

    reason: str


@frozen
class Refuse:
    """No place can be found that keeps every declared latency."""

    reason: str


Placement: TypeAlias = Place | Spawn | Refuse


class Policy(Protocol):
    """What decides. Implementations are pure and may be shared between threads."""

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        """The demand to reckon with for a worker that has not run yet.

        Args:
            kind: Its class.
            required_latency: What it declares, seconds.
            shown: What workers of that class have cost so far, or None if none has run.
        """

    def place(self, demand: Demand, snapshot: Snapshot, home: str | None = None) -> Placement:
        """Where a worker with this demand goes.

        Args:
            demand: The worker; not counted in the snapshot.
            snapshot: The nodes as they are.
            home: The node it is on already, preferred while it is feasible; None for a new one.
        """


@frozen(kw_only=True)
class BestFit:
    """The fullest node on which every declared latency can still be kept.

    A node may hold a set of workers if, for every one of them, what it may have to wait fits its
    declared latency. It may have to wait for the longest hold of any *other* worker there, because
    nothing can be preempted; for the queue expected ahead of it; and for the interpreter lock.
    The queue is that of a single server, the Pollaczek-Khinchine mean: the sum of each worker's
    load times hold, over twice the share of time left idle.

    Args:
        assumed_hold: The hold assumed of a worker of a class that has not run yet, as a share of
            its own declared latency; so strict and loose workers start apart.
        assumed_load: The share of a node reserved for a worker until it has run, so that a burst
            of unknown workers spreads.
        full: The load up to which a node is filled, 0 to 1.
    """

    assumed_hold: float = field(default=0.25, validator=[validators.gt(0), validators.lt(1)])
    assumed_load: float = field(default=1 / 128, validator=[validators.gt(0), validators.lt(1)])
    full: float = field(default=0.8, validator=[validators.gt(0), validators.lt(1)])

    def assume(self, kind: str, required_latency: float, shown: Demand | None) -> Demand:
        return Demand(
            kind=kind,
            required_latency=required_latency,
            hold=self.assumed_hold * required_latency if shown is None else shown.hold,
            load=self.assumed_load if shown is None else max(shown.load, self.assumed_load / 8),
            measured=False,
        )

    def place(self, demand: Demand, snapshot: Snapshot, home: str | None = None) -> Placement:
        newcomer = Group.of(demand)
        best: NodeView | None = None
        obstacle = ""
        for node in snapshot.nodes:
            if node.stuck:
                obstacle = obstacle or f"{node.name} is stuck"
                continue
            broken = self._obstacle((*node.groups, newcomer), self._lock_wait(node, snapshot))
            if broken:
                obstacle = f"on {node.name}, {broken}"
            elif node.name == home:
                return Place(node.name, "stays: every latency there can be kept")
            elif best is None or (node.load, node.count) > (best.load, best.count):
                best = node
        if best is not None:
            return Place(best.name, f"the fullest of the nodes that can keep it, {best.count} here")
        if len(snapshot.nodes) < snapshot.max_nodes:
            return Spawn(obstacle or "there is no node yet")
        return self._squeeze(demand, snapshot, obstacle)

    def _squeeze(self, demand: Demand, snapshot: Snapshot, obstacle: str) -> Placement:
        """At the cap: what stands only on assumptions does not justify refusing anybody."""
        newcomer = Group.of(demand if demand.measured else evolve(demand, hold=0.0, load=0.0))
        reserved: list[tuple[float, int, str]] = []
        for node in snapshot.nodes:
            known = (*(group for group in node.groups if group.measured), newcomer)
            if not node.stuck and not self._obstacle(known, self._lock_wait(node, snapshot)):
                reserved.append((node.load, node.count, node.name))
        if not reserved:
            return Refuse(f"all {snapshot.max_nodes} nodes are taken; {obstacle}")
        load, count, name = min(reserved)
        return Place(
            name, f"no more nodes may be spawned; {count} here, the least reserved ({load:.0%})"
        )

    def _obstacle(self, groups: tuple[Group, ...], lock_wait: float) -> str:
        """What breaks a promise on a node with these groups; empty when nothing does."""
        load = sum(group.load for group in groups)
        alone = len(groups) == 1 and groups[0].count == 1
        if load > self.full and not alone:
            return f"the load would be {load:.0%} of at most {self.full:.0%}"
        queue = sum(group.rush for group in groups) / (2 * (1 - min(load, self.full)))
        longest, second = _two_longest(groups)
        for group in groups:
            # The one with the longest hold does not wait for itself.
            others = second if group is longest and group.count == 1 else longest
            wait = (others.hold if others else 0.0) + (0.0 if alone else queue) + lock_wait
            if wait > group.required_latency and not alone:
                kind = group.kind.rpartition(".")[2]
                return f"{kind} declaring {group.required_latency:g} s might wait {wait:.3g} s"
        return ""

    @staticmethod
    def _lock_wait(node: NodeView, snapshot: Snapshot) -> float:
        """What the other nodes' computing adds, seconds.

        Weighted by their load: an idle node never holds the lock.
        """
        others = sum(min(1.0, other.load) for other in snapshot.nodes if other is not node)
        return snapshot.lock_delay * others


def _two_longest(groups: tuple[Group, ...]) -> tuple[Group | None, Group | None]:
    longest: Group | None = None
    second: Group | None = None
    for group in groups:
        if longest is None or group.hold > longest.hold:
            longest, second = group, longest
        elif second is None or group.hold > second.hold:
            second = group
    return longest, second
